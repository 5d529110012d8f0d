"""Scenarios: how the evaluation asks a model, and the names of the metrics it gets.

The decided interface. Today's metrics keep the names they had before it (`unseen_...` is
`in_session`, `untimed_...` is `next_visit`); names with a scenario replace them together.
"""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A way to ask a model about the test rows.

    Attributes:
      name: the first part of its metrics' names.
      query_time: when a query is made: at the time of the test rating, or after the training.
      known: what is known of the user then: the training ratings, or those before the query.
      population: whose rows count: of all users, or of those without training ratings.
      splits: split methods on which it is valid.
    """

    name: str
    query_time: Literal["of_the_rating", "after_training"]
    known: Literal["training_ratings", "ratings_before_the_query"]
    population: Literal["all_users", "new_users"]
    splits: tuple[str, ...]


IN_SESSION = Scenario(
    "in_session", "of_the_rating", "training_ratings", "all_users", ("random", "temporal")
)
"""The user has just rated something: the latest events before the query are used."""

NEXT_VISIT = Scenario(
    "next_visit", "after_training", "training_ratings", "all_users", ("random", "temporal")
)
"""The user comes back long after the last rating."""


def metric_name(scenario: Scenario, metric: str) -> str:
    """Returns the name of a metric in a scenario, `<scenario>_<metric>`.

    >>> metric_name(NEXT_VISIT, "recall_at_10")
    'next_visit_recall_at_10'
    """
    return f"{scenario.name}_{metric}"
