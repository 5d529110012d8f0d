"""The model's section: its numbers are those of the artifacts, its pictures those of the model."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.examples.reading import files_of_split
from components.report.context import Context
from components.report.page import Figure, Note, Table, Tiles
from components.report.people import LIKED, choose
from components.report.sections import model as section
from components.report.sources import Sources, find_sources, splits

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]


@pytest.fixture(scope="module")
def context(run_output):
    return Context(find_sources(run_output))


@pytest.fixture(scope="module")
def blocks(context):
    return section.build(context).blocks


def block(blocks, key):
    [found] = [b for b in blocks if isinstance(b, Figure | Table) and b.key == key]
    return found


def values(figure):
    return figure.spec["data"]["values"]


@pytest.fixture(scope="module")
def ratings(context):
    """(user, movie) to stars per split, read record by record."""
    found = {}
    for name, folder in splits(context.sources.ratings).items():
        found[name] = {}
        files = files_of_split(folder)
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            user, movie = (
                int(features[key].bytes_list.value[0]) for key in ("user_id", "movie_id")
            )
            found[name][user, movie] = features["user_rating"].float_list.value[0]
    return found


def test_every_part_is_there_with_a_title_and_a_reading(blocks):
    keys = {b.key for b in blocks if isinstance(b, Figure | Table)}
    assert keys >= {
        "learning-rmse",
        "learning-retrieval_loss",
        "learning-autoencoder_loss",
        "crosses",
        "embedding",
        "neighbours",
        "calibration",
        "error-by-stars",
        "predicted-stars",
    }
    assert sum(key.startswith("person-") for key in keys) == 3
    assert not [b.text for b in blocks if isinstance(b, Note)]


def test_learning_curves_are_the_trainers_history(context, blocks):
    path = Path(context.sources.model_run) / "history.json"
    history = json.loads(path.read_text(encoding="utf-8"))
    for name in ("rmse", "retrieval_loss", "autoencoder_loss"):
        drawn = values(block(blocks, f"learning-{name}"))
        assert [row["loss"] for row in drawn] == history[name]
        assert [row["epoch"] for row in drawn] == list(range(1, len(history[name]) + 1))


def test_cross_weights_are_those_that_were_exported(context, blocks):
    path = context.sources.evaluated_model() / "assets.extra" / "cross_weights.json"
    exported = json.loads(path.read_text(encoding="utf-8"))
    drawn = [row["strength"] for row in values(block(blocks, "crosses"))]
    assert drawn == pytest.approx(np.array(exported["norms"]).ravel().tolist())


def test_each_step_of_the_cross_weights_is_twice_the_one_before(blocks):
    figure = block(blocks, "crosses")
    largest = max(row["strength"] for row in values(figure))
    labels = figure.spec["encoding"]["color"]["scale"]["domain"]
    for row in values(figure):
        place = labels.index(row["step"])
        if place:
            assert row["strength"] >= largest / 2 ** (len(labels) - place)
        if place < len(labels) - 1:
            assert row["strength"] < largest / 2 ** (len(labels) - place - 1)


def test_neighbours_have_the_largest_cosines(context, blocks):
    found = context.model.similar([1, 2], 4)
    ids = context.model.catalogue_ids(context.catalogue).tolist()
    cosines = context.model.similarity_vectors @ context.model.similarity_vectors.T
    for movie, others, similarity in zip([1, 2], found.movie_id, found.similarity, strict=True):
        row = cosines[ids.index(movie)].copy()
        row[ids.index(movie)] = -np.inf
        assert similarity == pytest.approx(np.sort(row)[::-1][:4], abs=1e-5)
        assert row[[ids.index(other) for other in others]] == pytest.approx(similarity, abs=1e-5)
    first = block(blocks, "neighbours").rows[0]
    counts = context.counts
    most = int(counts.movie_ids[counts.by_movie.sum(axis=1).argmax()])
    assert first[0] == context.title(most)


def test_examples_liked_what_is_said_and_are_not_recommended_what_they_rated(
    context, blocks, ratings
):
    titles = {title: movie for movie, title in context.catalogue["title"].items()}
    for table in blocks:
        if not (isinstance(table, Table) and table.key.startswith("person-")):
            continue
        user = int(table.key.removeprefix("person-"))
        known = {**ratings["train"], **ratings["validation"]}
        rated = {movie: s for (who, movie), s in known.items() if who == user}
        later = {movie: s for (who, movie), s in ratings["test"].items() if who == user}
        assert f"{len(rated)} ratings that the model knows" in table.caption
        for liked, stars, recommended, predicted, because, in_test in table.rows:
            if liked is not None:
                assert rated[titles[liked]] == stars >= LIKED
            assert titles[recommended] not in rated
            assert 1 <= predicted <= 5
            assert because is None or titles[because] in rated
            assert in_test == later.get(titles[recommended])


def test_error_is_that_of_the_evaluator(context, blocks):
    [tiles] = [b for b in blocks if isinstance(b, Tiles)]
    assert tiles.items[0][0] == f"{context.verdict.metrics['next_visit_rating_rmse']:.3f}"
    by_stars = values(block(blocks, "error-by-stars"))
    rows = sum(row["rows"] for row in by_stars)
    assert rows == context.verdict.metrics["example_count"]
    together = sum(row["rows"] * row["rmse"] ** 2 for row in by_stars) / rows
    assert np.sqrt(together) == pytest.approx(
        context.verdict.metrics["next_visit_rating_rmse"], abs=1e-4
    )


def test_map_of_films_shows_each_once_under_its_title(context, blocks):
    drawn = values(block(blocks, "embedding"))
    names = [row["film"] for row in drawn]
    assert len(set(names)) == len(names) <= 1200
    ratings = dict(zip(context.counts.movie_ids, context.counts.by_movie.sum(axis=1), strict=True))
    for row in drawn[:20]:
        [movie] = context.catalogue.index[context.catalogue["title"] == row["film"]]
        assert row["ratings"] == ratings[movie]
        assert row["genre"] in (*context.catalogue.at[movie, "genres"], "other")


# --- the pure parts


def test_plane_keeps_all_distances_of_points_that_lie_in_one():
    random = np.random.default_rng(3)
    flat = random.normal(size=(40, 2))
    turned, _ = np.linalg.qr(random.normal(size=(6, 2)))
    places, shares = section.plane(flat @ turned.T + 5.0)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert np.linalg.norm(places[:, None] - places[None], axis=-1) == pytest.approx(distances)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] > shares[1]


def test_plane_holds_the_variance_of_the_two_largest_eigenvalues():
    vectors = np.random.default_rng(4).normal(size=(50, 5)) * [1, 4, 2, 0.5, 3]
    places, shares = section.plane(vectors)
    eigenvalues = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert places.var(axis=0, ddof=1) == pytest.approx(eigenvalues[:2])
    assert shares == pytest.approx(eigenvalues[:2] / eigenvalues.sum())


def test_calibration_compares_means_per_quarter_star():
    predicted = np.repeat([2.0, 2.1, 3.6, 5.0], 50)
    rating = np.tile([1.0, 3.0], 100) + np.repeat([0.0, 0.0, 1.0, 2.0], 50)
    bins = section.calibration(rating, predicted)
    assert [(b["rows"], b["predicted"], b["rating"]) for b in bins] == [
        (100, pytest.approx(2.05), 2.0),
        (50, pytest.approx(3.6), 3.0),
        (50, pytest.approx(5.0), 4.0),
    ]


def test_calibration_leaves_out_what_few_rows_say():
    predicted = np.append(np.full(1000, 3.0), 1.0)
    assert [b["rows"] for b in section.calibration(np.ones(1001), predicted)] == [1000]


def test_chosen_people_like_a_genre_most_beyond_everybody():
    genres = {1: ("Drama",), 2: ("Drama",), 3: ("Horror",), 4: ("Horror",), 5: ("Comedy",)}
    everybody = {1: 5.0, 2: 4.0, 5: 4.0}
    fan = {3: 5.0, 4: 5.0, 1: 2.0}
    funny = {5: 5.0}
    chosen = choose([everybody, everybody, fan, everybody, funny], genres, 2)
    assert chosen[0] == (2, "Horror")
    assert len({genre for _, genre in chosen}) == len({place for place, _ in chosen}) == 2
    assert choose([], genres, 3) == []
    assert choose([fan], {}, 3) == []


def test_what_is_missing_is_said_in_its_place(context):
    told = [b.text for b in section.build(Context(Sources())).blocks if isinstance(b, Note)]
    assert len(told) == 2
    assert all("did not get as far as training" in text for text in told)
