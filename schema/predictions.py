"""The names of the model's outputs per row: the contract of the Trainer and the Evaluator."""

from __future__ import annotations

from collections.abc import Iterable

from schema.scenarios import NEXT_VISIT, SCENARIOS, Scenario

PREDICTED_RATING = "predicted_rating"
"""Stars, clipped to the scale: an output of the signatures that programs call."""

USER_KEY = "user_key"
"""A number that is the same for all rows of a user, to average over users."""

KNOWN_USER = "known_user"
"""Whether the row's user has a rating in what the model was fitted to. Rows of others, of whom the
scenarios know nothing, are in no metric: a timeline's test has many of them."""

POPULARITY_RANK = f"{NEXT_VISIT.name}_popularity_rank"
"""The movie's rank in the filtered list by number of training ratings, to compare with."""

MOVIE_POPULARITY = "movie_popularity"
"""How many training ratings the row's movie has."""

CATALOGUE_SIZE = "catalogue_size"
"""How many movies there are to recommend, the same on every row."""

MOVIES_LEFT = "movies_left"
"""How many movies the row's filtered list has. Models of earlier releases do not say."""

LIST_LENGTH = 10
"""How many movies of a filtered list are returned."""

UNKNOWN_RANK = -1
"""The rank of a movie that is not in the model's catalogue: a miss."""

NO_ITEM = -1
"""In place of a row of the catalogue where a list has fewer movies than `LIST_LENGTH`."""


def rank_of(scenario: Scenario) -> str:
    """Returns the output with the movie's rank in the filtered list, from 1 on."""
    return f"{scenario.name}_rank"


def rating_of(scenario: Scenario) -> str:
    """Returns the output with the predicted rating in stars, clipped to the scale."""
    return f"{scenario.name}_rating"


def items_of(scenario: Scenario) -> str:
    """Returns the output with the first `LIST_LENGTH` of the filtered list.

    `[batch, LIST_LENGTH]` rows of the catalogue, best first.
    """
    return f"{scenario.name}_items"


def items_popularity_of(scenario: Scenario) -> str:
    """Returns the output with the mean number of training ratings of those movies."""
    return f"{scenario.name}_items_popularity"


def outputs_in(scenarios: Iterable[Scenario], *, with_ratings: bool) -> tuple[str, ...]:
    """Returns the outputs of the evaluation's signature for data with these scenarios."""
    of_scenario = (rank_of, *([rating_of] if with_ratings else []), items_of, items_popularity_of)
    return (
        USER_KEY,
        KNOWN_USER,
        *(name(scenario) for scenario in scenarios for name in of_scenario),
        POPULARITY_RANK,
        MOVIE_POPULARITY,
        CATALOGUE_SIZE,
        MOVIES_LEFT,
    )


OUTPUTS: tuple[str, ...] = outputs_in(SCENARIOS, with_ratings=True)
"""Every output of the evaluation's signature, for data with ratings and times.

A filtered list holds the catalogue without the movies that the user rated in what the model was
fitted to; the movie of the row stays in it. Ties count against the movie of the row.
"""
