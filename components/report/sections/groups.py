"""Charts of groups of ratings: how large each group is, and its mean rating."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from components.report import charts
from components.report.page import Chart, Row
from components.report.ratings import Ratings
from components.report.sections import listed, percent

MEMBERS_FOR_MEAN = 5
"""Users or movies that a group needs for its mean to be drawn; the table has all."""

_MEAN, _LOW, _HIGH = "Mean rating", "From", "To"


def stars(value: float) -> str:
    """Returns a rating in words, such as "4 stars"."""
    return f"{value:g} star{'' if value == 1 else 's'}"


def star_shares(row: Mapping[float, float], values: pd.Index) -> dict[str, float]:
    """Returns the share of each rating by its name in words."""
    return {stars(value): float(row[value]) for value in values}


def group_rows(groups: pd.DataFrame, of: str, who: str, ratings: Ratings) -> list[Row]:
    """Returns the numbers of groups, a row each.

    Args:
      groups: what `grouped` returns.
      of: what the groups are groups of, such as "Occupation".
      who: the members, "users" or "movies".
      ratings: all of them.
    """
    everybody = len(ratings.by_user if who == "users" else ratings.by_movie)
    return [
        {
            of: name,
            who.capitalize(): int(group["members"]),
            f"Share of {who}": group["members"] / everybody,
            "Ratings": int(group["ratings"]),
            "Share of ratings": group["ratings"] / len(ratings.rows),
            _MEAN: group["mean"],
            _LOW: group["low"],
            _HIGH: group["high"],
            **star_shares(group, ratings.by_user.columns),
        }
        for name, group in groups.iterrows()
    ]


def star_formats(ratings: Ratings) -> dict[str, str]:
    """Returns the number formats of the columns of `star_shares`."""
    return {stars(value): ".0%" for value in ratings.by_user.columns}


def group_charts(
    key: str, of: str, who: str, groups: pd.DataFrame, ratings: Ratings, *, ordered: bool = False
) -> Iterator[Chart]:
    """Yields bars of each group's size, and dots at each group's mean rating.

    Args:
      key: what the charts' keys begin with.
      of: what the groups are groups of.
      who: the members, "users" or "movies".
      groups: what `grouped` returns.
      ratings: all of them.
      ordered: whether the groups have an order of their own, as ages do; else the dots are in
        the order of the means.
    """
    rows = group_rows(groups, of.capitalize(), who, ratings)
    drawn = [row for row in rows if row[who.capitalize()] >= MEMBERS_FOR_MEAN]
    first = max(rows, key=lambda row: row["Ratings"])
    shares = (f"Share of {who}", "Share of ratings")
    yield Chart(
        f"{key}-size",
        f"{who.capitalize()} and ratings by {of}",
        f"Most ratings: {first[of.capitalize()]}, with {percent(first[shares[1]], 1)} of them and "
        f"{percent(first[shares[0]], 1)} of the {who}.",
        charts.bars(rows, of.capitalize(), shares, title="share"),
        () if drawn else rows,
        star_formats(ratings),
    )
    if not ordered:
        drawn.sort(key=lambda row: -row[_MEAN])
    if not drawn:
        return
    spec = charts.intervals(drawn, of.capitalize(), _MEAN, (_LOW, _HIGH), ratings.mean)
    title, reading = f"Mean rating by {of}", _reading(drawn, of.capitalize(), ratings.mean)
    if len(drawn) < len(rows):
        reading += f" Not drawn: groups of fewer than {MEMBERS_FOR_MEAN} {who}."
    yield Chart(f"{key}-mean", title, reading, spec, rows, star_formats(ratings))


def _reading(rows: list[Row], of: str, overall: float) -> str:
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
