"""A method of the comparison, its predictions in each scenario, and their metrics.

Metrics are made of sums over each user's rows. The sums are kept, so that two methods can be
compared user by user (`differences.py`) without another fit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import scipy.sparse

from benchmarks.compare import protocols
from benchmarks.compare.data import ML_1M, Data, Dataset, Task, interactions, pairs_of
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray, IntArray
from metrics import ranking, rating
from schema.scenarios import (
    IN_SESSION,
    NAMED_MOVIES,
    NEXT_VISIT,
    SCENARIOS,
    Scenario,
    metric_name,
    new_user,
)

Params = Mapping[str, float | int | str]
Metrics = dict[str, float]
Kind = Literal["retrieval", "rating", "both"]
Sums = Mapping[str, FloatArray]
"""By `lists_of` or `ratings_of` a scenario: `[users, columns]` sums over each user's rows."""

RECALL_10 = metric_name(NEXT_VISIT, "recall_at_10")
RECALL_100 = metric_name(NEXT_VISIT, "recall_at_100")
USER_NDCG = metric_name(NEXT_VISIT, "user_ndcg_at_10")
RMSE = metric_name(NEXT_VISIT, "rating_rmse")
UNFILTERED_10, UNFILTERED_100 = "unfiltered_recall_at_10", "unfiltered_recall_at_100"
"""Of lists that hold the movies that the user has rated as well: the capstone's way."""

MEASURED: tuple[Scenario, ...] = (*SCENARIOS, *map(new_user, NAMED_MOVIES))
"""The scenarios that are measured: the Evaluator's, and those of new users."""

LIST_METRICS: tuple[str, ...] = ("recall_at_10", "recall_at_100", "mrr", "row_ndcg_at_10")
USER_METRICS: tuple[str, ...] = ("user_recall_at_10", "user_ndcg_at_10")
"""Only where all rows of a user are looked for in one list."""
RATING_METRICS = ("rating_rmse", "rating_mae")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A method's predictions in one scenario; None where it makes none.

    Attributes:
      scores: `[users, movies]` where one list serves all of a user's rows.
      ranks: `[targets]` ranks in filtered lists, where it does not.
      ratings: `[targets]` predicted stars, not clipped.
    """

    scores: FloatArray | None = None
    ranks: IntArray | None = None
    ratings: FloatArray | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """A method's predictions of the target lines.

    Attributes:
      next_visit: for queries without a time.
      in_session: for queries at the time of the row.
      new_user: by number of named movies `[users, movies]` scores, where the split has new users.
      unfiltered_ranks: `[targets]` ranks among all movies, of the capstone's models.
      more: further metrics of its own.
    """

    next_visit: Predictions = Predictions()
    in_session: Predictions = Predictions()
    new_user: Mapping[int, FloatArray] = dataclasses.field(default_factory=dict)
    unfiltered_ranks: IntArray | None = None
    more: Metrics = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The metrics of an answer, and the sums per user that they are made of."""

    metrics: Metrics
    sums: Sums


@dataclasses.dataclass(frozen=True)
class Method:
    """A method, and the values that are tried on validation.

    Attributes:
      name: on the command line and in file names.
      title: in tables.
      kind: which metrics it is chosen by and shown with.
      run: fits to `Task.fit` and predicts `Task.targets`.
      grid: what is tried; a single entry needs no choice.
      grid_1m: what is tried on MovieLens-1M; None: the same.
      quick: the entry for `--quick`, made to be fast.
      seeds: put into "seed" of the values; see `Runner.steps` for what is measured with each.
      only_main: measured on the first split alone.
      new_users: whether it predicts for users who are in no fit, or (None) for these only.
      datasets: those that it is measured on.
      more_source: returns a hash of code it runs outside of its own module.
    """

    name: str
    title: str
    kind: Kind
    run: Callable[[Task, Params], Answer]
    grid: tuple[Params, ...] = ({},)
    quick: Params = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    only_main: bool = False
    new_users: bool | None = False
    grid_1m: tuple[Params, ...] | None = None
    datasets: tuple[Dataset, ...] = ("ml-100k", "ml-1m")
    more_source: Callable[[], str] = str

    @property
    def criterion(self) -> tuple[str, int]:
        """The metric it is chosen by on validation; 1 where more is better, else -1."""
        return (RMSE, -1) if self.kind == "rating" else (RECALL_10, 1)

    def grid_of(self, dataset: Dataset) -> tuple[Params, ...]:
        """Returns what is tried on a data set."""
        return self.grid if dataset != ML_1M or self.grid_1m is None else self.grid_1m


def grid(**values: tuple[float | str, ...]) -> tuple[Params, ...]:
    """Returns every combination of the values of each name."""
    return tuple(
        dict(zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


def answer_of_histories(
    task: Task,
    scores_of: Callable[[scipy.sparse.csr_matrix], FloatArray],
    *,
    without_history: bool = False,
) -> Answer:
    """Returns the answer of a method that uses no time, from its scores of histories.

    Args:
      task: at the next visit the histories are the fitted ratings; of new users they are
        the movies that they name.
      scores_of: takes `[users, movies]` 0 or 1, returns scores of that shape.
      without_history: whether it can rank movies for users who name none.
    """
    new_users = task.split.new_users
    if not new_users:
        return Answer(Predictions(scores=scores_of(interactions(task))))
    return Answer(
        new_user={
            number: scores_of(pairs_of(task.data, each.named))
            for number, each in new_users.items()
            if number or without_history
        }
    )


def lists_of(scenario: Scenario) -> str:
    """Returns the name of the sums that the metrics of lists are made of.

    Their columns: users (1), rows, hits among 10 and among 100, reciprocal ranks, discounted
    gains up to 10, NDCG@10 and recall@10 of the user's list.
    """
    return f"{scenario.name}_lists"


def ratings_of(scenario: Scenario) -> str:
    """Returns the name of the sums that the metrics of ratings are made of.

    Their columns: rows, squared and absolute errors.
    """
    return f"{scenario.name}_ratings"


def measure(task: Task, answer: Answer) -> Measured:
    """Returns the metrics of an answer, by name, of the scenarios that it has predictions for."""
    sums: dict[str, FloatArray] = {}
    for named, scores in answer.new_user.items():
        found = task.split.new_users[named]
        sums[lists_of(new_user(named))] = _lists(task.data, scores, found.named, found.wanted)
    for scenario, predictions in ((NEXT_VISIT, answer.next_visit), (IN_SESSION, answer.in_session)):
        sums |= _sums(task, scenario, predictions)
    metrics = {name: float(value) for name, value in metrics_of(_totals(sums)).items()}
    if answer.unfiltered_ranks is not None:
        metrics[UNFILTERED_10] = ranking.recall_at_k(answer.unfiltered_ranks, 10)
        metrics[UNFILTERED_100] = ranking.recall_at_k(answer.unfiltered_ranks, 100)
    return Measured(metrics | answer.more, sums)


def metrics_of(sums: Sums) -> dict[str, FloatArray]:
    """Returns metrics `[...]` by name from sums `[..., columns]` over users."""
    metrics: dict[str, FloatArray] = {}
    for scenario in MEASURED:
        if lists_of(scenario) in sums:
            users, rows, hits_10, hits_100, reciprocal, gains, ndcg, recall = np.moveaxis(
                sums[lists_of(scenario)], -1, 0
            )
            found = [hits_10 / rows, hits_100 / rows, reciprocal / rows, gains / rows]
            names = LIST_METRICS
            if scenario.one_list_per_user:
                found += [recall / users, ndcg / users]
                names += USER_METRICS
            for name, value in zip(names, found, strict=True):
                metrics[metric_name(scenario, name)] = value
        if ratings_of(scenario) in sums:
            rows, squared, absolute = np.moveaxis(sums[ratings_of(scenario)], -1, 0)
            for name, value in zip(
                RATING_METRICS, (np.sqrt(squared / rows), absolute / rows), strict=True
            ):
                metrics[metric_name(scenario, name)] = value
    return metrics


def _totals(sums: Sums) -> Sums:
    return {name: values.sum(axis=0) for name, values in sums.items()}


def _sums(task: Task, scenario: Scenario, predictions: Predictions) -> dict[str, FloatArray]:
    users = task.data.users[task.targets]
    found: dict[str, FloatArray] = {}
    if predictions.scores is not None:
        found[lists_of(scenario)] = _lists(task.data, predictions.scores, task.fit, task.targets)
    elif predictions.ranks is not None:
        found[lists_of(scenario)] = _list_sums(users, predictions.ranks)
    if predictions.ratings is not None:
        errors: FloatArray = (
            rating.clip(predictions.ratings, protocols.RATING_SCALE)
            - task.data.ratings[task.targets]
        )
        rows, sums = ranking.sums_by_user(users, errors**2, np.abs(errors))
        found[ratings_of(scenario)] = np.stack([rows, *sums], axis=1)
    return found


def _lists(data: Data, scores: FloatArray, known: IntArray, targets: IntArray) -> FloatArray:
    """Returns the sums of lists without the movies of the known lines."""
    seen = ranking.seen_matrix(data.users[known], data.movies[known], data.shape)
    users, movies = data.users[targets], data.movies[targets]
    return _list_sums(users, ranking.filtered_ranks(scores, seen, users, movies))


def _list_sums(users: IntArray, ranks: IntArray) -> FloatArray:
    rows, (hits_10, hits_100, reciprocal, gains) = ranking.sums_by_user(
        users,
        ranking.hits(ranks, 10),
        ranking.hits(ranks, 100),
        ranking.reciprocal_ranks(ranks),
        ranking.discounted_gains(ranks, LIST_LENGTH),
    )
    ndcg = gains / ranking.ideal_gains(rows, LIST_LENGTH)
    recall = hits_10 / np.minimum(rows, LIST_LENGTH)
    columns = [np.ones(len(rows)), rows, hits_10, hits_100, reciprocal, gains, ndcg, recall]
    return np.stack(columns, axis=1)
