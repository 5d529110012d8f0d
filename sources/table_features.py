"""The features of own tables: what their columns are, found out from one reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from schema import features as raw
from schema.features import Feature, FeatureTable, Owner, RatingScale
from sources import cleaning_log, files, table_files
from sources.attributes import (
    MOST_ALWAYS_KNOWN,
    Attribute,
    Variety,
    attributes_of,
    comma_numbers,
    context_feature,
    context_kind,
    derived,
    with_free_name,
)
from sources.cleaning_log import CleaningLog
from sources.columns import are_dates, texts
from sources.description import FILE, IGNORE
from sources.errors import InputError
from sources.layout import (
    FIRST_BYTES,
    SYNONYMS,
    Layout,
    column_of,
    lacks_ratings,
    lacks_times,
    lines_to_write,
    plain,
    unused,
    why_unused,
)
from sources.repeats import MOST_COUNTED
from sources.table_entities import first_rows, joined_columns, listed_in
from sources.table_events import MOST_RATINGS, SCAN_BYTES, Scan, scan_of
from sources.table_files import Rows, TableFile

SCALES: tuple[tuple[float, float], ...] = (
    (0, 1), (-1, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100)
)  # fmt: skip
"""The ends of the scales in use, those with fewer values first."""


def scale_of(values: Sequence[float], low: float, high: float) -> RatingScale:
    """Returns the scale of ratings: the smallest one in use that has them all, else their range.

    Args:
      values: the different ratings.
      low: the least of them.
      high: the greatest of them, which is more.
    """
    step = next((s for s in (1.0, 0.5) if all(value % s == 0 for value in values)), None)
    if len(values) > MOST_RATINGS:
        step = None
    for first, last in SCALES:
        on_step = step is None or first % step == 0
        if first <= low and high <= last and on_step:
            return RatingScale(first, last, step)
    return RatingScale(low, high, step)


def with_features(folder: Path, layout: Layout) -> Layout:
    """Returns a layout with the features that events, users and items make."""
    layout = _with_compact_dates(folder, _with_readable_ratings(folder, layout))
    scan = scan_of(folder, layout)
    _refuse_no_events(scan, layout)
    features = [raw.USER_ID, raw.MOVIE_ID]
    ignored = dict(layout.ignored)
    scale = _scale(layout, scan)
    if scale is not None:
        features.append(dataclasses.replace(raw.RATING, **scale._asdict()))
    if "time" in layout.roles:
        features.append(raw.TIMESTAMP)
    context, commas, unlearned = _context(folder, layout)
    features += context.values()
    columns = {feature.name: column for column, feature in context.items()}
    of_events = set(context)
    for owner in (Owner.USER, Owner.MOVIE):
        key, listed = listed_in(layout, owner)
        joined = joined_columns(layout, owner)
        for file in listed[:1] or (layout.interactions[:1] if joined else ()):
            if joined:
                read = first_rows(folder, layout, owner, joined)
                del read.columns[layout.roles["user" if owner is Owner.USER else "item"]]
            else:
                others = [column for column in file.columns if column != key]
                read = table_files.read_all(folder, file, others, CleaningLog())
            attributes, why = attributes_of(read, owner, layout.description, file)
            features += derived(attributes)
            columns |= {one.feature.name: one.column for one in attributes}
            of_events.update(one.column for one in attributes if joined)
            if not joined:
                unlearned += _unlearned(read, attributes, layout, file)
            ignored |= {f"{file.name}, {column}": reason for column, reason in why.items()}
    events = layout.interactions[0]
    _refuse_unknown(layout, events, columns.values())
    table = FeatureTable(tuple(features))
    left = _left(layout, of_events)
    stars = (
        unused(folder, events, left)[1] if lacks_ratings(layout.roles, layout.description) else ()
    )
    layout = dataclasses.replace(
        layout,
        columns=columns,
        dates=_dates(folder, layout, left),
        stars=tuple(stars),
        context_commas=commas,
        unlearned=tuple(unlearned),
        features=table,
    )
    layout = dataclasses.replace(layout, offered=_offered(folder, layout, left))
    for column in left:
        ignored.setdefault(f"{events.name}, {column}", why_unused(column, layout))
    return dataclasses.replace(layout, ignored=ignored)


def _unlearned(
    read: Rows, attributes: Sequence[Attribute], layout: Layout, file: TableFile
) -> list[str]:
    """Returns which features of users or items that the user describes have one value alone."""
    found = []
    for one in attributes:
        if one.column in layout.description.features:
            variety = Variety("")
            variety.add(read.columns[one.column])
            if why := variety.problem("rows"):
                found.append(f"{file.name}: column {one.column}: {why}")
    return found


def _context(folder: Path, layout: Layout) -> tuple[dict[str, Feature], tuple[str, ...], list[str]]:
    """Returns the context features by column, which have decimal commas, and what is odd.

    Raises:
      InputError: the events have no such column, it has a role or a feature already, or its values
        are lists, objects or bytes.
    """
    declared, events = layout.description.context_kinds, layout.interactions[0]
    _refuse_no_context(layout)
    values: dict[str, set[str]] = {name: set() for name in declared}
    seen = dict.fromkeys(declared, False)
    varieties = {name: Variety(kind) for name, kind in declared.items()}
    fit = dict.fromkeys(declared, events.separator not in ("", ","))
    for file in layout.interactions if declared else ():
        for part in table_files.parts(folder, file, SCAN_BYTES):
            read = table_files.read_part(folder, file, part, tuple(declared), CleaningLog()).columns
            for name, column in read.items():
                _refuse_no_texts(name, column, file, layout)
                varieties[name].add(column)
                if len(values[name]) <= MOST_ALWAYS_KNOWN:
                    values[name].update(texts(column).drop_null().unique().to_pylist())
                if fit[name]:
                    has_comma, fit[name] = comma_numbers(column)
                    seen[name] |= has_comma
    features: dict[str, Feature] = {}
    for name, kind in declared.items():
        taken = [one.name for one in features.values()]
        features[name] = with_free_name(context_feature(name, kind, len(values[name])), taken)
    problems = ((name, varieties[name].problem("events")) for name in declared)
    odd = [f"{events.name}: column {name}: {why}" for name, why in problems if why]
    return features, tuple(name for name in declared if seen[name] and fit[name]), odd


def _refuse_no_texts(name: str, column: pa.Array, file: TableFile, layout: Layout) -> None:
    """Refuses a context feature whose values are lists, objects, or bytes that are no text."""
    shown = table_files.first_nested(column, file) or table_files.first_bytes(column)
    if shown is not None:
        raise InputError(
            f"values in {name} are lists, objects or bytes",
            file=file.name,
            expected=f"a text or a number in {name}, such as tv",
            found=files.shorten(shown),
            action="write the value itself in a column of its own, or take the line out of "
            f"[context] in {layout.description.path}",
        )


def _refuse_no_context(layout: Layout) -> None:
    """Refuses columns under [context] that are not there, or that say something else already."""
    events, description = layout.interactions[0], layout.description
    rating = {column_of(layout, one.column) for one in (description.positive,) if one}
    for name in description.context:
        role = next((role for role, column in layout.roles.items() if column == name), None)
        if name in rating:
            role = "rule positive"
        if name not in events.columns:
            raise InputError(
                f"[context] in {FILE} names a column that is not there",
                file=events.name,
                expected=f"one of {', '.join(events.columns)}",
                found=files.shorten(name),
                action=f"correct {description.path}",
            )
        if role is not None:
            raise InputError(
                f"[context] in {FILE} names the column of the {role}",
                file=events.name,
                expected="a column without a role whose value is known before the user chooses, "
                "such as the device",
                found=files.shorten(name),
                action=f"take it out of [context] in {description.path}",
            )


def _offered(folder: Path, layout: Layout, left: Sequence[str]) -> dict[str, str]:
    """Returns the kinds that columns of events without a use could have as context features."""
    events = layout.interactions[0]
    known = {plain(name) for names in SYNONYMS.values() for name in names}
    said = (*layout.dates, *layout.stars, *layout.description.context)
    free = [one for one in left if one not in said and plain(one) not in known]
    first = table_files.parts(folder, events, FIRST_BYTES)[:1] if free else []
    found = {}
    for part in first:
        read = table_files.read_part(folder, events, part, free, CleaningLog()).columns
        found = {name: context_kind(name, one, events.separator) for name, one in read.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _left(layout: Layout, used: Collection[str]) -> list[str]:
    """Returns the columns of events that have no use, by their names and the features'."""
    taken = {*layout.roles.values(), *used}
    taken.update(*(joined_columns(layout, owner) for owner in (Owner.USER, Owner.MOVIE)))
    return [column for column in layout.interactions[0].columns if column not in taken]


def _dates(folder: Path, layout: Layout, left: list[str]) -> tuple[str, ...]:
    """Returns which columns of events have dates; none where the times are known."""
    if not lacks_times(layout.roles, layout.description):
        return ()
    seen: set[str] = set()
    for file in layout.interactions:
        for part in table_files.parts(folder, file, SCAN_BYTES):
            if not left:
                return ()
            read = table_files.read_part(folder, file, part, left, CleaningLog()).columns
            found = {name: are_dates(read[name]) for name in left}
            left = [name for name in left if found[name] is not False]
            seen.update(name for name in left if found[name])
    names = [name for name in left if name in seen]
    if len(names) > 1:  # those that rather are ids are left out
        likely = unused(folder, layout.interactions[0], names)[0]
        names = [name for name in names if name in likely] or names
    return tuple(names)


def _with_readable_ratings(folder: Path, layout: Layout) -> Layout:
    """Returns a layout without its column of ratings where that has one value, or none at all.

    Raises:
      InputError: the ratings differ, and cannot be read.
    """
    if "rating" not in layout.roles:
        return layout
    events, name = layout.interactions[0], layout.roles["rating"]
    scan = scan_of(folder, layout)
    if scan.unreadable and events.separator not in ("", ","):
        with_commas = dataclasses.replace(layout, decimal_comma=True)
        again = scan_of(folder, with_commas)
        layout, scan = (layout, scan) if again.unreadable else (with_commas, again)
    if scan.readable:
        is_one = scan.events > 0 and scan.low == scan.high and layout.description.scale is None
    else:
        is_one = bool(scan.unreadable)
    if is_one and len(scan.unreadable) + bool(scan.readable) > 1:
        raise _unreadable_ratings(scan, layout)
    if not is_one and (scan.readable or not scan.empty):
        return layout
    why = "it has the same value in every row" if is_one else "it is empty"
    return dataclasses.replace(
        layout,
        roles={role: column for role, column in layout.roles.items() if role != "rating"},
        ignored={**layout.ignored, f"{events.name}, {name}": why},
        decimal_comma=False,
    )


def _with_compact_dates(folder: Path, layout: Layout) -> Layout:
    """Returns a layout whose times are read as 20240203 where more than half are such dates.

    The others are lost then, as other times that cannot be read. As a number such a date is a time
    before 1980: 20240203 are seconds, 202402031015 milliseconds, 20240203101500 microseconds of
    the seventies. So data whose times are mostly later is never read as dates. Of seconds in
    1970 to 1973, the only ones of 8 digits, about one in 30 is a date by chance, and of
    milliseconds about one in 200: never half of them.
    """
    if "time" not in layout.roles:
        return layout
    scan = scan_of(folder, layout)
    if 2 * scan.times.before_1980 <= scan.events:
        return layout
    compact = dataclasses.replace(layout, compact_dates=True)
    return compact if 2 * scan_of(folder, compact).events > scan.events else layout


def _unreadable_ratings(scan: Scan, layout: Layout) -> InputError:
    name = layout.roles["rating"]
    file, first = min(
        (
            (file, log.examples[reason][0])
            for file, log in scan.found.files.items()
            for reason in (cleaning_log.NON_NUMERIC_RATING, cleaning_log.RATING_RANGE)
            if reason in log.examples
        ),
        key=lambda pair: (pair[0], pair[1].sort_key()),
    )
    only = f"; those that can be are all {scan.low:g}" if scan.readable else ""
    return InputError(
        f"the ratings in column {name} cannot be read{only}",
        file=file,
        row=first.row,
        expected=f"numbers in {name}, such as 4.5",
        found=first.found,
        action="convert the column to numbers; or, to use the events without ratings, "
        + lines_to_write({"rating": ""}, layout.description),
    )


def _refuse_no_events(scan: Scan, layout: Layout) -> None:
    """Refuses events of which none can be used."""
    if scan.events:
        return
    for file, log in scan.found.files.items():
        if cleaning_log.LEFT_OUT in log.dropped and not log.lost():
            first = log.examples[cleaning_log.LEFT_OUT][0]
            raise InputError(
                f"{FILE} leaves out every event",
                file=file,
                row=first.row,
                expected=f"at least one event with {first.expected}",
                found=first.found,
                action=f"correct {layout.description.path}",
            )
    scan.found.check()
    raise InputError(
        "there are no events",
        file=layout.interactions[0].name,
        expected="at least one row below the names of the columns",
        found="no row",
        action="see whether this is the right file, and write the events to it",
    )


def _refuse_unknown(layout: Layout, events: TableFile, used: Collection[str]) -> None:
    """Refuses kinds of columns that are in no file, such as misspelt ones, or the events' own.

    Args:
      layout: the tables.
      events: the file of the events.
      used: columns that features of users and items are made of.
    """
    of_others = {column for file in (*layout.users, *layout.items) for column in file.columns}
    known = {*of_others, *events.columns}
    for name, kind in layout.description.features.items():
        has_use = name in used and name not in layout.description.context
        if name in known - of_others and not has_use and kind != IGNORE:
            raise InputError(
                f"[features] in {FILE} gives the kind {kind} to a column of the events",
                file=events.name,
                expected="columns of users and items under [features]",
                found=files.shorten(name),
                action=f"in {layout.description.path}, move it to [context] if it is known before "
                "the user chooses, such as the device; if it says something of the user or the "
                "item, whatever the event, move the column to users.* or items.*",
            )
        if name not in known:
            raise InputError(
                f"{FILE} gives a kind to a column that is not there",
                expected=f"one of {', '.join(sorted(known))}",
                found=files.shorten(name),
                action=f"correct {layout.description.path}",
            )


def _scale(layout: Layout, scan: Scan) -> RatingScale | None:
    """Returns the scale of the ratings; None where there are none."""
    if layout.description.repeats == "count":
        return RatingScale(1.0, float(MOST_COUNTED), None if _has_fractions(layout) else 1.0)
    if "rating" not in layout.roles:
        return None
    if layout.description.scale is not None:
        low, high = layout.description.scale
        return RatingScale(low, high, scale_of(scan.ratings, scan.low, scan.high).step)
    return scale_of(scan.ratings, scan.low, scan.high)


def _has_fractions(layout: Layout) -> bool:
    return any(weight % 1 for weight in layout.description.events.values())
