"""Charts of groups of ratings: how large each group is, and its mean rating."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from components.report import charts
from components.report.context import Words
from components.report.page import Chart, Row
from components.report.ratings import Ratings
from components.report.sections import capital, percent

MEMBERS_FOR_MEAN = 5
"""Users or movies that a group needs for its mean to be drawn; the table has all."""

_DRAWN, _LISTED = 25, 100
"""Groups that are drawn and listed, those with most ratings: there may be 1,000 directors."""

_MEAN, _LOW, _HIGH = "Mean rating", "From", "To"


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
    everybody = ratings.by_user if who == "users" else ratings.by_movie
    columns = {
        of: groups.index,
        capital(who): groups["members"],
        f"Share of {who}": groups["members"] / len(everybody),
        capital(words.events): groups["ratings"],
        f"Share of {words.events}": groups["ratings"] / len(ratings.rows),
    }
    if ratings.values:
        columns |= {_MEAN: groups["mean"], _LOW: groups["low"], _HIGH: groups["high"]}
    columns |= {words.rated(value): groups[value] for value in ratings.values}
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
    title = capital(of)
    rows = group_rows(groups, title, who, ratings, words)
    shares = (f"Share of {who}", f"Share of {words.events}")
    first = max(rows, key=lambda row: row[shares[1]])
    means = [r for r in rows[:_DRAWN] if ratings.values and r[capital(who)] >= MEMBERS_FOR_MEAN]
    yield Chart(
        f"{key}-size",
        f"{capital(who)} and {words.events} by {of}",
        f"Most {words.events}: {first[title]}, with {percent(first[shares[1]], 1)} of them and "
        f"{percent(first[shares[0]], 1)} of the {who}.{_left_out(rows, of)}",
        charts.bars(rows[:_DRAWN], title, shares, title="share"),
        () if means else rows[:_LISTED],
    )
    if means:
        if not ordered:
            means.sort(key=lambda row: -row[_MEAN])
        few = f" Groups of fewer than {MEMBERS_FOR_MEAN} {who} are not drawn."
        yield Chart(
            f"{key}-mean",
            f"Mean rating by {of}",
            _ends(means, title, ratings.mean) + (few if len(means) < len(rows) else ""),
            charts.intervals(means, title, _MEAN, (_LOW, _HIGH), ratings.mean),
            rows[:_LISTED],
        )


def _left_out(rows: Sequence[Row], of: str) -> str:
    return f" Drawn: the first {_DRAWN} of {len(rows):,}, by {of}." if len(rows) > _DRAWN else ""


def _ends(rows: Sequence[Row], of: str, overall: float) -> str:
    ends = sorted(rows, key=lambda row: row[_MEAN])
    least, most = (f"{row[_MEAN]:.2f} ({row[of]})" for row in (ends[0], ends[-1]))
    return f"From {least} to {most}; the overall mean, the dashed line, is {overall:.2f}."
