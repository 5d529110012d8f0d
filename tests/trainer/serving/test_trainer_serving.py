"""The exported model's three signatures, loaded from disk, against the oracle."""

import math

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from schema import features as raw
from schema.predictions import OUTPUTS, POPULARITY_RANK, items_of, rank_of, rating_of
from schema.scenarios import SCENARIOS

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 4_000_000_000
"""A time after every rating: nothing is recent, all of the history is earlier."""

STRANGER = {
    "user_id": "nobody",
    "user_gender": "f",
    "raw_user_age": 31.0,
    "user_occupation_text": "Writer",
    "user_zip_code": "94110",
}


def known(trained, number):
    return {"user_id": trained.users.ids[number].decode()}


@pytest.fixture(scope="module")
def test_rows(world):
    return list(fixtures.read_examples(world.rating_files["test"]))


def middle_times(oracle, user):
    """Times at, between and around a user's events, so that some are recent."""
    times = [time for time, _ in oracle.history(user)]
    return [times[0] - 5, times[0], times[len(times) // 2] + 1, times[-1] + 60, NOW]


# --- evaluate


def assert_rank(found, scores, row, hidden):
    """The rank is 1 + the movies not hidden that score as high; nearly equal ones may swap."""
    margins = [
        scores[other] - scores[row]
        for other in range(len(scores))
        if other != row and other not in hidden
    ]
    low = 1 + sum(margin > 1e-4 for margin in margins)
    high = 1 + sum(margin > -1e-4 for margin in margins)
    assert low <= found <= high


def test_ranks_and_stars_equal_the_oracles(model, oracle, test_rows):
    rows = test_rows[::25]
    found = fixtures.predict(model, *rows)
    for number, example in enumerate(rows):
        user, time = fixtures.value(example, raw.USER_ID), fixtures.value(example, raw.TIMESTAMP)
        profile = {
            feature.name: fixtures.as_text(fixtures.value(example, feature))
            for feature in fixtures.USER_FIELDS
        }
        row = oracle.movies[fixtures.value(example, raw.MOVIE_ID)]
        earlier = fixtures.OracleBefore(oracle, time)
        for scenario, known, scores in (
            ("in_session", earlier, earlier.scores(user, profile, time)),
            ("next_visit", oracle, oracle.long_term(user, profile, time)),
        ):
            seen = {movie for _, movie in known.history(user)}
            assert_rank(found[f"{scenario}_rank"][number], scores, row, seen)
            assert_items(found[f"{scenario}_items"][number], scores, seen)
        stars = earlier.stars(profile, time, row)
        assert found["in_session_rating"][number] == pytest.approx(stars, abs=2e-4)
        assert found["catalogue_size"][number] == len(scores)


def assert_items(found, scores, hidden):
    """The best ten of those not hidden; nearly equal ones may swap."""
    assert len(found) == len(set(found.tolist())) == 10
    assert not hidden & set(found.tolist())
    allowed = sorted((scores[row] for row in range(len(scores)) if row not in hidden), reverse=True)
    np.testing.assert_allclose([scores[row] for row in found], allowed[:10], atol=1e-4)


def test_at_the_next_visit_nothing_depends_on_the_time_of_the_row(model, test_rows):
    """A user's list is the same on all rows, and so are the stars of a movie."""
    first = test_rows[0]
    rows = []
    for time in (880_000_000, 893_286_638, 1_264_888_700, 4_000_000_000):
        row = fixtures.to_example()
        row.CopyFrom(first)
        row.features.feature["timestamp"].int64_list.value[:] = [time]
        rows.append(row)
    found = fixtures.predict(model, *rows)
    for name in ("next_visit_rank", "next_visit_items"):
        assert (found[name] == found[name][0]).all(), name
    assert np.ptp(found["next_visit_rating"]) < 1e-5


def test_a_training_movie_is_ranked_among_the_unseen_ones_and_itself(
    model, oracle, trained, profiles
):
    user = trained.users.ids[3]
    history = {movie for _, movie in oracle.history(user)}
    scores = oracle.scores(user, profiles[user], NOW)
    examples = [
        fixtures.to_example(user_id=user, movie_id=trained.catalogue.ids[row], timestamp=NOW)
        for row in history
    ]
    found = fixtures.predict(model, *examples)
    for number, row in enumerate(history):
        assert_rank(found["in_session_rank"][number], scores, row, history)


def test_without_a_history_every_movie_is_unseen(model, oracle, trained):
    examples = [
        fixtures.to_example(user_id="nobody", movie_id=movie, timestamp=NOW)
        for movie in trained.catalogue.ids.tolist()
    ]
    scores = oracle.scores(b"nobody", {"user_id": "nobody"}, NOW)
    found = fixtures.predict(model, *examples)
    for row, rank in enumerate(found["in_session_rank"]):
        assert_rank(rank, scores, row, set())


def test_popularity_ranks_by_training_ratings_among_the_unseen(model, oracle, trained, test_rows):
    rows = test_rows[::25]
    rated = np.bincount(trained.interactions.movie_row, minlength=len(trained.catalogue.ids))
    found = fixtures.predict(model, *rows)["next_visit_popularity_rank"]
    for number, example in enumerate(rows):
        row = oracle.movies[fixtures.value(example, raw.MOVIE_ID)]
        seen = {movie for _, movie in oracle.history(fixtures.value(example, raw.USER_ID))}
        as_popular = [m for m in range(len(rated)) if rated[m] >= rated[row] and m not in seen]
        assert found[number] == len(as_popular)


def test_ties_count_against_the_movie(trained):
    serving, evaluate = trained.serving, trained.evaluation.evaluate
    before, known = serving.candidates.numpy(), serving.user_states.numpy()
    try:
        serving.candidates.assign(np.ones_like(before))
        serving.user_states.assign(np.zeros_like(known))
        movie = trained.catalogue.ids[0]
        example = fixtures.to_example(user_id="nobody", movie_id=movie, timestamp=NOW)
        found = evaluate([example.SerializeToString()])
        assert int(found["in_session_rank"][0]) == len(before)
        known_user = trained.users.ids[0]
        example = fixtures.to_example(user_id=known_user, movie_id=movie, timestamp=NOW)
        found = evaluate([example.SerializeToString()])
        held = trained.interactions
        seen = set(held.movie_row[held.user_row == 0].tolist()) - {0}
        assert int(found["next_visit_rank"][0]) == len(before) - len(seen)
    finally:
        serving.candidates.assign(before)
        serving.user_states.assign(known)


def test_scores_that_are_no_numbers_rank_last(trained):
    serving, evaluate = trained.serving, trained.evaluation.evaluate
    before = serving.candidates.numpy()
    try:
        serving.candidates.assign(np.full_like(before, np.nan))
        example = fixtures.to_example(
            user_id="nobody", movie_id=trained.catalogue.ids[0], timestamp=NOW
        )
        found = evaluate([example.SerializeToString()])
        assert int(found["in_session_rank"][0]) == len(before)
    finally:
        serving.candidates.assign(before)


@pytest.mark.parametrize("movie", ["no-such-movie", "", " 1"])
def test_an_unknown_movie_has_rank_minus_one_and_stars(model, trained, movie):
    example = fixtures.to_example(
        user_id=trained.users.ids[0], movie_id=movie, timestamp=880_000_000
    )
    found = fixtures.predict(model, example)
    ranks = [*map(rank_of, SCENARIOS), POPULARITY_RANK]
    assert [found[name].tolist() for name in ranks] == [[-1]] * len(ranks)
    assert all(1.0 <= found[rating_of(scenario)][0] <= 5.0 for scenario in SCENARIOS)


def test_a_user_is_known_by_having_rated_something(model, trained):
    users = [trained.users.ids[0], b"nobody", b"", trained.users.ids[-1]]
    queries = [
        fixtures.to_example(user_id=user, movie_id=trained.catalogue.ids[0], timestamp=NOW)
        for user in users
    ]
    assert fixtures.predict(model, *queries)["known_user"].tolist() == [True, False, False, True]


def test_an_example_without_any_feature_gets_an_answer(model):
    empty = fixtures.to_example()
    hollow = fixtures.to_example()
    for feature in (*fixtures.USER_FIELDS, raw.MOVIE_ID, raw.TIMESTAMP):
        # There, but without a value: what TFX writes for a missing one.
        hollow.features.feature[feature.name].SetInParent()
    found = fixtures.predict(model, empty, hollow)
    assert found["next_visit_rank"].tolist() == [-1, -1]
    assert all(np.isfinite(found[rating_of(scenario)]).all() for scenario in SCENARIOS)


def test_of_an_empty_list_or_several_values_the_first_or_none_counts(model, trained):
    user, movie = trained.users.ids[0], trained.catalogue.ids[3]
    plain = fixtures.to_example(user_id=user, movie_id=movie, timestamp=880_000_000)
    twice = fixtures.to_example(user_id=user, movie_id=movie, timestamp=880_000_000)
    twice.features.feature["movie_id"].bytes_list.value.append(b"another")
    hollow = fixtures.to_example(user_id=user, movie_id=movie, timestamp=880_000_000)
    hollow.features.feature["user_gender"].bytes_list.SetInParent()
    hollow.features.feature["raw_user_age"].float_list.SetInParent()
    found = fixtures.predict(model, plain, twice, hollow)
    for values in found.values():
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), rtol=1e-6)


def test_no_examples_get_no_answers(model):
    found = fixtures.predict(model)
    lists = set(map(items_of, SCENARIOS))
    assert {name: values.shape for name, values in found.items()} == {
        name: (0, 10) if name in lists else (0,) for name in OUTPUTS
    }


def test_the_label_does_not_change_an_answer(model, test_rows):
    labelled = test_rows[:20]
    bare = []
    for example in labelled:
        copy = fixtures.to_example()
        copy.CopyFrom(example)
        del copy.features.feature[raw.RATING.name]
        bare.append(copy)
    first, second = fixtures.predict(model, *labelled), fixtures.predict(model, *bare)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


# --- recommend


SCORE_TERMS = 300
"""Products in a score: blocks of long-term retrieval, history and recency, and EASE's weights."""


def check_recommendations(answer, row, oracle, profile, time, k, excluded, exclude_seen):
    """Compares one row of an answer with a full sort by the oracle."""
    user = profile["user_id"].encode()
    scores = oracle.scores(user, profile, time)
    hidden = {oracle.movies[movie] for movie in excluded if movie in oracle.movies}
    if exclude_seen:
        hidden |= {movie for _, movie in oracle.history(user)}
    allowed = [movie for movie in range(len(scores)) if movie not in hidden]
    count = answer["count"][row]
    assert count == min(max(k, 0), len(allowed))
    ids = answer["movie_id"][row]
    found = [oracle.movies[movie] for movie in ids[:count]]
    assert len(set(found)) == count
    assert not hidden & set(found)
    expected = sorted((scores[movie] for movie in allowed), reverse=True)[:count]
    # A score is one sum of products as wide as the vectors, in single precision.
    rounding = SCORE_TERMS * float(np.finfo(np.float32).eps) * max(1.0, float(np.abs(scores).max()))
    np.testing.assert_allclose(answer["score"][row][:count], expected, atol=rounding)
    np.testing.assert_allclose(answer["score"][row][:count], scores[found], atol=rounding)
    titles = oracle.catalogue.titles[found].tolist()
    assert answer["movie_title"][row][:count].tolist() == titles
    assert set(ids[count:]) <= {b""}
    assert set(answer["movie_title"][row][count:]) <= {b""}
    assert (answer["score"][row][count:] < -1e38).all()
    assert (answer["predicted_rating"][row][count:] == 0).all()


def test_recommendations_equal_the_oracles_at_any_time(model, oracle, trained, profiles):
    user = trained.users.ids[5]
    for time in middle_times(oracle, user):
        answer = fixtures.recommend(model, {"user_id": user.decode()}, timestamp=time)
        check_recommendations(answer, 0, oracle, profiles[user], time, 10, [], True)


def test_recommended_stars_are_those_of_rank(model, trained):
    profile = known(trained, 4)
    answer = fixtures.recommend(model, profile, timestamp=NOW)
    ranked = fixtures.rank(model, profile, movies=[answer["movie_id"][0].tolist()], timestamp=NOW)
    np.testing.assert_allclose(
        answer["predicted_rating"][0], ranked["predicted_rating"][0], atol=1e-5
    )


@examples(40)
@given(data=st.data())
def test_no_excluded_or_seen_movie_is_ever_recommended(model, oracle, trained, profiles, data):
    ids = [movie.decode() for movie in trained.catalogue.ids.tolist()]
    one_id = st.one_of(st.sampled_from(ids), st.sampled_from(["", "no-such-movie", "-1"]))
    some_ids = st.lists(one_id, max_size=40)
    # Long lists leave fewer than k.
    most_ids = st.sets(st.sampled_from(ids), max_size=8).map(lambda kept: sorted({*ids} - kept))
    users = [user.decode() for user in trained.users.ids.tolist()]
    batch = data.draw(st.lists(
        st.tuples(st.sampled_from([*users, "nobody", ""]), st.one_of(some_ids, most_ids)),
        min_size=1, max_size=3,
    ))  # fmt: skip
    k = data.draw(st.sampled_from([-1, 0, 1, 5, 50, len(ids), len(ids) + 100]))
    exclude_seen = data.draw(st.booleans())
    answer = fixtures.recommend(
        model,
        *({"user_id": user} for user, _ in batch),
        k=k,
        exclude=[excluded for _, excluded in batch],
        exclude_seen=exclude_seen,
        timestamp=NOW,
    )
    assert answer["movie_id"].shape == (len(batch), max(answer["count"]))
    for row, (user, excluded) in enumerate(batch):
        profile = profiles.get(user.encode(), {"user_id": user})
        excluded = [movie.encode() for movie in excluded]
        check_recommendations(answer, row, oracle, profile, NOW, k, excluded, exclude_seen)


def test_seen_movies_come_back_when_they_are_not_excluded(model, oracle, trained, profiles):
    user = trained.users.ids[0]
    everything = fixtures.recommend(
        model, {"user_id": user.decode()}, k=10**6, exclude_seen=False, timestamp=NOW
    )
    assert everything["count"][0] == len(trained.catalogue.ids)
    check_recommendations(everything, 0, oracle, profiles[user], NOW, 10**6, [], False)


def test_nothing_left_gives_an_empty_row(model, trained):
    ids = [movie.decode() for movie in trained.catalogue.ids.tolist()]
    answer = fixtures.recommend(model, STRANGER, k=5, exclude=[ids])
    assert answer["count"].tolist() == [0]
    assert answer["movie_id"].shape == (1, 0)


def test_no_users_get_no_recommendations(model):
    answer = fixtures.recommend(model)
    assert answer["count"].shape == (0,)
    assert answer["movie_id"].shape[0] == 0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (fixtures.recommend, "exclude"),
        (fixtures.rank, "movies"),
    ],
)
def test_lists_that_do_not_fit_the_users_are_refused(model, call, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match="to have one list for each user_id"):
        call(model, STRANGER, STRANGER, **{name: [["1"]]})


# --- rank


def test_stars_equal_the_oracles(model, oracle, trained, profiles):
    user = trained.users.ids[1]
    movies = trained.catalogue.ids[[0, 7, 30]].tolist()
    times = [880_000_000, NOW]
    queries = [{"user_id": user.decode()}, STRANGER]
    answer = fixtures.rank(model, *queries, movies=[movies, movies[::-1]], timestamp=times)
    for row, (profile, order) in enumerate([(profiles[user], movies), (STRANGER, movies[::-1])]):
        expected = [oracle.stars(profile, times[row], oracle.movies[movie]) for movie in order]
        np.testing.assert_allclose(answer["predicted_rating"][row], expected, atol=1e-4)
        titles = [trained.catalogue.titles[oracle.movies[movie]] for movie in order]
        assert answer["movie_title"][row].tolist() == titles
        assert answer["movie_id"][row].tolist() == order


def test_unknown_movies_get_stars_and_no_title(model, trained):
    answer = fixtures.rank(model, known(trained, 0), movies=[["no-such-movie", "", "1"]])
    assert answer["movie_title"][0].tolist()[:2] == [b"", b""]
    assert answer["movie_title"][0][2] != b""
    assert ((answer["predicted_rating"] >= 1) & (answer["predicted_rating"] <= 5)).all()


@pytest.mark.parametrize(("users", "movies"), [(0, 0), (1, 0)])
def test_nothing_to_rank_gives_empty_answers(model, users, movies):
    answer = fixtures.rank(model, *[STRANGER] * users, movies=[[]] * users)
    assert answer["predicted_rating"].shape == (users, movies)


# --- any user of the signatures


PROFILES = st.fixed_dictionaries(
    {
        "user_id": st.one_of(st.sampled_from(["", "1", "7", "nobody", " 1 "]), st.text(max_size=9)),
        "user_gender": st.one_of(st.sampled_from(["", "Male", "f", "x"]), st.text(max_size=9)),
        "raw_user_age": st.one_of(
            st.sampled_from([0.0, -3.0, 0.4, 25.0, 1e30]), st.floats(width=32)
        ),
        "user_occupation_text": st.one_of(st.sampled_from(["", "writer"]), st.text(max_size=9)),
        "user_zip_code": st.one_of(
            st.sampled_from(["", "00000", "94110", "V1X3A", "9411O"]), st.text(max_size=9)
        ),
    }
)
TIMES = st.one_of(st.sampled_from([0, -1, 1, 880_000_000, NOW]), st.integers(-(2**62), 2**62))


@examples(60)
@given(queries=st.lists(st.tuples(PROFILES, TIMES), min_size=1, max_size=4))
def test_any_profile_gets_a_sensible_answer(model, trained, queries):
    profiles, times = [profile for profile, _ in queries], [time for _, time in queries]
    movies = [["1", "", "no-such-movie"]] * len(queries)
    ranked = fixtures.rank(model, *profiles, movies=movies, timestamp=times)
    stars = ranked["predicted_rating"]
    assert ((stars >= 1) & (stars <= 5)).all()
    answer = fixtures.recommend(model, *profiles, k=5, timestamp=times)
    assert answer["count"].tolist() == [5] * len(queries)
    assert np.isfinite(answer["score"]).all()
    stars = answer["predicted_rating"]
    assert ((stars >= 1) & (stars <= 5)).all()
    examples = [
        fixtures.to_example(movie_id="1", timestamp=time, **profile) for profile, time in queries
    ]
    found = fixtures.predict(model, *examples)
    assert (found["in_session_rank"] >= 1).all()
    assert (found["in_session_rank"] <= len(trained.catalogue.ids)).all()
    serialized = tf.constant([example.SerializeToString() for example in examples])
    predicted = model.signatures["serving_default"](serialized)["predicted_rating"]
    # Some 70 products of at most 5 stars, added up in another order for another batch.
    np.testing.assert_allclose(predicted, ranked["predicted_rating"][:, 0], atol=1e-4)


def test_a_known_user_need_not_repeat_the_profile(model, trained, profiles):
    """Each field left empty, alone or with all others, is taken from the stored profile."""
    for user in trained.users.ids[:6].tolist():
        full = profiles[user]
        bare = {"user_id": user.decode()}
        queries = [
            full,
            bare,
            *({**full, name: ""} for name in full if isinstance(full[name], str)),
        ]
        queries = [profile if profile["user_id"] else full for profile in queries]
        queries.append({**full, "raw_user_age": 0.0})
        queries.append({**full, "user_gender": "  "})
        answer = fixtures.recommend(model, *queries, timestamp=880_000_000)
        ranked = fixtures.rank(
            model, *queries, movies=[["1", "2"]] * len(queries), timestamp=880_000_000
        )
        for values in (answer["score"], ranked["predicted_rating"]):
            np.testing.assert_allclose(values, np.tile(values[:1], [len(queries), 1]), atol=1e-5)


def test_a_profile_in_the_request_outweighs_that_of_a_known_user(model, oracle, trained):
    user = trained.users.ids[0].decode()
    profile = {**STRANGER, "user_id": user}
    answer = fixtures.recommend(model, profile, timestamp=NOW)
    check_recommendations(answer, 0, oracle, profile, NOW, 10, [], True)


def test_time_zero_means_now(model, trained):
    """At time 0 no event would be earlier; now, all of them are, long ago."""
    user = trained.users.ids[0]
    last = int(trained.interactions.timestamp[trained.interactions.offsets[1] - 1])
    query = {"user_id": user.decode()}
    at = {
        time: fixtures.recommend(model, query, k=10**6, timestamp=time)["score"]
        for time in (0, -7, NOW, last + 5)
    }
    np.testing.assert_allclose(at[0], at[NOW], atol=1e-5)
    np.testing.assert_allclose(at[0], at[-7], atol=1e-5)
    assert np.abs(at[0] - at[last + 5]).max() > 1e-3


def test_each_row_of_a_batch_is_answered_as_if_alone(model, trained):
    queries = [known(trained, 0), STRANGER, {}, known(trained, 9)]
    times = [880_000_000, NOW, 1, 0]
    exclude = [["1", "2"], [], ["3"], []]
    together = fixtures.recommend(model, *queries, k=7, exclude=exclude, timestamp=times)
    for row, profile in enumerate(queries):
        alone = fixtures.recommend(
            model, profile, k=7, exclude=[exclude[row]], timestamp=times[row]
        )
        np.testing.assert_allclose(together["score"][row], alone["score"][0], atol=1e-5)
        np.testing.assert_allclose(
            np.sort(together["predicted_rating"][row]),
            np.sort(alone["predicted_rating"][0]),
            atol=1e-4,
        )
        assert together["movie_id"][row].tolist() == alone["movie_id"][0].tolist()


def test_user_states_made_for_a_request_equal_those_made_at_the_export(trained):
    """Where the table would be too large there is none."""
    serving, rows = trained.serving, [3, 0, 3, len(trained.users.ids)]
    table = serving.user_states
    serving.user_states = None
    try:
        found = serving.user_state(tf.constant(rows)).numpy()
    finally:
        serving.user_states = table
    np.testing.assert_allclose(found, table.numpy()[rows], atol=1e-4)
    assert not table.numpy()[-1].any()


def test_signatures_take_and_give_what_the_design_says(model):
    user = {feature.name for feature in fixtures.USER_FIELDS}
    user |= {"timestamp", "recent_movie_ids", "recent_timestamps", "recent_ratings"}
    expected = {
        "serving_default": ({"examples"}, {"predicted_rating"}),
        "evaluate": (
            {"examples"},
            set(OUTPUTS),
        ),
        "recommend": (
            user | {"k", "exclude_movie_ids", "exclude_seen"},
            {"movie_id", "movie_title", "score", "predicted_rating", "count"},
        ),
        "rank": (user | {"movie_ids"}, {"movie_id", "movie_title", "predicted_rating"}),
        "similar": ({"movie_id", "k"}, {"movie_id", "movie_title", "similarity", "count"}),
        "explain": (
            user | {"movie_ids", "k"},
            {"because_movie_id", "because_movie_title", "contribution"},
        ),
        "export_contract": (set(), {"name", "version"}),
    }
    assert set(model.signatures) == set(expected)
    for name, (inputs, outputs) in expected.items():
        signature = model.signatures[name]
        assert set(signature.structured_input_signature[1]) == inputs
        assert set(signature.structured_outputs) == outputs


def test_the_saved_model_says_whose_it_is(model):
    answer = model.signatures["export_contract"]()
    assert answer["name"].numpy() == b"movielens-recommender"
    assert answer["version"].numpy() == 2


# --- what visitors say they have seen


def rows_and_ids(trained, *rows):
    return [trained.catalogue.ids[row].decode() for row in rows]


def test_movies_named_by_an_unknown_user_change_the_list_and_are_not_in_it(model, oracle, trained):
    rows = [3, 17, 40]
    recent = [[(0, movie) for movie in rows_and_ids(trained, *rows)]]
    answer = fixtures.recommend(model, STRANGER, k=20, timestamp=NOW, recent=recent)
    scores = oracle.scores(b"nobody", STRANGER, NOW, [(0, row) for row in rows])
    allowed = sorted((scores[m] for m in range(len(scores)) if m not in rows), reverse=True)
    np.testing.assert_allclose(answer["score"][0], allowed[:20], atol=1e-4)
    assert not set(answer["movie_id"][0]) & {movie.encode() for _, movie in recent[0]}
    without = fixtures.recommend(model, STRANGER, k=20, timestamp=NOW)
    assert without["movie_id"][0].tolist() != answer["movie_id"][0].tolist()


def test_times_of_recent_events_count_as_those_of_the_history(model, oracle, trained, profiles):
    user = trained.users.ids[6]
    seen = {row for _, row in oracle.history(user)}
    rows = [row for row in range(20) if row not in seen][:3]
    events = [(NOW - 40, rows[0]), (NOW - 5, rows[1]), (0, rows[2])]
    recent = [[(time, rows_and_ids(trained, row)[0]) for time, row in events]]
    profile = {"user_id": user.decode()}
    answer = fixtures.recommend(model, profile, k=10, timestamp=NOW, recent=recent)
    scores = oracle.scores(user, profiles[user], NOW, events)
    stored = fixtures.recommend(model, profile, k=10, timestamp=NOW)
    assert answer["score"][0].tolist() != stored["score"][0].tolist()
    hidden = seen | set(rows)
    allowed = sorted((scores[m] for m in range(len(scores)) if m not in hidden), reverse=True)
    np.testing.assert_allclose(answer["score"][0], allowed[:10], atol=1e-4)


def test_naming_a_movie_twice_unknown_ones_or_known_ones_changes_nothing(model, trained):
    user = trained.users.ids[2]
    held = trained.interactions
    own = trained.catalogue.ids[held.movie_row[held.user_row == 2][0]].decode()
    profile = {"user_id": user.decode()}
    plain = fixtures.recommend(model, profile, timestamp=NOW)
    repeated = fixtures.recommend(
        model, profile, timestamp=NOW, recent=[[(0, own), (0, "no-such-movie"), (0, "")]]
    )
    np.testing.assert_allclose(plain["score"], repeated["score"], atol=1e-5)
    movie = rows_and_ids(trained, 9)[0]
    once = fixtures.recommend(model, STRANGER, timestamp=NOW, recent=[[(0, movie)]])
    twice = fixtures.recommend(model, STRANGER, timestamp=NOW, recent=[[(0, movie), (0, movie)]])
    np.testing.assert_allclose(once["score"], twice["score"], atol=1e-5)


# --- similar, explain


def test_similar_movies_have_the_highest_cosines(model, trained):
    vectors = trained.serving.retrieval.similarity_vectors().numpy().astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    movie = trained.catalogue.ids[4]
    answer = fixtures.similar(model, movie, "no-such-movie", k=5)
    cosines = np.delete(vectors @ vectors[4], 4)
    np.testing.assert_allclose(answer["similarity"][0], np.sort(cosines)[::-1][:5], atol=1e-5)
    assert movie not in answer["movie_id"][0]
    assert answer["count"].tolist() == [5, 0]
    assert set(answer["movie_id"][1]) == {b""}


def test_contributions_are_what_the_score_loses_without_the_movie(model, oracle, trained, profiles):
    """For the linear parts exactly, for the autoencoder's tanh nearly: by finite differences."""
    user = trained.users.ids[1]
    history = [row for _, row in oracle.history(user)]
    target = next(row for row in range(len(oracle.catalogue.ids)) if row not in history)
    movie = trained.catalogue.ids[target]
    answer = fixtures.explain(
        model, {"user_id": user.decode()}, movies=[[movie]], k=len(history), timestamp=NOW
    )
    contribution = answer["contribution"][0, 0]
    assert (np.diff(contribution) <= 1e-6).all()
    assert (contribution >= 0).all()
    named = [name for name in answer["because_movie_id"][0, 0] if name]
    residuals = np.array(list(oracle.residuals(user).values()))
    liked = {row for row, residual in oracle.residuals(user).items() if residual >= 0}
    assert 0 < len(liked) < len(history)
    assert {oracle.movies[name] for name in named} <= liked
    added = contributions_of(oracle, user)
    scores = oracle.standalone(user, profiles[user], NOW)
    weights = oracle.blend_weights(len(history))
    blended = sum(
        weight / one.std() * (of_one - of_one.mean(axis=1, keepdims=True))
        for weight, one, of_one in zip(weights, scores, added, strict=True)
    )
    expected = np.zeros(len(contribution))
    expected[: len(liked)] = np.maximum(np.sort(blended[residuals >= 0, target])[::-1], 0)
    np.testing.assert_allclose(contribution, expected, atol=1e-4)


def test_no_reason_is_a_movie_that_was_rated_below_the_users_mean(model, world, oracle, trained):
    """A request for every reason of every movie, with the stars of the Examples."""
    stars = {}
    for split in fixtures.SMALL.train.splits:
        for example in fixtures.read_examples(world.rating_files[split]):
            user, movie = (fixtures.value(example, f) for f in (raw.USER_ID, raw.MOVIE_ID))
            stars.setdefault(user, {})[movie] = fixtures.value(example, raw.RATING)
    named = 0
    for user in trained.users.ids[:8].tolist():
        rated = stars[user]
        mean = sum(rated.values()) / len(rated)
        answer = fixtures.explain(
            model,
            {"user_id": user.decode()},
            movies=[trained.catalogue.ids.tolist()],
            k=len(rated),
            timestamp=NOW,
        )
        reasons = {name for name in answer["because_movie_id"].reshape(-1).tolist() if name}
        assert {movie: rated[movie] for movie in reasons if rated[movie] < mean - 1e-6} == {}
        named += len(reasons)
    assert named


@pytest.mark.parametrize("ago", [0, 60])
def test_a_movie_given_one_star_is_no_reason(model, trained, ago):
    """Of somebody new, in a session and outside of one."""
    movies = rows_and_ids(trained, *range(12))
    time = NOW - ago if ago else 0
    recent = [(time, movie, 1.0 if number % 2 else 5.0) for number, movie in enumerate(movies)]
    targets = rows_and_ids(trained, *range(12, 60))
    answer = fixtures.explain(
        model, STRANGER, movies=[targets], k=12, timestamp=NOW, recent=[recent]
    )
    named = {name.decode() for name in answer["because_movie_id"].reshape(-1) if name}
    assert named
    assert named <= set(movies[::2])
    unrated = [(time, movie) for _, movie, _ in recent]
    answer = fixtures.explain(
        model, STRANGER, movies=[targets], k=12, timestamp=NOW, recent=[unrated]
    )
    named = {name.decode() for name in answer["because_movie_id"].reshape(-1) if name}
    assert named & set(movies[1::2])


def contributions_of(oracle, user):
    """`[events, movies]` what each event adds to each score, of each standalone model.

    The autoencoder's by numeric differentiation along each event's input, the others exactly.
    """
    events = oracle.residuals(user)
    model, ials = oracle.retrieval._autoencoder, oracle.retrieval.ials.movies.numpy()
    inputs, rating_weights = model.input_table.numpy(), model.rating_weights.numpy()
    vectors = [inputs[row] + residual * rating_weights[row] for row, residual in events.items()]
    share = math.sqrt(len(events) + 1)
    users = oracle.trained.users
    start = model.start.numpy() + sum(
        table.numpy()[users.features[name][oracle.known_users[user]]]
        for name, table in model.profile.tables.items()
    )
    candidates = oracle.candidates[:, : inputs.shape[1]]

    def score(total):
        return candidates @ np.tanh(total / share + start)

    total, step = sum(vectors), 1e-4
    return (
        np.array(
            [(score(total + step * v) - score(total - step * v)) / (2 * step) for v in vectors]
        ),
        np.array([oracle.ease({row: residual}) for row, residual in events.items()]),
        ials[list(events)] @ np.linalg.solve(oracle.ials_matrix(events), ials.T),
        kernel_contributions_of(oracle, events),
    )


def kernel_contributions_of(oracle, events):
    """The kernel above 1/2, shared among the events as they share the inner product."""
    kernel, histories = oracle.kernel_of(events)
    weight = oracle.trained.config.long_term.kernel_rating_weight
    products = np.array([(1 + weight * r) * histories[:, row] for row, r in events.items()])
    total = products.sum(axis=0)
    shares = products / np.where(total > 0, total, 1.0)
    return (shares * (kernel - 0.5)) @ oracle.retrieval.kernel.weights.numpy()


def test_unknown_users_and_movies_are_explained_by_nothing(model, trained):
    movie = trained.catalogue.ids[0]
    answer = fixtures.explain(model, STRANGER, movies=[[movie, "no-such-movie"]], timestamp=NOW)
    assert (answer["contribution"] == 0).all()
    recent = [[(0, rows_and_ids(trained, 5)[0])]]
    explained = fixtures.explain(model, STRANGER, movies=[[movie]], timestamp=NOW, recent=recent)
    assert set(explained["because_movie_id"].reshape(-1)) <= {b"", trained.catalogue.ids[5]}
