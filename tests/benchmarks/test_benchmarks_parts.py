"""The benchmark of parts: what is left out, and how it is compared."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from benchmarks import parts


@dataclasses.dataclass(frozen=True)
class Table:
    """Stands for users or movies: what the function reads of them."""

    features: Any


@dataclasses.dataclass(frozen=True)
class Data:
    users: Any
    catalogue: Any


def test_a_feature_that_is_left_out_distinguishes_nobody():
    genres = [np.array([1, 2]), np.array([3])]
    users, movies = Table({"age": np.array([3, 4])}), Table({"genres": genres, "year": np.ones(2)})
    data: Any = Data(users, movies)
    without_age: Any = parts.without_features(data, ["age"])
    assert without_age.users.features["age"].tolist() == [0, 0]
    assert without_age.catalogue == movies
    without_genres: Any = parts.without_features(data, ["genres"])
    found = without_genres.catalogue.features
    assert [values.tolist() for values in found["genres"]] == [[], []]
    assert found["year"].tolist() == [1, 1]


def test_lines_are_compared_with_the_first_user_by_user():
    """A constant difference of every user has an interval of no width."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 9, 50).astype(float)
    hits, squares = rng.random(50) * rows, rng.random(50) * rows
    lines = {
        "first": np.stack([rows, hits, squares], axis=1),
        "second": np.stack([rows, hits + 0.25 * rows, squares], axis=1),
    }
    found = dict(parts.compared(lines, ["recall", "RMSE in session"]))
    expected = [hits.sum() / rows.sum(), np.sqrt(squares.sum() / rows.sum())]
    assert [float(cell) for cell in found["first"]] == pytest.approx(expected, abs=1e-4)
    assert found["second"] == ["+0.2500 (+0.2500 to +0.2500)", "–"]


def test_sums_are_those_of_each_users_rows_with_stars_on_the_scale():
    answers = {
        "user_key": np.array([7, 3, 7]),
        "in_session_rank": np.array([10, 100, -1]),
        "in_session_rating": np.array([6.0, 2.0, 4.0]),
        "next_visit_rating": np.array([4.0, 2.0, 4.0]),
    }
    sums = parts._sums(answers, np.array([5.0, 4.0, 3.0]))
    assert sums.tolist() == [[1, 0, 1, 4, 4], [2, 1, 1, 1, 2]]


def test_a_part_is_left_out_by_its_tables_alone():
    """Which tables are set to zero, and which columns of the histories."""

    def table(*shape):
        return types.SimpleNamespace(shape=shape, numpy=lambda: np.ones(shape))

    tower = types.SimpleNamespace(
        history=table(4, 2),
        profile=types.SimpleNamespace(tables={"age": table(3, 2)}),
        seconds_table=table(5, 2),
        lengths_table=table(6, 2),
    )
    retrieval = types.SimpleNamespace(
        towers=table(4, 5),
        recency=table(4, 2),
        histories=table(4, 5),
        candidates=table(4, 3),
        ease=None,
    )
    autoencoder = types.SimpleNamespace(network=types.SimpleNamespace(profile=tower.profile))
    model = types.SimpleNamespace(
        network=types.SimpleNamespace(
            parts=types.SimpleNamespace(retrieval=retrieval),
            model=types.SimpleNamespace(towers=(tower, None)),
        ),
        standalone=types.SimpleNamespace(long_term=types.SimpleNamespace(autoencoder=autoencoder)),
    )
    found = dict(parts.zeroed(model))
    assert "without EASE" not in found
    expected = {
        "without the towers": retrieval.towers,
        "towers: without the latest events": retrieval.recency,
        "towers: without the history as a whole": retrieval.histories,
        "towers: without the profile": tower.profile.tables["age"],
        "towers: without the time since the last event": tower.seconds_table,
        "towers: without the history's length": tower.lengths_table,
        "without the autoencoder": retrieval.candidates,
        "autoencoder: without the profile": tower.profile.tables["age"],
    }
    assert found.keys() == expected.keys()
    for name, ((left_out, values),) in found.items():
        assert left_out is expected[name], name
        assert values.shape == left_out.shape, name
        kept = 3 if left_out is retrieval.histories else 0
        assert values[:, :kept].all(), name
        assert not values[:, kept:].any(), name
