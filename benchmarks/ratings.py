"""What each part of the Bayesian factorisation of the ratings is worth, on validation.

    .venv/bin/python -m benchmarks.ratings                           # MovieLens-100K, random
    .venv/bin/python -m benchmarks.ratings --split temporal
    .venv/bin/python -m benchmarks.ratings --dataset ml-1m --seeds 42 --only shipped side
    .venv/bin/python -m benchmarks.ratings bpmf.rank=40 --only shipped    # another value
    .venv/bin/python -m benchmarks.ratings --in-session              # in place of the parts

Fits the factorisation alone to the `train` part of the pipeline's own split and predicts the
ratings of `validation` at the next visit; no line of a test is read. Each line changes one thing
from what is shipped: it leaves a part out or gives a value of the configuration another value. A
chain is run for each seed. `--in-session` hides the ratings that come after each row from the state
of its user, and measures what the residual of the session's ratings adds.

Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in $MOVIELENS_1M_DIR. A chain takes about ten
seconds of processor time on the first, a minute on the second.
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
from schema.events import SESSION_GAP_SECONDS
from sources.errors import InputError
from trainer.config import BpmfConfig, TrainerConfig
from trainer.settings import applied, parse

if TYPE_CHECKING:
    from trainer.data.training_data import Interactions, TrainingData
    from trainer.rating.gibbs import ObservedRatings
    from trainer.rating.posterior import BpmfFit
    from trainer.rating.side_information import Floats, HistoryFeatures

_FIXED = 1e12
"""Degrees of freedom with which what is drawn hardly varies."""

_PAIRS_AT_ONCE = 4_096


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


def predicted(fit: BpmfFit, states: Floats, rows: IntArray, movies: IntArray) -> FloatArray:
    """Returns `[n]` stars of pairs, not clipped.

    Args:
      fit: the factorisation.
      states: `[states, draws, 1 + rank]` of users.
      rows: `[n]` rows of the states.
      movies: `[n]` rows of the movies.
    """
    found = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        pairs = slice(start, start + _PAIRS_AT_ONCE)
        own = states[rows[pairs]].transpose(1, 0, 2)
        drawn = fit.draws.movies[:, movies[pairs]]
        stars = drawn[..., 0] + own[..., 0] + (drawn[..., 1:] * own[..., 1:]).sum(axis=2)
        found[pairs] = fit.mean + stars.mean(axis=0)
    return found


@dataclasses.dataclass(frozen=True)
class Parts:
    """The part of users' histories before some rows; events of the row's second are left out.

    Attributes:
      owner: `[parts]` rows of the users.
      end: `[parts]` where the part ends among the interactions.
      part: `[rows]` the part of each row.
    """

    owner: IntArray
    end: IntArray
    part: IntArray


def parts_of(held: Interactions, users: IntArray, times: IntArray) -> Parts:
    """Returns the parts of histories before rows.

    Args:
      held: the histories.
      users: `[rows]` the user of each row.
      times: `[rows]` unix seconds.
    """
    starts, ends = held.offsets[users], held.offsets[users + 1]
    before = [
        start + np.searchsorted(held.timestamp[start:end], time)
        for start, end, time in zip(starts, ends, times, strict=True)
    ]
    keys, part = np.unique(users * (len(held) + 1) + np.array(before), return_inverse=True)
    return Parts(keys // (len(held) + 1), keys % (len(held) + 1), part)


def latest_of(
    held: Interactions, parts: Parts, times: IntArray, count: int
) -> tuple[IntArray, FloatArray]:
    """Returns `[rows, count]` places of the latest events of each row's session and the seconds
    since; infinitely many where there is none."""
    ends, starts = parts.end[parts.part], held.offsets[parts.owner[parts.part]]
    places = ends[:, np.newaxis] - np.arange(1, count + 1)
    there = places >= starts[:, np.newaxis]
    places = np.maximum(places, 0)
    since = times[:, np.newaxis] - held.timestamp[places]
    gaps = np.diff(since, axis=1, prepend=0)
    in_session = np.logical_and.accumulate(there & (gaps <= SESSION_GAP_SECONDS), axis=1)
    return places, np.where(in_session, since, np.inf)


def rmse(stars: FloatArray, ratings: FloatArray) -> float:
    """Returns the root of the mean squared error of predictions, clipped to the scale."""
    return float(np.sqrt(np.mean((np.clip(stars, *RATING_SCALE) - ratings) ** 2)))


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is to be predicted, by rows of what was fitted.

    Attributes:
      users: `[rows]` of the users, all of whom have fitted ratings.
      movies: `[rows]`.
      times: `[rows]` unix seconds.
      ratings: `[rows]` stars.
    """

    users: IntArray
    movies: IntArray
    times: IntArray
    ratings: FloatArray


def rows_to_predict(task: Task, fitted: TrainingData) -> Rows:
    """Returns the target lines of users who have fitted ratings."""
    loaded = task.data
    users = np.array(rows_of(fitted.users.ids.tolist(), loaded.user_ids.tolist()))
    movies = np.array(rows_of(fitted.catalogue.ids.tolist(), loaded.movie_ids.tolist()))
    lines = task.targets[users[loaded.users[task.targets]] >= 0]
    return Rows(
        users[loaded.users[lines]],
        movies[loaded.movies[lines]],
        loaded.timestamps[lines],
        loaded.ratings[lines],
    )


def measure(
    fitted: TrainingData,
    rows: Rows,
    config: BpmfConfig,
    lines: Mapping[str, Line],
    seeds: Sequence[int],
) -> Iterator[str]:
    """Yields the lines of the table of parts."""
    from trainer.rating.rating_bpmf import observed_ratings, states_of_all

    observed, features = observed_ratings(fitted, config)
    yield "| line | RMSE of a chain | RMSE of the mean of chains | CPU s of a chain |"
    yield "|---" * 4 + "|"
    for name, line in lines.items():
        changed = dataclasses.replace(config, **line.values)
        found, started = [], time.process_time()
        for seed in seeds:
            fit = chain(observed, features, changed, seed, line.left_out)
            found.append(predicted(fit, states_of_all(fit, fitted), rows.users, rows.movies))
        seconds = (time.process_time() - started) / len(seeds)
        each = np.mean([rmse(stars, rows.ratings) for stars in found])
        together = rmse(np.mean(found, axis=0), rows.ratings)
        yield f"| {name} | {each:.4f} | {together:.4f} | {seconds:.0f} |"


def measure_in_session(
    fitted: TrainingData, rows: Rows, config: TrainerConfig, seed: int
) -> Iterator[str]:
    """Yields the lines of the table of ratings in a session."""
    from trainer.rating.posterior import user_states
    from trainer.rating.rating_bpmf import fit_bpmf, observed_ratings, states_of_all
    from trainer.rating.side_information import UserHistories

    held, bpmf = fitted.interactions, config.bpmf
    observed, features = observed_ratings(fitted, bpmf)
    fit = fit_bpmf(fitted, bpmf, seed)
    parts = parts_of(held, rows.users, rows.times)
    starts = held.offsets[parts.owner]
    places = np.concatenate([np.arange(*each) for each in zip(starts, parts.end, strict=True)])
    histories = UserHistories(np.append(0, np.cumsum(parts.end - starts)), held.movie_row[places])
    profiles = observed.user_known[parts.owner, features.width :].astype(np.float32)
    states = user_states(fit, histories, held.rating[places], profiles)
    latest, since = latest_of(held, parts, rows.times, config.model.recency_events)
    weights = np.exp(-since / bpmf.session_seconds)
    flat = np.repeat(parts.part, latest.shape[1]), held.movie_row[latest].reshape(-1)
    residuals = held.rating[latest] - predicted(fit, states, *flat).reshape(latest.shape)
    shift = (weights * residuals).sum(axis=1) / (weights.sum(axis=1) + bpmf.session_shrinkage)
    everything = predicted(fit, states_of_all(fit, fitted), rows.users, rows.movies)
    hidden = predicted(fit, states, parts.part, rows.movies)
    yield "| line | RMSE in session |"
    yield "|---" * 2 + "|"
    yield f"| later ratings not hidden | {rmse(everything, rows.ratings):.4f} |"
    yield f"| hidden | {rmse(hidden, rows.ratings):.4f} |"
    yield f"| and the session's mean residual | {rmse(hidden + shift, rows.ratings):.4f} |"


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
    parser.add_argument(
        "--in-session", action="store_true", help="ratings in a session, by the first seed"
    )
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
        used = options.seeds[:1] if options.in_session else options.seeds
        seeds = ", ".join(map(str, used))
        print(f"{options.dataset}, {options.split} split, validation, seeds {seeds}")
        task = task_of(loaded, options.split)
        from benchmarks.compare import ours

        with tempfile.TemporaryDirectory() as records:
            fitted = ours.training_data(task, Path(records), task.fit)
        rows = rows_to_predict(task, fitted)
        table = measure(fitted, rows, config.bpmf, lines, options.seeds)
        if options.in_session:
            table = measure_in_session(fitted, rows, config, options.seeds[0])
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
