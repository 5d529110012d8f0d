"""The events of own tables: read, cleaned and counted, part by part."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schema.features import Feature
from sources import cleaning_log, files, table_files, wrangling
from sources.adapter import Part
from sources.attributes import Attribute, values_of
from sources.cleaning_log import CleaningLog, RowExample
from sources.columns import (
    MOST_RATING,
    ambiguous_dates,
    compact_times_of,
    describe_missing_value,
    ids_of,
    ratings_of,
    texts,
    times_of,
    too_large,
)
from sources.description import Rule
from sources.errors import InputError
from sources.interactions import CONTEXT_TYPES, INTERACTIONS
from sources.layout import Layout, column_of
from sources.ratings import TIMESTAMP_END, BoolArray
from sources.table_files import Rows

MOST_RATINGS = 1000
"""Different ratings that a scan remembers; more are measured, not stars."""

SCAN_BYTES = 16 * 2**20
"""Of a part that is read at a time to find out what the data is."""

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


YEAR_1971 = 365 * 86_400
"""In unix seconds. What is no time is read as one in 1970: years, days, numbers of rows."""

YEAR_1980 = (10 * 365 + 2) * 86_400
"""In unix seconds. A date such as 20240203 or 20240203101500 is before it if read as a number."""


class Times(NamedTuple):
    """The times of all events, in unix seconds.

    Attributes:
      first: the earliest.
      last: the latest.
      zeros: how many are 0.
      early: how many are in 1970.
      before_1980: how many are before 1980.
      future: how many are more than a day after now.
      shown: one, as it is written.
    """

    first: int = TIMESTAMP_END
    last: int = 0
    zeros: int = 0
    early: int = 0
    before_1980: int = 0
    future: int = 0
    shown: str = ""

    def with_part(self, values: npt.NDArray[np.int64], shown: str) -> Times:
        """Returns the times of these events and of a further part.

        Args:
          values: `[n]` unix seconds of the part, one at least.
          shown: one of them, as it is written.
        """
        tomorrow = datetime.datetime.now(datetime.timezone.utc).timestamp() + 86_400
        return Times(
            min(self.first, int(values.min())),
            max(self.last, int(values.max())),
            self.zeros + int((values == 0).sum()),
            self.early + int((values < YEAR_1971).sum()),
            self.before_1980 + int((values < YEAR_1980).sum()),
            self.future + int((values > tomorrow).sum()),
            self.shown or shown,
        )


def odd_times(scan: Scan, layout: Layout) -> list[str]:
    """Returns what is odd about the times of events, in words."""
    times, events = scan.times, scan.events
    if not times.shown:
        return []
    start = f"{layout.interactions[0].name}: column {layout.roles['time']}: "
    found = []
    if times.early:
        zeros = f", {times.zeros:,} of them are 0" if times.zeros else ""
        found.append(f"{times.early:,} of {events:,} times are in 1970{zeros}")
    if times.future:
        found.append(f"{times.future:,} of {events:,} times are after today")
    if times.first // 86_400 == times.last // 86_400 and 1 < events > times.early:
        found.append(f"all times are on one day, {day_of(times.first)}")
    return [start + one for one in found]


def day_of(seconds: int) -> str:
    """Returns the date of a time in unix seconds, in UTC: 2024-02-03."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()


class Scan(NamedTuple):
    """What one reading of all events finds.

    Attributes:
      users: ids of everybody with an event, ascending.
      items: ids of everything with an event, ascending.
      events: the number of usable events.
      ratings: the different ratings, ascending; `MOST_RATINGS` and one at most.
      low: the least rating.
      high: the greatest rating.
      readable: the number of ratings that are numbers.
      empty: the number of missing ratings.
      unreadable: two different ratings that are no numbers; fewer where there are not two.
      found: what was dropped, and why.
      times: the times of the events.
    """

    users: list[str]
    items: list[str]
    events: int
    ratings: list[float]
    low: float
    high: float
    readable: int
    empty: int
    unreadable: list[str]
    found: CleaningLog
    times: Times


class _Part:
    """The rows of a part: which are still in, and the counting of the others."""

    def __init__(self, folder: Path, layout: Layout, part: Part) -> None:
        description = layout.description
        self.layout, self.found = layout, CleaningLog()
        self.file = next(one for one in layout.interactions if one.name == part.file)
        rules = [rule for rule in (description.positive, *description.drop) if rule]
        features = layout.features.context if layout.features else ()
        self.context: dict[Feature, str] = {one: layout.columns[one.name] for one in features}
        wanted = (
            *layout.roles.values(),
            *(column_of(layout, rule.column) for rule in rules),
            *self.context.values(),
        )
        self.rows: Rows = table_files.read_part(
            folder, self.file, part, dict.fromkeys(wanted), self.found
        )
        self.count = len(self.column("user"))
        self.kept = np.ones(self.count, np.bool_)
        self.readable = self.empty = 0
        self.unreadable: list[str] = []

    def column(self, name: str) -> pa.Array:
        """Returns the column of a role, or of a rule."""
        columns = self.rows.columns
        return columns[self.layout.roles.get(name) or column_of(self.layout, name)]

    def drop(self, reason: str, mask: BoolArray, expected: str, shown: str | pa.Array) -> None:
        """Drops rows that are still in, and counts them; `shown` says what was found."""
        places = np.flatnonzero(mask & self.kept)
        if not len(places):
            return
        examples = [
            RowExample(
                self.rows.number(int(place)),
                expected,
                shown if isinstance(shown, str) else _describe(reason, shown[int(place)]),
            )
            for place in places[: cleaning_log.MAX_EXAMPLES]
        ]
        self.found.drop(self.file.name, reason, len(places), examples)
        self.kept[places] = False

    def ids(self, role: str) -> tuple[pa.Array, BoolArray]:
        """Returns the ids of a role, and which of them were repaired."""
        name = self.layout.roles[role]
        column = self.column(role)
        self.refuse_nested(name, column)
        ids = ids_of(column)
        usable = ids.values.is_valid().to_numpy(zero_copy_only=False)
        expected = f"an id in {name}"
        self.drop(cleaning_log.MISSING_VALUE, ids.missing, expected, self.column(role))
        self.drop(cleaning_log.UNUSABLE_ID, ~usable, expected, "a text that is too long")
        return ids.values.cast(pa.string()), ids.repaired

    def refuse_nested(self, name: str, column: pa.Array) -> None:
        """Refuses ids that are objects or lists, of JSON or Parquet."""
        first = table_files.first_nested(column, self.file)
        if first is not None:
            raise InputError(
                f"the ids in {name} are objects or lists",
                file=self.file.name,
                expected=f"a text or a number in {name}, such as 7",
                found=files.shorten(first),
                action="write the id itself in a column of its own",
            )

    def rating(self) -> pa.Array:
        """Returns the ratings; the weights of events where these are counted."""
        weights = self.weights()
        if self.layout.description.repeats == "count":
            return pa.array(weights, pa.float32())
        if "rating" not in self.layout.roles:
            return pa.nulls(self.count, pa.float32())
        name, shown = self.layout.roles["rating"], self.column("rating")
        numbers = ratings_of(shown, decimal_comma=self.layout.decimal_comma)
        self.readable = int((self.kept & ~numbers.missing & ~numbers.bad).sum())
        self.empty = int((self.kept & numbers.missing).sum())
        if (bad := self.kept & numbers.bad).any():
            values = texts(shown).filter(pa.array(bad)).unique().to_pylist()
            self.unreadable = sorted({wrangling.clean_token(one) for one in values})[:2]
        self.drop(cleaning_log.MISSING_VALUE, numbers.missing, f"a value in {name}", shown)
        if numbers.bad.any():
            large = numbers.bad.copy()
            are_bad = shown.filter(pa.array(numbers.bad))
            large[numbers.bad] = too_large(are_bad, decimal_comma=self.layout.decimal_comma)
            most = f"a rating of at most {MOST_RATING:.2g} in {name}"
            self.drop(cleaning_log.RATING_RANGE, large, most, shown)
        self.drop(cleaning_log.NON_NUMERIC_RATING, numbers.bad, f"a number in {name}", shown)
        if scale := self.layout.description.scale:
            low, high = scale
            outside = (numbers.values < low) | (numbers.values > high)
            expected = f"a rating from {low:g} to {high:g}"
            self.drop(cleaning_log.RATING_RANGE, outside, expected, shown)
        return pa.array(numbers.values.astype(np.float32))

    def time(self) -> pa.Array:
        """Returns unix seconds."""
        if "time" not in self.layout.roles:
            return pa.nulls(self.count, pa.int64())
        name, shown = self.layout.roles["time"], self.column("time")
        compact = self.layout.compact_dates
        times = compact_times_of(shown) if compact else times_of(shown)
        outside = (times.values < 0) | (times.values >= TIMESTAMP_END)
        expected = f"a time in {name}: " + (
            "a date such as 20240203, as in most rows"
            if compact
            else "seconds or milliseconds since 1970, or a date"
        )
        in_range = f"a time in {name} from 1970 to before the year 2100"
        self.drop(cleaning_log.MISSING_VALUE, times.missing, f"a value in {name}", shown)
        if times.bad.any():
            ambiguous = times.bad & ambiguous_dates(shown)
            self.drop(cleaning_log.AMBIGUOUS_DATE, ambiguous, expected, shown)
        self.drop(cleaning_log.UNREADABLE_TIME, times.bad, expected, shown)
        self.drop(cleaning_log.TIMESTAMP_RANGE, outside, in_range, shown)
        return pa.array(times.values)

    def weights(self) -> npt.NDArray[np.float64]:
        """Returns the weight of each event; those of types without one are dropped."""
        known = self.layout.description.events
        if not known or "event" not in self.layout.roles:
            return np.ones(self.count)
        encoded = texts(self.column("event")).dictionary_encode()
        cleaned = [wrangling.clean_token(one) for one in encoded.dictionary.to_pylist()]
        each = np.array([*(known.get(one, 0.0) for one in cleaned), 0.0])
        places = encoded.indices.to_numpy(zero_copy_only=False)
        weights = each[np.nan_to_num(places, nan=len(cleaned)).astype(np.int64)]
        expected = f"an event of {', '.join(known)}"
        self.drop(cleaning_log.LEFT_OUT, weights == 0, expected, self.column("event"))
        return weights

    def context_columns(self) -> dict[str, pa.Array]:
        """Returns the context features of the events that are still in; counts what is missing."""
        places = np.flatnonzero(self.kept)
        found = {}
        for feature, name in self.context.items():
            column = self.rows.columns[name].take(pa.array(places))
            # A part's own values may look as if they had decimal commas where those of all do not.
            has_commas = name in self.layout.context_commas
            file = self.file if has_commas else dataclasses.replace(self.file, separator=",")
            values = values_of(
                Attribute(feature, name),
                column,
                file,
                lambda place: self.rows.number(int(places[place])),
                self.found,
            )
            found[feature.name] = pa.array(values[feature.name], CONTEXT_TYPES[feature.dtype])
        return found

    def follow(self, rule: Rule, *, keep: bool) -> None:
        """Leaves out the events that a rule is true of, or keeps them alone."""
        column = self.column(rule.column)
        is_rating = column is self.rows.columns.get(self.layout.roles.get("rating", ""))
        found, bad = _holds(rule, column, decimal_comma=is_rating and self.layout.decimal_comma)
        if not is_rating:  # those are judged where they are read
            self.drop(cleaning_log.NO_NUMBER, bad, f"a number in {rule.column}, for {rule}", column)
        expected = f"{'' if keep else 'not '}{rule}"
        self.drop(cleaning_log.LEFT_OUT, found != keep, expected, column)


def _describe(reason: str, value: pa.Scalar) -> str:
    is_missing = reason == cleaning_log.MISSING_VALUE
    return describe_missing_value(value.as_py()) if is_missing else files.shorten(str(value))


def _holds(rule: Rule, column: pa.Array, *, decimal_comma: bool) -> tuple[BoolArray, BoolArray]:
    """Returns of which values a rule is true, and which it cannot compare.

    Numbers are compared as numbers, text as text; a text is not equal to a number, and neither
    less nor more.
    """
    compare = _COMPARISONS[rule.operator]
    number = wrangling.parse_number(rule.value)
    if number is not None:
        numbers = ratings_of(column, decimal_comma=decimal_comma)
        usable = ~(numbers.missing | numbers.bad)
        bad = numbers.bad & (rule.operator not in ("==", "!="))
        return np.asarray(compare(numbers.values, number) & usable, np.bool_), bad
    encoded = texts(column).fill_null("").dictionary_encode()
    values = map(wrangling.clean_token, encoded.dictionary.to_pylist())
    each = [compare(value, rule.value) for value in values]
    found = np.array([*each, False], np.bool_)[encoded.indices.to_numpy()]
    return found, np.zeros(len(found), np.bool_)


def read_events(folder: Path, layout: Layout, part: Part) -> tuple[pa.RecordBatch, CleaningLog]:
    """Returns the usable events of a part, and what was dropped and repaired.

    The columns are those of `INTERACTIONS` and the context features.
    """
    batch, rows = _read(folder, layout, part)
    return batch, rows.found


def _read(folder: Path, layout: Layout, part: Part) -> tuple[pa.RecordBatch, _Part]:
    rows = _Part(folder, layout, part)
    (user, of_users), (item, of_items) = rows.ids("user"), rows.ids("item")
    for rule in layout.description.drop:
        rows.follow(rule, keep=False)
    if layout.description.positive is not None:
        rows.follow(layout.description.positive, keep=True)
    columns = [user, item, rows.rating(), rows.time(), pa.nulls(rows.count, pa.int64())]
    repaired = np.flatnonzero((of_users | of_items) & rows.kept)
    examples = [
        RowExample(
            rows.rows.number(int(i)), "ids without blanks, quotes and decimals", "an id with such"
        )
        for i in repaired[: cleaning_log.MAX_EXAMPLES]
    ]
    rows.found.repair(rows.file.name, cleaning_log.ID_CLEANED, len(repaired), examples)
    if not rows.kept.all():
        columns = [column.filter(pa.array(rows.kept)) for column in columns]
    schema = INTERACTIONS
    for name, column in rows.context_columns().items():
        schema = schema.append(pa.field(name, column.type))
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema), rows


def scan_of(folder: Path, layout: Layout) -> Scan:
    """Returns what one reading of all events finds; files that did not change are read once."""
    stats = [(folder / file.name).stat() for file in layout.interactions]
    key = Layout(
        *(layout.interactions, (), (), layout.roles),
        decimal_comma=layout.decimal_comma,
        compact_dates=layout.compact_dates,
        description=layout.description,
    )
    return _scan(folder, key.to_json(), tuple((s.st_size, s.st_mtime_ns) for s in stats))


@functools.lru_cache(maxsize=1)
def _scan(folder: Path, layout_json: str, stats: tuple[tuple[int, int], ...]) -> Scan:
    layout = Layout.from_json(layout_json)
    users: set[str] = set()
    items: set[str] = set()
    ratings: set[float] = set()
    ends: list[float] = []
    unreadable: set[str] = set()
    found = CleaningLog()
    times = Times()
    events = readable = empty = 0
    has_ratings = "rating" in layout.roles
    for file in layout.interactions:
        for part in table_files.parts(folder, file, SCAN_BYTES):
            batch, rows = _read(folder, layout, part)
            found.merge(rows.found)
            unreadable.update(rows.unreadable)
            events += batch.num_rows
            readable += rows.readable
            empty += rows.empty
            users.update(batch.column("user_id").unique().to_pylist())
            items.update(batch.column("item_id").unique().to_pylist())
            if batch.num_rows and "time" in layout.roles:
                one = texts(rows.column("time").slice(int(rows.kept.argmax()), 1))[0].as_py()
                values = batch.column("timestamp").to_numpy(zero_copy_only=False)
                times = times.with_part(values, wrangling.clean_token(one[:60]))
            if batch.num_rows and has_ratings:
                values = np.unique(batch.column("rating").to_numpy(zero_copy_only=False))
                ends += [float(values[0]), float(values[-1])]
                if len(ratings) <= MOST_RATINGS:
                    ratings.update(values[: MOST_RATINGS + 1].tolist())
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    return Scan(
        *(sorted(users), sorted(items), events, sorted(ratings), low, high, readable, empty),
        sorted(unreadable)[:2],
        found,
        times,
    )
