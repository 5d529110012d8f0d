"""The user's own blessing thresholds, from a TOML file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from components.evaluation.config import Thresholds
from components.evaluation.directions import CHANGES, HIGH, LOW, LOWER_IS_BETTER
from components.evaluation.metrics import METRIC_NAMES, OVER_POPULARITY
from components.names import SplitMethod
from schema.features import FeatureTable
from schema.scenarios import SCENARIOS, Scenario, metric_name
from sources.errors import InputError
from sources.files import read_toml
from trainer.settings import one_of

CHANGE_TABLE = "change"
"""The table of how much worse than the latest blessed model a metric may be."""

_LONGEST = 300
"""Characters of names that a message lists."""

_RATING = "_rating_"
_R_SQUARED = "_rating_r_squared"


def own_thresholds(
    path: Path, shipped: Thresholds, split: SplitMethod, features: FeatureTable
) -> Thresholds:
    """Returns the shipped thresholds with those of a file in place of them.

    The file has a line `metric = bound` for each metric, by its name in `summary.json`, and in
    the table `[change]` one for each difference from the latest blessed model. `false` switches a
    threshold off.

    Args:
      path: the file.
      shipped: the thresholds of the metrics that the file does not name.
      split: split method of the run.
      features: of the data.

    Raises:
      InputError: the file cannot be read, or a name or bound in it is wrong.
    """
    bounds, worsening = read_thresholds(path)
    for name in (*bounds, *worsening):
        _check_measured(path, name, split, features)
    return dataclasses.replace(shipped, own_bounds=_pairs(bounds), own_worsening=_pairs(worsening))


def read_thresholds(path: Path) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Returns the bounds of metrics and of changes in a file, checked without the data.

    Raises:
      InputError: the file cannot be read, or a name or bound in it is wrong.
    """
    bounds = read_toml(path)
    worsening = bounds.pop(CHANGE_TABLE, {})
    if not isinstance(worsening, Mapping):
        raise _refused(path, f"{CHANGE_TABLE} is no table", "[change] and below it metric = bound")
    for name, bound in bounds.items():
        if isinstance(bound, Mapping):
            raise _refused(path, f"no table [{name[:80]}]", f"[{CHANGE_TABLE}]", f"[{name}]")
        _check_name(path, name, bounded_metrics(), "")
        _check_bound(path, name, bound)
    for name, bound in worsening.items():
        _check_name(path, name, CHANGES, f"[{CHANGE_TABLE}] ")
        if bound is not False and not (_is_number(bound) and bound >= 0):
            raise _refused(
                path, f"[{CHANGE_TABLE}] {name} cannot be {bound!r}", "0 or more, or false", bound
            )
    return bounds, worsening


def bounded_metrics() -> tuple[str, ...]:
    """Returns the names of the metrics that can have a bound, in the order of `summary.json`.

    Counts and biases have no direction, and no model changes what popularity reaches. Of what is
    better when lower, an end of the interval has no bound either.
    """
    return tuple(
        name
        for name in METRIC_NAMES
        if any(name.startswith(metric_name(scenario, "")) for scenario in SCENARIOS)
        and "bias" not in name
        and "_popularity_" not in name.replace(OVER_POPULARITY, "")
        and name.removesuffix(LOW).removesuffix(HIGH) not in LOWER_IS_BETTER - {name}
    )


def describe(thresholds: Thresholds) -> str:
    """Returns the user's own thresholds in words."""
    parts = [
        f"{name} off"
        if bound is None
        else f"{name} {'at most' if name in LOWER_IS_BETTER else 'at least'} {bound:g}"
        for name, bound in thresholds.own_bounds
    ]
    parts += [
        f"change of {name} " + ("off" if bound is None else f"up to {bound:g} worse")
        for name, bound in thresholds.own_worsening
    ]
    return ", ".join(parts) or "none"


def _pairs(values: Mapping[str, object]) -> tuple[tuple[str, float | None], ...]:
    return tuple(
        (name, None if value is False else float(value))  # type: ignore[arg-type]  # a number: checked
        for name, value in sorted(values.items())
    )


def _check_name(path: Path, name: str, known: tuple[str, ...], table: str) -> None:
    if name not in known:
        near = one_of(name, known)
        raise _refused(
            path,
            f"no metric {table}{name[:80]} that can have a bound",
            near if len(near) <= _LONGEST else f"a metric of summary.json, such as {known[0]}",
            name,
        )


def _check_bound(path: Path, name: str, bound: object) -> None:
    if name in LOWER_IS_BETTER:
        expected, fits = "0 or more", lambda value: value >= 0
    elif _R_SQUARED in name:
        expected, fits = "below 1", lambda value: value < 1
    elif OVER_POPULARITY in name:
        expected, fits = "from -1 to 1", lambda value: -1 <= value <= 1
    else:
        expected, fits = "a share from 0 to 1", lambda value: 0 <= value <= 1
    if bound is not False and not (_is_number(bound) and fits(bound)):
        raise _refused(path, f"{name} cannot be {bound!r}", f"{expected}, or false", bound)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_measured(path: Path, name: str, split: SplitMethod, features: FeatureTable) -> None:
    """Refuses a bound on a metric that this run lacks, or that its split does not allow."""
    scenario = _scenario_of(name)
    if split not in scenario.splits:
        raise _refused(
            path,
            f"{name} cannot have a bound on --split {split}",
            f"--split {' or '.join(scenario.splits)}",
            f"--split {split}",
        )
    if _RATING in name and not features.has_rating:
        raise _refused(path, f"{name} is not measured: this data has no ratings", "other metrics")


def _scenario_of(name: str) -> Scenario:
    return next(one for one in SCENARIOS if name.startswith(metric_name(one, "")))


def _refused(path: Path, problem: str, expected: str, found: object = None) -> InputError:
    return InputError(
        problem,
        file=str(path),
        expected=expected,
        found=None if found is None else str(found)[:80],
        action="correct the file; docs/guides/own-data.md shows one",
    )
