"""Refuses own tables that a run would refuse later, or learn nothing from, before it begins."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from components.example_gen.splits import SplitTimes, check_rows, split_ratings, split_times
from components.names import SPLITS, SplitMethod
from schema.dataset import plural
from schema.features import Owner
from sources import files, table_files
from sources.cleaning_log import CleaningLog, LossLimits
from sources.columns import ids_of
from sources.errors import InputError
from sources.interactions import chunk_of
from sources.layout import lines_to_write
from sources.ratings import TIMESTAMP_END, KnownIds, RatingsChunk, concatenate
from sources.table import Table
from sources.table_entities import listed_in
from sources.table_events import Scan, day_of
from sources.wrangling import parse_number

MOST_BYTES = 8 * 2**20
"""Events of at most so many bytes are split as RatingsGen does; of more, the counts are checked."""

_SERIAL_DAYS = 29_221, 54_789
"""The numbers that spreadsheets give to the days from 1980 to 2049."""

_ANYBODY = KnownIds("", None)


def check_early(
    table: Table,
    method: SplitMethod,
    seed: int,
    limits: LossLimits,
    test_time: int | None = None,
) -> None:
    """Refuses own tables that a run would refuse minutes later, or learn nothing from.

    Args:
      table: the adapter.
      method: the split method.
      seed: of the splits.
      limits: what may be lost.
      test_time: where the test of a timeline begins; None: after 80 % of the ratings.

    Raises:
      InputError: more is lost than may be, the times are numbers that count no seconds, no id
        of a file of users or items has an event, there is one user or item alone, each has one
        event of its own, a split is empty, or all ratings are one value.
    """
    scan = table.scan()
    scan.found.check(limits)
    _check_times(table, scan)
    _check_ids(table, Owner.USER, scan.users)
    _check_ids(table, Owner.MOVIE, scan.items)
    if method != "random" and not table.spec.features.has_time:
        return  # the split is refused elsewhere, with its own message
    parts = table.parts(MOST_BYTES)
    if sum((part.end - part.start) * part.unit for part in parts) > MOST_BYTES:
        _check_counts(scan, method, _rows(table))
        _check_variety(table, scan)
        return
    batches = [table.interactions(part, _ANYBODY, _ANYBODY, limits)[0] for part in parts]
    _check_ratings(table, concatenate(map(chunk_of, batches)), method, seed, test_time)
    _check_variety(table, scan)


def _check_times(table: Table, scan: Scan) -> None:
    """Refuses plain numbers that are all in 1970 and are recognised as something else than seconds.

    Dates in 1970, seconds from 0 on and numbers of rows are in the right order, and stay.
    """
    times, layout = scan.times, table.layout
    number = parse_number(times.shown)
    if number is None or layout.compact_dates or times.early < scan.events:
        return
    looks = _looks_like(times.first, times.last, number)
    if looks is None:
        return
    raise InputError(
        f"the times in column {layout.roles['time']} are all in 1970",
        file=table.ratings_file,
        expected="seconds or milliseconds since 1970, or dates such as 2024-02-03 or 20240203",
        found=f"{files.shorten(times.shown)}, which looks like {looks}; all are read as "
        f"{day_of(times.first)} to {day_of(times.last)}",
        action="convert the column; or, to use the events without times, "
        + lines_to_write({"time": ""}, layout.description),
    )


def _looks_like(first: int, last: int, number: float) -> str | None:
    """Returns what times in 1970 seem to be instead of seconds; None where they may be seconds.

    Args:
      first: the earliest, in unix seconds.
      last: the latest, in unix seconds.
      number: one of them, as it is written.
    """
    if first == last == 0:
        return "no time at all"
    # Numbers from the year 2100 on are read as milliseconds.
    if number >= TIMESTAMP_END and first >= TIMESTAMP_END // 1000:
        return "seconds after the year 2100, or a damaged number"
    if first >= 1800 and last <= 2100:
        return "a year"
    if first >= _SERIAL_DAYS[0] and last <= _SERIAL_DAYS[1]:
        return "the number of a day in a spreadsheet"
    return None


def _check_ids(table: Table, owner: Owner, seen: list[str]) -> None:
    """Refuses a file of users or items of which no id has an event."""
    key, listed = listed_in(table.layout, owner)
    ids: set[str] = set()
    for file in listed:
        rows = table_files.read_all(table.folder, file, [key], CleaningLog())
        ids.update(ids_of(rows.columns[key]).values.drop_null().cast(pa.string()).to_pylist())
    if not ids or not ids.isdisjoint(seen):
        return
    raise InputError(
        f"none of the {len(ids):,} ids of {listed[0].name} has an event",
        file=listed[0].name,
        expected=f"ids in {key} as in {table.ratings_file}, such as {files.shorten(min(seen))}; "
        "they are compared as text: 007 is not 7",
        found=files.shorten(min(ids)),
        action=f"write the same ids to both, or leave {listed[0].name} out",
    )


def _rows(table: Table) -> Literal["ratings", "events"]:
    return "ratings" if table.spec.features.has_rating else "events"


def _check_counts(scan: Scan, method: SplitMethod, what: Literal["ratings", "events"]) -> None:
    """Refuses users with one event each where a user's last ones are the test."""
    if method in ("temporal", "leave-one-out") and scan.events == len(scan.users):
        check_rows(method, {**dict.fromkeys(SPLITS, 0), SPLITS[0]: scan.events}, what)


def _check_variety(table: Table, scan: Scan) -> None:
    """Refuses events from which nothing can be learned about what else users choose."""
    noun, roles = table.spec.item_noun, table.layout.roles
    for role, ids, who in (("user", scan.users, "user"), ("item", scan.items, noun)):
        if len(ids) == 1:
            raise _no_variety(table, f"there is one {who}", f"{files.shorten(ids[0])} alone", role)
    if scan.events == len(scan.users) == len(scan.items):
        found = f"{scan.events:,} different values each in {roles['user']} and {roles['item']}"
        raise _no_variety(table, f"every user and every {noun} has one event", found, "item")


def _no_variety(table: Table, problem: str, found: str, role: str) -> InputError:
    return InputError(
        f"{problem}: nothing can be learned about what else users choose",
        file=table.ratings_file,
        expected=f"several users and several {plural(table.spec.item_noun)}, some of them with "
        "several events",
        found=found,
        action=f"see whether {table.layout.roles[role]} is the column of the {role}'s id; if not, "
        f"name another one under [columns] in {table.layout.description.path}",
    )


def _check_ratings(
    table: Table, chunk: RatingsChunk, method: SplitMethod, seed: int, test_time: int | None
) -> None:
    times: SplitTimes | None = None
    if method == "timeline":
        times = split_times(chunk.timestamp, test_time)
    whole, split, _ = split_ratings(chunk, table.repeats, method, seed, times)
    counts = np.bincount(split, minlength=len(SPLITS)).tolist()
    # The test of an earlier timeline may begin at another time.
    if (
        method != "timeline"
        or test_time is not None
        or len(np.unique(chunk.timestamp)) < len(SPLITS)
    ):
        check_rows(method, dict(zip(SPLITS, counts, strict=True)), _rows(table))
    values = np.unique(whole.user_rating)
    if table.spec.features.has_rating and len(values) == 1:
        raise _one_value(table, float(values[0]))


def _one_value(table: Table, value: float) -> InputError:
    description = table.layout.description
    counted = description.repeats == "count"
    return InputError(
        f"every pair of user and {table.spec.item_noun} has one event of weight {value:g}"
        if counted
        else f"every rating is {value:g}",
        file=table.ratings_file,
        expected="ratings that differ: a model of one value predicts nothing",
        found=f"{value:g} alone",
        action=f'change the line of repeats in {description.path} to repeats = "latest", so that '
        "events have no rating"
        if counted
        else "to use the events without ratings, " + lines_to_write({"rating": ""}, description),
    )
