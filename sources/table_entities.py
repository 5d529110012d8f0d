"""The users or items of own tables: those listed in files, and those that events name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from schema import features as raw
from schema.features import Feature, FeatureTable, Kind, Owner
from sources import cleaning_log, files, table_files
from sources.attributes import Attribute, belongs_to, values_of
from sources.cleaning_log import CleaningLog, LossLimits, RowExample
from sources.columns import Ids, describe_missing_value, ids_of
from sources.errors import InputError
from sources.interactions import id_keys
from sources.layout import Layout
from sources.numbers import quarters
from sources.ratings import BoolArray
from sources.table_events import SCAN_BYTES, scan_of
from sources.table_files import Rows, TableFile, json_column, plain_values


def entities(
    folder: Path, layout: Layout, table: FeatureTable, owner: Owner, limits: LossLimits
) -> tuple[pd.DataFrame, CleaningLog]:
    """Returns every user or item that is listed or has an event, and what was dropped and repaired.

    What is not known of one is missing; an item without a title has its id.

    Args:
      folder: of the files.
      layout: files, roles and features.
      table: the features to return.
      owner: users or items.
      limits: what may be lost.

    Raises:
      InputError: a file cannot be read, more is lost than may be, an id has two rows that differ,
        or two ids have one number.
    """
    found = CleaningLog()
    ids, frame = _known(folder, layout, owner, found)
    scan = scan_of(folder, layout)
    seen = scan.users if owner is Owner.USER else scan.items
    unlisted = sorted(set(seen) - set(ids))
    _, listed = listed_in(layout, owner)
    if listed and unlisted:
        examples = [RowExample(None, "a row for each id", files.shorten(unlisted[0]))]
        found.repair(listed[0].name, cleaning_log.UNLISTED, len(unlisted), examples)
    name = (table.user_id if owner is Owner.USER else table.item_id).name
    everybody = [*ids, *unlisted]
    columns: dict[str, Any] = {name: pd.array(everybody, dtype="object")}
    for feature in table.owned_by(owner):
        if feature.name not in columns:
            values = _values(feature, frame, len(ids), len(unlisted))
            if feature == table.title:
                pairs = zip(values, everybody, strict=True)
                values = [key if one in (None, raw.UNKNOWN) else one for one, key in pairs]
            columns[feature.name] = _typed(values, feature.dtype)
            if feature.kind is Kind.NUMBER and owner is Owner.USER:
                columns[raw.quarter_of(feature).name] = _typed(quarters(values), "string")
    found.check(limits)
    _refuse_colliding(columns[name], name)
    return pd.DataFrame(columns), found


def _known(
    folder: Path, layout: Layout, owner: Owner, found: CleaningLog
) -> tuple[list[str], pd.DataFrame]:
    """Returns the ids of whom files or columns of events say something, and what they say."""
    key, listed = listed_in(layout, owner)
    joined = [] if listed else [one.column for one in _attributes(layout, owner)]
    frames = [
        _frame(
            table_files.read_all(folder, file, _wanted(layout, owner, key), found),
            file,
            key,
            owner,
            layout,
            found,
        )
        for file in listed
    ]
    if joined:
        key = layout.roles["user" if owner is Owner.USER else "item"]
        rows = first_rows(folder, layout, owner, joined)
        events = layout.interactions[0]
        frames = [_frame(rows, events, key, owner, layout, CleaningLog())]
    ids = [one for frame in frames for one in frame.pop(key)]
    whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    kept = _without_repeats(ids, whole, listed[0].name if listed else "", found)
    return [ids[place] for place in kept], whole.iloc[kept]


def _values(feature: Feature, frame: pd.DataFrame, known: int, unlisted: int) -> list[Any]:
    """Returns the values of a feature, of those that are not listed what stands for none."""
    default: Any = [] if feature.multivalued else raw.UNKNOWN
    if feature.dtype != "string":
        default = None
    values = list(frame[feature.name]) if feature.name in frame else [default] * known
    return values + [default] * unlisted


def _typed(values: list[Any], dtype: str) -> Any:  # noqa: ANN401 - pandas has no types here
    if dtype == "float32":
        return pd.Series(values, dtype="float32")
    return pd.Series(values, dtype="Int64" if dtype == "int64" else "object")


def _refuse_colliding(ids: Sequence[str], name: str) -> None:
    """Refuses ids of which two have one number, which splits could not tell apart."""
    keys = id_keys(pa.array(list(ids), pa.string()))
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(same):
        first, second = ids[int(order[same[0]])], ids[int(order[same[0] + 1])]
        raise InputError(
            f"two ids of {name} have the same 64-bit hash",
            expected="ids with different hashes; by chance one in 3e-8 of a million ids has not",
            found=f"{files.shorten(first)} and {files.shorten(second)}",
            action="rename one of the two in all files",
        )


def listed_in(layout: Layout, owner: Owner) -> tuple[str, tuple[TableFile, ...]]:
    """Returns the column of ids and the files of users or items; none where there are none."""
    if owner is Owner.USER:
        return layout.user_key, layout.users
    return layout.item_key, layout.items


def joined_columns(layout: Layout, owner: Owner) -> list[str]:
    """Returns the columns of events that say something of the user or item, as in one table of all.

    Names such as `user_gender` and `movie_title` show it, as in TensorFlow Datasets.
    """
    role = "user" if owner is Owner.USER else "item"
    if listed_in(layout, owner)[1]:
        return []
    events = layout.interactions[0]
    taken = {*layout.roles.values(), *layout.description.context}
    others = [column for column in events.columns if column not in taken]
    return [column for column in others if belongs_to(column, role)]


def first_rows(folder: Path, layout: Layout, owner: Owner, columns: Sequence[str]) -> Rows:
    """Returns the first event of each user or item, with some columns of it: ids and features.

    Memory is that of the users or items, not of the events.
    """
    key = layout.roles["user" if owner is Owner.USER else "item"]
    seen: set[str] = set()
    found: dict[str, list[Any]] = {name: [] for name in (key, *columns)}
    for file in layout.interactions:
        for part in table_files.parts(folder, file, SCAN_BYTES):
            rows = table_files.read_part(folder, file, part, tuple(found), CleaningLog())
            ids = ids_of(rows.columns[key]).values
            codes, first = np.unique(ids.indices.fill_null(-1).to_numpy(), return_index=True)
            new = []
            for code, place in zip(codes.tolist(), first.tolist(), strict=True):
                name = ids.dictionary[code].as_py() if code >= 0 else None
                if name is not None and name not in seen:
                    seen.add(name)
                    new.append(place)
            for name, values in found.items():
                values += plain_values(rows.columns[name].take(pa.array(new, pa.int64())))
    return Rows({name: json_column(values) for name, values in found.items()}, lambda row: None)


def _attributes(layout: Layout, owner: Owner) -> list[Attribute]:
    """Returns the features of users or items that are read from a column."""
    found = [Attribute(layout.table[name], column) for name, column in layout.columns.items()]
    return [one for one in found if one.feature.owner is owner]


def _wanted(layout: Layout, owner: Owner, key: str) -> list[str]:
    return list(dict.fromkeys([key, *(one.column for one in _attributes(layout, owner))]))


def _frame(
    rows: Rows, file: TableFile, key: str, owner: Owner, layout: Layout, found: CleaningLog
) -> pd.DataFrame:
    """Returns the usable rows of a file: the ids under the name of their column, and features."""
    ids = ids_of(rows.columns[key])
    usable = ids.values.is_valid()
    _count_ids(file.name, ids, rows, key, found)
    places = np.flatnonzero(usable.to_numpy(zero_copy_only=False))
    values: dict[str, Any] = {key: ids.values.filter(usable).cast(pa.string()).to_pylist()}
    for one in _attributes(layout, owner):
        column = rows.columns[one.column].filter(usable)
        values |= values_of(one, column, file, lambda place: rows.number(int(places[place])), found)
    return pd.DataFrame(
        {name: pd.Series(list(column), dtype="object") for name, column in values.items()}
    )


def _without_repeats(
    ids: list[str], frame: pd.DataFrame, file: str, found: CleaningLog
) -> list[int]:
    """Returns the first row of each id; refuses a second one that differs."""
    first: dict[str, int] = {}
    repeats = 0
    rows: list[Any] | None = None
    for place, key in enumerate(ids):
        earlier = first.setdefault(key, place)
        if earlier == place:
            continue
        rows = rows or [tuple(map(str, row)) for row in frame.itertuples(index=False)]
        rows = rows or [()] * len(ids)  # of ids alone
        if rows[earlier : earlier + 1] != rows[place : place + 1]:
            raise InputError(
                f"id {key} has a second row that differs from the first",
                file=file,
                expected="one row for each id; the first has "
                + files.shorten(", ".join(rows[earlier])),
                found=files.shorten(", ".join(rows[place])),
                action="remove one of the two rows, or give one of them another id",
            )
        repeats += 1
    found.drop(file, cleaning_log.EXACT_DUPLICATE, repeats)
    return list(first.values())


def _count_ids(file: str, ids: Ids, rows: Rows, key: str, found: CleaningLog) -> BoolArray:
    """Counts ids that are missing, unusable and repaired; returns which can be used."""
    usable = ids.values.is_valid().to_numpy(zero_copy_only=False)
    expected, column = f"an id in {key}", rows.columns[key]
    places = np.flatnonzero(ids.missing)
    examples = [
        RowExample(rows.number(int(i)), expected, describe_missing_value(column[int(i)].as_py()))
        for i in places[:3]
    ]
    found.drop(file, cleaning_log.MISSING_VALUE, len(places), examples)
    places = np.flatnonzero(~usable & ~ids.missing)
    long = "more than 1,000 characters"
    examples = [RowExample(rows.number(int(i)), expected, long) for i in places[:3]]
    found.drop(file, cleaning_log.UNUSABLE_ID, len(places), examples)
    places = np.flatnonzero(ids.repaired)
    examples = [
        RowExample(rows.number(int(i)), "ids without blanks, quotes and decimals", "such")
        for i in places[:3]
    ]
    found.repair(file, cleaning_log.ID_CLEANED, len(places), examples)
    return usable
