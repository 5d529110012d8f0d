"""What refitting the item side on everything before a push is worth.

    .venv/bin/python -m benchmarks.refit                             # MovieLens-100K
    .venv/bin/python -m benchmarks.refit --dataset ml-1m --models closed

The pushed model's histories hold every rating, its fitted parts (weights between movies, vectors,
draws) those of the splits `train` and `validation` alone. This command measures what that costs:
the models are fitted to the ratings before T and given histories up to T2, or fitted to everything
before T2; then both are tested on the ratings after T2 of the users with ratings before it. T is
at 80 % of the ratings before T2, as fitted splits are 80 % of all. Columns are metrics of the next
visit and the processor time of the fit; a line below gives the difference in NDCG@10 (RMSE for
predicted ratings) with a 95 % interval paired by user. Needs MovieLens-100K in $MOVIELENS_DIR or
MovieLens-1M in $MOVIELENS_1M_DIR.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks import command
from benchmarks.compare import data
from benchmarks.compare.data import DATASETS, Task
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray, IntArray, Split
from benchmarks.next_visit import rows_of
from components.example_gen import splits
from metrics import bootstrap, ranking

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData

FITTED_SHARE = 0.8
SHARES = (0.6, 0.8)
FITTED_AT_T, REFITTED = "fitted at T", "refitted at T2"
BLEND, RATINGS = "as served", "predicted ratings"
MODELS = {"all": True, "closed": False}
"""Whether the autoencoder and the factorisation of the ratings are fitted, beside EASE and iALS."""


class Scores(NamedTuple):
    """What models make of the users whose histories end at T2.

    Attributes:
      by_model: `[users, movies]` by the model's name.
      seconds: processor time of each fit, by the same names as far as it was measured.
    """

    by_model: Mapping[str, FloatArray]
    seconds: Mapping[str, float]


def parts(loaded: data.Data, share: float) -> tuple[IntArray, IntArray, IntArray]:
    """Returns lines before T, lines before T2, and lines after T2 of users with one before it.

    Args:
      loaded: the data set.
      share: of all ratings, those before T2.
    """
    times = loaded.timestamps
    early = np.flatnonzero(times < splits.time_after(times, share * FITTED_SHARE))
    before = np.flatnonzero(times < splits.time_after(times, share))
    after = np.setdiff1d(np.arange(len(times)), before)
    return early, before, after[np.isin(loaded.users[after], loaded.users[before])]


def scores_of(fitted: TrainingData, known: TrainingData, seed: int, everything: bool) -> Scores:
    """Fits the models to one set of ratings and gives them the histories of another.

    Args:
      fitted: what the item side is fitted to.
      known: whose ratings are the histories.
      seed: of the fits.
      everything: whether autoencoder, blend and factorisation are among them.
    """
    import tensorflow as tf

    from trainer.config import BpmfConfig, LongTermConfig
    from trainer.data.training_data import rating_residuals
    from trainer.rating.rating_bpmf import Bpmf
    from trainer.retrieval import blend
    from trainer.retrieval.ease import Ease
    from trainer.retrieval.events import Events
    from trainer.retrieval.ials import Ials
    from trainer.retrieval.long_term import fit_long_term

    held, config = known.interactions, LongTermConfig()
    events = Events(
        tf.constant(np.stack([held.user_row, held.movie_row], axis=1), tf.int64),
        tf.constant(rating_residuals(held)),
    )
    users = tf.constant(len(known.users.ids), tf.int64)
    tf.keras.utils.set_random_seed(seed)
    if not everything:
        found, seconds = {}, {}
        for name, model in ((blend.EASE, Ease(config)), (blend.IALS, Ials(config, seed))):
            started = time.process_time()
            model.fit(fitted)
            seconds[name] = time.process_time() - started
            found[name] = model.scores(model.user_state(events, users)).numpy()
        return Scores(found, seconds)
    models = fit_long_term(config, fitted, seed, lambda line: None)
    features = {name: tf.constant(values) for name, values in known.users.features.items()}
    scores = models.scores(events, users, features)
    length = tf.constant(np.diff(held.offsets).astype(np.float32))
    served = models.blend(fitted.ratings_per_movie)(scores, length)
    started, bpmf = time.process_time(), Bpmf(BpmfConfig(), seed)
    bpmf.fit(fitted)
    seconds = {**models.cpu_seconds, RATINGS: time.process_time() - started}
    stars = np.clip(bpmf.scores(tf.constant(bpmf.user_states(known)))[:-1].numpy(), 1.0, 5.0)
    found = {name: one.numpy() for name, one in {**scores, BLEND: served}.items()}
    return Scores({**found, RATINGS: stars}, seconds)


def sums_of(task: Task, known: TrainingData, name: str, scores: FloatArray) -> FloatArray:
    """Returns `[users, 4]` sums over a user's test rows.

    Of lists: hits@10, hits@100, NDCG@10 of the user, and 1; the first two are divided by the number
    of the user's rows only when they are averaged. Of predicted ratings: squared errors.
    Last comes the number of rows.
    """
    loaded, held = task.data, known.interactions
    of_user = np.array(rows_of(known.users.ids.tolist(), loaded.user_ids.tolist()))
    of_movie = np.array(rows_of(known.catalogue.ids.tolist(), loaded.movie_ids.tolist()))
    users, movies = of_user[loaded.users[task.targets]], of_movie[loaded.movies[task.targets]]
    if name == RATINGS:
        squared = (scores[users, movies] - loaded.ratings[task.targets]) ** 2
        counts, (errors,) = ranking.sums_by_user(users, squared)
        return np.stack([errors, counts], axis=1)
    seen = ranking.seen_matrix(held.user_row, held.movie_row, (len(scores), scores.shape[1]))
    ranks = ranking.filtered_ranks(scores.astype(np.float64), seen, users, movies)
    gains = ranking.discounted_gains(ranks, LIST_LENGTH)
    hits = [ranking.hits(ranks, k) for k in (10, 100)]
    counts, (ten, hundred, gained) = ranking.sums_by_user(users, *hits, gains)
    ndcg = gained / ranking.ideal_gains(counts, LIST_LENGTH)
    return np.stack([ten, hundred, ndcg, np.ones(len(counts)), counts], axis=1)


def metrics_of(sums: FloatArray) -> FloatArray:
    """Returns recall@10, recall@100 and NDCG@10, or RMSE, of sums over users in the last axis."""
    if sums.shape[-1] == 2:
        return np.sqrt(sums[..., :1] / sums[..., 1:])
    rows, users = sums[..., 4:], sums[..., 3:4]
    return np.concatenate([sums[..., :2] / rows, sums[..., 2:3] / users], axis=-1)


def measure(loaded: data.Data, share: float, seed: int, everything: bool) -> Iterator[str]:
    """Yields the lines of the table of one T2."""
    from benchmarks.compare import ours

    early, before, after = parts(loaded, share)
    by_fit: dict[str, Mapping[str, FloatArray]] = {}
    seconds: dict[str, Mapping[str, float]] = {}
    for name, lines in ((FITTED_AT_T, early), (REFITTED, before)):
        nothing = np.zeros(0, np.int64)
        split = Split(f"{name}, T2 after {share:.0%}", lines, nothing, after)
        task = Task(loaded, split, lines, after)
        with tempfile.TemporaryDirectory() as scratch:
            fitted = ours.training_data(task, Path(scratch) / "fitted", task.fit)
            known = ours.training_data(task, Path(scratch) / "known", before)
        scores, seconds[name] = scores_of(fitted, known, seed, everything)
        by_fit[name] = {
            model: sums_of(task, known, model, values) for model, values in scores.items()
        }
        print(f"{split.name}: done", file=sys.stderr, flush=True)
    users = len(next(iter(by_fit[REFITTED].values())))
    yield f"T2 after {share:.0%} of the ratings: {len(after):,} test ratings of {users} users"
    yield "| model | fit | recall@10 / recall@100 / NDCG@10, or RMSE | CPU s |"
    yield "|---" * 4 + "|"
    for model in by_fit[REFITTED]:
        pair = {name: by_fit[name][model] for name in by_fit}
        for name, sums in pair.items():
            values = " / ".join(f"{value:.4f}" for value in metrics_of(sums.sum(axis=0)))
            spent = f"{seconds[name][model]:.1f}" if model in seconds[name] else ""
            yield f"| {model} | {name} | {values} | {spent} |"
        first, second = (metrics_of(bootstrap.drawn_sums(sums))[:, -1] for sums in pair.values())
        low, high = bootstrap.interval(second - first)
        change = float(np.diff([metrics_of(s.sum(axis=0))[-1] for s in pair.values()])[0])
        yield f"| {model} | difference in the last | {change:+.4f} ({low:+.4f} to {high:+.4f}) | |"


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.refit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--models", choices=tuple(MODELS), default="all")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        for share in options.shares:
            for line in measure(loaded, share, options.seed, MODELS[options.models]):
                print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
