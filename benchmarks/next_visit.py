"""What each part of the next visit's list is worth, on validation.

    .venv/bin/python -m benchmarks.next_visit                          # MovieLens-100K, random
    .venv/bin/python -m benchmarks.next_visit --split temporal
    .venv/bin/python -m benchmarks.next_visit --dataset ml-1m
    .venv/bin/python -m benchmarks.next_visit --dataset ml-1m --split timeline --share 0.7
    .venv/bin/python -m benchmarks.next_visit long_term.ials_dim=128   # another value
    .venv/bin/python -m benchmarks.next_visit --autoencoders 1 3 5 8   # the mean of so many

Fits retrieval's standalone models to the `train` part of the pipeline's own split and evaluates on
`validation`; no line of a test is read. Lines are each model alone, the served blend, and the blend
with one part left out or with other weights; then popularity, and the candidates of
`trainer.retrieval.strong_ease`. `--autoencoders` adds the served blend with so many autoencoders,
whatever the Trainer's limits on their cost. Before a timeline's T are `--share` of all ratings, and
validation is the last eighth of these. Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in
$MOVIELENS_1M_DIR; about a minute of processor time for the first, two minutes for the second.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import command
from benchmarks.compare import data, protocols
from benchmarks.compare.data import DATASETS, Task
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray
from components.names import SPLIT_METHODS, SplitMethod
from metrics import ranking
from trainer.config import LongTermConfig, TrainerConfig
from trainer.settings import applied, parse

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData

METHODS: Mapping[str, tuple[float, float, float, float, float]] = {
    "the autoencoder alone": (1.0, 0.0, 0.0, 0.0, 0.0),
    "EASE alone": (0.0, 1.0, 0.0, 0.0, 0.0),
    "iALS alone": (0.0, 0.0, 1.0, 0.0, 0.0),
    "kernel regression alone": (0.0, 0.0, 0.0, 1.0, 0.0),
    "EASE + 2 iALS": (0.0, 1.0, 2.0, 0.0, 0.0),
    "4, 1, 0, 0: without iALS": (4.0, 1.0, 0.0, 0.0, 0.0),
    "4, 0, 0, 1: without iALS": (4.0, 0.0, 0.0, 1.0, 0.0),
    "4, 0, 1, 0: without EASE": (4.0, 0.0, 1.0, 0.0, 0.0),
    "4, 1, 1, 0": (4.0, 1.0, 1.0, 0.0, 0.0),
    "4, 0, 1, 1": (4.0, 0.0, 1.0, 1.0, 0.0),
    "4, 0, 1, 1 - 0.5 popularity": (4.0, 0.0, 1.0, 1.0, -0.5),
    "4, 1, 1, 1": (4.0, 1.0, 1.0, 1.0, 0.0),
    "4, 0, 1, 2": (4.0, 0.0, 1.0, 2.0, 0.0),
    "2, 0, 1, 1": (2.0, 0.0, 1.0, 1.0, 0.0),
}
"""Weights of the standardised scores of autoencoder, EASE, iALS, kernel regression, popularity."""

SERVED = "as served"
_POPULARITY = "popularity"


def task_of(loaded: data.Data, method: SplitMethod, share: float = 0.8) -> Task:
    """Returns the task: fitted to train, evaluated on validation of the pipeline's split.

    Args:
      loaded: the data set.
      method: of the split.
      share: of all ratings, which are before the test of a timeline.
    """
    if method == "timeline":
        split = protocols.timeline_split(loaded, share)
    else:
        split = protocols.pipeline_split(loaded, method)
    return Task(loaded, split, split.inner, split.validation)


def rows_of(known: Sequence[bytes], ids: Sequence[int]) -> list[int]:
    """Returns the place in `known` of each id; -1 where it is not there."""
    places = {value: place for place, value in enumerate(known)}
    return [places.get(str(value).encode(), -1) for value in ids]


def metrics_of(task: Task, fitted: TrainingData, scores: FloatArray) -> list[float]:
    """Returns recall@10 and @100 of rows and NDCG@10 of users.

    Args:
      task: whose target lines are to be found.
      fitted: what was learned from.
      scores: `[users, movies]` in the order of `fitted`.
    """
    loaded, held = task.data, fitted.interactions
    users = np.array(rows_of(fitted.users.ids.tolist(), loaded.user_ids.tolist()))
    movies = np.array(rows_of(fitted.catalogue.ids.tolist(), loaded.movie_ids.tolist()))
    owners, wanted = users[loaded.users[task.targets]], movies[loaded.movies[task.targets]]
    known = owners >= 0
    seen = ranking.seen_matrix(held.user_row, held.movie_row, (len(scores), scores.shape[1]))
    ranks = ranking.filtered_ranks(scores, seen, owners[known], wanted[known])
    return [
        ranking.recall_at_k(ranks, 10),
        ranking.recall_at_k(ranks, 100),
        ranking.user_ndcg(ranks, owners[known], LIST_LENGTH),
    ]


def means(
    scores: Iterable[FloatArray], counts: Collection[int]
) -> Iterator[tuple[int, FloatArray]]:
    """Yields each count, ascending, and the mean of so many of the first scores."""
    for number, total in enumerate(itertools.accumulate(scores), start=1):
        if number in counts:
            yield number, total / number


def measure(
    task: Task, config: LongTermConfig, seed: int, counts: Sequence[int] = ()
) -> Iterator[str]:
    """Yields the lines of the table.

    Args:
      task: what is learned from and what is to be found.
      config: hyperparameters of the list.
      seed: of the fits; the autoencoders of `counts` have this one and those that follow.
      counts: numbers of autoencoders whose mean takes the place of theirs in the served blend.
    """
    import tensorflow as tf

    from benchmarks.compare import ours
    from trainer.data.training_data import rating_residuals
    from trainer.retrieval import blend
    from trainer.retrieval.ease import Ease
    from trainer.retrieval.events import Events
    from trainer.retrieval.long_term import fit_long_term
    from trainer.retrieval.user_autoencoder import UserAutoencoder

    with tempfile.TemporaryDirectory() as scratch:
        fitted = ours.training_data(task, Path(scratch), task.fit)
    tf.keras.utils.set_random_seed(seed)
    models = fit_long_term(config, fitted, seed, lambda line: None)
    held = fitted.interactions
    events = Events(
        tf.constant(np.stack([held.user_row, held.movie_row], axis=1), tf.int64),
        tf.constant(rating_residuals(held)),
    )
    features = {name: tf.constant(values) for name, values in fitted.users.features.items()}
    users = tf.constant(len(fitted.users.ids), tf.int64)
    scores = models.scores(events, users, features)
    z = {name: blend.standardised(one).numpy() for name, one in scores.items()}
    length = tf.constant(np.diff(held.offsets).astype(np.float32))
    joined = models.blend(fitted.ratings_per_movie)
    served = joined(scores, length).numpy()
    yield "| weights | recall@10 | recall@100 | NDCG@10 of users |"
    yield "|---" * 4 + "|"
    yield _line(SERVED, metrics_of(task, fitted, served))
    popularity = blend.standardised(np.log1p(fitted.ratings_per_movie)[np.newaxis]).numpy()
    everybody = z[_POPULARITY] = np.repeat(popularity, len(served), axis=0)
    for name, weights in METHODS.items():
        names = blend.AUTOENCODER, blend.EASE, blend.IALS, blend.KERNEL, _POPULARITY
        parts = {part: weight for part, weight in zip(names, weights, strict=True) if weight}
        if parts.keys() <= z.keys():
            total = sum(weight * z[part] for part, weight in parts.items())
            yield _line(name, metrics_of(task, fitted, np.asarray(total)))
    yield _line(_POPULARITY, metrics_of(task, fitted, everybody))
    for penalty in config.strong_penalties:
        strong = Ease(dataclasses.replace(config, ease_popularity_penalty=penalty))
        strong.fit(fitted)
        of_strong = blend.standardised(strong.user_state(events, users)).numpy()
        for weight in config.strong_popularity_weights:
            name = f"EASE with {penalty:g} per rating + {weight:g} popularity"
            yield _line(name, metrics_of(task, fitted, of_strong + weight * popularity))

    def autoencoders() -> Iterator[FloatArray]:
        for number in range(max(counts, default=0)):
            one = UserAutoencoder(dataclasses.replace(config, autoencoders=1), seed + number)
            one.fit(fitted)
            yield one.scores(one.user_state(events, one.profile(features))).numpy()

    tf.keras.utils.set_random_seed(seed)
    started = time.process_time()
    for count, mean in means(autoencoders(), counts):
        seconds = time.process_time() - started
        listed = joined({**scores, blend.AUTOENCODER: tf.constant(mean)}, length).numpy()
        name = f"{SERVED}, autoencoders: {count} (CPU s {seconds:.0f})"
        yield _line(name, metrics_of(task, fitted, listed))
    yield "CPU s of the fit: " + ", ".join(
        f"{name} {seconds:.1f}" for name, seconds in models.cpu_seconds.items()
    )


def _line(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} |"


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.next_visit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("changes", nargs="*", metavar="long_term.name=value")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--split", choices=SPLIT_METHODS, default="random")
    parser.add_argument("--share", type=float, default=0.8, help="of all ratings, before T")
    parser.add_argument("--autoencoders", type=int, nargs="+", default=[], metavar="N")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = applied(TrainerConfig(), parse(options.changes))
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        print(f"{options.dataset}, {options.split} split, validation, seed {options.seed}")
        task = task_of(loaded, options.split, options.share)
        for line in measure(task, config.long_term, options.seed, options.autoencoders):
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
