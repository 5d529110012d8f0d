"""Baselines of retrieval: they score all movies from the set that the user has rated."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from benchmarks.compare.data import ML_100K_ONLY, Task, interactions
from benchmarks.compare.methods import (
    Answer,
    Method,
    Params,
    Predictions,
    answer_of_histories,
    grid,
)
from benchmarks.compare.protocols import FloatArray

_SEED = 42
_THREADS = 1


def popularity(task: Task, params: Params) -> Answer:
    """Scores a movie by its number of ratings."""
    counts = np.bincount(task.data.movies[task.fit], minlength=task.data.shape[1])
    scores = np.tile(counts.astype(np.float64), (task.data.shape[0], 1))
    return answer_of_histories(task, lambda held: scores, without_history=True)


def item_knn(task: Task, params: Params) -> Answer:
    """Scores a movie by its cosine similarities to the user's movies.

    Only the `neighbours` most similar ones of each movie count; `shrink` is added to the
    denominator, so that similarities from few users weigh less.
    """
    held = interactions(task).toarray().astype(np.float64)
    together = held.T @ held
    norms = np.sqrt(np.diag(together))
    similar = together / (np.outer(norms, norms) + float(params["shrink"]) + 1e-12)
    np.fill_diagonal(similar, 0.0)
    neighbours = min(int(params["neighbours"]), len(similar) - 1)
    weakest = np.partition(similar, -neighbours, axis=1)[:, -neighbours, np.newaxis]
    nearest = np.where(similar >= weakest, similar, 0.0).T
    return answer_of_histories(task, lambda held: np.asarray(held @ nearest))


def ease(task: Task, params: Params) -> Answer:
    """Linear item-item weights in closed form.

    Steck: Embarrassingly shallow autoencoders for sparse data, 2019: B = I - P·diag(1/P),
    P = (XᵀX + λI)⁻¹.
    """
    held = interactions(task).astype(np.float64)
    gram = (held.T @ held).toarray()
    gram[np.diag_indices_from(gram)] += float(params["penalty"])
    weights = _closed_form(gram)
    return answer_of_histories(task, lambda held: np.asarray(held @ weights))


def edlae(task: Task, params: Params) -> Answer:
    """EASE with a penalty that grows with a movie's ratings, users weighted by 1/√ratings.

    Steck: Autoencoders that don't overfit towards the identity, 2020: dropout of inputs at rate
    p is, on average, the penalty q · diag(XᵀX) with q = p / (1 - p). The weights, of mean 1,
    keep users with many ratings from deciding for all.
    """
    weights = _edlae_weights(task, params)
    return answer_of_histories(task, lambda held: np.asarray(held @ weights))


def prior_and_edlae(task: Task, params: Params) -> Answer:
    """Adds to z-scores of log-popularity those of EDLAE, times a weight.

    With few events a model that personalises at once is behind popularity.
    """
    weights = _edlae_weights(task, params)
    prior = _z_scores(np.log1p(interactions(task).getnnz(axis=0).astype(np.float64))[np.newaxis])
    own = float(params["weight"])
    return answer_of_histories(
        task,
        lambda held: prior + own * _z_scores(np.asarray(held @ weights)),
        without_history=True,
    )


def _z_scores(scores: FloatArray) -> FloatArray:
    """Returns the scores of each user less their mean, in standard deviations; zeros of none."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return centred / np.where(spread > 0, spread, 1.0)


def _edlae_weights(task: Task, params: Params) -> FloatArray:
    held = interactions(task).astype(np.float64)
    counts = held.getnnz(axis=1)
    weights = np.where(counts > 0, 1.0 / np.sqrt(np.maximum(counts, 1.0)), 0.0)
    weights /= weights[counts > 0].mean()
    gram = (held.T @ scipy.sparse.diags(weights) @ held).toarray()
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] *= 1.0 + float(params["dropout_penalty"])
    gram[diagonal] += float(params["penalty"])
    return _closed_form(gram)


def _closed_form(gram: FloatArray) -> FloatArray:
    """Returns the weights `[movies, movies]` of least squares with a diagonal of zeros."""
    inverse = np.linalg.inv(gram)
    weights: FloatArray = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def ials(task: Task, params: Params) -> Answer:
    """Alternating least squares on implicit feedback (Hu, Koren, Volinsky 2008)."""
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=int(params["factors"]),
        regularization=float(params["regularization"]),
        alpha=float(params["alpha"]),
        iterations=int(params["iterations"]),
        random_state=_SEED,
        num_threads=_THREADS,
        use_gpu=False,
    )
    model.fit(interactions(task), show_progress=False)
    if not task.split.new_users:
        return Answer(Predictions(scores=_products(model.user_factors, model.item_factors)))
    everybody = np.arange(task.data.shape[0])
    return answer_of_histories(
        task,
        lambda held: _products(model.recalculate_user(everybody, held), model.item_factors),
    )


def bpr(task: Task, params: Params) -> Answer:
    """Bayesian personalised ranking (Rendle et al. 2009)."""
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=int(params["factors"]),
        learning_rate=float(params["learning_rate"]),
        regularization=float(params["regularization"]),
        iterations=int(params["iterations"]),
        random_state=_SEED,
        num_threads=_THREADS,
        use_gpu=False,
    )
    model.fit(interactions(task), show_progress=False)
    return Answer(Predictions(scores=_products(model.user_factors, model.item_factors)))


def _products(users: FloatArray, movies: FloatArray) -> FloatArray:
    return users.astype(np.float64) @ movies.astype(np.float64).T


METHODS: tuple[Method, ...] = (
    Method("popularity", "Popularity", "retrieval", popularity, new_users=True),
    Method(
        "itemknn",
        "ItemKNN (cosine)",
        "retrieval",
        item_knn,
        grid(neighbours=(20, 40, 80, 160, 320), shrink=(0.0, 10.0, 30.0, 100.0, 300.0)),
        {"neighbours": 20, "shrink": 0.0},
        grid_1m=grid(neighbours=(80, 320), shrink=(10.0, 100.0)),
        new_users=True,
    ),
    Method(
        "ease",
        "EASE^R",
        "retrieval",
        ease,
        grid(penalty=(50.0, 100.0, 200.0, 300.0, 400.0, 600.0, 1000.0)),
        {"penalty": 200.0},
        grid_1m=grid(penalty=(300.0, 1000.0, 3000.0)),
        new_users=True,
    ),
    Method(
        "edlae",
        "EDLAE, users weighted",
        "retrieval",
        edlae,
        grid(penalty=(10.0, 30.0, 100.0, 300.0), dropout_penalty=(0.5, 1.0, 2.0)),
        {"penalty": 100.0, "dropout_penalty": 1.0},
        grid_1m=grid(penalty=(30.0, 100.0, 300.0), dropout_penalty=(1.0, 2.0)),
        new_users=True,
    ),
    Method(
        "prior_edlae",
        "Popularity + 0.1 EDLAE",
        "retrieval",
        prior_and_edlae,
        ({"penalty": 300.0, "dropout_penalty": 2.0, "weight": 0.1},),
        {"penalty": 300.0, "dropout_penalty": 2.0, "weight": 0.1},
        new_users=None,
    ),
    Method(
        "ials",
        "iALS (implicit)",
        "retrieval",
        ials,
        grid(
            factors=(24, 32, 48, 64, 128),
            regularization=(10.0, 15.0, 20.0, 30.0, 50.0),
            alpha=(1.0, 2.0, 3.0, 5.0),
            iterations=(15,),
        ),
        {"factors": 8, "regularization": 10.0, "alpha": 2.0, "iterations": 2},
        grid_1m=grid(
            factors=(128, 256),
            regularization=(30.0, 60.0, 120.0),
            alpha=(2.0, 4.0),
            iterations=(15,),
        ),
        new_users=True,
    ),
    Method(
        "bpr",
        "BPR (implicit)",
        "retrieval",
        bpr,
        grid(
            factors=(32, 128),
            learning_rate=(0.01,),
            regularization=(0.01, 0.03, 0.1),
            iterations=(100, 300),
        ),
        {"factors": 8, "learning_rate": 0.01, "regularization": 0.01, "iterations": 2},
        datasets=ML_100K_ONLY,
    ),
)
