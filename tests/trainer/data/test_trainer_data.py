"""Reading event files and Examples into arrays, and cutting the arrays into batches."""

import bisect
import collections
import copy
import dataclasses
import datetime
import functools
import re

import numpy as np
import pytest
import tensorflow_transform as tft
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from components.examples import events
from schema import features as raw
from trainer.data import reading
from trainer.data.batches import user_batches
from trainer.data.training_data import Interactions
from trainer.serving import describe

pytestmark = pytest.mark.xdist_group("trainer")


@pytest.fixture(scope="module")
def transform_output(world):
    return tft.TFTransformOutput(world.transform_graph)


@pytest.fixture(scope="module")
def catalogue(world, transform_output):
    return reading.load_catalogue(world.movie_files, transform_output, raw.MOVIELENS)


@pytest.fixture(scope="module")
def load(catalogue, transform_output, tmp_path_factory):
    """Reads ratings that are given as tf.Examples, an event file for each list of them."""

    def read(*parts, table=raw.MOVIELENS):
        folder = tmp_path_factory.mktemp("events")
        files = [
            fixtures.write_events(folder / str(number), part, table)
            for number, part in enumerate(parts)
        ]
        users = reading._load_users([path for _, path in files], transform_output, table)
        return reading.load_interactions(
            [path for path, _ in files], users, catalogue, transform_output, table
        )

    return read


@pytest.fixture(scope="module")
def rated(world, transform_output):
    """The training split, as arrays and as the Examples themselves."""
    data = reading.load_training_data(
        world.event_files["train"],
        world.user_files,
        world.movie_files,
        transform_output,
        raw.MOVIELENS,
    )
    examples = list(fixtures.read_examples(world.rating_files["train"]))
    return data.interactions, data.users, examples


def position(transform_output, name, value):
    """Where a value stands in a vocabulary; the one after the last if it does not."""
    words = [word.decode() for word in transform_output.vocabulary_by_name(name)]
    return words.index(value) if value in words else len(words)


@pytest.mark.parametrize("movies", [1, 7, 40])
def test_a_large_catalogue_is_cut_to_the_movies_with_most_fitted_ratings(
    world, transform_output, movies
):
    load = functools.partial(
        reading.load_fitted_and_known,
        world.event_files["train"],
        world.event_files["test"],
        world.user_files,
        world.movie_files,
        transform_output,
        raw.MOVIELENS,
    )
    whole, cut = load(), load(movies=movies)
    counts = collections.Counter(_ids_of_movies(whole[0]))
    ids = sorted(whole[0].catalogue.ids.tolist(), key=lambda one: (-counts[one], one))[:movies]
    for before, after in zip(whole, cut, strict=True):
        assert sorted(ids) == after.catalogue.ids.tolist()
        assert after.users.ids.tolist() == before.users.ids.tolist()
        assert _ids_of_movies(after) == [one for one in _ids_of_movies(before) if one in ids]
        assert len(np.unique(after.catalogue.features["movie_id_index"])) == movies
        assert after.feature_sizes["movie_id_index"] == movies + 1
        assert after.interactions.offsets[-1] == len(after.interactions)
    left_out = cut[0].catalogue
    assert left_out.left_out == len(whole[0].catalogue.ids) - movies
    assert left_out.left_out_ratings == sum(counts.values()) - len(cut[0].interactions)
    ((name, reason),) = describe.left_out_movies(cut[0]).items()
    assert name.startswith(f"{left_out.left_out:,} of ")
    assert "trainer.catalogue_limit" in reason
    assert describe.left_out_movies(whole[0]) == {}


def _ids_of_movies(data):
    return data.catalogue.ids[data.interactions.movie_row].tolist()


# --- the catalogue


def test_catalogue_holds_every_movie_once_by_id(world, catalogue):
    examples = list(fixtures.read_examples(world.movie_files))
    assert catalogue.ids.tolist() == sorted(fixtures.value(e, raw.MOVIE_ID) for e in examples)
    titles = {fixtures.value(e, raw.MOVIE_ID): fixtures.value(e, raw.TITLE) for e in examples}
    assert dict(zip(catalogue.ids.tolist(), catalogue.titles.tolist(), strict=True)) == titles


def test_catalogue_features_are_those_of_each_movie(world, catalogue, transform_output):
    rows = {movie: row for row, movie in enumerate(catalogue.ids.tolist())}
    for example in fixtures.read_examples(world.movie_files):
        row = rows[fixtures.value(example, raw.MOVIE_ID)]
        movie_id = fixtures.value(example, raw.MOVIE_ID).decode()
        genres = [g.decode() for g in example.features.feature["movie_genres"].bytes_list.value]
        title = fixtures.value(example, raw.TITLE).decode()
        words = re.findall(r"[^\W_]+", re.sub(r"\(\d{4}\)\s*$", "", title).lower())
        expected = {
            "movie_id_index": position(transform_output, "movie_id_index", movie_id),
            "genre_indices": [position(transform_output, "genre_indices", g) for g in genres],
            "title_word_indices": [
                position(transform_output, "title_word_indices", word) for word in words
            ],
            **{
                name: position(
                    transform_output, name, fixtures.value(example, feature).decode().lower()
                )
                for name, feature in (("director_index", raw.DIRECTOR), ("star_index", raw.STAR))
            },
        }
        for name, values in expected.items():
            found = catalogue.features[name][row]
            assert np.asarray(found).tolist() == values, (name, movie_id)
        has_year = fixtures.value(example, raw.RELEASE_YEAR) is not None
        assert (catalogue.features["release_year_bucket"][row] > 0) == has_year


def test_later_films_are_in_no_earlier_bucket(world, catalogue):
    years = {
        fixtures.value(e, raw.MOVIE_ID): fixtures.value(e, raw.RELEASE_YEAR)
        for e in fixtures.read_examples(world.movie_files)
    }
    buckets = catalogue.features["release_year_bucket"]
    known = sorted(
        (years[movie], buckets[row])
        for row, movie in enumerate(catalogue.ids.tolist())
        if years[movie] is not None
    )
    assert [bucket for _, bucket in known] == sorted(bucket for _, bucket in known)


def test_the_exported_year_is_that_of_the_title_or_else_of_the_data(world, catalogue):
    years = {
        fixtures.value(e, raw.MOVIE_ID): fixtures.value(e, raw.RELEASE_YEAR)
        for e in fixtures.read_examples(world.movie_files)
    }
    assert dict(zip(catalogue.ids.tolist(), catalogue.years.tolist(), strict=True)) == years
    assert describe._year("Heat (1995)", 1996) == 1995
    assert describe._year("Heat", 1996) == 1996
    assert describe._year("Heat", 0) is describe._year("Heat", -1) is None


def test_a_movie_without_a_year_takes_none_from_others(world, transform_output, tmp_path):
    examples = list(fixtures.read_examples(world.movie_files))
    years = [fixtures.value(example, raw.RELEASE_YEAR) for example in examples]
    for row in (0, 2):
        del examples[row].features.feature[raw.RELEASE_YEAR.name]
        years[row] = 0
    path = fixtures.write_examples(tmp_path / "movies.gz", examples)
    found = reading.load_catalogue([path], transform_output, raw.MOVIELENS)
    ids = [fixtures.value(example, raw.MOVIE_ID) for example in examples]
    expected = dict(zip(ids, years, strict=True))
    assert dict(zip(found.ids.tolist(), found.years.tolist(), strict=True)) == expected


def test_an_empty_catalogue_is_refused(tmp_path, transform_output):
    nothing = fixtures.write_examples(tmp_path / "none.gz", [])
    with pytest.raises(ValueError, match="expected Examples of movies"):
        reading.load_catalogue([nothing], transform_output, raw.MOVIELENS)
    with pytest.raises(ValueError, match="expected Examples of movies"):
        reading.load_catalogue([], transform_output, raw.MOVIELENS)


# --- the ratings


def test_every_rating_is_read_once(rated, catalogue):
    interactions, users, examples = rated
    found = zip(
        users.ids[interactions.user_row].tolist(),
        catalogue.ids[interactions.movie_row].tolist(),
        interactions.rating.tolist(),
        interactions.timestamp.tolist(),
        strict=True,
    )
    columns = (raw.USER_ID, raw.MOVIE_ID, raw.RATING, raw.TIMESTAMP)
    expected = [tuple(fixtures.value(e, column) for column in columns) for e in examples]
    assert len(interactions) == len(examples)
    assert sorted(found) == sorted(expected)


def test_ratings_are_by_user_and_of_each_user_by_time(rated):
    interactions, users, _ = rated
    assert (np.diff(interactions.user_row) >= 0).all()
    assert interactions.offsets[0] == 0
    assert interactions.offsets[-1] == len(interactions)
    for user in range(len(users.ids)):
        own = slice(interactions.offsets[user], interactions.offsets[user + 1])
        assert set(interactions.user_row[own]) == {user}
        assert (np.diff(interactions.timestamp[own]) >= 0).all()


def test_context_belongs_to_its_rating(rated):
    interactions, _, _ = rated
    moments = [
        datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
        for seconds in interactions.timestamp
    ]
    assert interactions.context["hour_of_day"].tolist() == [m.hour for m in moments]
    assert interactions.context["day_of_week"].tolist() == [m.weekday() for m in moments]
    order = np.argsort(interactions.timestamp)
    assert (np.diff(interactions.context["time_bucket"][order]) >= 0).all()


def test_user_features_are_those_of_each_user(rated, transform_output):
    _, users, examples = rated
    assert users.ids.tolist() == sorted({fixtures.value(e, raw.USER_ID) for e in examples})
    by_user = {fixtures.value(e, raw.USER_ID): e for e in examples}
    for row, user in enumerate(users.ids.tolist()):
        example = by_user[user]
        zip_code = fixtures.value(example, raw.ZIP_CODE).decode()
        prefix = zip_code[:3] if re.fullmatch(r"[0-9]{5}", zip_code) else "unknown"
        gender = {b"Female": 1, b"Male": 2}[fixtures.value(example, raw.GENDER)]
        occupation = fixtures.value(example, raw.OCCUPATION).decode()
        age = fixtures.value(example, raw.AGE)
        expected = {
            "user_id_index": position(transform_output, "user_id_index", user.decode()),
            "gender_index": gender,
            "age_bucket_index": bisect.bisect_right(raw.AGE_BUCKETS, age),
            "occupation_index": position(transform_output, "occupation_index", occupation),
            "zip_prefix_index": position(transform_output, "zip_prefix_index", prefix),
        }
        assert {name: users.features[name][row] for name in expected} == expected


def test_a_user_of_whom_nothing_is_known_has_the_indices_of_unknown(rated, load, catalogue):
    _, _, examples = rated
    bare = fixtures.to_example(
        user_id="999999",
        movie_id=catalogue.ids[0].decode(),
        user_rating=3.0,
        timestamp=880_000_000,
        user_gender=raw.UNKNOWN,
        user_occupation_text=raw.UNKNOWN,
        user_zip_code=raw.UNKNOWN,
    )
    _, users = load([*examples, bare])
    row = users.ids.tolist().index(b"999999")
    for name in ("gender_index", "age_bucket_index", "state_index"):
        assert users.features[name][row] == 0


def test_the_order_of_files_and_rows_does_not_matter(rated, load):
    interactions, users, examples = rated
    half = len(examples) // 2
    again, same_users = load(examples[::-1][half:], [], examples[::-1][:half])
    for name in ("user_row", "movie_row", "rating", "timestamp", "offsets"):
        assert (getattr(again, name) == getattr(interactions, name)).all()
    for name, values in interactions.context.items():
        assert (again.context[name] == values).all()
    assert (same_users.ids == users.ids).all()


def test_files_hold_each_users_ratings_in_event_order(world, transform_output, catalogue):
    """What is read of one file is what the file holds, row by row."""
    (path,) = world.event_files["train"]
    users = reading._load_users(world.user_files, transform_output, raw.MOVIELENS)
    found, _ = reading.load_interactions([path], users, catalogue, transform_output, raw.MOVIELENS)
    held = events.map_events(path)
    assert held.column("user_id").to_pylist() == users.ids[found.user_row].tolist()
    assert held.column("movie_id").to_pylist() == catalogue.ids[found.movie_row].tolist()
    assert held.column("user_rating").to_pylist() == found.rating.tolist()
    assert held.column("timestamp").to_pylist() == found.timestamp.tolist()


def test_a_rating_takes_at_most_26_bytes(rated):
    """The position, which this data lacks, and validation, which is not marked, take none."""
    interactions, _, _ = rated
    columns = [getattr(interactions, f.name) for f in dataclasses.fields(interactions)]
    columns = [c for c in columns if isinstance(c, np.ndarray) and len(c) == len(interactions)]
    assert len(columns) == 6
    columns += interactions.context.values()
    assert sum(column.strides[0] for column in columns) <= 26


def test_only_users_with_ratings_in_the_files_are_users(world, rated, load):
    _, users, examples = rated
    first = examples[0]
    _, found = load([first])
    assert found.ids.tolist() == [fixtures.value(first, raw.USER_ID)]
    row = users.ids.tolist().index(found.ids[0])
    for name, values in found.features.items():
        assert values.tolist() == [users.features[name][row]]


@pytest.mark.parametrize("files", [0, 1])
def test_no_ratings_are_refused(files, tmp_path, transform_output, world):
    paths = [fixtures.write_events(tmp_path / f"{n}", [])[0] for n in range(files)]
    with pytest.raises(ValueError, match="expected ratings to train on, received none in"):
        reading.load_training_data(
            paths, world.user_files, world.movie_files, transform_output, raw.MOVIELENS
        )


def test_a_rating_of_a_movie_outside_of_the_catalogue_is_refused(load):
    stray = fixtures.to_example(
        user_id="1", movie_id="no-such-movie", user_rating=3.0, timestamp=880_000_000
    )
    with pytest.raises(ValueError, match=r"expected movies of .* received 'no-such-movie'"):
        load([stray])


def test_an_event_file_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "VERSION", "2")
    path, _ = fixtures.write_events(tmp_path, [])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="of version 1, received version 2: .*--no-cache"):
        events.map_events(path)


@pytest.mark.parametrize("known", [[b"1"], [b"1", b"22"]])
def test_an_unknown_id_is_named(known):
    known_ids = np.array(known, np.bytes_)
    with pytest.raises(ValueError, match="received '333'"):
        reading.rows_of(known_ids, np.array([*known, b"333"]))


@given(known=st.sets(st.binary(min_size=1, max_size=4).filter(lambda b: b[-1:] != b"\0")))
def test_every_known_id_has_its_row(known):
    ids = np.array(sorted(known), np.bytes_)
    assert reading.rows_of(ids, ids).tolist() == list(range(len(ids)))


def test_places_in_the_file_order_ratings_of_one_second(load, rated):
    places = np.random.default_rng(1).permutation(len(rated[2]))
    written = []
    for place, example in zip(places, copy.deepcopy(rated[2]), strict=True):
        example.features.feature["timestamp"].int64_list.value[:] = [place % 3]
        example.features.feature["position"].int64_list.value[:] = [place]
        written.append(example)
    found, _ = load(written, table=raw.FeatureTable((*raw.MOVIELENS.features, raw.POSITION)))
    keys = np.stack([found.user_row, found.timestamp, found.position])
    assert (np.lexsort(keys[::-1]) == np.arange(len(places))).all()
    assert sorted(found.position) == list(range(len(places)))
    assert not rated[0].position.any()
    unordered, _ = load(written)
    assert not unordered.position.any()


def test_positions_are_of_all_ratings_or_of_none():
    with pytest.raises(ValueError, match="position of each of 3 ratings, received 2"):
        dataclasses.replace(interactions_of([3]), position=np.arange(2))


# --- batches


def interactions_of(lengths):
    """Interactions of users with so many ratings each; only their number matters."""
    total = sum(lengths)
    zeros = np.zeros(total, np.int64)
    return Interactions(
        user_row=np.repeat(np.arange(len(lengths)), lengths),
        movie_row=zeros,
        rating=np.zeros(total, np.float32),
        timestamp=zeros,
        context={},
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
    )


@examples(200)
@given(
    users=st.lists(
        st.lists(st.integers(0, 4), min_size=1, max_size=8).map(sorted), min_size=1, max_size=6
    )
)
def test_ties_are_the_ratings_before_of_the_same_user_and_second(users):
    times = np.concatenate([np.array(user, np.int64) for user in users])
    interactions = dataclasses.replace(
        interactions_of([len(user) for user in users]), timestamp=times
    )
    expected = [user[:place].count(user[place]) for user in users for place in range(len(user))]
    assert interactions.ties.tolist() == expected


@examples(50)
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=6), data=st.data())
def test_ratings_of_one_second_are_no_ties_where_the_file_orders_them(lengths, data):
    interactions = interactions_of(lengths)  # all of one second
    position = data.draw(st.permutations(range(len(interactions))))
    ordered = dataclasses.replace(interactions, position=np.array(position, np.int64))
    assert not ordered.ties.any()


@examples(200)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=15),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_batches_cover_every_rating_once_and_keep_users_whole(lengths, batch_size, seed):
    interactions = interactions_of(lengths)
    batches = list(user_batches(interactions, batch_size, np.random.default_rng(seed)))
    covered = np.concatenate([positions for positions, _ in batches])
    assert sorted(covered) == list(range(sum(lengths)))
    for positions, segments in batches:
        assert 0 < len(positions) <= batch_size
        # A piece is a run of one user's ratings in order of time; its numbers count from 0 on.
        assert segments[0] == 0
        steps = np.diff(segments)
        assert set(steps.tolist()) <= {0, 1}
        users = interactions.user_row[positions]
        for piece in range(segments[-1] + 1):
            own = segments == piece
            assert len(set(users[own])) == 1
            assert (np.diff(positions[own]) == 1).all()
            user = users[own][0]
            assert own.sum() == lengths[user] or lengths[user] > batch_size


def test_epochs_are_shuffled_differently_and_a_seed_repeats_them():
    interactions = interactions_of([3] * 50)
    rng = np.random.default_rng(1)
    epochs = [
        np.concatenate([p for p, _ in user_batches(interactions, 30, source)]).tolist()
        for source in (rng, rng, np.random.default_rng(1))
    ]
    assert epochs[0] != epochs[1]
    assert epochs[0] == epochs[2]
