"""What a method is, what it answers, and the figures made of its answer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Literal

from benchmarks.compare import protocols
from benchmarks.compare.data import Task
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray, IntArray
from metrics import ranking

Params = Mapping[str, float | int | str]
Metrics = dict[str, float]
Kind = Literal["retrieval", "rating", "both"]

P1_TOP_10, P1_TOP_100 = "p1_top_10", "p1_top_100"
TOP_10, TOP_100 = "top_10", "top_100"
ROW_NDCG, USER_NDCG, USER_RECALL = "row_ndcg", "user_ndcg", "user_recall"
RMSE = "rmse"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a method says about the lines it is asked about; what it cannot say is None.

    Attributes:
      scores: `[users, movies]` where one list serves all of a user's lines.
      ranks_all: `[ask]` ranks among all movies, where it does not.
      ranks_unseen: `[ask]` the same among unseen movies.
      predictions: `[ask]` stars, not clipped.
      more: further figures of its own.
    """

    scores: FloatArray | None = None
    ranks_all: IntArray | None = None
    ranks_unseen: IntArray | None = None
    predictions: FloatArray | None = None
    more: Metrics = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method, and the values that are tried on validation.

    Attributes:
      name: on the command line and in file names.
      title: in tables.
      kind: which figures it is chosen by and shown with.
      run: learns from `Task.fit` and answers `Task.ask`.
      grid: what is tried; a single entry needs no choice.
      quick: the entry for `--quick`, made to be fast.
      seeds: put into "seed" of the values; shuffle 42 and the split by time are measured with
        each of them, other splits with the first.
      only_main: measured on shuffle 42 alone.
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
    more_source: Callable[[], str] = str

    @property
    def criterion(self) -> tuple[str, int]:
        """The figure it is chosen by on validation; 1 where more is better, else -1."""
        return (RMSE, -1) if self.kind == "rating" else (TOP_10, 1)


def grid(**values: tuple[float | str, ...]) -> tuple[Params, ...]:
    """Returns every combination of the values of each name."""
    return tuple(
        dict(zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


def measure(task: Task, answer: Answer) -> Metrics:
    """Returns the figures of an answer, by name; those it does not allow are left out."""
    users, movies = task.data.users[task.ask], task.data.movies[task.ask]
    ranks_all, ranks_unseen = answer.ranks_all, answer.ranks_unseen
    metrics: Metrics = {}
    if answer.scores is not None:
        fitted = task.data.users[task.fit], task.data.movies[task.fit]
        seen = protocols.seen_matrix(*fitted, task.data.shape)
        ranks_all = protocols.ranks_all(answer.scores, users, movies)
        ranks_unseen = protocols.ranks_unseen(answer.scores, seen, users, movies)
        metrics[USER_NDCG] = ranking.user_ndcg(ranks_unseen, users, LIST_LENGTH)
        metrics[USER_RECALL] = ranking.user_recall(ranks_unseen, users, LIST_LENGTH)
    if ranks_all is not None:
        metrics[P1_TOP_10] = ranking.recall_at_k(ranks_all, 10)
        metrics[P1_TOP_100] = ranking.recall_at_k(ranks_all, 100)
    if ranks_unseen is not None:
        metrics[TOP_10] = ranking.recall_at_k(ranks_unseen, 10)
        metrics[TOP_100] = ranking.recall_at_k(ranks_unseen, 100)
        metrics[ROW_NDCG] = ranking.row_ndcg(ranks_unseen, LIST_LENGTH)
    if answer.predictions is not None:
        metrics[RMSE] = protocols.rmse(answer.predictions, task.data.ratings[task.ask])
    return metrics | answer.more
