"""Own tables: events with ids of any text, and optionally users and items."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from schema import features as raw
from schema.features import FeatureTable, Owner, RatingScale
from sources import cleaning_log, files, table_files
from sources.adapter import InvalidZip, MovieLensFiles, Part
from sources.attributes import Attribute, attributes_of, belongs_to, derived, values_of
from sources.cleaning_log import CleaningLog, LossLimits, RowExample
from sources.columns import Ids, ids_of
from sources.description import FILE
from sources.errors import InputError
from sources.files import Format
from sources.interactions import id_keys
from sources.layout import Layout, draft, lines_to_write, questions
from sources.ratings import MOST_COUNTED, BoolArray
from sources.spec import DatasetSpec
from sources.table_events import MOST_RATINGS, SCAN_BYTES, Scan, read_events, scan_of
from sources.table_files import Rows, TableFile, json_column, plain_values

if TYPE_CHECKING:
    from sources.ratings import KnownIds

NAME = "table"
SCALES: tuple[tuple[float, float], ...] = (
    (0, 1), (-1, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100)
)  # fmt: skip
"""The ends of the scales in use, those with fewer values first."""


class Table(MovieLensFiles):
    """Own tables of any of the forms in `sources.table_files`.

    Args:
      folder: of the files.
      layout: files, roles and features; a layout without features has them found out.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.layout = layout if layout.features else _with_features(folder, layout)
        self.ratings_file = layout.interactions[0].name
        self.users_file = layout.users[0].name if layout.users else ""
        self.items_file = layout.items[0].name if layout.items else ""
        # TFX's fingerprint covers the first file; that of the options covers all.
        self.pattern = "".join(f"[{c}]" if c in "*?[" else c for c in self.ratings_file)
        formats = {
            file.name: Format(None, file.describe(), len(file.columns), ()) for file in layout.files
        }
        self.layout_text = self.layout.to_json()
        self.repeats = layout.description.repeats
        spec = DatasetSpec(
            NAME, "own tables", self.layout.table, item_noun=layout.description.item_noun
        )
        super().__init__(folder, spec, formats, self.layout.ignored)

    def check(self) -> None:
        """Looks at the files again; see `table_files.look`."""
        for file in self.layout.files:
            table_files.look(self.folder, file.name)

    def roles(self) -> list[str]:
        """Returns the columns of ids, ratings and times, and those of the features."""
        keys = {"users": self.layout.user_key, "items": self.layout.item_key}
        return [
            "Columns: " + ", ".join(f"{name} ({role})" for role, name in self.layout.roles.items()),
            *(["Ratings have decimal commas: 4,5 is 4.5"] if self.layout.decimal_comma else []),
            *(f"Ids of {table}: {key}" for table, key in keys.items() if key),
            *(f"  {column} is {name}" for name, column in self.layout.columns.items()),
        ]

    def questions(self) -> list[str]:
        """Returns which roles could be of several columns, and types of events without weights."""
        return questions(self.layout)

    def draft(self) -> str:
        """Returns a `data.toml` that says what was understood."""
        return draft(self.layout)

    def parts(self, chunk_bytes: int) -> list[Part]:
        """Returns the parts of all files of events."""
        return [
            part
            for file in self.layout.interactions
            for part in table_files.parts(self.folder, file, chunk_bytes)
        ]

    def interactions(
        self, part: Part, users: KnownIds, items: KnownIds, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the events of a part; whoever and whatever has an event is known."""
        return read_events(self.folder, self.layout, part)

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everybody who is listed or has an event; what is not known of them is missing."""
        return self._entities(Owner.USER, limits)

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everything that is listed or has an event; one without a title has its id."""
        return self._entities(Owner.MOVIE, limits)

    def _entities(self, owner: Owner, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        key, listed = _listed(self.layout, owner)
        joined = [] if listed else _joined_features(self.layout, owner)
        scan = scan_of(self.folder, self.layout)
        seen = scan.users if owner is Owner.USER else scan.items
        found = CleaningLog()
        frames = [
            _frame(
                table_files.read_all(self.folder, file, _wanted(self.layout, owner, key), found),
                file.name,
                key,
                owner,
                self.layout,
                found,
            )
            for file in listed
        ]
        if joined:
            key = self.layout.roles["user" if owner is Owner.USER else "item"]
            rows = _first_rows(self.folder, self.layout, owner, joined)
            frames = [_frame(rows, self.ratings_file, key, owner, self.layout, CleaningLog())]
        ids = [one for frame in frames for one in frame.pop(key)]
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        name = self.spec.features.user_id if owner is Owner.USER else self.spec.features.item_id
        kept = _without_repeats(ids, frame, listed[0].name if listed else "", found)
        frame, ids = frame.iloc[kept], [ids[place] for place in kept]
        unlisted = sorted(set(seen) - set(ids))
        if listed and unlisted:
            examples = [RowExample(None, "a row for each id", files.shorten(unlisted[0]))]
            found.repair(listed[0].name, cleaning_log.UNLISTED, len(unlisted), examples)
        columns: dict[str, Any] = {name.name: pd.array([*ids, *unlisted], dtype="object")}
        for feature in self.spec.features.owned_by(owner):
            if feature is name or feature.name == name.name:
                continue
            default: Any = [] if feature.multivalued else raw.UNKNOWN
            if feature.dtype != "string":
                default = None
            values = list(frame[feature.name]) if feature.name in frame else [default] * len(ids)
            values += [default] * len(unlisted)
            if feature == self.spec.features.title:
                values = [
                    one if one not in (None, raw.UNKNOWN) else key_
                    for one, key_ in zip(values, [*ids, *unlisted], strict=True)
                ]
            columns[feature.name] = _typed(values, feature.dtype)
        found.check(limits)
        _refuse_colliding(columns[name.name], name.name)
        return pd.DataFrame(columns), found


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


def _listed(layout: Layout, owner: Owner) -> tuple[str, tuple[TableFile, ...]]:
    """Returns the column of ids and the files of users or items; none where there are none."""
    if owner is Owner.USER:
        return layout.user_key, layout.users
    return layout.item_key, layout.items


def _joined(layout: Layout, owner: Owner) -> list[str]:
    """Returns the columns of events that say something of the user or item, as in one table of all.

    Names such as `user_gender` and `movie_title` tell, as TensorFlow Datasets has them.
    """
    role = "user" if owner is Owner.USER else "item"
    if _listed(layout, owner)[1]:
        return []
    events = layout.interactions[0]
    others = [column for column in events.columns if column not in layout.roles.values()]
    return [column for column in others if belongs_to(column, role)]


def _first_rows(folder: Path, layout: Layout, owner: Owner, columns: Sequence[str]) -> Rows:
    """Returns the first event of each user or item, with some columns of it: ids and what is said.

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


def _joined_features(layout: Layout, owner: Owner) -> list[str]:
    return [one.column for one in _attributes(layout, owner)]


def _wanted(layout: Layout, owner: Owner, key: str) -> list[str]:
    return list(dict.fromkeys([key, *_joined_features(layout, owner)]))


def _frame(
    rows: Rows, file: str, key: str, owner: Owner, layout: Layout, found: CleaningLog
) -> pd.DataFrame:
    """Returns the usable rows of a file: the ids under the name of their column, and features."""
    ids = ids_of(rows.columns[key])
    usable = ids.values.is_valid()
    _count_ids(file, ids, rows, "id", found)
    values: dict[str, Any] = {key: ids.values.filter(usable).cast(pa.string()).to_pylist()}
    for one in _attributes(layout, owner):
        values |= values_of(one, rows.columns[one.column].filter(usable), file, found)
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


def _count_ids(file: str, ids: Ids, rows: Rows, what: str, found: CleaningLog) -> BoolArray:
    """Counts ids that are missing, unusable and repaired; returns which can be used."""
    usable = ids.values.is_valid().to_numpy(zero_copy_only=False)
    for reason, mask, shown in (
        (cleaning_log.MISSING_VALUE, ids.missing, "nothing"),
        (cleaning_log.UNUSABLE_ID, ~usable & ~ids.missing, "more than 1,000 characters"),
    ):
        places = np.flatnonzero(mask)
        examples = [RowExample(rows.number(int(i)), f"an {what}", shown) for i in places[:3]]
        found.drop(file, reason, len(places), examples)
    places = np.flatnonzero(ids.repaired)
    examples = [
        RowExample(rows.number(int(i)), "ids without blanks, quotes and decimals", "such")
        for i in places[:3]
    ]
    found.repair(file, cleaning_log.QUOTES_REMOVED, len(places), examples)
    return usable


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


def _with_features(folder: Path, layout: Layout) -> Layout:
    """Returns a layout with the features that events, users and items make."""
    layout = _with_readable_ratings(folder, layout)
    scan = scan_of(folder, layout)
    _refuse_no_events(scan, layout)
    features = [raw.USER_ID, raw.MOVIE_ID]
    ignored = dict(layout.ignored)
    scale = _scale(layout, scan)
    if scale is not None:
        features.append(dataclasses.replace(raw.RATING, **scale._asdict()))
    if "time" in layout.roles:
        features.append(raw.TIMESTAMP)
    columns: dict[str, str] = {}
    for owner in (Owner.USER, Owner.MOVIE):
        key, listed = _listed(layout, owner)
        joined = _joined(layout, owner)
        for file in listed[:1] or (layout.interactions[:1] if joined else ()):
            if joined:
                read = _first_rows(folder, layout, owner, joined).columns
                del read[layout.roles["user" if owner is Owner.USER else "item"]]
            else:
                others = [column for column in file.columns if column != key]
                read = table_files.read_all(folder, file, others, CleaningLog()).columns
            attributes, why = attributes_of(read, owner, layout.description, file.name)
            features += derived(attributes)
            columns |= {one.feature.name: one.column for one in attributes}
            ignored |= {f"{file.name}, {column}": reason for column, reason in why.items()}
    events = layout.interactions[0]
    _refuse_unknown(layout, events)
    for column in events.columns:
        if column not in (*layout.roles.values(), *columns.values()):
            ignored.setdefault(f"{events.name}, {column}", "it has no role that is known")
    table = FeatureTable(tuple(features))
    return dataclasses.replace(layout, columns=columns, ignored=ignored, features=table)


def _with_readable_ratings(folder: Path, layout: Layout) -> Layout:
    """Returns a layout without a column of ratings that says nothing: one value, or none at all.

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


def _unreadable_ratings(scan: Scan, layout: Layout) -> InputError:
    name = layout.roles["rating"]
    file, first = min(
        (
            (file, log.examples[cleaning_log.NON_NUMERIC_RATING][0])
            for file, log in scan.found.files.items()
            if cleaning_log.NON_NUMERIC_RATING in log.examples
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
        + lines_to_write("rating", "", layout.description),
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


def _refuse_unknown(layout: Layout, events: TableFile) -> None:
    """Refuses kinds of columns that are in no file, such as misspelt ones."""
    tables = [*layout.users, *layout.items, events]
    known = {column for file in tables for column in file.columns}
    for name in layout.description.features:
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
