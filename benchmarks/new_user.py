"""What somebody new is shown, measured on users who are held out of every fit.

    .venv/bin/python -m benchmarks.new_user                     # MovieLens-100K, five folds
    .venv/bin/python -m benchmarks.new_user --dataset ml-1m --folds 2

Users are dealt into folds. For each fold, retrieval's standalone models are fitted to all ratings
of the others; then each held-out user names the first n movies (in event order) that they rated at
least their own mean, as on the page for somebody new, and everything else they rated is to be
found among the movies that were not named. n = 0 is a profile alone. The figure is NDCG@10 of each
user's list, averaged over the users of all folds.

Beside ours: popularity, EASE, and the weighted sum of log popularity and the closed-form models
alone, `z(log popularity) + 0.1 · (z(EASE) + z(iALS))`. The last line is the difference between ours
and that sum with a 95 % interval over users. Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M
in $MOVIELENS_1M_DIR; five folds of the first take about three minutes of processor time, two of the
second about six.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks import command
from benchmarks.compare import data, protocols
from benchmarks.compare.data import DATASETS, Task
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray, IntArray, Split
from metrics import bootstrap, ranking

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData
    from trainer.retrieval.long_term import LongTermModels

NAMED: tuple[int, ...] = (0, 1, 3, 5, 10)
"""How many movies are named."""

OURS, POPULARITY, EASE, CLOSED_FORM = (
    "ours, as served",
    "popularity",
    "EASE",
    "popularity + closed-form models",
)
_CLOSED_FORM_WEIGHT = 0.1
_FOLDS_SEED = 42


class Query(NamedTuple):
    """What held-out users name, and what is to be found.

    Attributes:
      users: `[users]` rows of the held-out data, of those with enough ratings.
      named: `[named, 2]` position in `users`, row of the catalogue.
      wanted: `[wanted, 2]` the same of what is to be found.
    """

    users: IntArray
    named: IntArray
    wanted: IntArray


def folds_of(users: int, folds: int) -> IntArray:
    """Returns the fold `[users]` of each user; folds differ by one user at most."""
    return np.random.default_rng(_FOLDS_SEED).permutation(users) % folds


def tasks(loaded: data.Data, folds: int) -> Iterator[Task]:
    """Yields for each fold what is learned from and who asks."""
    fold = folds_of(len(loaded.user_ids), folds)[loaded.users]
    nothing = np.zeros(0, np.int64)
    for number in range(folds):
        fit, ask = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        yield Task(loaded, Split(f"new users {number}", fit, nothing, ask), fit, ask)


def query_of(held_out: TrainingData, count: int) -> Query:
    """Returns who names `count` movies, what they name and what else they rated.

    Args:
      held_out: all ratings of the held-out users, each user's in event order.
      count: how many movies are named; users who cannot, or have rated nothing else, are left out.
    """
    from trainer.data.training_data import rating_residuals

    held = held_out.interactions
    liked = rating_residuals(held) >= 0
    users, named, wanted = [], [], []
    for user, (start, end) in enumerate(zip(held.offsets[:-1], held.offsets[1:], strict=True)):
        first = start + np.flatnonzero(liked[start:end])[:count]
        if len(first) < count or end - start == count:
            continue
        others = np.setdiff1d(np.arange(start, end), first)
        for rows, pairs in ((first, named), (others, wanted)):
            movies = held.movie_row[rows]
            pairs.append(np.stack([np.full(len(rows), len(users)), movies], axis=1))
        users.append(user)
    return Query(np.array(users), np.concatenate(named), np.concatenate(wanted))


def scores_of(
    models: LongTermModels, fitted: TrainingData, held_out: TrainingData, query: Query
) -> Mapping[str, FloatArray]:
    """Returns `[users, movies]` scores of each method, by name."""
    import tensorflow as tf

    from trainer.retrieval import blend
    from trainer.retrieval.events import Events

    count = tf.constant(len(query.users), tf.int64)
    events = Events(tf.constant(query.named, tf.int64), tf.zeros([len(query.named)]))
    features = {
        name: tf.constant(values[query.users]) for name, values in held_out.users.features.items()
    }
    length = tf.math.unsorted_segment_sum(tf.ones_like(events.residuals), events.pairs[:, 0], count)
    found = models.scores(events, count, features)
    popularity = np.log1p(fitted.ratings_per_movie)[np.newaxis].astype(np.float32)
    prior = blend.standardised(tf.constant(np.repeat(popularity, len(query.users), axis=0)))
    answers = {POPULARITY: prior}
    closed_form = [name for name in (blend.EASE, blend.IALS) if name in found]
    if blend.EASE in found:
        answers[EASE] = found[blend.EASE]
    answers[CLOSED_FORM] = prior + _CLOSED_FORM_WEIGHT * tf.add_n(
        [blend.standardised(found[name]) for name in closed_form]
    )
    config = models.autoencoder.config
    answers[OURS] = blend.Blend(config, fitted.ratings_per_movie)(found, length)
    return {name: value.numpy().astype(np.float64) for name, value in answers.items()}


def user_ndcg(scores: FloatArray, query: Query) -> FloatArray:
    """Returns `[users]` NDCG@10 of each user's list of movies that were not named."""
    seen = protocols.seen_matrix(query.named[:, 0], query.named[:, 1], scores.shape)
    users, movies = query.wanted.T
    ranks = protocols.filtered_ranks(scores, seen, users, movies)
    counts, (gains,) = ranking.sums_by_user(users, ranking.discounted_gains(ranks, LIST_LENGTH))
    found: FloatArray = gains / ranking.ideal_gains(counts, LIST_LENGTH)
    return found


def measure(loaded: data.Data, folds: int, seed: int) -> Mapping[int, Mapping[str, FloatArray]]:
    """Returns `[users of all folds]` NDCG@10 by number of named movies and method."""
    import tensorflow as tf

    from benchmarks.compare import ours
    from trainer.config import LongTermConfig
    from trainer.retrieval.long_term import fit_long_term

    found: dict[int, dict[str, list[FloatArray]]] = {count: {} for count in NAMED}
    for task in tasks(loaded, folds):
        with tempfile.TemporaryDirectory() as scratch:
            fitted = ours.training_data(task, Path(scratch) / "fitted", task.fit)
            held_out = ours.training_data(task, Path(scratch) / "held out", task.ask)
        tf.keras.utils.set_random_seed(seed)
        models = fit_long_term(LongTermConfig(), fitted, seed, lambda line: None)
        for count in NAMED:
            query = query_of(held_out, count)
            for name, scores in scores_of(models, fitted, held_out, query).items():
                found[count].setdefault(name, []).append(user_ndcg(scores, query))
        tf.keras.backend.clear_session()
        print(f"{task.split.name}: done", file=sys.stderr, flush=True)
    return {
        count: {name: np.concatenate(parts) for name, parts in by_name.items()}
        for count, by_name in found.items()
    }


def lines_of(found: Mapping[int, Mapping[str, FloatArray]]) -> Iterator[str]:
    """Yields the lines of the table."""
    yield f"| movies named | {' | '.join(map(str, found))} |"
    yield "|---" * (len(found) + 1) + "|"
    for name in (OURS, CLOSED_FORM, POPULARITY, EASE):
        cells = [
            f"{by_name[name].mean():.4f}" if name in by_name else "–" for by_name in found.values()
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    cells = [_difference(by_name[OURS] - by_name[CLOSED_FORM]) for by_name in found.values()]
    yield f"| ours - {CLOSED_FORM} | {' | '.join(cells)} |"
    users = [str(len(by_name[OURS])) for by_name in found.values()]
    yield f"| users | {' | '.join(users)} |"


def _difference(values: FloatArray) -> str:
    drawn = bootstrap.drawn_sums(values[:, np.newaxis])[:, 0] / len(values)
    low, high = bootstrap.interval(drawn)
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.new_user",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        print(f"{options.dataset}, NDCG@10 of users, {options.folds} folds, seed {options.seed}")
        for line in lines_of(measure(loaded, options.folds, options.seed)):
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
