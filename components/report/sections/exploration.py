"""The ratings explored: who gave them, to which movies, when and where."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import numpy as np
import pandas as pd

from components.report import charts
from components.report.context import Context
from components.report.page import Block, Chart, Note, Row, Section, Table, Text
from components.report.ratings import (
    MOVIE,
    RATING,
    SECONDS,
    SPLIT,
    USER,
    Ratings,
    binned,
    grouped,
    share_of_largest,
)
from components.report.sections import movies, percent, sources_of
from components.report.sections.groups import (
    MEMBERS_FOR_MEAN,
    group_charts,
    group_rows,
    star_formats,
    stars,
)
from schema import features as raw
from schema import us_states
from schema.features import Feature, FeatureTable, Kind, Owner

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TENTH = 0.1
_MONTHS_AT_MOST = 36
"""Of a longer time, ratings are counted by year instead of by month."""

_GROUPED = (Kind.GENDER, Kind.AGE, Kind.CATEGORY)
"""Kinds of features by whose values users are grouped; the zip code has its maps."""


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="exploration",
        title="Exploration",
        lead="The ratings before any model: who gave them, to which movies, when and where. "
        "All splits together, after the cleanup.",
        sources=sources_of(context.sources, "ratings", "movies"),
        blocks=tuple(_blocks(context)),
    )


def _blocks(context: Context) -> Iterator[Block]:
    ratings, table = context.ratings, context.sources.features
    if ratings is None:
        yield Note("Nothing to explore: the run did not get as far as reading ratings.", "warn")
    else:
        if not ratings.complete:
            yield Note(f"Over the first {len(ratings.rows):,} ratings; the rest was not read.")
        yield _distribution(ratings)
        yield _describe(ratings, table)
        yield from _users(ratings, table)
        yield from _activity(ratings)
        yield from _times(ratings)
    yield from movies.blocks(context)
    if ratings is not None:
        yield from _places(ratings, table)


# --- all ratings


def _distribution(ratings: Ratings) -> Chart:
    totals = ratings.by_user.sum()
    by_split = pd.crosstab(ratings.rows[RATING], ratings.rows[SPLIT], normalize="columns")
    names = list(dict.fromkeys(ratings.rows[SPLIT]))
    rows = [
        {
            "Rating": value,
            "Ratings": int(totals[value]),
            "Share of ratings": totals[value] / totals.sum(),
            **{f"Share in {name}": by_split.at[value, name] for name in names},
        }
        for value in totals.index
    ]
    return Chart(
        "stars",
        "How often each rating is given",
        f"Most often {stars(totals.idxmax())}, in {percent(totals.max() / totals.sum())} of "
        f"{totals.sum():,} ratings; the mean is {ratings.mean:.2f}.",
        charts.upright_bars(rows, "Rating", "Share of ratings"),
        rows,
        wide=True,
    )


COLUMNS: tuple[str, ...] = raw.names(
    (
        raw.AGE_BUCKET,
        raw.MOVIE_ID,
        raw.AGE,
        raw.USER_ID,
        raw.OCCUPATION_LABEL,
        raw.RATING,
        raw.ZIP_CODE,
    )
)
"""The columns of the summary, in the order of the capstone that this project comes from."""


def describe(ratings: Ratings, table: FeatureTable) -> pd.DataFrame:
    """Returns pandas' describe of `COLUMNS` over the ratings; without those the data lacks.

    Zip codes that are not numbers count as missing, as do occupations without a label.
    """
    held = [name for name in COLUMNS if name in ratings.users]
    numbers = ratings.users[held].apply(pd.to_numeric, errors="coerce").astype("float64")
    # A whole number that is missing is read as -1.
    joined = numbers.where(numbers >= 0).reindex(ratings.rows[USER]).reset_index(drop=True)
    names = {table.user_id.name: USER, table.item_id.name: MOVIE, table.rating.name: RATING}
    joined = joined.assign(**{name: ratings.rows[column] for name, column in names.items()})
    return joined[[name for name in COLUMNS if name in joined]].astype("float64").describe()


def _describe(ratings: Ratings, table: FeatureTable) -> Table:
    found = describe(ratings, table)
    rows = [
        {
            "Statistic": str(statistic),
            # A whole number is shown without decimals.
            **{name: int(n) if float(n).is_integer() else float(n) for name, n in row.items()},
        }
        for statistic, row in found.iterrows()
    ]
    return Table(
        "describe",
        "Summary of the ratings, one row of data per rating; zip codes as numbers where they are "
        "numbers (pandas' describe)",
        rows,
        dict.fromkeys(found, ",.1f"),
    )


# --- users


def _users(ratings: Ratings, table: FeatureTable) -> Iterator[Block]:
    yield Text("Users", "Intervals are 95 % and take users as drawn at random.")
    features = [f for f in table.owned_by(Owner.USER) if f.kind in _GROUPED]
    if not features:
        yield Note("No groups of users: the data has no gender, age or category of users.")
    for feature in features:
        groups = users_by(ratings, feature)
        if list(groups.index) == [raw.UNKNOWN]:
            yield Note(f"No groups by {feature.called}: nobody's is known.")
        else:
            key, ordered = feature.key.replace("_", "-"), feature.kind is Kind.AGE
            yield from group_charts(key, feature.called, "users", groups, ratings, ordered=ordered)


def users_by(ratings: Ratings, feature: Feature) -> pd.DataFrame:
    """Returns the ratings by a feature of users: ages ascending, else most ratings first."""
    values = ratings.users[feature.name]
    if feature.kind is not Kind.AGE:
        return grouped(values, ratings.by_user)
    groups = grouped(values.map(_age_group), ratings.by_user)
    return groups.reindex([name for name in _AGE_NAMES if name in groups.index])


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


def _activity(ratings: Ratings) -> Iterator[Block]:
    totals = {
        "users": ratings.by_user.sum(axis=1).to_numpy(),
        "movies": ratings.by_movie.sum(axis=1).to_numpy(),
    }
    yield Text("Activity", "How unequally the ratings are spread over users and movies.")
    for who, what in (("users", "users give"), ("movies", "movies get")):
        found = totals[who]
        rows = [{"Ratings": bin_, who.title(): count} for bin_, count in binned(found).items()]
        yield Chart(
            f"{who}-activity",
            f"How many ratings {what}",
            f"Half of the {who} have at most {np.median(found):,.0f} ratings; the most is "
            f"{found.max():,}.",
            charts.upright_bars(rows, "Ratings", who.title()),
            rows,
        )
    shares = (0.01, 0.02, 0.05, _TENTH, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    rows = [
        {
            "Share": share,
            "Most active users": share_of_largest(totals["users"], share),
            "Most rated movies": share_of_largest(totals["movies"], share),
        }
        for share in shares
    ]
    formats = dict.fromkeys(("Most active users", "Most rated movies"), ".1%")
    by_users, by_movies = (share_of_largest(found, _TENTH) for found in totals.values())
    yield Chart(
        "long-tail",
        "How much of the ratings the most active users and the most rated movies have",
        f"The most active tenth of users gave {percent(by_users)} of the ratings, the most rated "
        f"tenth of movies got {percent(by_movies)}.",
        charts.lines(rows, "Share", list(formats), title="share of ratings", formats=formats),
        rows,
        formats,
        wide=True,
    )


# --- time


def _times(ratings: Ratings) -> Iterator[Block]:
    yield Text("When", "Hours and days are in UTC, as in the data.")
    times = pd.to_datetime(ratings.rows[SECONDS], unit="s")
    yield _dates(times)
    yield _week(times)


def _dates(times: pd.Series) -> Chart:
    first, last = times.min(), times.max()
    months = 12 * (last.year - first.year) + last.month - first.month
    unit = "month" if months < _MONTHS_AT_MOST else "year"
    counts = times.dt.to_period(unit[0].upper()).value_counts()
    counts = counts.reindex(pd.period_range(first, last, freq=unit[0].upper()), fill_value=0)
    rows = [{unit.title(): str(period), "Ratings": int(n)} for period, n in counts.items()]
    return Chart(
        "dates",
        f"Ratings by {unit}",
        f"From {first:%Y-%m-%d} to {last:%Y-%m-%d}; most in {counts.idxmax()}, "
        f"{counts.max():,} of {len(times):,}.",
        charts.upright_bars(rows, unit.title(), "Ratings", height=240),
        rows,
    )


def _week(times: pd.Series) -> Chart:
    counts = pd.crosstab(times.dt.dayofweek, times.dt.hour)
    counts = counts.reindex(index=range(7), columns=range(24), fill_value=0)
    totals = counts.to_numpy()
    rows = [
        {"Day": day, "Hour": f"{hour:02d}", "Ratings": int(totals[n, hour])}
        for n, day in enumerate(_WEEKDAYS)
        for hour in range(24)
    ]
    day, hour = (int(n) for n in np.unravel_index(int(totals.argmax()), totals.shape))
    busiest = percent(share_of_largest(totals.ravel(), _TENTH))
    return Chart(
        "week",
        "Ratings by weekday and hour",
        f"Most on {_WEEKDAYS[day]} from {hour}:00 to {hour + 1}:00 UTC, {totals.max():,}; the "
        f"busiest tenth of the week's hours has {busiest} of the ratings.",
        charts.heat(rows, "Hour", "Day", "Ratings"),
        [
            {"Hour": f"{h:02d}", **dict(zip(_WEEKDAYS, totals[:, h].tolist(), strict=True))}
            for h in range(24)
        ],
    )


# --- places


def _places(ratings: Ratings, table: FeatureTable) -> Iterator[Block]:
    zip_code = next(iter(table.of_kind(Kind.ZIP_CODE)), None)
    if zip_code is None:
        yield Note("No map: the data has no zip code of users.")
        return
    yield Text(
        "Where",
        "By the first three digits of the zip code (table in schema/us_states.py). Other "
        "countries' codes, and those that are unknown, belong to no state.",
    )
    states = by_state(ratings, zip_code)
    if states.empty:
        yield Note("No map: nobody's zip code is one of the United States.", "warn")
        return
    rows = group_rows(states, "State", "users", ratings)
    placed = sum(row["Share of ratings"] for row in rows)
    yield Chart(
        "state-map",
        "Ratings by US state",
        f"{rows[0]['State']} comes first with {percent(rows[0]['Share of ratings'], 1)} of the "
        f"ratings; {percent(1 - placed, 1)} belong to no state. Grey: nobody.",
        charts.us_map(rows, "State", "Ratings"),
        rows,
        star_formats(ratings),
    )
    enough: list[Row] = [row for row in rows if row["Users"] >= MEMBERS_FOR_MEAN]
    ends = sorted(enough, key=lambda row: row["Mean rating"])
    if enough:
        yield Chart(
            "state-mean-map",
            "Mean rating by US state",
            f"From {ends[0]['Mean rating']:.2f} ({ends[0]['State']}) to "
            f"{ends[-1]['Mean rating']:.2f} ({ends[-1]['State']}), where at least "
            f"{MEMBERS_FOR_MEAN} users rated; the others are grey.",
            charts.us_map(enough, "State", "Mean rating", {"Mean rating": ".2f"}),
        )


def by_state(ratings: Ratings, zip_code: Feature) -> pd.DataFrame:
    """Returns the ratings by state, most first; without users who are in none."""
    states = ratings.users[zip_code.name].map(us_states.state_of).dropna().map(us_states.NAMES)
    return grouped(states, ratings.by_user)
