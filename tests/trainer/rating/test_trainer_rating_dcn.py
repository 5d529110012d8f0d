"""The rating model's biases and principal components against their closed forms."""

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from schema.features import MOVIELENS
from trainer.rating import rating_dcn as rating_module
from trainer.rating.principal_components import principal_components
from trainer.rating.rating_dcn import RatingModel, baseline_biases
from transform import outputs as out

pytestmark = pytest.mark.xdist_group("trainer")


def least_squares(indices, rating, sizes, shrinkage):
    """Minimises Σ(rating - mean - biases)² + Σ shrinkage·bias², in one linear system."""
    design = np.concatenate(
        [np.eye(size)[index] for index, size in zip(indices, sizes, strict=True)], axis=1
    )
    penalty = np.diag(np.repeat(np.array(shrinkage, np.float64), sizes))
    target = design.T @ (rating - rating.mean(dtype=np.float64))
    solution = np.linalg.solve(design.T @ design + penalty, target)
    return np.split(solution, np.cumsum(sizes)[:-1])


# --- biases


@examples(25)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    ratings=st.integers(1, 80),
    seed=st.integers(0, 2**32 - 1),
)
def test_biases_converge_to_the_least_squares_solution(sizes, ratings, seed):
    rng = np.random.default_rng(seed)
    indices = [rng.integers(0, size, ratings) for size in sizes]
    rating = rng.integers(1, 6, ratings).astype(np.float32)
    shrinkage = rng.uniform(2, 12, len(sizes))
    # A sweep leaves 1 - 1/κ of the error, about; κ is below (3 · 80 + 12) / 2.
    mean, found = baseline_biases(indices, rating, sizes, shrinkage, sweeps=3_000)
    assert mean == pytest.approx(rating.mean(dtype=np.float64), rel=1e-6)
    for biases, expected in zip(
        found, least_squares(indices, rating, sizes, shrinkage), strict=True
    ):
        # Both are exact to double precision; the biases are then rounded to single.
        np.testing.assert_allclose(biases, expected, rtol=1e-6, atol=1e-9)


def test_the_default_number_of_sweeps_is_close_to_the_solution():
    rng = np.random.default_rng(3)
    sizes, shrinkage = [100, 150, 30], [10.0, 5.0, 20.0]
    indices = [rng.integers(0, size, 4_000) for size in sizes]
    exact = 3.5 + sum(
        rng.normal(0, sd, size)[index]
        for sd, size, index in zip((0.5, 0.6, 0.1), sizes, indices, strict=True)
    )
    rating = np.clip(np.round(exact + rng.normal(0, 0.7, 4_000)), 1, 5).astype(np.float32)
    _, found = baseline_biases(indices, rating, sizes, shrinkage)
    for biases, expected in zip(
        found, least_squares(indices, rating, sizes, shrinkage), strict=True
    ):
        np.testing.assert_allclose(biases, expected, atol=0.01)


def test_indices_without_ratings_have_no_bias():
    rating = np.array([5, 1, 4], np.float32)
    indices = [np.array([0, 2, 2]), np.array([1, 1, 3])]
    _, (users, movies) = baseline_biases(indices, rating, [4, 5], [10.0, 5.0])
    assert users[[1, 3]].tolist() == [0, 0]
    assert movies[[0, 2, 4]].tolist() == [0, 0, 0]
    assert (users[[0, 2]] != 0).all()
    assert (movies[[1, 3]] != 0).all()


def test_one_rating_moves_a_bias_less_than_many():
    rating = np.array([5, *[5] * 20, *[1] * 21], np.float32)
    users = np.array([0, *[1] * 20, *[2] * 21])
    _, (biases, _) = baseline_biases([users, np.arange(42)], rating, [3, 42], [10.0, 5.0])
    assert 0 < biases[0] < biases[1]


# --- principal components


def assert_components_equal_a_dense_svd(user, movie, users, movies, count):
    matrix = np.zeros([users, movies])
    matrix[user, movie] = 1
    by_user, by_movie = matrix.sum(1), matrix.sum(0)
    weighted = matrix / np.sqrt(np.maximum(by_user, 1))[:, None] / np.sqrt(np.maximum(by_movie, 1))
    left, values, right = np.linalg.svd(weighted)
    found_users, found_movies = principal_components(user, movie, users, movies, count)
    assert found_users.shape == (users, count)
    assert found_movies.shape == (movies, count)
    assert np.isfinite(found_users).all()
    assert np.isfinite(found_movies).all()
    # What nobody rated is like nothing.
    np.testing.assert_allclose(found_users[by_user == 0], 0, atol=1e-6)
    np.testing.assert_allclose(found_movies[by_movie == 0], 0, atol=1e-6)
    for number in range(count):
        if number >= min(users, movies) - 1 or values[number] < 1e-6:
            assert not found_users[:, number].any()
            assert not found_movies[:, number].any()
            continue
        hidden = np.abs(np.delete(values, number) - values[number])
        if hidden.min() < 1e-3:
            continue  # equal singular values: any rotation of their vectors will do
        for found, vector in (
            (found_users[:, number], left[:, number]),
            (found_movies[:, number], right[number]),
        ):
            scaled = vector / np.sqrt(np.mean(vector**2))
            sign = np.sign(scaled @ found)
            np.testing.assert_allclose(found, sign * scaled, atol=1e-3)


@examples(40)
@given(
    users=st.integers(2, 21),
    movies=st.integers(2, 21),
    ratings=st.integers(1, 40),
    count=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
    one_each=st.sampled_from(["", "", "user", "movie"]),
)
def test_components_equal_a_dense_svd(users, movies, ratings, count, seed, one_each):
    rng = np.random.default_rng(seed)
    # The last user and movie have no ratings, like the bucket of unknown ids.
    user, movie = rng.integers(0, users - 1, ratings), rng.integers(0, movies - 1, ratings)
    if one_each == "user":
        user, movie = np.arange(users - 1), rng.integers(0, movies - 1, users - 1)
    elif one_each == "movie":
        user, movie = rng.integers(0, users - 1, movies - 1), np.arange(movies - 1)
    assert_components_equal_a_dense_svd(user, movie, users, movies, count)


@pytest.mark.parametrize(("users", "movies"), [(1_500, 100), (40, 40), (12, 300), (800, 3_000)])
def test_users_of_one_rating_each_have_components(users, movies):
    """Every singular value is 1: ARPACK finds no direction better than another."""
    rng = np.random.default_rng(4)
    user, movie = np.arange(users), rng.integers(0, movies, users)
    first, second = (principal_components(user, movie, users + 1, movies + 1, 20) for _ in "12")
    for one, other, used in zip(first, second, (user, movie), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
        unused = np.setdiff1d(np.arange(len(one)), used)
        np.testing.assert_allclose(one[unused], 0, atol=1e-6)
    # Users of the same movie are alike.
    spread = [np.ptp(first[0][user[movie == m]], axis=0).max() for m in np.unique(movie)]
    assert max(spread) < 1e-3


def test_users_who_all_rate_the_same_have_one_component():
    user, movie = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    assert_components_equal_a_dense_svd(user, movie, 5, 4, 3)


def test_components_do_not_depend_on_the_stars_or_on_chance():
    rng = np.random.default_rng(2)
    user, movie = rng.integers(0, 60, 900), rng.integers(0, 80, 900)
    first = principal_components(user, movie, 61, 81, 8)
    second = principal_components(user[::-1], movie[::-1], 61, 81, 8)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


# --- the model


@pytest.fixture(scope="module")
def new_model(trained):
    held = trained.interactions
    outputs = out.outputs_of(MOVIELENS)
    sizes = {output.name: output.size(trained.transform) for output in outputs.outputs}
    user_index = trained.users.features["user_id_index"][held.user_row]
    movie_index = trained.catalogue.features["movie_id_index"][held.movie_row]
    model = RatingModel(outputs, sizes, held, user_index, movie_index, fixtures.SMALL.model)
    return model, user_index, movie_index, sizes


def test_a_new_model_predicts_the_biases(new_model, trained):
    model, user_index, movie_index, sizes = new_model
    held = trained.interactions
    indices = [user_index, movie_index, held.context["time_bucket"]]
    names = ("user_id_index", "movie_id_index", "time_bucket")
    shrinkage = (
        rating_module.USER_SHRINKAGE,
        rating_module.MOVIE_SHRINKAGE,
        rating_module.CONTEXT_SHRINKAGE,
    )
    biases = least_squares(indices, held.rating, [sizes[name] for name in names], shrinkage)
    expected = held.rating.mean() + sum(b[i] for b, i in zip(biases, indices, strict=True))
    rows = np.arange(0, len(held), 40)
    user = held.user_row[rows]
    features = {name: values[user] for name, values in trained.users.features.items()}
    features |= {name: values[rows].astype(np.int64) for name, values in held.context.items()}
    movie_row = held.movie_row[rows]
    movies = {
        name: (
            tf.ragged.constant([values[row].tolist() for row in movie_row], dtype=tf.int64)
            if isinstance(values, list)
            else values[movie_row]
        )
        for name, values in trained.catalogue.features.items()
    }
    found = model(features, movies, training=False)
    np.testing.assert_allclose(found, expected[rows], atol=0.02)


def test_ids_without_training_ratings_say_nothing(new_model):
    model, user_index, movie_index, _ = new_model
    for table, used in (
        (model.users, user_index),
        (model.user_components, user_index),
        (model.movies, movie_index),
        (model.movie_components, movie_index),
    ):
        rows = table.numpy()
        unused = np.setdiff1d(np.arange(len(rows)), used)
        assert len(unused)
        np.testing.assert_allclose(rows[unused], 0, atol=1e-6)
        assert rows[used].any(axis=1).all()
