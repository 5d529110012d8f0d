"""What each part of the Bayesian factorisation of the ratings is worth, on validation.

    .venv/bin/python -m benchmarks.ratings                           # MovieLens-100K, random
    .venv/bin/python -m benchmarks.ratings --split temporal
    .venv/bin/python -m benchmarks.ratings --dataset ml-1m --seeds 42 --only shipped side
    .venv/bin/python -m benchmarks.ratings --only shipped bpmf.rank=40    # another value

Fits the factorisation alone to the `train` part of the pipeline's own split and predicts the
ratings of `validation` at the next visit; no line of a test is read. Each line changes one thing
from what is shipped: it leaves a part out or gives a value of the configuration another value. A
chain is run for each seed. Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in
$MOVIELENS_1M_DIR. A chain takes about ten seconds of processor time on the first, a minute on the
second.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import command
from benchmarks.compare import data, protocols
from benchmarks.compare.data import DATASETS, Task
from benchmarks.compare.protocols import RATING_SCALE, FloatArray, IntArray
from benchmarks.next_visit import rows_of, task_of
from sources.errors import InputError
from trainer.config import BpmfConfig, TrainerConfig
from trainer.settings import applied, parse

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData
    from trainer.rating.gibbs import ObservedRatings
    from trainer.rating.posterior import BpmfFit
    from trainer.rating.side_information import HistoryFeatures

_FIXED = 1e12
"""Degrees of freedom with which what is drawn hardly varies."""

_USERS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Line:
    """A change from what is shipped.

    Attributes:
      values: other values of `BpmfConfig`.
      left_out: parts of the side information that are left out: "components" (who rated what),
        "counts" (the number of ratings), "users" and "movies" (their features).
    """

    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()


LINES: Mapping[str, Line] = {
    "as shipped": Line(),
    "no side information": Line(left_out=("components", "counts", "users", "movies")),
    "side: without the users' features": Line(left_out=("users",)),
    "side: without the movies' features": Line(left_out=("movies",)),
    "side: without the components of who rated what": Line(left_out=("components",)),
    "side: without the numbers of ratings": Line(left_out=("counts",)),
    "side penalties fixed at 10": Line({"side_penalty_freedom": _FIXED}),
    "one noise level for all movies": Line({"movie_noise_freedom": _FIXED}),
    "one noise level for all users": Line({"user_noise_freedom": _FIXED}),
    "prior variance 0.02": Line({"prior_variance": 0.02}),
    "prior variance 0.05": Line({"prior_variance": 0.05}),
    "rank 16": Line({"rank": 16}),
    "rank 48": Line({"rank": 48}),
    "half as many sweeps": Line({"thinning": 5}),
    "twice as many sweeps": Line({"thinning": 20}),
}
"""Names of the lines of the table, and what each changes."""


def masked(
    observed: ObservedRatings, features: HistoryFeatures, left_out: Sequence[str]
) -> tuple[ObservedRatings, FloatArray]:
    """Returns the ratings with side information of 0 in place of some parts.

    Args:
      observed: ratings and side information; the columns are those of `observed_ratings`.
      features: what computed the columns of the histories.
      left_out: names of parts, as `Line` has them.

    Returns:
      The ratings, and 0 or 1 for each column of the users.
    """
    components = features.width - 1

    def kept(columns: int, own: str) -> FloatArray:
        found = np.ones(columns)
        found[:components] = "components" not in left_out
        found[components] = "counts" not in left_out
        found[features.width :] = own not in left_out
        return found

    users = kept(observed.user_known.shape[1], "users")
    movies = kept(observed.movie_known.shape[1], "movies")
    changed = dataclasses.replace(
        observed, user_known=observed.user_known * users, movie_known=observed.movie_known * movies
    )
    return changed, users


def chain(
    observed: ObservedRatings,
    features: HistoryFeatures,
    config: BpmfConfig,
    seed: int,
    left_out: Sequence[str] = (),
) -> BpmfFit:
    """Returns the factorisation fitted by one chain.

    Args:
      observed: the ratings, as `observed_ratings` returns them ...
      features: ... with what computed the side information of histories.
      config: rank, draws, priors.
      seed: of the chain.
      left_out: parts of the side information that are left out.
    """
    from trainer.rating.gibbs import GibbsSampler
    from trainer.rating.posterior import BpmfFit

    observed, kept = masked(observed, features, left_out)
    sampler = GibbsSampler(observed, config, seed)
    draws = sampler.draw()
    # Weights of columns of zeros are drawn from their prior; states of users have these columns.
    weights = draws.user_weights * np.append(1.0, kept)[:, np.newaxis].astype(np.float32)
    return BpmfFit(sampler.mean, dataclasses.replace(draws, user_weights=weights), features)


def predicted(data: TrainingData, fit: BpmfFit, users: IntArray, movies: IntArray) -> FloatArray:
    """Returns `[n]` stars of pairs at the next visit, not clipped.

    Args:
      data: what was fitted; its ratings are the users' histories.
      fit: the factorisation.
      users: `[n]` rows of the users.
      movies: `[n]` rows of the movies.
    """
    from trainer.rating.rating_bpmf import states_of_all

    states = states_of_all(fit, data)
    found = np.empty(len(users))
    for start in range(0, len(states), _USERS_AT_ONCE):
        rows = np.flatnonzero((users >= start) & (users < start + _USERS_AT_ONCE))
        own = states[users[rows]].transpose(1, 0, 2)
        drawn = fit.draws.movies[:, movies[rows]]
        stars = drawn[..., 0] + own[..., 0] + (drawn[..., 1:] * own[..., 1:]).sum(axis=2)
        found[rows] = fit.mean + stars.mean(axis=0)
    return found


def rmse(stars: FloatArray, ratings: FloatArray) -> float:
    """Returns the root of the mean squared error of predictions, clipped to the scale."""
    return float(np.sqrt(np.mean((np.clip(stars, *RATING_SCALE) - ratings) ** 2)))


def measure(
    task: Task, config: BpmfConfig, lines: Mapping[str, Line], seeds: Sequence[int]
) -> Iterator[str]:
    """Yields the lines of the table."""
    from benchmarks.compare import ours
    from trainer.rating.rating_bpmf import observed_ratings

    with tempfile.TemporaryDirectory() as scratch:
        fitted = ours.training_data(task, Path(scratch), task.fit)
    loaded = task.data
    users = np.array(rows_of(fitted.users.ids.tolist(), loaded.user_ids.tolist()))
    movies = np.array(rows_of(fitted.catalogue.ids.tolist(), loaded.movie_ids.tolist()))
    # A movie without a fitted rating is predicted as well, by its features; a user is not.
    targets = task.targets[users[loaded.users[task.targets]] >= 0]
    of_users, of_movies = users[loaded.users[targets]], movies[loaded.movies[targets]]
    observed, features = observed_ratings(fitted, config)
    yield "| line | RMSE of a chain | RMSE of the mean of chains | CPU s of a chain |"
    yield "|---" * 4 + "|"
    for name, line in lines.items():
        changed = dataclasses.replace(config, **line.values)
        found, started = [], time.process_time()
        for seed in seeds:
            fit = chain(observed, features, changed, seed, line.left_out)
            found.append(predicted(fitted, fit, of_users, of_movies))
        seconds = (time.process_time() - started) / len(seeds)
        each = np.mean([rmse(stars, loaded.ratings[targets]) for stars in found])
        together = rmse(np.mean(found, axis=0), loaded.ratings[targets])
        yield f"| {name} | {each:.4f} | {together:.4f} | {seconds:.0f} |"


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.ratings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("changes", nargs="*", metavar="bpmf.name=value")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--split", choices=tuple(protocols.PIPELINE_NAMES), default="random")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43])
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="lines whose names have a text")
    options = parser.parse_args(arguments)
    lines = {
        name: line
        for name, line in LINES.items()
        if not options.only or any(text in name for text in options.only)
    }
    if not lines:
        raise InputError(
            "no line of the table has any of these texts",
            expected=f"parts of names: {', '.join(LINES)}",
            found=" ".join(options.only),
            action="change --only",
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = applied(TrainerConfig(), parse(options.changes))
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        seeds = ", ".join(map(str, options.seeds))
        print(f"{options.dataset}, {options.split} split, validation, seeds {seeds}")
        for line in measure(task_of(loaded, options.split), config.bpmf, lines, options.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
