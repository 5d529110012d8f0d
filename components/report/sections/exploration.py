"""The ratings explored: who gave them, to which films, when and where."""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.report import charts
from components.report.capstone_table import COLUMNS, describe_counted
from components.report.charts import Channel
from components.report.context import Context
from components.report.counts import IntArray, RatingCounts
from components.report.groups import Group, binned, cumulative_shares, grouped, leading_share
from components.report.page import Block, Column, Figure, Note, Section, Table, Text
from components.report.sections import films, percent, sources_of
from components.report.sections.figures import (
    MEMBERS_FOR_MEAN,
    group_table,
    listed,
    mean_dots,
    size_bars,
    star_bars,
    stars_text,
    whole,
)
from schema import features as raw
from schema import us_states
from schema.features import Feature, FeatureTable, Kind, Owner

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TENTH = 0.1
_MONTHS_AT_MOST = 36
"""Of a longer time, ratings are counted by year instead of by month."""


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="exploration",
        title="Exploration",
        lead="What the ratings say before any model: who gave them, to which films, when and "
        "where. All splits together, after the cleanup.",
        sources=sources_of(context.sources, "ratings", "movies"),
        blocks=tuple(_blocks(context)),
    )


def _blocks(context: Context) -> Iterator[Block]:
    counts = context.counts
    if counts is None:
        yield Note("Nothing to explore: the run did not get as far as reading ratings.", "warn")
    else:
        if not counts.complete:
            yield Note(f"Over the first {counts.ratings:,} ratings; the rest was not read.")
        yield _stars(counts)
        yield _describe(counts)
        yield from _people(counts, context.sources.features)
        yield from _activity(counts)
        yield from _times(counts)
    yield from films.blocks(context)
    if counts is not None:
        yield from _places(counts, context.sources.features)


# --- all ratings


def _stars(counts: RatingCounts) -> Figure:
    by_star = counts.by_user.sum(axis=0)
    rows = [
        {"stars": whole(level), "share": count / counts.ratings, "ratings": int(count)}
        for level, count in zip(counts.stars, by_star, strict=True)
    ]
    most = counts.stars[int(by_star.argmax())]
    mean = counts.mean(by_star)
    return Figure(
        "stars",
        "How many stars people give",
        f"Most often {stars_text(most)}, in {percent(by_star.max() / counts.ratings)} of "
        f"{counts.ratings:,} ratings; the mean is {mean:.2f}.",
        charts.columns(
            rows,
            Channel("stars", "stars", "ordinal"),
            Channel("share", "share of ratings", format=charts.PERCENT),
            more=(Channel("ratings", "Ratings", format=charts.WHOLE),),
        ),
        Table(
            "stars-numbers",
            "Ratings by stars, in all and in each split",
            (
                Column("Stars", "number", 1),
                Column("Ratings", "number"),
                Column("Share", "share", 1),
                *(Column(name, "share", 1) for name in counts.by_split),
            ),
            tuple(
                (
                    row["stars"],
                    row["ratings"],
                    row["share"],
                    *(int(c[n]) / max(int(c.sum()), 1) for c in counts.by_split.values()),
                )
                for n, row in enumerate(rows)
            ),
        ),
        wide=True,
    )


def describe(counts: RatingCounts) -> pd.DataFrame:
    """Returns `capstone_describe` of the ratings, without a row for each of them."""
    of_user, of_movie = counts.by_user.sum(axis=1), counts.by_movie.sum(axis=1)
    columns: dict[str, tuple[pd.Series, IntArray]] = {
        raw.USER_ID.name: (counts.users.index.to_series(), of_user),
        raw.MOVIE_ID.name: (pd.Series(counts.movie_ids), of_movie),
        raw.RATING.name: (pd.Series(counts.stars), counts.by_user.sum(axis=0)),
    }
    for name in COLUMNS:
        if name in counts.users:
            columns[name] = (counts.users[name], of_user)
    held = [name for name in COLUMNS if name in columns]
    return pd.DataFrame({name: describe_counted(*columns[name]) for name in held})


def _describe(counts: RatingCounts) -> Table:
    table = describe(counts)
    return Table(
        "describe",
        "The ratings in figures, one row of data per rating; zip codes as numbers where they are "
        "some (pandas' describe)",
        (
            Column("Statistic"),
            # Room to break the line after each underscore.
            *(Column(name.replace("_", "_\u200b"), "number", 1, grouped=False) for name in table),
        ),
        tuple(
            (str(statistic), *(whole(table.at[statistic, name]) for name in table))
            for statistic in table.index
        ),
    )


# --- people


_CHARTED = (Kind.GENDER, Kind.AGE, Kind.CATEGORY)
"""Kinds of features by whose values people are grouped; the zip code has its maps."""


def _people(counts: RatingCounts, table: FeatureTable) -> Iterator[Block]:
    yield Text("People", "Intervals are 95 % and take people as drawn at random.")
    charted = [f for f in table.owned_by(Owner.USER) if f.kind in _CHARTED]
    if not charted:
        yield Note("No groups of people: the data has no gender, age or category of users.")
    for feature in charted:
        groups = people_by(counts, feature)
        if [group.value for group in groups] == [raw.UNKNOWN]:
            yield Note(f"No groups by {feature.called}: nobody's is known.")
        else:
            yield from _group_figures(counts, feature, groups)


def people_by(counts: RatingCounts, feature: Feature) -> list[Group]:
    """Returns the ratings by a feature of people: ages ascending, else most ratings first."""
    values = counts.users[feature.name]
    if feature.kind is not Kind.AGE:
        return sorted(_by_person(counts, values), key=lambda group: -group.ratings)
    groups = _by_person(counts, values.map(_age_group))
    return sorted(groups, key=lambda group: _AGE_NAMES.index(group.value))


def _group_figures(
    counts: RatingCounts, feature: Feature, groups: Sequence[Group]
) -> Iterator[Figure]:
    key, called = feature.key.replace("_", "-"), feature.called
    table = _table(key, called, groups, counts)
    yield _sizes(key, called, groups, counts)
    if feature.kind is Kind.GENDER:
        yield star_bars(
            f"{key}-stars",
            f"Stars by {called}",
            "Mean stars: " + listed([f"{g.mean:.2f} for {g.value}" for g in groups]) + ".",
            called.capitalize(),
            [(group.value, group.counts) for group in groups],
            counts.stars,
            table,
        )
        return
    if feature.kind is Kind.CATEGORY:
        groups = sorted(groups, key=lambda group: -group.mean)
    overall = float(counts.mean(counts.by_user.sum(axis=0)))
    title = f"Mean stars by {called}"
    yield mean_dots(f"{key}-mean", title, called.capitalize(), groups, overall, table)


def _by_person(counts: RatingCounts, values: pd.Series) -> list[Group]:
    rows = np.arange(len(counts.users))
    return grouped(values.tolist(), rows, counts.by_user, counts.stars)


def _sizes(key: str, of: str, groups: Sequence[Group], counts: RatingCounts) -> Figure:
    return size_bars(
        f"{key}-size",
        f"People and ratings by {of}",
        of,
        "people",
        groups,
        members=len(counts.users),
        ratings=counts.ratings,
    )


def _table(key: str, of: str, groups: Sequence[Group], counts: RatingCounts) -> Table:
    caption = f"Ratings by {of}"
    return group_table(f"{key}-numbers", caption, of.capitalize(), "People", groups, counts.stars)


_AGE_NAMES = (
    f"under {raw.AGE_BUCKETS[1]}",
    *(
        f"{low}–{high - 1}"
        for low, high in zip(raw.AGE_BUCKETS[1:-1], raw.AGE_BUCKETS[2:], strict=True)
    ),
    f"{raw.AGE_BUCKETS[-1]} and over",
    raw.UNKNOWN,
)


def age_name(bucket: int) -> str:
    """Returns an age bucket in words; its data value is its lowest age."""
    known = bucket in raw.AGE_BUCKETS
    return _AGE_NAMES[raw.AGE_BUCKETS.index(bucket)] if known else raw.UNKNOWN


def _age_group(age: float) -> str:
    """Returns the name of the bucket that holds an age; "unknown" for one that is missing."""
    bucket = bisect.bisect_right(raw.AGE_BUCKETS, age) if age > 0 else 0
    return _AGE_NAMES[max(bucket - 1, 0)] if age > 0 else raw.UNKNOWN


# --- activity


def _activity(counts: RatingCounts) -> Iterator[Block]:
    of_user, of_movie = counts.by_user.sum(axis=1), counts.by_movie.sum(axis=1)
    yield Text(
        "Activity", "How unequally the ratings are spread over people and films: the long tail."
    )
    yield _tail("people", "How many ratings people give", of_user)
    yield _tail("films", "How many ratings films get", of_movie)
    rows = [
        {"share": share, "ratings": ratings, "of": of}
        for of, totals in (("people", of_user), ("films", of_movie))
        for share, ratings in cumulative_shares(totals)
    ]
    by_people, by_films = leading_share(of_user, _TENTH), leading_share(of_movie, _TENTH)
    yield Figure(
        "long-tail",
        "How much of the ratings the most active people and the most rated films have",
        f"The most active tenth of people gave {percent(by_people)} of ratings, the most rated "
        f"tenth of films got {percent(by_films)}.",
        charts.lines(
            rows,
            Channel("share", "share of people or films, largest first", format=charts.PERCENT),
            Channel("ratings", "share of ratings", format=charts.PERCENT),
            Channel("of", "", "nominal", domain=("people", "films")),
            height=260,
        ),
        Table(
            "long-tail-numbers",
            "Share of ratings of the largest",
            (Column("Of", "share"), Column("People", "share", 1), Column("Films", "share", 1)),
            tuple(
                (share, leading_share(of_user, share), leading_share(of_movie, share))
                for share in (0.01, 0.05, _TENTH, 0.2, 0.5)
            ),
        ),
        wide=True,
    )


def _tail(who: str, title: str, totals: IntArray) -> Figure:
    rows: list[dict[str, Any]] = [
        {"range": f"{first:,}–{last:,}", "most": f"{last:,}", "count": count}
        for first, last, count in binned(totals)
    ]
    return Figure(
        f"{who}-activity",
        title,
        f"Half of the {who} have at most {np.median(totals):,.0f} ratings; the most is "
        f"{totals.max():,}.",
        charts.columns(
            rows,
            Channel("most", "ratings, at most", "ordinal"),
            Channel("count", who, format=charts.WHOLE),
            more=(Channel("range", "Ratings", "nominal"),),
        ),
        Table(
            f"{who}-activity-numbers",
            f"{who.title()} by number of ratings",
            (Column("Ratings"), Column(who.title(), "number")),
            tuple((row["range"], row["count"]) for row in rows),
        ),
    )


# --- time


def _times(counts: RatingCounts) -> Iterator[Block]:
    yield Text("When", "Hours and days are in UTC, as the data has them.")
    yield _dates(counts)
    yield _week(counts)
    hours = counts.by_hour.sum(axis=0)
    yield _time_columns("hour", "hour", [f"{hour:02d}" for hour in range(24)], hours, counts)
    yield _time_columns("weekday", "weekday", _WEEKDAYS, counts.by_hour.sum(axis=1), counts)


def _dates(counts: RatingCounts) -> Figure:
    epoch = datetime.date(1970, 1, 1).toordinal()
    first, last = (
        datetime.date.fromordinal(epoch + d) for d in (min(counts.by_day), max(counts.by_day))
    )
    span = [12 * first.year + first.month - 1, 12 * last.year + last.month - 1]
    by_month = span[1] - span[0] < _MONTHS_AT_MOST
    names = (
        [f"{month // 12}-{month % 12 + 1:02d}" for month in range(span[0], span[1] + 1)]
        if by_month
        else [str(year) for year in range(first.year, last.year + 1)]
    )
    totals = dict.fromkeys(names, 0)
    for day, count in counts.by_day.items():
        date = datetime.date.fromordinal(epoch + day)
        totals[f"{date.year}-{date.month:02d}" if by_month else str(date.year)] += count
    rows: list[dict[str, Any]] = [
        {"when": name, "ratings": count} for name, count in totals.items()
    ]
    most = max(rows, key=lambda row: row["ratings"])
    unit = "month" if by_month else "year"
    return Figure(
        "dates",
        f"Ratings by {unit}",
        f"From {first} to {last}; most in {most['when']}, {most['ratings']:,} of "
        f"{counts.ratings:,}.",
        charts.columns(
            rows,
            Channel("when", unit, "ordinal"),
            Channel("ratings", "ratings", format=charts.WHOLE),
        ),
        Table(
            "dates-numbers",
            f"Ratings by {unit}",
            (Column(unit.title()), Column("Ratings", "number")),
            tuple((row["when"], row["ratings"]) for row in rows),
        ),
    )


def _week(counts: RatingCounts) -> Figure:
    totals = counts.by_hour.sum(axis=2)
    rows = [
        {"day": day, "hour": f"{hour:02d}", "ratings": int(totals[n, hour])}
        for n, day in enumerate(_WEEKDAYS)
        for hour in range(24)
    ]
    day, hour = (int(n) for n in np.unravel_index(int(totals.argmax()), totals.shape))
    busiest = leading_share(totals.ravel(), _TENTH)
    return Figure(
        "week",
        "Ratings by weekday and hour",
        f"Most on {_WEEKDAYS[day]} from {hour}:00 to {hour + 1}:00 UTC, {totals.max():,}; the "
        f"busiest tenth of the week's hours has {percent(busiest)} of ratings.",
        charts.heat(
            rows,
            Channel("hour", "hour, UTC", "ordinal"),
            Channel("day", "", "ordinal", sort=_WEEKDAYS),
            Channel("ratings", "ratings", format=charts.WHOLE),
        ),
    )


def _time_columns(
    key: str, unit: str, names: Sequence[str], by_time: IntArray, counts: RatingCounts
) -> Figure:
    means = counts.mean(by_time)
    rows: list[dict[str, Any]] = [
        {
            "when": name,
            "share": int(by_time[n].sum()) / counts.ratings,
            "ratings": int(by_time[n].sum()),
            "mean": float(means[n]),
        }
        for n, name in enumerate(names)
    ]
    most = max(rows, key=lambda row: row["share"])
    held = sorted((row for row in rows if row["ratings"]), key=lambda row: row["mean"])
    return Figure(
        key,
        f"Ratings by {unit}",
        f"Most: {unit} {most['when']}, with {percent(most['share'], 1)}. Mean stars go from "
        f"{held[0]['mean']:.2f} ({held[0]['when']}) to {held[-1]['mean']:.2f} "
        f"({held[-1]['when']}).",
        charts.columns(
            rows,
            Channel("when", f"{unit}, UTC", "ordinal"),
            Channel("share", "share of ratings", format=charts.PERCENT),
            more=(
                Channel("ratings", "Ratings", format=charts.WHOLE),
                Channel("mean", "Mean stars", format=".2f"),
            ),
        ),
        Table(
            f"{key}-numbers",
            f"Ratings by {unit}",
            (
                Column(unit.title()),
                Column("Ratings", "number"),
                Column("Share", "share", 1),
                Column("Mean stars", "number"),
            ),
            tuple((row["when"], row["ratings"], row["share"], row["mean"]) for row in rows),
        ),
    )


# --- places


def _places(counts: RatingCounts, table: FeatureTable) -> Iterator[Block]:
    zip_code = next((f for f in table.owned_by(Owner.USER) if f.kind is Kind.ZIP_CODE), None)
    if zip_code is None:
        yield Note("No map: the data has no zip code of users.")
        return
    yield Text(
        "Where",
        "By the first three digits of the zip code (table in schema/us_states.py). Other "
        "countries' codes, and those that are unknown, belong to no state.",
    )
    states = by_state(counts, zip_code)
    if not states:
        yield Note("No map: nobody's zip code is one of the United States.", "warn")
        return
    numbers = group_table(
        "state-numbers", "Ratings by state", "State", "People", states, counts.stars
    )
    yield _ratings_map(states, counts, numbers)
    yield _mean_map(states, counts)


def by_state(counts: RatingCounts, zip_code: Feature) -> list[Group]:
    """Returns the ratings by state, most first; without people who are in none."""
    found = counts.users[zip_code.name].map(us_states.state_of)
    rows = np.flatnonzero(found.notna())
    names = [us_states.NAMES[state] for state in found.iloc[rows]]
    groups = grouped(names, rows, counts.by_user, counts.stars)
    return sorted(groups, key=lambda group: -group.ratings)


def _map_rows(states: Sequence[Group]) -> list[Mapping[str, Any]]:
    return [
        {"state": s.value, "ratings": s.ratings, "people": s.members, "mean": s.mean}
        for s in states
    ]


_RATINGS = Channel("ratings", "Ratings", format=charts.WHOLE)
_PEOPLE = Channel("people", "People", format=charts.WHOLE)
_MEAN = Channel("mean", "Mean stars", format=".2f")


def _ratings_map(states: Sequence[Group], counts: RatingCounts, table: Table) -> Figure:
    placed = sum(state.ratings for state in states)
    first = states[0]
    return Figure(
        "state-map",
        "Ratings by US state",
        f"{first.value} comes first with {percent(first.ratings / counts.ratings, 1)} of ratings; "
        f"{percent(1 - placed / counts.ratings, 1)} belong to no state. Grey: nobody.",
        charts.us_map(_map_rows(states), "state", _RATINGS, more=(_PEOPLE, _MEAN)),
        table,
    )


def _mean_map(states: Sequence[Group], counts: RatingCounts) -> Figure:
    enough = [state for state in states if state.members >= MEMBERS_FOR_MEAN]
    ordered = sorted(enough, key=lambda state: state.mean)
    reading = (
        f"From {ordered[0].mean:.2f} ({ordered[0].value}) to {ordered[-1].mean:.2f} "
        f"({ordered[-1].value}), where at least {MEMBERS_FOR_MEAN} people rated; the others are "
        "grey."
        if ordered
        else f"No state has {MEMBERS_FOR_MEAN} people who rated, so all are grey."
    )
    return Figure(
        "state-mean-map",
        "Mean stars by US state",
        reading,
        charts.us_map(_map_rows(enough), "state", _MEAN, more=(_RATINGS, _PEOPLE)),
    )
