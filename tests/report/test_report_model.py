"""The model's section: its numbers are those of the artifacts, its pictures those of the model."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from report_blocks import block, charts, drawn, notes, rows, section_of, tables

from components.examples.reading import files_of_split
from components.report.context import Context
from components.report.ratings import Ratings
from components.report.sections import model as section
from components.report.sources import Sources, splits
from schema.dataset import DatasetLabel
from schema.features import MOVIE_ID, RATING, TITLE, USER_ID, FeatureTable

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]


@pytest.fixture(scope="module")
def found(context):
    return section_of("Model", context)


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
                features[key].bytes_list.value[0].decode() for key in ("user_id", "movie_id")
            )
            found[name][user, movie] = features["user_rating"].float_list.value[0]
    return found


def test_every_part_is_there(found):
    keys = {*charts(found), *tables(found)}
    assert keys >= {
        "learning-rmse",
        "learning-retrieval_loss",
        "learning-autoencoder_loss",
        "crosses",
        "embedding",
        "neighbours",
        "calibration",
        "error-by-rating",
    }
    assert sum(key.startswith("user-") for key in keys) == 3
    assert notes(found) == ""


def test_learning_curves_are_the_trainers_history(context, found):
    path = Path(context.sources.model_run) / "history.json"
    history = json.loads(path.read_text(encoding="utf-8"))
    units = {"rmse": "RMSE", "retrieval_loss": "Cross entropy", "autoencoder_loss": "Cross entropy"}
    for name, unit in units.items():
        curve = drawn(found, f"learning-{name}")
        assert [row[unit] for row in curve] == history[name]
        assert [row["Epoch"] for row in curve] == list(range(1, len(history[name]) + 1))


def test_cross_weights_are_those_that_were_exported(context, found):
    path = context.sources.evaluated_model() / "assets.extra" / "cross_weights.json"
    exported = json.loads(path.read_text(encoding="utf-8"))
    strengths = [row["Strength"] for row in drawn(found, "crosses")]
    assert strengths == pytest.approx(np.array(exported["norms"]).ravel().tolist())


def test_neighbours_have_the_largest_cosines(context, found):
    movies, similarities = context.model.similar(["1", "2"], 4)
    ids = context.model.movie_ids()
    vectors = context.model.similarity_vectors()
    cosines = vectors @ vectors.T
    for movie, others, similarity in zip(["1", "2"], movies, similarities, strict=True):
        row = cosines[ids.index(movie)].copy()
        row[ids.index(movie)] = -np.inf
        assert similarity == pytest.approx(np.sort(row)[::-1][:4], abs=1e-5)
        assert row[[ids.index(other) for other in others]] == pytest.approx(similarity, abs=1e-5)
    most = context.ratings.by_movie.sum(axis=1).max()
    titles = context.catalogue["title"]
    first = titles[titles == rows(found, "neighbours")[0]["Movie"]].index[0]
    assert context.ratings.by_movie.loc[first].sum() == most


def test_examples_liked_what_is_shown_and_get_nothing_that_they_rated(context, found, ratings):
    titles = {title: movie for movie, title in context.catalogue["title"].items()}
    for key in tables(found):
        if not key.startswith("user-"):
            continue
        user = key.removeprefix("user-")
        known = {**ratings["train"], **ratings["validation"]}
        rated = {movie: s for (who, movie), s in known.items() if who == user}
        later = {movie: s for (who, movie), s in ratings["test"].items() if who == user}
        assert f"{len(rated)} ratings in training" in block(found, key).caption
        for row in rows(found, key):
            if row["Liked"] is not None:
                assert rated[titles[row["Liked"]]] == row["Rating"] >= 4
            assert titles[row["Recommended"]] not in rated
            assert 1 <= row["Predicted"] <= 5
            assert row["Because of"] is None or titles[row["Because of"]] in rated
            assert row["In test"] == later.get(titles[row["Recommended"]])


def test_error_is_that_of_the_evaluator(context, found):
    by_rating = drawn(found, "error-by-rating")
    total = sum(row["Ratings"] for row in by_rating)
    assert total == context.verdict.metrics["example_count"]
    together = sum(row["Ratings"] * row["RMSE"] ** 2 for row in by_rating) / total
    expected = context.verdict.metrics["next_visit_rating_rmse"]
    assert np.sqrt(together) == pytest.approx(expected, abs=1e-4)


def test_the_map_shows_each_movie_once_with_its_ratings(context, found):
    points = drawn(found, "embedding")
    names = [row["Movie"] for row in points]
    assert len(set(names)) == len(names) <= 1200
    for row in points[:20]:
        [movie] = context.catalogue.index[context.catalogue["title"] == row["Movie"]]
        assert row["Ratings"] == context.ratings.by_movie.loc[movie].sum()
        assert row["Genre"] in (*context.catalogue.at[movie, "movie_genres"], "other")


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


def test_calibration_compares_means_per_bin():
    predicted = np.repeat([2.0, 2.1, 3.6, 5.0], 50)
    rating = np.tile([1.0, 3.0], 100) + np.repeat([0.0, 0.0, 1.0, 2.0], 50)
    bins = section.calibration(rating, predicted, 0.25)
    assert [(b["Ratings"], b["Predicted, mean"], b["Given, mean"]) for b in bins] == [
        (100, pytest.approx(2.05), 2.0),
        (50, pytest.approx(3.6), 3.0),
        (50, pytest.approx(5.0), 4.0),
    ]


def test_calibration_leaves_out_bins_of_few_ratings():
    predicted = np.append(np.full(1000, 3.0), 1.0)
    assert [b["Ratings"] for b in section.calibration(np.ones(1001), predicted, 1)] == [1000]


def test_chosen_users_are_at_the_quartiles_of_the_number_of_ratings():
    users = [str(user) for user in range(9, 0, -1) for _ in range(user)]
    known = pd.DataFrame({"user": pd.Categorical(users, [str(n) for n in range(20)])})
    assert section.choose(known) == ["3", "5", "7"]
    assert section.choose(known[:9]) == ["9"]  # one user alone


@pytest.mark.parametrize(
    ("rating", "least"),
    [({}, 4.0), ({"low": 0.0, "high": 10.0}, 7.5), ({"low": 0.0, "high": 1.0}, 0.75), (None, None)],
)
def test_liking_is_the_upper_quarter_of_the_scale(rating, least):
    label = () if rating is None else (dataclasses.replace(RATING, **rating),)
    assert section.liked_from(FeatureTable((USER_ID, MOVIE_ID, *label))) == least


def test_what_is_missing_is_named():
    found = section_of("Model", Context(Sources()))
    assert not charts(found)
    assert notes(found).count("did not get as far as training") == 2


def test_parts_that_were_not_fitted_are_named(context):
    assert context.model.left_out == {}
    other = Context(Sources())
    other.model = SimpleNamespace(left_out={"EASE": "its weights take 392 MB"})
    texts = [each.text for each in section._training(other)]
    assert "The model is without EASE: its weights take 392 MB." in texts


def test_without_ratings_examples_show_events_and_no_predictions():
    """Borrowers of books that have no tags; the model predicts no rating."""
    books = [f"b{n}" for n in range(60)]
    known = [(f"r{n}", book, "train") for n in range(3) for book in books[n : n + 30]]
    frame = pd.DataFrame([*known, ("r0", "b50", "test")], columns=["user", "movie", "split"])
    rows = frame.astype({"user": "category", "movie": "category"})
    context = Context(Sources(features=FeatureTable((USER_ID, MOVIE_ID, TITLE))))
    context.label = DatasetLabel(item_noun="book")
    context.ratings = Ratings(rows, pd.DataFrame(index=["r0", "r1", "r2"]), complete=True)
    context.catalogue = pd.DataFrame({"title": [f"Book {n}" for n in range(60)]}, books)
    context.model = SimpleNamespace(
        recommend=lambda users, k: (np.array([["b50", ""]] * len(users), object), None),
        because=lambda users, movies: np.array([["b0", ""]] * len(users), object),
    )
    found = [*section._examples(context), *section._errors(context)]
    table, *_ = (each for each in found if getattr(each, "key", "") == "user-r0")
    assert table.caption == "User r0: 30 events in training and validation"
    assert table.columns == ("Liked", "Recommended", "Because of", "In test")
    first = [table.rows[0][column] for column in table.columns[1:]]
    assert first == ["Book 50", "Book 0", "yes"]
    assert len(table.rows) == 8
    assert found[-1].key.startswith("user-")
