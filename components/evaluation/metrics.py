"""The metrics of a recommender by scenario, computed by TFMA from sums per user.

The evaluation signature returns predictions per row and scenario (`schema.predictions`). Every
metric is a function of sums over users' rows, so one accumulator serves all metrics and their
bootstrap intervals. Metrics are derived once per slice, when the sums are complete.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow_model_analysis as tfma

from components.evaluation.directions import (
    CHANGE,
    CHANGES,
    HIGH,
    LEAK_CHECKED_ROWS,
    LEAKING_ROWS,
    LOW,
    MIN_USERS,
)
from metrics import bootstrap, lists, ranking, rating
from schema import features
from schema.export_contract import EVALUATION_SIGNATURE
from schema.predictions import (
    CATALOGUE_SIZE,
    KNOWN_USER,
    LIST_LENGTH,
    MOVIE_POPULARITY,
    MOVIES_LEFT,
    NO_ITEM,
    POPULARITY_RANK,
    UNKNOWN_RANK,
    USER_KEY,
    items_of,
    items_popularity_of,
    outputs_in,
    rank_of,
    rating_of,
)
from schema.scenarios import IN_SESSION, NEXT_VISIT, SCENARIOS, Scenario, metric_name

TOP_KS: tuple[int, ...] = (1, 5, 10, 50, 100)
"""The cut-offs of `recall_at_k`."""

POPULARITY_KS: tuple[int, ...] = (10, 100)
"""The cut-offs at which the model is compared with popularity."""

EXAMPLE_COUNT, USER_COUNT = "example_count", "user_count"

MOVIES_TO_RANK = "movies_to_rank"
"""The length of the longest filtered list: recall at that k and beyond is 1 of any model."""

ALMOST_ZERO = sys.float_info.min
"""What TFMA receives for a metric of exactly 0; readers turn it back into 0.

TFMA divides by the baseline's value even for absolute change thresholds, so a baseline of 0 would
make every later change NaN. Thresholds are wider by `ROUNDING`, so the value passes a bound of 0.
"""

ROUNDING = 1e-9
"""Tolerance of thresholds for rounding.

Metrics are quotients of double sums: n additions are off by n·ε of the sum at most (Higham
2002, 4.2), which is 1e-9 for four million test rows. A bound given in decimals and the
difference of two metrics are rounded too: 0.16 - 0.17 is below -0.01.
"""

OVER_POPULARITY = "_over_popularity"
"""Suffix of differences between the model and popularity."""

Scale: TypeAlias = tuple[float, float]

MOVIELENS_SCALE: Scale = (features.RATING_MIN, features.RATING_MAX)
"""Least and greatest rating where a configuration names no others."""

_BINS = 10
"""Bins of half a star, as many as five stars from 0 on have; of a wider scale the last holds the
rest."""


def _ratios_of(scenario: Scenario) -> tuple[str, ...]:
    """Returns a scenario's metrics that are quotients of sums; each has an interval."""
    of_lists = (
        *(f"recall_at_{k}" for k in TOP_KS),
        "mrr",
        *(
            [f"user_recall_at_{LIST_LENGTH}", f"user_ndcg_at_{LIST_LENGTH}"]
            if scenario.one_list_per_user
            else []
        ),
        f"popularity_bias_at_{LIST_LENGTH}",
    )
    of_ratings = ("rating_rmse", "rating_mae", "rating_r_squared", "rating_bias")
    return tuple(metric_name(scenario, metric) for metric in (*of_lists, *of_ratings))


_POPULARITY: tuple[str, ...] = tuple(
    metric_name(NEXT_VISIT, metric)
    for metric in (
        *(f"popularity_recall_at_{k}" for k in POPULARITY_KS),
        f"popularity_user_ndcg_at_{LIST_LENGTH}",
        *(f"recall_at_{k}{OVER_POPULARITY}" for k in POPULARITY_KS),
    )
)

RATIOS: tuple[str, ...] = (
    *(name for scenario in SCENARIOS for name in _ratios_of(scenario)),
    *_POPULARITY,
)
"""The metrics that have an interval: `<name>_low` and `<name>_high`."""

_WITHOUT_INTERVAL = (f"coverage_at_{LIST_LENGTH}", "rating_calibration_error")


def _names() -> tuple[str, ...]:
    found: list[str] = [EXAMPLE_COUNT, USER_COUNT, MOVIES_TO_RANK]
    for scenario in SCENARIOS:
        ratios = _ratios_of(scenario) + (_POPULARITY if scenario is NEXT_VISIT else ())
        found += [name + end for name in ratios for end in ("", LOW, HIGH)]
        found += [metric_name(scenario, metric) for metric in _WITHOUT_INTERVAL]
    return (*found, LEAK_CHECKED_ROWS, LEAKING_ROWS)


METRIC_NAMES: tuple[str, ...] = _names()
"""Every metric of `RecommenderMetrics`, in the order in which they are shown.

Names begin with the scenario (`schema.scenarios`). Ranks and lists are filtered: without the movies
that the user rated in the fitted splits. Rows of users without fitted ratings are in no metric and
not in `example_count` and `user_count`.

- `recall_at_k`: share of test rows whose movie is among the first k. `mrr`: mean of 1 / rank.
- `user_recall_at_10`: mean over users of hits / min(10, test rows). `user_ndcg_at_10`: mean over
  users of DCG@10 over that of the best order (Järvelin & Kekäläinen 2002). Both only where a user
  has one list.
- `coverage_at_10`: share of the catalogue that is in somebody's first ten.
- `popularity_bias_at_10`: how much more popular the first ten are than the users' test movies
  (`metrics.lists.popularity_bias`).
- `rating_rmse`, `rating_mae`, `rating_bias` (predicted minus given) and
  `rating_calibration_error`: in stars, predictions clipped to the scale. `rating_r_squared`: share
  of the ratings' variance explained; undefined (NaN) where all ratings are the same.
- `popularity_...`: of recommending the most popular movies; `recall_at_k_over_popularity`: the
  difference, with a paired interval.
- `leaking_rows`: how many of a sample of `leak_checked_rows` have an output that depends on the
  movie to be predicted (`components.evaluation.leak_check`); on the overall slice only.
- `movies_to_rank`: how many movies the longest filtered list has.
- `_low`, `_high`: 95 % interval by a bootstrap over users; NaN below `MIN_USERS` users, except for
  the differences to popularity, which have thresholds.
"""

CHANGE_NAMES: tuple[str, ...] = tuple(
    name + CHANGE + end for name in CHANGES for end in ("", LOW, HIGH)
)
"""Differences of a candidate's metrics from the baseline's, and the ends of their paired 95 %
intervals. The baseline's own are 0, so that TFMA's change threshold, which compares a candidate's
value with the baseline's, applies to the end of an interval."""


def measured(names: Sequence[str], *, with_ratings: bool, with_times: bool) -> tuple[str, ...]:
    """Returns those names of metrics that exist on data with or without ratings and times.

    >>> measured(["next_visit_mrr", "next_visit_rating_rmse", "in_session_mrr"],
    ...          with_ratings=False, with_times=False)
    ('next_visit_mrr',)
    """
    return tuple(
        name
        for name in names
        if (with_ratings or "_rating_" not in name)
        and (with_times or not name.startswith(metric_name(IN_SESSION, "")))
    )


Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]


def _columns() -> tuple[str, ...]:
    found = ["rows", "ratings", "squared_ratings", MOVIE_POPULARITY]
    found += [*(f"{POPULARITY_RANK}/hits_{k}" for k in POPULARITY_KS), f"{POPULARITY_RANK}/gains"]
    for scenario in SCENARIOS:
        found += [f"{scenario.name}/{name}" for name in _sums_in_scenario()]
    return tuple(found)


def _sums_in_scenario() -> tuple[str, ...]:
    return (
        *(f"hits_{k}" for k in TOP_KS),
        "reciprocals",
        "gains",
        "items_popularity",
        "squared_errors",
        "absolute_errors",
        *(f"errors_{number}" for number in range(_BINS)),
    )


COLUMNS: tuple[str, ...] = _columns()
"""The columns that are summed over each user's rows."""


@dataclasses.dataclass(frozen=True)
class Sums:
    """The sums that metrics are derived from.

    Attributes:
      users: `[users]` int64, ascending.
      by_user: `[users, COLUMNS]` sums over each user's rows.
      recommended: per scenario, ascending catalogue rows that are in any user's list.
      movies: number of movies in the catalogue; 0 if there was no row.
      movies_left: length of the longest filtered list.
      checked: number of rows in the leak check's sample.
      moved: number of those with an output that changed.
    """

    users: Ints
    by_user: Floats
    recommended: tuple[Ints, ...]
    movies: int
    movies_left: int = 0
    checked: int = 0
    moved: int = 0


@dataclasses.dataclass(frozen=True)
class InScenario:
    """Predictions for some rows in one scenario.

    Attributes:
      ranks: ranks of the true movie, `[rows]`.
      ratings: predicted ratings in stars, `[rows]`, not yet clipped.
      items: first rows of the filtered list, `[rows, LIST_LENGTH]`, `NO_ITEM` where it is shorter.
      items_popularity: mean training ratings of those, `[rows]`.
    """

    ranks: Floats
    ratings: Floats
    items: Ints
    items_popularity: Floats


@dataclasses.dataclass(frozen=True)
class Rows:
    """Predictions and true values of some rows.

    Attributes:
      users: a number for each user, `[rows]`.
      ratings: true ratings in stars, `[rows]`.
      scenarios: the predictions, in the order of `SCENARIOS`.
      popularity_ranks: ranks of the true movie by popularity, `[rows]`.
      movie_popularity: its training ratings, `[rows]`.
      movies: number of movies in the catalogue.
      movies_left: length of the longest filtered list.
    """

    users: Ints
    ratings: Floats
    scenarios: tuple[InScenario, ...]
    popularity_ranks: Floats
    movie_popularity: Floats
    movies: int
    movies_left: int = 0

    def __post_init__(self) -> None:
        columns = {
            USER_KEY: self.users,
            "ratings": self.ratings,
            POPULARITY_RANK: self.popularity_ranks,
            MOVIE_POPULARITY: self.movie_popularity,
        }
        ranks = {POPULARITY_RANK: self.popularity_ranks}
        for scenario, found in zip(SCENARIOS, self.scenarios, strict=True):
            ranks[rank_of(scenario)] = found.ranks
            columns[rank_of(scenario)] = found.ranks
            columns[rating_of(scenario)] = found.ratings
            columns[items_popularity_of(scenario)] = found.items_popularity
            if found.items.shape != (self.users.size, LIST_LENGTH):
                raise ValueError(
                    f"expected {items_of(scenario)} of shape {(self.users.size, LIST_LENGTH)}, "
                    f"received {found.items.shape}"
                )
        sizes = {name: values.shape for name, values in columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"expected one value per row in each column, received shapes {sizes}")
        for name, values in ranks.items():
            wrong = values[(values < 1) & (values != UNKNOWN_RANK)]
            if wrong.size:
                raise ValueError(
                    f"{name} must be 1 or more, or {UNKNOWN_RANK} for an unknown movie, "
                    f"received {wrong[0]:g}"
                )


def zero_sums() -> Sums:
    """Returns the sums over no rows."""
    nothing = np.zeros(0, np.int64)
    return Sums(nothing, np.zeros([0, len(COLUMNS)]), (nothing,) * len(SCENARIOS), 0)


def sum_rows(rows: Rows, scale: Scale = MOVIELENS_SCALE) -> Sums:
    """Returns the sums over `rows`, with predicted ratings clipped to the scale as in serving."""
    columns = [np.ones(rows.ratings.size), rows.ratings, rows.ratings**2, rows.movie_popularity]
    columns += [ranking.hits(rows.popularity_ranks, k).astype(np.float64) for k in POPULARITY_KS]
    columns.append(ranking.discounted_gains(rows.popularity_ranks, LIST_LENGTH))
    for found in rows.scenarios:
        columns += _scenario_columns(found, rows.ratings, scale)
    users, by_user = _by_user(rows.users, np.stack(columns, axis=1))
    recommended = tuple(
        np.setdiff1d(found.items, [NO_ITEM]).astype(np.int64) for found in rows.scenarios
    )
    return Sums(users, by_user, recommended, rows.movies, rows.movies_left)


def _scenario_columns(found: InScenario, ratings: Floats, scale: Scale) -> list[Floats]:
    """Returns `_sums_in_scenario` of each row, `[rows]` each."""
    predicted = rating.clip(found.ratings, scale)
    errors = predicted - ratings
    in_bin = np.minimum(rating.bins(predicted, scale), _BINS - 1)
    return [
        *(ranking.hits(found.ranks, k).astype(np.float64) for k in TOP_KS),
        ranking.reciprocal_ranks(found.ranks),
        ranking.discounted_gains(found.ranks, LIST_LENGTH),
        found.items_popularity,
        errors**2,
        np.abs(errors),
        *(np.where(in_bin == number, errors, 0.0) for number in range(_BINS)),
    ]


def add_sums(several: Iterable[Sums]) -> Sums:
    """Returns the total of several sums."""
    parts = [zero_sums(), *several]
    users, by_user = _by_user(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.by_user for part in parts]),
    )
    recommended = tuple(
        np.unique(np.concatenate(items))
        for items in zip(*(part.recommended for part in parts), strict=True)
    )
    return Sums(
        users,
        by_user,
        recommended,
        movies=max(part.movies for part in parts),
        movies_left=max(part.movies_left for part in parts),
        checked=sum(part.checked for part in parts),
        moved=sum(part.moved for part in parts),
    )


def _by_user(users: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Adds up `[rows, columns]` values by user."""
    if not users.size:
        return users, values
    order = np.argsort(users, kind="stable")
    ordered = users[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


def metrics_from_sums(sums: Sums) -> dict[str, float]:
    """Returns the metrics by name.

    Args:
      sums: sums over some rows.

    Returns:
      `METRIC_NAMES` to values; NaN for what is undefined, and for all but counts without rows.
    """
    found = dict.fromkeys(METRIC_NAMES, float("nan"))
    found |= {EXAMPLE_COUNT: 0.0, USER_COUNT: float(len(sums.users))}
    found[MOVIES_TO_RANK] = float(sums.movies_left)
    found |= {LEAK_CHECKED_ROWS: float(sums.checked), LEAKING_ROWS: float(sums.moved)}
    if not len(sums.users):
        return found
    by_user = _with_means(sums.by_user)
    total = by_user.sum(axis=0, keepdims=True)
    found[EXAMPLE_COUNT] = float(total[0, 0])
    for name, values in _ratios(total).items():
        found[name] = float(values[0])
    for name, values in drawn_ratios(sums).items():
        # A threshold applies to the difference on any data.
        if len(sums.users) >= MIN_USERS or name.endswith(OVER_POPULARITY):
            found[name + LOW], found[name + HIGH] = bootstrap.interval(values)
    for scenario, recommended in zip(SCENARIOS, sums.recommended, strict=True):
        coverage = lists.coverage(recommended, sums.movies)
        found[metric_name(scenario, f"coverage_at_{LIST_LENGTH}")] = coverage
        calibration = rating.calibration_error_from_sums(_errors(total, scenario), total[:, 0])
        found[metric_name(scenario, "rating_calibration_error")] = float(calibration[0])
    return found


def changes_from_sums(candidate: Sums, baseline: Sums) -> dict[str, float]:
    """Returns the differences of a candidate's metrics from a baseline's.

    Both are resampled with the same users, so the intervals are paired.

    Args:
      candidate: sums over some rows.
      baseline: of the other model over the same rows.

    Returns:
      `CHANGE_NAMES` to values; NaN if there was no row.

    Raises:
      ValueError: the models were evaluated on different users.
    """
    if not np.array_equal(candidate.users, baseline.users):
        raise ValueError(
            "expected the same users of candidate and baseline, received "
            f"{len(candidate.users)} and {len(baseline.users)}"
        )
    if not len(candidate.users):
        return dict.fromkeys(CHANGE_NAMES, float("nan"))
    first, second = (
        _ratios(_with_means(sums.by_user).sum(axis=0, keepdims=True))
        for sums in (candidate, baseline)
    )
    drawn, other = drawn_ratios(candidate), drawn_ratios(baseline)
    found: dict[str, float] = {}
    for name in CHANGES:
        found[name + CHANGE] = float(first[name][0] - second[name][0])
        low, high = bootstrap.interval(drawn[name] - other[name])
        found[name + CHANGE + LOW], found[name + CHANGE + HIGH] = low, high
    return found


def drawn_ratios(sums: Sums) -> dict[str, Floats]:
    """Returns each of `RATIOS` on `[bootstrap.DRAWS]` resamples of the users.

    Sums over the same users give the same resamples, so models can be compared on each of them.
    """
    return _ratios(bootstrap.drawn_sums(_with_means(sums.by_user)))


def _means() -> tuple[str, ...]:
    return (
        "users",
        f"mean/{MOVIE_POPULARITY}",
        f"mean/{POPULARITY_RANK}/ndcg",
        *(
            f"mean/{scenario.name}/{name}"
            for scenario in SCENARIOS
            for name in ("recall", "ndcg", "items_popularity")
        ),
    )


_PLACE: Mapping[str, int] = {name: place for place, name in enumerate((*COLUMNS, *_means()))}
"""Column of each sum and, behind the sums, of each mean over users."""


def _with_means(by_user: Floats) -> Floats:
    """Appends each user's own means to `[users, COLUMNS]`."""
    rows = by_user[:, 0]

    def of(name: str) -> Floats:
        column: Floats = by_user[:, _PLACE[name]]
        return column

    findable = np.minimum(rows, LIST_LENGTH)
    ideal = ranking.ideal_gains(rows.astype(np.int64), LIST_LENGTH)
    means = [
        np.ones(len(rows)),
        of(MOVIE_POPULARITY) / rows,
        of(f"{POPULARITY_RANK}/gains") / ideal,
    ]
    for scenario in SCENARIOS:
        name = scenario.name
        means += [
            of(f"{name}/hits_{LIST_LENGTH}") / findable,
            of(f"{name}/gains") / ideal,
            of(f"{name}/items_popularity") / rows,
        ]
    return np.concatenate([by_user, np.stack(means, axis=1)], axis=1)


def _ratios(sums: Floats) -> dict[str, Floats]:
    """Returns `RATIOS` of each of `[sets, columns]` sums over users."""

    def of(name: str) -> Floats:
        column: Floats = sums[:, _PLACE[name]]
        return column

    rows, users = of("rows"), of("users")
    found: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for scenario in SCENARIOS:
            name = scenario.name
            squared = of(f"{name}/squared_errors")
            in_scenario = {
                **{f"recall_at_{k}": of(f"{name}/hits_{k}") / rows for k in TOP_KS},
                "mrr": of(f"{name}/reciprocals") / rows,
                f"user_recall_at_{LIST_LENGTH}": of(f"mean/{name}/recall") / users,
                f"user_ndcg_at_{LIST_LENGTH}": of(f"mean/{name}/ndcg") / users,
                f"popularity_bias_at_{LIST_LENGTH}": lists.popularity_bias(
                    of(f"mean/{name}/items_popularity"), of(f"mean/{MOVIE_POPULARITY}")
                ),
                "rating_rmse": np.sqrt(squared / rows),
                "rating_mae": of(f"{name}/absolute_errors") / rows,
                "rating_r_squared": rating.r_squared_from_sums(
                    squared, rows, of("ratings"), of("squared_ratings")
                ),
                "rating_bias": np.sum(_errors(sums, scenario), axis=1) / rows,
            }
            found |= {metric_name(scenario, key): value for key, value in in_scenario.items()}
        popular = {k: of(f"{POPULARITY_RANK}/hits_{k}") / rows for k in POPULARITY_KS}
        found |= {
            metric_name(NEXT_VISIT, f"popularity_recall_at_{k}"): value
            for k, value in popular.items()
        }
        ndcg = of(f"mean/{POPULARITY_RANK}/ndcg") / users
        found[metric_name(NEXT_VISIT, f"popularity_user_ndcg_at_{LIST_LENGTH}")] = ndcg
        for k, value in popular.items():
            recall = found[metric_name(NEXT_VISIT, f"recall_at_{k}")]
            found[metric_name(NEXT_VISIT, f"recall_at_{k}{OVER_POPULARITY}")] = recall - value
    return {name: found[name] for name in RATIOS}


def _errors(sums: Floats, scenario: Scenario) -> Floats:
    """Returns `[sets, bins]` sums of predicted minus true rating, by bin of the prediction."""
    first = _PLACE[f"{scenario.name}/errors_0"]
    return sums[:, first : first + _BINS]


class RecommenderMetrics(tfma.metrics.Metric):
    """All of `METRIC_NAMES` from one combiner.

    A TFMA metric class usually yields one metric. This one yields many keys, since every combiner
    costs time in every slice. Thresholds therefore go by metric name into
    `MetricsSpec.per_slice_thresholds` (see `components.evaluation.config`).

    Args:
      swapped: `leak_check.Swapped` as JSON text, which the extractors read from this metric's
        configuration.
      scale: least and greatest rating; nothing of data without ratings.
      times: whether the data has times.
      own: metrics whose thresholds are the user's own, which the verdict reads.
      name: of the metric; the keys have names of their own.
    """

    def __init__(
        self,
        swapped: str = "",
        scale: Sequence[float] = MOVIELENS_SCALE,
        times: bool = True,
        own: Sequence[str] = (),
        name: str = "recommender_metrics",
    ) -> None:
        del swapped, own
        super().__init__(_computations, name=name, scale=list(scale), times=times)


def _computations(
    name: str,
    model_names: list[str] | None = None,
    scale: Sequence[float] = MOVIELENS_SCALE,
    times: bool = True,
) -> list[tfma.metrics.MetricComputation]:
    """Returns one computation for all models; the arguments are those TFMA passes."""
    del name  # the keys carry the metrics' own names
    models = tuple(model_names or [""])
    names = measured(
        METRIC_NAMES + (CHANGE_NAMES if tfma.BASELINE_KEY in models else ()),
        with_ratings=bool(scale),
        with_times=times,
    )
    return [
        tfma.metrics.MetricComputation(
            keys=[_metric_key(metric, model) for model in models for metric in names],
            preprocessors=None,
            combiner=_SumsCombiner(models, names, (scale[0], scale[1]) if scale else None),
        )
    ]


def _metric_key(metric: str, model_name: str) -> tfma.metrics.MetricKey:
    # TFMA looks up thresholds by metric name with example_weighted=None.
    return tfma.metrics.MetricKey(name=metric, model_name=model_name, example_weighted=None)


# Beam has no types: mypy sees a base class of type Any, or not, by version.
class _SumsCombiner(beam.CombineFn):  # type: ignore[misc, unused-ignore]
    """Adds up the `Sums` of each model over inputs that hold one row or many."""

    def __init__(
        self, models: tuple[str, ...], names: tuple[str, ...], scale: Scale | None
    ) -> None:
        self._models = models
        self._names = names
        self._scale = scale

    def create_accumulator(self) -> tuple[Sums, ...]:
        return tuple(zero_sums() for _ in self._models)

    def add_input(
        self, accumulator: tuple[Sums, ...], element: tfma.metrics.StandardMetricInputs
    ) -> tuple[Sums, ...]:
        return tuple(
            add_sums([sums, _sums_of(element, model, self._scale)])
            for model, sums in zip(self._models, accumulator, strict=True)
        )

    def merge_accumulators(self, accumulators: Iterable[tuple[Sums, ...]]) -> tuple[Sums, ...]:
        return tuple(add_sums(parts) for parts in zip(*accumulators, strict=True))

    def extract_output(self, accumulator: tuple[Sums, ...]) -> dict[tfma.metrics.MetricKey, float]:
        by_model = dict(zip(self._models, accumulator, strict=True))
        found: dict[tfma.metrics.MetricKey, float] = {}
        for model, sums in by_model.items():
            values = metrics_from_sums(sums)
            if tfma.BASELINE_KEY in by_model:
                values |= changes_from_sums(sums, by_model[tfma.BASELINE_KEY])
            found |= {_metric_key(name, model): values[name] or ALMOST_ZERO for name in self._names}
        return found


def _sums_of(
    element: tfma.metrics.StandardMetricInputs, model_name: str, scale: Scale | None
) -> Sums:
    """Returns the sums of one metric input of TFMA, which holds rows or a leak check."""
    predictions = element.get_predictions(model_name)
    if isinstance(predictions, Mapping) and LEAKING_ROWS in predictions:
        moved = np.asarray(predictions[LEAKING_ROWS])
        return dataclasses.replace(
            zero_sums(), checked=moved.size, moved=int(np.count_nonzero(moved))
        )
    rows = _to_rows(element, model_name, with_ratings=scale is not None)
    return sum_rows(rows, scale or MOVIELENS_SCALE)


def _to_rows(
    element: tfma.metrics.StandardMetricInputs, model_name: str, *, with_ratings: bool = True
) -> Rows:
    """Returns the rows of known users in a metric input of TFMA.

    Ratings are zeros of data without, and nothing is found in a session of data without times.

    Raises:
      ValueError: an output of the signature or the label is missing.
    """
    # With a baseline, both labels and predictions nest under the model's name.
    predictions = element.get_predictions(model_name)
    label = element.get_labels(model_name)
    if label is None and with_ratings:
        raise ValueError("expected a label on every row to evaluate, received none")
    if not isinstance(predictions, Mapping):
        raise ValueError(f"expected a dict of outputs, received {type(predictions).__name__}")
    present = [one for one in SCENARIOS if one is NEXT_VISIT or rank_of(one) in predictions]
    expected = outputs_in(present, with_ratings=with_ratings)
    missing = set(expected) - {MOVIES_LEFT} - set(predictions)
    if missing:
        raise ValueError(
            f"{EVALUATION_SIGNATURE} must return {sorted(missing)}, received {sorted(predictions)}"
        )
    known = _flat(predictions[KNOWN_USER]) > 0

    nothing = np.zeros(np.count_nonzero(known))

    def column(name: str) -> Floats:
        return _flat(predictions[name])[known]

    def in_scenario(scenario: Scenario) -> InScenario:
        if scenario not in present:
            no_items = np.full([len(nothing), LIST_LENGTH], NO_ITEM, np.int64)
            return InScenario(nothing + UNKNOWN_RANK, nothing, no_items, nothing)
        return InScenario(
            ranks=column(rank_of(scenario)),
            ratings=column(rating_of(scenario)) if with_ratings else nothing,
            items=_whole(predictions[items_of(scenario)]).reshape(-1, LIST_LENGTH)[known],
            items_popularity=column(items_popularity_of(scenario)),
        )

    left = predictions.get(MOVIES_LEFT, predictions[CATALOGUE_SIZE])
    return Rows(
        users=_whole(predictions[USER_KEY]).reshape(-1)[known],
        ratings=_flat(label)[known] if with_ratings else nothing,
        scenarios=tuple(in_scenario(scenario) for scenario in SCENARIOS),
        popularity_ranks=column(POPULARITY_RANK),
        movie_popularity=column(MOVIE_POPULARITY),
        movies=int(np.max(_whole(predictions[CATALOGUE_SIZE]), initial=0)),
        movies_left=int(np.max(_whole(left).reshape(-1)[known], initial=0)),
    )


def _flat(values: npt.ArrayLike) -> Floats:
    """Returns `values` (a scalar, `[rows]` or `[rows, 1]`) as `[rows]` in double precision."""
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _whole(values: npt.ArrayLike) -> Ints:
    return np.asarray(values, dtype=np.int64)
