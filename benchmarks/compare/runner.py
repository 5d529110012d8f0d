"""Chooses each method's values on validation and measures it on test, once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.compare import protocols
from benchmarks.compare.cache import Cache, Record
from benchmarks.compare.data import ML_1M, Data, Task
from benchmarks.compare.methods import Method, Params, measure
from benchmarks.compare.protocols import Split
from components.names import TEST, VALIDATION
from sources.names import ML_100K

MAIN_SEED, OTHER_SEED = 42, 7
NEW_USER_FOLDS, NEW_USER_FOLDS_1M = 5, 2
TIMELINE_SHARES = (0.6, 0.7, 0.8)
"""Shares of all ratings after which the tests by global time begin: one T alone proves little."""

SEQUENCE = "sequence"
"""Ours with its sequence block, which is no baseline: shown beside ours in a session only."""

ONLY_ON: Mapping[str, str] = {SEQUENCE: protocols.PIPELINE_NAMES["leave-one-out"]}
"""The only split that a method is measured on."""

_BY_TIME, _NEW_USERS, _OTHERS, _LAST = range(1, 5)

OnProgress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of the comparison.

    Attributes:
      main: the random split that choices are made on.
      others: random splits nobody made a choice on.
      by_time: splits by time, each with choices of its own.
      folds: the official ones, for ratings.
      new_users: folds of users who are held out of the fit.
    """

    main: Split
    others: tuple[Split, ...]
    by_time: tuple[Split, ...]
    folds: tuple[Split, ...]
    new_users: tuple[Split, ...]


def splits_of(data: Data, folds: Sequence[int] = protocols.FOLDS) -> Splits:
    """Returns the splits of a data set."""
    if data.name == ML_1M:
        return Splits(
            main=protocols.pipeline_split(data, "random"),
            others=(),
            by_time=(
                *(protocols.timeline_split(data, share) for share in TIMELINE_SHARES),
                protocols.pipeline_split(data, "leave-one-out"),
            ),
            folds=(),
            new_users=_new_users(data, NEW_USER_FOLDS_1M),
        )
    rows = len(data.users)
    return Splits(
        main=protocols.random_split(rows, MAIN_SEED),
        others=(protocols.random_split(rows, OTHER_SEED),),
        by_time=(protocols.pipeline_split(data, "temporal"),),
        folds=tuple(protocols.official_fold(rows, fold) for fold in folds),
        new_users=_new_users(data, NEW_USER_FOLDS),
    )


def _new_users(data: Data, folds: int) -> tuple[Split, ...]:
    return tuple(protocols.new_user_fold(data, fold, folds) for fold in range(1, folds + 1))


@dataclasses.dataclass(frozen=True)
class Step:
    """A measurement on test.

    Attributes:
      split: whose test is measured.
      chosen_on: the split whose validation chose the values.
      seed: put into the values; None: the method has no seed.
      rank: measurements of a lower rank come first, whatever the method.
    """

    split: Split
    chosen_on: Split
    seed: int | None
    rank: int = 0


class Runner:
    """Measures methods, or finds what was measured before.

    Args:
      data: the data set.
      splits: its splits.
      cache: of measurements.
      quick: use each method's `quick` values and choose nothing.
    """

    def __init__(self, data: Data, splits: Splits, cache: Cache, quick: bool = False) -> None:
        self.data = data
        self.splits = splits
        self._cache = cache
        self._quick = quick

    def steps(self, method: Method) -> list[Step]:
        """Returns what a method is measured on, by its kind.

        The first split is measured with every seed; on MovieLens-100K, where a fit takes a
        minute, splits by time as well; everything else with the first seed.
        """
        if self.data.name not in method.datasets:
            return []
        main = self.splits.main
        first, *further = method.seeds or (None,)
        of_new = [Step(fold, main, first, _NEW_USERS) for fold in self.splits.new_users]
        if method.new_users is None:
            return of_new
        steps = [Step(main, main, first), *(Step(main, main, seed, _LAST) for seed in further)]
        if method.only_main:
            return steps
        if method.kind != "rating":
            for split in self.splits.by_time:
                steps.append(Step(split, split, first, _rank_by_time(split)))
                if self.data.name == ML_100K:
                    steps += [Step(split, split, seed, _LAST) for seed in further]
        if method.new_users:
            steps += of_new
        steps += [Step(other, main, first, _OTHERS) for other in self.splits.others]
        if method.kind != "retrieval":
            steps += [Step(fold, main, first, _OTHERS) for fold in self.splits.folds]
        only = ONLY_ON.get(method.name)
        if only is not None:
            steps = [step for step in steps if step.split.name == only]
        return sorted(steps, key=lambda step: step.rank)

    def grid(self, method: Method) -> tuple[Params, ...]:
        """Returns the values that are tried."""
        return (method.quick,) if self._quick else method.grid_of(self.data.name)

    def size(self, method: Method) -> int:
        """Returns the number of measurements that `run` makes."""
        steps = self.steps(method)
        tried = len(self.grid(method))
        choices = len({step.chosen_on.name for step in steps}) if tried > 1 else 0
        return len(steps) + choices * tried

    def run(self, methods: Sequence[Method], on_progress: OnProgress) -> None:
        """Measures everything about some methods, what matters most of all of them first.

        Args:
          methods: the methods.
          on_progress: called after each measurement with what it was.
        """
        choices: dict[tuple[str, str], Params] = {}
        planned = [(method, step) for method in methods for step in self.steps(method)]
        for method, step in sorted(planned, key=lambda one: one[1].rank):
            key = (method.name, step.chosen_on.name)
            if key not in choices:
                choices[key] = self._choose(method, step.chosen_on, on_progress)
            params = dict(choices[key])
            if step.seed is not None:
                params["seed"] = step.seed
            self._measure(method, step.split, TEST, params)
            on_progress(f"{method.title}: test on {step.split.name}")

    def results(self, method: Method) -> Iterator[tuple[Step, Record]]:
        """Yields what was measured on test, as far as it was."""
        for step in self.steps(method):
            chosen = self.chosen(method, step.chosen_on)
            if chosen is None:
                continue
            params = dict(chosen) if step.seed is None else {**chosen, "seed": step.seed}
            record = self._cache.find(method, step.split.name, TEST, params)
            if record is not None:
                yield step, record

    def complete(self, method: Method) -> bool:
        """Returns whether everything about a method has been measured."""
        return len(list(self.results(method))) == len(self.steps(method))

    def chosen(self, method: Method, split: Split) -> Params | None:
        """Returns the best values on a split's validation; None if some are not measured."""
        grid = self.grid(method)
        if len(grid) == 1:
            return grid[0]
        tried = [self._cache.find(method, split.name, VALIDATION, params) for params in grid]
        found = [record for record in tried if record is not None]
        return _best(method, found).params if len(found) == len(tried) else None

    def _choose(self, method: Method, split: Split, on_progress: OnProgress) -> Params:
        grid = self.grid(method)
        if len(grid) == 1:
            return grid[0]
        tried = []
        for number, params in enumerate(grid, start=1):
            tried.append(self._measure(method, split, VALIDATION, params))
            on_progress(f"{method.title}: choice {number} of {len(grid)} on {split.name}")
        return _best(method, tried).params

    def _measure(self, method: Method, split: Split, stage: str, params: Params) -> Record:
        known = self._cache.find(method, split.name, stage, params)
        if known is not None:
            return known
        fit, targets = (
            (split.inner, split.validation) if stage == VALIDATION else (split.train, split.test)
        )
        task = Task(self.data, split, fit, targets)
        started, cpu_started = time.monotonic(), time.process_time()
        measured = measure(task, method.run(task, params))
        metrics = measured.metrics
        seconds = round(time.monotonic() - started, 2)
        cpu_seconds = round(time.process_time() - cpu_started, 2)
        if not np.isfinite(list(metrics.values())).all():
            raise ValueError(f"{method.title} with {dict(params)} gave {metrics} on {split.name}")
        record = Record(
            method.name,
            split.name,
            stage,
            dict(params),
            metrics,
            seconds,
            cpu_seconds,
            measured.sums if stage == TEST else {},
        )
        self._cache.keep(method, record)
        return record


def _rank_by_time(split: Split) -> int:
    return _OTHERS if split.name == protocols.PIPELINE_NAMES["leave-one-out"] else _BY_TIME


def _best(method: Method, records: Sequence[Record]) -> Record:
    name, sign = method.criterion
    return max(records, key=lambda record: sign * record.metrics[name])
