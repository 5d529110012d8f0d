"""Scenarios: which of a user's events a query may use, and the names of the metrics of each.

What the Evaluator computes, what a model must reach, what is printed and what is tuned take
their scenarios from here.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from schema.features import FeatureTable


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Which events and times the queries of an evaluation use.

    Attributes:
      name: the first part of its metrics' names.
      query_time: when a query is made: at the time of the test rating, or after the training.
      known: what is known of the user then: the training ratings, those before the query, or the
        profile and movies that they name.
      population: whose rows count: of all users, or of those without training ratings.
      one_list_per_user: whether all rows of a user are looked for in one list, so that metrics
        of a user's list, such as its NDCG, exist.
      splits: split methods on which a bound on its metrics says something about use. On others
        its metrics are shown and never bless.
    """

    name: str
    query_time: Literal["of_the_rating", "after_training"]
    known: Literal["training_ratings", "ratings_before_the_query", "named_movies"]
    population: Literal["all_users", "new_users"]
    one_list_per_user: bool
    splits: tuple[str, ...]


NEXT_VISIT = Scenario(
    name="next_visit",
    query_time="after_training",
    known="training_ratings",
    population="all_users",
    one_list_per_user=True,
    splits=("random", "temporal", "timeline", "leave-one-out"),
)
"""A known user comes back long after the last rating: the history is known, no session, and no
effect of the query's time. What people meet, and the default of every answer."""

IN_SESSION = Scenario(
    name="in_session",
    query_time="of_the_rating",
    known="ratings_before_the_query",
    population="all_users",
    one_list_per_user=False,
    splits=("temporal", "timeline", "leave-one-out"),
)
"""The user has just rated something: what is known are the training ratings strictly before the
test rating, of which those of the current session count as such, with their times, and the context
features of the test rating, which every other scenario hides.

Later training ratings are hidden from the query, but on a random split the model was fitted to
them, and most test ratings have training ratings of the same minute just before them: there the
metrics measure how pages were shown as well as the model."""

SCENARIOS: tuple[Scenario, ...] = (NEXT_VISIT, IN_SESSION)
"""What the Evaluator measures, in the order in which people read it."""


def scenarios_of(table: FeatureTable) -> tuple[Scenario, ...]:
    """Returns the scenarios that can be measured: without times none of a session."""
    return SCENARIOS if table.has_time else (NEXT_VISIT,)


NAMED_MOVIES: tuple[int, ...] = (0, 1, 3, 5, 10)
"""The numbers of movies that a new user names."""


def new_user(named: int) -> Scenario:
    """Returns the scenario of a new user who names some movies that they like.

    Nothing of them is in the training. Of no movies the profile alone is known.

    >>> new_user(3).name, new_user(0).name
    ('new_user_3', 'profile_only')
    """
    return Scenario(
        name=f"new_user_{named}" if named else "profile_only",
        query_time="after_training",
        known="named_movies",
        population="new_users",
        one_list_per_user=True,
        splits=(),
    )


def metric_name(scenario: Scenario, metric: str) -> str:
    """Returns the name of a metric in a scenario, `<scenario>_<metric>`.

    >>> metric_name(NEXT_VISIT, "recall_at_10")
    'next_visit_recall_at_10'
    """
    return f"{scenario.name}_{metric}"
