"""Figures of groups of ratings: their size, their mean stars, all their stars."""

from __future__ import annotations

from collections.abc import Sequence

from components.report import charts
from components.report.charts import Channel
from components.report.groups import FloatArray, Group, IntArray
from components.report.page import Column, Figure, Table
from components.report.sections import percent

MEMBERS_FOR_MEAN = 5
"""People or films that a group needs for its mean to be drawn; the table has all."""

_NAMED = 4
"""Groups that a sentence names; of more it says how many."""


def stars_text(stars: float) -> str:
    """Returns a number of stars in words, such as "4 stars"."""
    return f"{stars:g} star{'' if stars == 1 else 's'}"


def number_of(count: int, what: str) -> str:
    """Returns a count with its noun, such as "1 film" or "2 films"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def whole(value: float) -> int | float:
    """Returns a whole number as such, so that no decimals are shown."""
    return int(value) if float(value).is_integer() else float(value)


def listed(names: Sequence[str]) -> str:
    """Returns names with commas and "and"; the end of a long list as a number."""
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        shown[-1:] = [f"{len(names) - _NAMED + 1} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def group_table(
    key: str, caption: str, of: str, who: str, groups: Sequence[Group], stars: FloatArray
) -> Table:
    """Returns the numbers of groups.

    Args:
      key: unique on the page.
      caption: what it shows.
      of: heading of the groups' names.
      who: heading of the number of members.
      groups: in the order of the rows.
      stars: the columns of their counts.
    """
    ratings = max(sum(group.ratings for group in groups), 1)
    return Table(
        key,
        caption,
        (
            Column(of),
            Column(who, "number"),
            Column("Ratings", "number"),
            Column("Share", "share", 1),
            Column("Mean stars", "number"),
            Column("from", "number"),
            Column("to", "number"),
            *(Column(stars_text(level), "share", 1) for level in stars),
        ),
        tuple(
            (
                group.value,
                group.members,
                group.ratings,
                group.ratings / ratings,
                group.mean,
                group.low,
                group.high,
                *(float(count) / max(group.ratings, 1) for count in group.counts),
            )
            for group in groups
        ),
        searchable=len(groups) > 10,
    )


def size_bars(
    key: str,
    title: str,
    of: str,
    who: str,
    groups: Sequence[Group],
    *,
    members: int,
    ratings: int,
) -> Figure:
    """Returns bars of each group's share of all members and of all ratings.

    Args:
      key: unique on the page.
      title: what one sees.
      of: what the groups are groups of, such as "occupation".
      who: the members, such as "people".
      groups: in the order of the bars.
      members: how many members there are.
      ratings: how many ratings there are.
    """
    rows = [
        {"group": group.value, "share": share, "of": of_what, "count": count}
        for group in groups
        for of_what, share, count in (
            (who, group.members / members, group.members),
            ("ratings", group.ratings / ratings, group.ratings),
        )
    ]
    first = max(groups, key=lambda group: group.ratings)
    return Figure(
        key,
        title,
        f"Most: {first.value}, with {percent(first.ratings / ratings, 1)} of the ratings and "
        f"{percent(first.members / members, 1)} of the {who}.",
        charts.bars(
            rows,
            Channel("group", of, "nominal", sort=[group.value for group in groups]),
            Channel("share", "share", format=charts.PERCENT),
            Channel("of", "", "nominal", domain=(who, "ratings")),
            more=(Channel("count", "Count", format=charts.WHOLE),),
        ),
    )


def mean_dots(
    key: str,
    title: str,
    of: str,
    groups: Sequence[Group],
    overall: float,
    table: Table | None = None,
) -> Figure:
    """Returns a dot at each group's mean stars, with its interval and a line at all's.

    Args:
      key: unique on the page.
      title: what one sees.
      of: what the groups are groups of.
      groups: in the order of the dots; small ones are left out.
      overall: mean stars of all.
      table: the numbers.
    """
    drawn = [group for group in groups if group.members >= MEMBERS_FOR_MEAN]
    rows = [
        {"group": g.value, "mean": g.mean, "low": g.low, "high": g.high, "ratings": g.ratings}
        for g in drawn
    ]
    return Figure(
        key,
        title,
        _means(drawn, overall, all_drawn=len(drawn) == len(groups)),
        charts.intervals(
            rows,
            Channel("group", of, "nominal", sort=[group.value for group in drawn]),
            Channel("mean", "mean stars and 95 % interval", format=".2f", zero=False),
            "low",
            "high",
            reference=overall,
            more=(
                Channel("low", "from", format=".2f"),
                Channel("high", "to", format=".2f"),
                Channel("ratings", "Ratings", format=charts.WHOLE),
            ),
        ),
        table,
    )


def _means(groups: Sequence[Group], overall: float, *, all_drawn: bool) -> str:
    if not groups:
        return f"No group has {MEMBERS_FOR_MEAN} members, so none is drawn."
    ordered = sorted(groups, key=lambda group: group.mean)
    differing = [group.value for group in ordered if group.high < overall or group.low > overall]
    beyond = (
        f"The interval does not hold the mean over all for {listed(differing)}."
        if differing
        else "The interval of every group holds the mean over all."
    )
    return (
        f"From {ordered[0].mean:.2f} ({ordered[0].value}) to {ordered[-1].mean:.2f} "
        f"({ordered[-1].value}); {overall:.2f} over all, the dashed line. {beyond}"
        + ("" if all_drawn else f" Not drawn: groups of fewer than {MEMBERS_FOR_MEAN}.")
    )


def star_bars(
    key: str,
    title: str,
    reading: str,
    of: str,
    counts: Sequence[tuple[str, IntArray]],
    stars: FloatArray,
    table: Table | None = None,
) -> Figure:
    """Returns bars of 100 %, cut by how many stars were given.

    Args:
      key: unique on the page.
      title: what one sees.
      reading: what it says.
      of: heading of the bars' names.
      counts: name and ratings by stars, `[levels]`, of each bar; names are all different.
      stars: `[levels]`.
      table: the numbers.
    """
    rows = [
        {"group": name, "stars": float(level), "share": float(count) / max(float(held.sum()), 1)}
        for name, held in counts
        for level, count in zip(stars, held, strict=True)
        if count
    ]
    return Figure(
        key,
        title,
        reading,
        charts.stacked_bars(
            rows,
            Channel("group", of, "nominal", sort=[name for name, _ in counts]),
            Channel("share", "share of ratings", format=".0%"),
            Channel("stars", "stars", "ordinal", domain=[float(level) for level in stars]),
        ),
        table,
    )
