"""The ratings explored: who gave them, to which movies, when and where."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.report import charts
from components.report.context import Context, Words
from components.report.page import Block, Chart, Note, Table, Text
from components.report.ratings import MOVIE, RATING, SECONDS, SPLIT, USER, Ratings, grouped
from components.report.sections import capital, movies, percent
from components.report.sections.groups import group_charts, group_rows
from schema import features as raw
from schema import us_states
from schema.features import Feature, FeatureTable, Kind, Owner

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
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
        yield from movies.years(context)
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


def _distribution(ratings: Ratings, words: Words) -> Chart:
    totals, splits = ratings.by_user.sum(), ratings.rows[SPLIT]
    by_split = pd.crosstab(ratings.rows[RATING], splits, normalize="columns")[splits.unique()]
    share = totals / totals.sum()
    found = pd.DataFrame({"Rating": totals.index, "Ratings": totals, "Share of ratings": share})
    rows = found.join(by_split.add_prefix("Share in ")).to_dict("records")
    return Chart(
        "stars",
        "How often each rating is given",
        f"The most frequent is {words.rated(totals.idxmax())}: {percent(share.max())} of "
        f"{totals.sum():,} ratings; the mean is {ratings.mean:.2f}.",
        charts.bars(rows, "Rating", "Share of ratings", upright=True),
        wide=True,
    )


_SUMMARIZED = (raw.AGE_BUCKET, raw.MOVIE_ID, raw.AGE, raw.USER_ID, raw.OCCUPATION_LABEL)
COLUMNS: tuple[str, ...] = raw.names((*_SUMMARIZED, raw.RATING, raw.ZIP_CODE))
"""The columns of the summary, in the order of the capstone that this project comes from."""


def _describe(ratings: Ratings, table: FeatureTable, words: Words) -> Iterator[Table]:
    """Yields pandas' describe over the ratings of `COLUMNS` and of users' other numbers.

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
    joined = joined.astype("float64").dropna(axis="columns", how="all")
    order = [*COLUMNS, *joined.columns.difference(COLUMNS, sort=False)]
    if joined.empty:
        return
    found = joined[[name for name in order if name in joined]].describe()
    # A whole number is shown without decimals.
    rows = [
        {"Statistic": name, **{of: int(n) if n.is_integer() else n for of, n in row.items()}}
        for name, row in found.to_dict("index").items()
    ]
    what = f"one row of data per {words.event}; text as a number where it is one"
    caption = f"Summary of the {words.events}, {what} (pandas' describe)"
    yield Table("describe", caption, rows, dict.fromkeys(found, ",.1f"))


def _users(ratings: Ratings, table: FeatureTable, words: Words) -> Iterator[Block]:
    features = [f for f in table.owned_by(Owner.USER) if f.kind in _GROUPED or _is_quarter(f)]
    if not features:
        yield Note("This data has no features of users, so there are no groups of them.")
        return
    drawn = "The lines are 95 % confidence intervals of means; users count as drawn at random."
    yield Text("Users", drawn if ratings.values else "")
    for feature in features:
        groups, of = users_by(ratings, feature), feature.called
        ordered = feature.kind is Kind.AGE or _is_quarter(feature)
        if list(groups.index) == [raw.UNKNOWN]:
            yield Note(f"No groups by {of}: nobody's is known.")
            continue
        yield from group_charts(feature.key, of, "users", groups, ratings, words, ordered=ordered)


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
            f"{found.max():,}. The 10 % of {who} with the most {events} have "
            f"{percent(share_of_largest(found, 0.1))} of them all.",
            charts.bars(rows, capital(events), capital(who), upright=True),
        )


def share_of_largest(totals: npt.NDArray[Any], share: float) -> float:
    """Returns the part of a total that the largest `share` of its parts (at least one) make up."""
    ordered = np.sort(totals)[::-1]
    first = max(1, round(share * len(ordered)))
    return float(ordered[:first].sum() / max(ordered.sum(), 1))


def binned(totals: npt.NDArray[Any]) -> Mapping[str, int]:
    """Returns how many parts are in each of the bins 1, 2–3, 4–7, 8–15, and so on.

    Parts are whole numbers; bins before the first that holds anything are left out.
    """
    powers = np.log2(totals).astype(int)
    counts = np.bincount(powers)
    held = range(min(powers, default=0), len(counts))
    return {f"{2**p:,}–{2 ** (p + 1) - 1:,}" if p else "1": int(counts[p]) for p in held}


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
        f"{percent(1 - sum(row[share] for row in rows), 1)} belong to no state. Grey: no users.",
        charts.us_map(rows, "State", events),
        rows,
    )
    yield from list(group_charts("state", "state", "users", groups, ratings, words))[1:]
