"""Charts of groups of ratings: how large each group is, and its mean rating."""

from __future__ import annotations

from collections.abc import Iterator

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
    """Returns the numbers of groups that `grouped` found, a row each.

    They are groups of something (`of`), such as "Occupation", and have members, called `who`:
    `words.items` or "users".
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

    The arguments are those of `group_rows`, after what the charts' keys begin with. The dots are
    in the order of the means, unless the groups are `ordered`, as ages are.
    """
    key, title, total = key.replace("_", "-"), capital(of), len(groups)
    rows = group_rows(groups, title, who, ratings, words)
    shares = (f"Share of {who}", f"Share of {words.events}")
    first = max(rows, key=lambda row: row[shares[1]])
    means = [r for r in rows[:_DRAWN] if ratings.values and r[capital(who)] >= MEMBERS_FOR_MEAN]
    which = "the first" if ordered else f"those with most {words.events}"
    left_out = f" Drawn: {which}, {_DRAWN} of {total:,}." if total > _DRAWN else ""
    yield Chart(
        f"{key}-size",
        f"{capital(who)} and {words.events} by {of}",
        f"Most {words.events}: {first[title]}, with {percent(first[shares[1]], 1)} of them and "
        f"{percent(first[shares[0]], 1)} of the {who}.{left_out}",
        charts.bars(rows[:_DRAWN], title, shares, title="share"),
        () if means else rows[:_LISTED],
    )
    if means:
        by_mean = sorted(means, key=lambda row: -row[_MEAN])
        most, least = (f"{row[_MEAN]:.2f} ({row[title]})" for row in (by_mean[0], by_mean[-1]))
        few = f" Groups of fewer than {MEMBERS_FOR_MEAN} {who} are not drawn."
        drawn = means if ordered else by_mean
        yield Chart(
            f"{key}-mean",
            f"Mean rating by {of}",
            f"From {least} to {most}; the overall mean, the dashed line, is {ratings.mean:.2f}."
            + (few if len(means) < total else ""),
            charts.intervals(drawn, title, _MEAN, (_LOW, _HIGH), ratings.mean),
            rows[:_LISTED],
        )
