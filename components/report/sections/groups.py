"""Charts of groups of ratings: how large each group is, and its mean rating."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from components.report import charts
from components.report.context import Words
from components.report.page import Chart, Row
from components.report.ratings import Ratings
from components.report.sections import capital, listed, percent

MEMBERS_FOR_MEAN = 5
"""Users or movies that a group needs for its mean to be drawn; the table has all."""

_USERS, _MEAN, _LOW, _HIGH = "users", "Mean rating", "From", "To"


def rating_columns(frame: pd.DataFrame, ratings: Ratings, words: Words) -> dict[str, pd.Series]:
    """Returns the share of each rating in a frame that has them by value, by its name in words."""
    return {words.rated(value): frame[value] for value in ratings.values}


def rating_formats(ratings: Ratings, words: Words) -> dict[str, str]:
    """Returns the number formats of the columns of `rating_columns`."""
    return {words.rated(value): ".0%" for value in ratings.values}


def group_rows(
    groups: pd.DataFrame, of: str, who: str, ratings: Ratings, words: Words
) -> list[Row]:
    """Returns the numbers of groups, a row each; means only where the data has ratings.

    Args:
      groups: what `grouped` returns.
      of: what the groups are groups of, such as "Occupation".
      who: the members, `words.items` or "users".
      ratings: all of them.
      words: what the page calls things.
    """
    everybody = len(ratings.by_user if who == _USERS else ratings.by_movie)
    columns: dict[str, object] = {
        of: groups.index,
        capital(who): groups["members"],
        f"Share of {who}": groups["members"] / everybody,
        capital(words.events): groups["ratings"],
        f"Share of {words.events}": groups["ratings"] / len(ratings.rows),
    }
    if ratings.values:
        columns |= {_MEAN: groups["mean"], _LOW: groups["low"], _HIGH: groups["high"]}
    columns |= rating_columns(groups, ratings, words)
    return pd.DataFrame(columns).to_dict("records")


def group_charts(
    key: str,
    of: str,
    who: str,
    groups: pd.DataFrame,
    ratings: Ratings,
    words: Words,
    *,
    ordered: bool = False,
) -> Iterator[Chart]:
    """Yields bars of each group's size, and dots at each group's mean rating.

    Args:
      key: what the charts' keys begin with.
      of: what the groups are groups of.
      who: the members, `words.items` or "users".
      groups: what `grouped` returns.
      ratings: all of them.
      words: what the page calls things.
      ordered: whether the groups have an order of their own, as ages do; else the dots are in
        the order of the means.
    """
    if groups.empty:
        return
    title, formats = capital(of), rating_formats(ratings, words)
    rows = group_rows(groups, title, who, ratings, words)
    drawn = [r for r in rows if ratings.values and r[capital(who)] >= MEMBERS_FOR_MEAN]
    first = max(rows, key=lambda row: row[capital(words.events)])
    shares = (f"Share of {who}", f"Share of {words.events}")
    yield Chart(
        f"{key}-size",
        f"{capital(who)} and {words.events} by {of}",
        f"Most {words.events}: {first[title]}, with {percent(first[shares[1]], 1)} of them and "
        f"{percent(first[shares[0]], 1)} of the {who}.",
        charts.bars(rows, title, shares, title="share"),
        () if drawn else rows,
        formats,
    )
    if not ordered:
        drawn.sort(key=lambda row: -row[_MEAN])
    if not drawn:
        return
    reading = _reading(drawn, title, ratings.mean)
    if len(drawn) < len(rows):
        reading += f" Not drawn: groups of fewer than {MEMBERS_FOR_MEAN} {who}."
    spec = charts.intervals(drawn, title, _MEAN, (_LOW, _HIGH), ratings.mean)
    yield Chart(f"{key}-mean", f"Mean rating by {of}", reading, spec, rows, formats)


def _reading(rows: Sequence[Row], of: str, overall: float) -> str:
    ordered = sorted(rows, key=lambda row: row[_MEAN])
    differing = [row[of] for row in ordered if row[_HIGH] < overall or row[_LOW] > overall]
    beyond = (
        f"The interval does not hold the overall mean for {listed(differing)}."
        if differing
        else "The interval of every group holds the overall mean."
    )
    return (
        f"From {ordered[0][_MEAN]:.2f} ({ordered[0][of]}) to {ordered[-1][_MEAN]:.2f} "
        f"({ordered[-1][of]}); the overall mean, the dashed line, is {overall:.2f}. {beyond}"
    )
