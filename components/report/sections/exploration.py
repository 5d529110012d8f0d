"""The ratings explored: who gave them, to which movies, when and where."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from components.report import charts
from components.report.context import Context, Words
from components.report.page import Block, Chart, Note, Table, Text
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
from components.report.sections import capital, movies, percent
from components.report.sections.groups import group_charts, group_rows
from schema import features as raw
from schema import us_states
from schema.features import Feature, FeatureTable, Kind, Owner

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TENTH = 0.1
_MONTHS_AT_MOST = 36
"""Of a longer time, ratings are counted by year instead of by month."""

_GROUPED = (Kind.GENDER, Kind.AGE, Kind.CATEGORY)
"""Kinds of features by whose values users are grouped; the zip code has its map."""


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    ratings, table, words = context.ratings, context.sources.features, context.words
    if ratings is None:
        why = f"the run did not get as far as reading {words.events}"
        yield Note(f"Nothing to explore: {why}.", "warn")
        return
    if not ratings.complete:
        yield Note(f"Over the first {len(ratings.rows):,} {words.events}; the rest was not read.")
    if ratings.values:
        yield _distribution(ratings, words)
    else:
        yield Note("This data has no ratings: events are counted, and there are no means.")
    yield from _describe(ratings, table, words)
    yield from _users(ratings, table, words)
    yield from _activity(ratings, words)
    if SECONDS in ratings.rows:
        yield from _times(ratings, words)
    else:
        yield Note(f"This data has no times: when the {words.events} were given is not known.")
    yield from movies.blocks(context, ratings)
    yield from _places(ratings, table, words)


# --- all ratings


def _distribution(ratings: Ratings, words: Words) -> Chart:
    totals, splits = ratings.by_user.sum(), ratings.rows[SPLIT]
    by_split = pd.crosstab(ratings.rows[RATING], splits, normalize="columns")[splits.unique()]
    share = totals / totals.sum()
    found = pd.DataFrame({"Rating": totals.index, "Ratings": totals, "Share of ratings": share})
    rows = found.join(by_split.add_prefix("Share in ")).to_dict("records")
    return Chart(
        "stars",
        "How often each rating is given",
        f"Most often {words.rated(totals.idxmax())}, in {percent(share.max())} of "
        f"{totals.sum():,} ratings; the mean is {ratings.mean:.2f}.",
        charts.bars(rows, "Rating", "Share of ratings", upright=True),
        wide=True,
    )


_SUMMARIZED = (raw.AGE_BUCKET, raw.MOVIE_ID, raw.AGE, raw.USER_ID, raw.OCCUPATION_LABEL)
COLUMNS: tuple[str, ...] = raw.names((*_SUMMARIZED, raw.RATING, raw.ZIP_CODE))
"""The columns of the summary, in the order of the capstone that this project comes from."""


def describe(ratings: Ratings, table: FeatureTable) -> pd.DataFrame:
    """Returns pandas' describe over the ratings of `COLUMNS` and of users' other numbers.

    Text that is no number counts as missing, such as some zip codes; columns without any number
    are left out.
    """
    numbers = ratings.users.apply(pd.to_numeric, errors="coerce").astype("float64")
    # A whole number that is missing is read as -1.
    any_sign = numbers.columns.isin(raw.names(table.of_kind(Kind.NUMBER)))
    numbers = numbers.where((numbers >= 0) | any_sign)
    joined = numbers.reindex(ratings.rows[USER]).reset_index(drop=True)
    for name, column in ((table.user_id.name, USER), (table.item_id.name, MOVIE)):
        ids = ratings.rows[column]
        of_ids = pd.to_numeric(ids.cat.categories.to_series(), errors="coerce")
        joined[name] = of_ids.to_numpy()[ids.cat.codes]
    if ratings.values:
        joined[table.rating.name] = ratings.rows[RATING]
    order = [*COLUMNS, *(name for name in joined if name not in COLUMNS)]
    found = joined[[name for name in order if name in joined]].astype("float64")
    found = found.dropna(axis="columns", how="all")
    return found.describe() if len(found.columns) else pd.DataFrame()


def _describe(ratings: Ratings, table: FeatureTable, words: Words) -> Iterator[Table]:
    found = describe(ratings, table)
    # A whole number is shown without decimals.
    rows = [
        {"Statistic": name, **{of: int(n) if n.is_integer() else n for of, n in row.items()}}
        for name, row in found.to_dict("index").items()
    ]
    caption = (
        f"Summary of the {words.events}, one row of data per {words.event}; text as a number "
        "where it is one (pandas' describe)"
    )
    if rows:
        yield Table("describe", caption, rows, dict.fromkeys(found, ",.1f"))


# --- users


def _users(ratings: Ratings, table: FeatureTable, words: Words) -> Iterator[Block]:
    features = [f for f in table.owned_by(Owner.USER) if f.kind in _GROUPED or _is_quarter(f)]
    if not features:
        yield Note("This data has no features of users, so there are no groups of them.")
        return
    drawn = "Intervals are 95 % and take users as drawn at random."
    yield Text("Users", drawn if ratings.values else "")
    for feature in features:
        groups, of = users_by(ratings, feature), feature.called
        ordered = feature.kind is Kind.AGE or _is_quarter(feature)
        if list(groups.index) == [raw.UNKNOWN]:
            yield Note(f"No groups by {of}: nobody's is known.")
        else:
            key = feature.key.replace("_", "-")
            yield from group_charts(key, of, "users", groups, ratings, words, ordered=ordered)


def _is_quarter(feature: Feature) -> bool:
    """Returns whether a feature names the quarters of a number (`schema.features.quarter_of`)."""
    return feature.kind is Kind.REPORT_ONLY and feature.sliced


_FIRST, *_, _LAST = _ENDS = raw.AGE_BUCKETS[1:]
_BETWEEN = (f"{low}–{high - 1}" for low, high in itertools.pairwise(_ENDS))
AGE_NAMES: Mapping[int, str] = dict(
    zip(raw.AGE_BUCKETS, (f"under {_FIRST}", *_BETWEEN, f"{_LAST} and over"), strict=True)
)
"""The age buckets in words, by the lowest age, which is a bucket's value in the data."""


def users_by(ratings: Ratings, feature: Feature) -> pd.DataFrame:
    """Returns the ratings by a feature of users: numbers ascending, else most ratings first."""
    values, order = ratings.users[feature.name], [*AGE_NAMES.values(), raw.UNKNOWN]
    if feature.kind is Kind.AGE:
        ends = [0, *_ENDS, np.inf]
        ages = pd.cut(values.where(values > 0), ends, right=False, labels=order[:-1])
        values = ages.astype(object).fillna(raw.UNKNOWN)
    groups = grouped(values, ratings.by_user)
    if feature.kind is Kind.AGE:
        return groups.sort_index(key=lambda names: names.map(order.index))
    return groups.sort_index() if _is_quarter(feature) else groups


# --- activity


def _activity(ratings: Ratings, words: Words) -> Iterator[Block]:
    events, users = words.events, ratings.by_user.sum(axis=1).to_numpy()
    yield Text("Activity", f"How unequally the {events} are spread over users and {words.items}.")
    items = ratings.by_movie.sum(axis=1).to_numpy()
    for key, who, found in (("users", "users", users), ("movies", words.items, items)):
        rows = [{capital(events): span, capital(who): n} for span, n in binned(found).items()]
        yield Chart(
            f"{key}-activity",
            f"How many {events} {who} have",
            f"Half of the {who} have at most {np.median(found):,.0f}; the most is "
            f"{found.max():,}. The tenth of the {who} with most has "
            f"{percent(share_of_largest(found, _TENTH))} of all {events}.",
            charts.bars(rows, capital(events), capital(who), upright=True),
        )


# --- time


def _times(ratings: Ratings, words: Words) -> Iterator[Block]:
    yield Text("When", "Hours and days are in UTC.")
    times = pd.to_datetime(ratings.rows[SECONDS], unit="s")
    first, last, events = times.min(), times.max(), capital(words.events)
    months = 12 * (last.year - first.year) + last.month - first.month
    unit = "month" if months < _MONTHS_AT_MOST else "year"
    counts = times.dt.to_period(unit[0].upper()).value_counts()
    counts = counts.reindex(pd.period_range(first, last, freq=unit[0].upper()), fill_value=0)
    rows = [{capital(unit): str(period), events: int(n)} for period, n in counts.items()]
    yield Chart(
        "dates",
        f"{events} by {unit}",
        f"From {first:%Y-%m-%d} to {last:%Y-%m-%d}; most in {counts.idxmax()}, "
        f"{counts.max():,} of {len(times):,}.",
        charts.bars(rows, capital(unit), events, upright=True),
    )
    week = pd.crosstab(times.dt.hour, times.dt.dayofweek)
    week = week.reindex(index=range(24), columns=range(7), fill_value=0)
    week.index, week.columns = week.index.map("{:02d}".format), pd.Index(_WEEKDAYS)
    week = week.rename_axis(index="Hour", columns="Day")
    cells = week.unstack()
    day, hour = cells.idxmax()
    yield Chart(
        "week",
        f"{events} by weekday and hour",
        f"Most on {day} from {int(hour)}:00 to {int(hour) + 1}:00 UTC: {cells.max():,}.",
        charts.heat(cells.reset_index(name=events).to_dict("records"), "Hour", "Day", events),
        week.reset_index().to_dict("records"),
    )


# --- places


def _places(ratings: Ratings, table: FeatureTable, words: Words) -> Iterator[Block]:
    zip_code = next(iter(table.of_kind(Kind.ZIP_CODE)), None)
    if zip_code is None:
        return
    yield Text(
        "Where",
        "By the first three digits of the zip code (table in schema/us_states.py). Other "
        "countries' codes, and those that are unknown, belong to no state.",
    )
    states = ratings.users[zip_code.name].map(us_states.state_of).dropna().map(us_states.NAMES)
    groups = grouped(states, ratings.by_user)
    if groups.empty:
        yield Note("No map: nobody's zip code is one of the United States.", "warn")
        return
    rows, events = group_rows(groups, "State", "users", ratings, words), capital(words.events)
    share = f"Share of {words.events}"
    yield Chart(
        "state-map",
        f"{events} by US state",
        f"{rows[0]['State']} comes first with {percent(rows[0][share], 1)} of the {words.events}; "
        f"{percent(1 - sum(row[share] for row in rows), 1)} belong to no state. Grey: nobody.",
        charts.us_map(rows, "State", events),
        rows,
    )
    _, *means = group_charts("state", "state", "users", groups, ratings, words)
    yield from means
