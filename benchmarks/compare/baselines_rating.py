"""Baselines of rating prediction; none uses a session."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import scipy.sparse

from benchmarks.compare.data import ML_100K_ONLY, Task, interactions
from benchmarks.compare.methods import Answer, Method, Params, Predictions, grid
from benchmarks.compare.protocols import FloatArray, IntArray

_SEED = 42
_BIAS_SWEEPS = 15
_DAY = 86_400


def mean(task: Task, params: Params) -> Answer:
    """Predicts the mean of the ratings to learn from."""
    return _ratings(np.full(len(task.targets), task.data.ratings[task.fit].mean()))


def bias(task: Task, params: Params) -> Answer:
    """Mean + what the user and the movie are above it, by alternating ridge regression."""
    data, fit, targets = task.data, task.fit, task.targets
    centre = data.ratings[fit].mean()
    user, movie = np.zeros(data.shape[0]), np.zeros(data.shape[1])
    for _ in range(_BIAS_SWEEPS):
        rest = data.ratings[fit] - centre - user[data.users[fit]]
        movie = _shrunk(rest, data.movies[fit], len(movie), float(params["movie_penalty"]))
        rest = data.ratings[fit] - centre - movie[data.movies[fit]]
        user = _shrunk(rest, data.users[fit], len(user), float(params["user_penalty"]))
    return _ratings(centre + user[data.users[targets]] + movie[data.movies[targets]])


def _shrunk(values: FloatArray, owners: IntArray, size: int, penalty: float) -> FloatArray:
    """Returns the sum of each owner's values divided by their number + `penalty`, `[size]`."""
    return np.bincount(owners, values, size) / (np.bincount(owners, minlength=size) + penalty)


def knn_baseline(task: Task, params: Params) -> Answer:
    """Neighbourhood of movies or users around the biases (Koren 2010)."""
    from surprise import KNNBaseline

    similarity = {
        "name": "pearson_baseline",
        "user_based": params["neighbours_are"] == "users",
        "shrinkage": params["shrinkage"],
    }
    return _surprise(
        KNNBaseline(k=int(params["neighbours"]), sim_options=similarity, verbose=False), task
    )


def svd(task: Task, params: Params) -> Answer:
    """Biased matrix factorisation by stochastic gradient descent (Funk 2006)."""
    from surprise import SVD

    return _surprise(SVD(**_surprise_params(params)), task)


def svd_pp(task: Task, params: Params) -> Answer:
    """SVD++: matrix factorisation with the set of movies the user rated (Koren 2008)."""
    from surprise import SVDpp

    return _surprise(SVDpp(**_surprise_params(params), cache_ratings=True), task)


def _surprise_params(params: Params) -> dict[str, Any]:
    return {
        "n_factors": int(params["factors"]),
        "n_epochs": int(params["epochs"]),
        "lr_all": float(params["learning_rate"]),
        "reg_all": float(params["regularization"]),
        "random_state": _SEED,
    }


def _surprise(algorithm: Any, task: Task) -> Answer:  # noqa: ANN401
    import pandas as pd
    from surprise import Dataset, Reader

    data, fit, targets = task.data, task.fit, task.targets
    frame = pd.DataFrame(
        {"user": data.users[fit], "movie": data.movies[fit], "stars": data.ratings[fit]}
    )
    ratings = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    algorithm.fit(ratings)
    predicted = [
        algorithm.predict(user, movie, clip=False).est
        for user, movie in zip(
            data.users[targets].tolist(), data.movies[targets].tolist(), strict=True
        )
    ]
    return _ratings(np.array(predicted))


def factorisation_machine(task: Task, params: Params) -> Answer:
    """A Bayesian factorisation machine by Gibbs sampling (Rendle 2012; package `myfm`).

    With `features` "side", the blocks that Rendle, Zhang and Koren (On the difficulty of
    evaluating baselines, 2019) call implicit user and implicit item information, each
    scaled by 1/√n, and age, gender, occupation and genres; with "side + day", the day of
    the rating as well.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # It asks setuptools for its own version, which warns, and draws a bar of its own.
        warnings.simplefilter("ignore")
        from myfm import MyFMRegressor

        user_blocks, movie_blocks = _blocks(task, params["features"] != "ids")
        days = _one_hot(task.data.timestamps // _DAY) if "day" in str(params["features"]) else None
        sizes = [block.shape[1] for block in (*user_blocks, *movie_blocks)]
        iterations = int(params["iterations"])
        model = MyFMRegressor(rank=int(params["rank"]), random_seed=_SEED)
        model.fit(
            None if days is None else days[task.fit],
            task.data.ratings[task.fit],
            X_rel=_relations(task, task.fit, user_blocks, movie_blocks),
            n_iter=iterations,
            n_kept_samples=iterations - iterations // 10,
            group_shapes=sizes if days is None else [days.shape[1], *sizes],
        )
        predicted = model.predict(
            None if days is None else days[task.targets],
            _relations(task, task.targets, user_blocks, movie_blocks),
        )
    return _ratings(np.asarray(predicted, np.float64))


_Blocks = list[scipy.sparse.csr_matrix]


def _blocks(task: Task, side: bool) -> tuple[_Blocks, _Blocks]:
    users, movies = task.data.shape
    user_blocks, movie_blocks = [scipy.sparse.identity(users)], [scipy.sparse.identity(movies)]
    if side:
        held = interactions(task)
        labels = [np.array(column) for column in zip(*task.data.user_labels, strict=True)]
        user_blocks += [_scaled(held), *(_one_hot(values) for values in labels)]
        movie_blocks += [_scaled(held.T.tocsr()), scipy.sparse.csr_matrix(task.data.movie_genres)]
    return user_blocks, movie_blocks


def _relations(task: Task, lines: IntArray, users: _Blocks, movies: _Blocks) -> list[Any]:
    from myfm import RelationBlock

    return [
        RelationBlock(task.data.users[lines], scipy.sparse.hstack(users).tocsr()),
        RelationBlock(task.data.movies[lines], scipy.sparse.hstack(movies).tocsr()),
    ]


def _scaled(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Divides each row by the root of its number of entries."""
    return scipy.sparse.diags(1 / np.sqrt(np.maximum(1, matrix.getnnz(axis=1)))) @ matrix


def _one_hot(values: np.ndarray[Any, Any]) -> scipy.sparse.csr_matrix:
    _, columns = np.unique(values, return_inverse=True)
    return scipy.sparse.csr_matrix((np.ones(len(columns)), (np.arange(len(columns)), columns)))


def _machine(name: str, title: str, features: str) -> Method:
    return Method(
        name,
        title,
        "rating",
        factorisation_machine,
        grid(features=(features,), rank=(8, 16), iterations=(200,)),
        {"features": features, "rank": 2, "iterations": 4},
        grid_1m=grid(features=(features,), rank=(16,), iterations=(100,)),
    )


def _ratings(predicted: FloatArray) -> Answer:
    return Answer(Predictions(ratings=predicted))


METHODS: tuple[Method, ...] = (
    Method("mean", "Mean rating", "rating", mean),
    Method(
        "bias",
        "User + movie bias",
        "rating",
        bias,
        grid(user_penalty=(2.0, 5.0, 10.0), movie_penalty=(1.0, 2.0, 5.0, 10.0)),
        {"user_penalty": 5.0, "movie_penalty": 5.0},
    ),
    Method(
        "knnbaseline",
        "KNNBaseline (surprise)",
        "rating",
        knn_baseline,
        grid(neighbours_are=("movies", "users"), neighbours=(20, 40, 60), shrinkage=(100.0,)),
        {"neighbours_are": "movies", "neighbours": 20, "shrinkage": 100.0},
        datasets=ML_100K_ONLY,
    ),
    Method(
        "svd",
        "SVD (surprise)",
        "rating",
        svd,
        grid(
            factors=(100, 200),
            epochs=(40, 80),
            learning_rate=(0.01,),
            regularization=(0.08, 0.1, 0.15),
        ),
        {"factors": 4, "epochs": 2, "learning_rate": 0.005, "regularization": 0.05},
        datasets=ML_100K_ONLY,
    ),
    Method(
        "svdpp",
        "SVD++ (surprise)",
        "rating",
        svd_pp,
        tuple(
            {"factors": 20, "epochs": epochs, "learning_rate": 0.007, "regularization": penalty}
            for epochs, penalty in ((20, 0.05), (30, 0.1))
        ),
        {"factors": 2, "epochs": 1, "learning_rate": 0.007, "regularization": 0.05},
        datasets=ML_100K_ONLY,
    ),
    _machine("fm", "Factorisation machine (myfm), ids", "ids"),
    _machine("fm_side", "Factorisation machine + side", "side"),
    _machine("fm_day", "Factorisation machine + side + day", "side + day"),
)
