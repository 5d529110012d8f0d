"""How good the lists of new users are, measured by rotating folds of users.

For each fold, the models that serve new users (retrieval's standalone models and the popularity
prior) are fitted to all ratings of the other users. Each user of the fold then names the first
movies, in event order, that they rated at least their own mean; everything else that they rated
is to be found in their list, which leaves out the named movies.

The preprocessing graph stays that of the whole training data: its vocabularies and quantiles of
profiles know of the held-out users. So does the catalogue where it is cut (`catalogue_limit`):
movies beyond it are neither named nor to be found. Beside that their ratings enter nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

from metrics import bootstrap, ranking
from metrics.new_users import named_movies
from metrics.ranking import Bools, Floats, Ints
from schema import hashing
from schema.scenarios import NAMED_MOVIES, metric_name, new_user
from sources.interactions import id_keys
from trainer.config import LongTermConfig
from trainer.data.training_data import Bytes, TrainingData, Users
from trainer.retrieval.blend import Blend
from trainer.retrieval.events import Events
from trainer.retrieval.long_term import LongTermModels, fit_long_term

METRIC, POPULARITY_METRIC = "user_ndcg_at_10", "popularity_user_ndcg_at_10"
OVER_POPULARITY_METRIC = f"{METRIC}_over_popularity"
"""NDCG@10 of the user's list, that of the most popular movies, and the paired difference."""

_LIST_LENGTH = 10
_FOLDS_SEED = 42
_CELLS_AT_ONCE = 10_000_000
"""Users × movies that are scored in one go."""


class Query(NamedTuple):
    """What some users name, and what is to be found.

    Attributes:
      users: `[users]` rows of the data's users.
      named: `[named, 2]` position in `users`, row of the catalogue.
      residuals: `[named]` float32, the rating minus the mean of the fitted ratings.
      wanted: `[wanted, 2]` position in `users`, row of the catalogue.
    """

    users: Ints
    named: Ints
    residuals: npt.NDArray[np.float32]
    wanted: Ints


def measure(
    config: LongTermConfig,
    data: TrainingData,
    folds: int,
    seed: int,
    on_progress: Callable[[str], None],
) -> dict[str, float]:
    """Returns the metrics of each number of named movies, with 95 % intervals over users.

    `<scenario>_user_ndcg_at_10`, that of popularity, and their paired difference; each with
    `_low` and `_high`. What no user of any fold was measured on is left out.

    Args:
      config: hyperparameters of the standalone models.
      data: the ratings that are fitted, of all users.
      folds: how many folds the users are dealt into, at least 2.
      seed: of the fits.
      on_progress: called with a line of progress now and then.
    """
    fold_of_user = hashing.user_folds(_numbers(data.users.ids), folds, _FOLDS_SEED)
    found: dict[int, list[Floats]] = {count: [] for count in NAMED_MOVIES}
    for fold in range(folds):
        held_out = fold_of_user == fold
        if not held_out.any() or held_out.all():
            continue
        on_progress(f"new users, fold {fold + 1} of {folds}")
        fitted = without_users(data, held_out)
        tf.keras.utils.set_random_seed(seed)
        models = fit_long_term(config, fitted, seed, lambda line: None)
        for count in NAMED_MOVIES:
            found[count].append(_ndcg(models, config, fitted, data, held_out, count))
        # Graphs of the fit stay in Keras's global state, and memory with them.
        tf.keras.backend.clear_session()
    metrics: dict[str, float] = {}
    for count, parts in found.items():
        metrics |= summarised(count, np.concatenate(parts or [np.zeros([0, 2])]))
    return metrics


def summarised(count: int, ndcg: Floats) -> dict[str, float]:
    """Returns the metrics of one number of named movies by name; empty without users.

    Args:
      count: how many movies are named.
      ndcg: `[users, 2]` NDCG@10 of each user's list, and of the list by popularity.
    """
    if not len(ndcg):
        return {}
    columns = np.column_stack([ndcg, ndcg[:, 0] - ndcg[:, 1]])
    drawn = bootstrap.drawn_sums(columns) / len(columns)
    found: dict[str, float] = {}
    names = (METRIC, POPULARITY_METRIC, OVER_POPULARITY_METRIC)
    for name, values, draws in zip(names, columns.T, drawn.T, strict=True):
        metric = metric_name(new_user(count), name)
        low, high = bootstrap.interval(draws)
        found |= {metric: float(values.mean()), f"{metric}_low": low, f"{metric}_high": high}
    return found


def without_users(data: TrainingData, left_out: Bools) -> TrainingData:
    """Returns the data without some users and their ratings.

    Args:
      data: the data.
      left_out: `[users]` which users are left out; not all.
    """
    kept = ~left_out
    held = data.interactions
    left = held.where(kept[held.user_row])
    user_row = (np.cumsum(kept) - 1)[left.user_row]
    offsets = np.append(0, left.offsets[1:][kept])
    interactions = dataclasses.replace(left, user_row=user_row, offsets=offsets)
    users = Users(
        data.users.ids[kept],
        {name: values[kept] for name, values in data.users.features.items()},
    )
    return dataclasses.replace(data, users=users, interactions=interactions)


def query_of(data: TrainingData, held_out: Bools, count: int, mean: float) -> Query:
    """Returns who names `count` movies, which, and what else they rated.

    Users who rated fewer movies at least their mean, or nothing else, are left out.

    Args:
      data: the ratings of all users.
      held_out: `[users]` the users whose lists are measured.
      count: how many movies are named.
      mean: of the fitted ratings, in stars: what is known of a new user's mean.
    """
    held = data.interactions
    order = hashing.event_order(
        held.user_row,
        _numbers(data.catalogue.ids)[held.movie_row],
        held.timestamp,
        _FOLDS_SEED,
        held.position,
    )
    ratings = held.rating.astype(np.float64)
    found = named_movies(held.user_row, ratings, order[held_out[held.user_row[order]]], count)
    users = np.unique(held.user_row[found.wanted])
    named, wanted = (
        np.stack([np.searchsorted(users, held.user_row[rows]), held.movie_row[rows]], axis=1)
        for rows in found
    )
    return Query(users, named, (ratings[found.named] - mean).astype(np.float32), wanted)


def scores_of(
    models: LongTermModels, blend: Blend, query: Query, features: Mapping[str, Ints]
) -> Floats:
    """Returns `[users, movies]` scores, those that a served model orders the list by.

    Args:
      models: the fitted models.
      blend: what joins their scores.
      query: what the users name.
      features: transformed features of the data's users, `[users]` each.
    """
    count = tf.constant(len(query.users), tf.int64)
    events = Events(tf.constant(query.named, tf.int64), tf.constant(query.residuals, tf.float32))
    lengths = np.bincount(query.named[:, 0], minlength=len(query.users))
    scores = models.scores(
        events,
        count,
        {name: tf.constant(values[query.users]) for name, values in features.items()},
    )
    total = blend(scores, tf.constant(lengths, tf.float32))
    return np.asarray(total.numpy(), np.float64)


def _ndcg(
    models: LongTermModels,
    config: LongTermConfig,
    fitted: TrainingData,
    data: TrainingData,
    held_out: Bools,
    count: int,
) -> Floats:
    """Returns `[users, 2]` NDCG@10 of the lists of held-out users, and of those by popularity."""
    query = query_of(data, held_out, count, float(fitted.interactions.rating.mean()))
    blend = Blend(config, fitted.ratings_per_movie)
    popularity = fitted.ratings_per_movie.astype(np.float64)
    parts = [np.zeros([0, 2])]
    step = max(1, _CELLS_AT_ONCE // len(data.catalogue.ids))
    for start in range(0, len(query.users), step):
        some = _part(query, start, start + step)
        scores = scores_of(models, blend, some, data.users.features)
        by_popularity = np.broadcast_to(popularity, scores.shape)
        parts.append(
            np.stack([ndcg_of_lists(one, some) for one in (scores, by_popularity)], axis=1)
        )
    return np.concatenate(parts)


def _part(query: Query, start: int, end: int) -> Query:
    """Returns the part of a query that some of its users ask."""
    named, wanted = (
        (pairs[:, 0] >= start) & (pairs[:, 0] < end) for pairs in (query.named, query.wanted)
    )
    shift = np.array([start, 0])
    return Query(
        query.users[start:end],
        query.named[named] - shift,
        query.residuals[named],
        query.wanted[wanted] - shift,
    )


def ndcg_of_lists(scores: Floats, query: Query) -> Floats:
    """Returns `[users]` NDCG@10 of each user's list of the movies that were not named."""
    owners, named = query.named.T
    users, movies = query.wanted.T
    seen = ranking.seen_matrix(owners, named, (len(scores), scores.shape[1]))
    ranks = ranking.filtered_ranks(scores, seen, users, movies)
    return ranking.ndcg_per_user(ranks, users, _LIST_LENGTH)


def _numbers(ids: Bytes) -> Ints:
    """Returns the numbers that stand for ids, as the split functions take them."""
    return id_keys(pa.array([text.decode() for text in ids.tolist()], pa.string()))
