"""Own tables: events with ids of any text, and optionally users and items."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from schema import features as raw
from schema.features import FeatureTable, Owner, RatingScale
from sources import cleaning_log, files, table_files
from sources.adapter import InvalidZip, MovieLensFiles, Part
from sources.attributes import attributes_of, derived, values_of
from sources.cleaning_log import CleaningLog, LossLimits, RowExample
from sources.columns import Ids, ids_of, ratings_of, times_of
from sources.errors import InputError
from sources.files import Format
from sources.interactions import INTERACTIONS, id_keys
from sources.layout import Layout
from sources.ratings import TIMESTAMP_END, BoolArray
from sources.spec import DatasetSpec
from sources.table_files import Rows, TableFile

if TYPE_CHECKING:
    from sources.ratings import KnownIds

NAME = "table"
SCALES: tuple[tuple[float, float], ...] = (
    (0, 1), (-1, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100)
)  # fmt: skip
"""The ends of the scales in use, those with fewer values first."""

_SCAN_BYTES = 16 * 2**20
_MOST_RATINGS_SHOWN = 1000


class Scan(NamedTuple):
    """What one reading of all events finds.

    Attributes:
      users: ids of everybody with an event, ascending.
      items: ids of everything with an event, ascending.
      ratings: the different ratings, ascending; at most a thousand and one.
      low: the least rating.
      high: the greatest rating.
    """

    users: list[str]
    items: list[str]
    ratings: list[float]
    low: float
    high: float


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
        assert self.layout.features is not None
        spec = DatasetSpec(NAME, "own tables", self.layout.features)
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
            *(f"Ids of {table}: {key}" for table, key in keys.items() if key),
            *(f"  {column} is {name}" for name, column in self.layout.columns.items()),
        ]

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
        table, key, listed = _listed(self.layout, owner)
        scan = scan_of(self.folder, self.layout)
        seen = scan.users if owner is Owner.USER else scan.items
        found = CleaningLog()
        frames = [_read(self.folder, file, key, owner, self.layout, found) for file in listed]
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


def _typed(values: list[Any], dtype: str) -> Any:  # noqa: ANN401
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


def _listed(layout: Layout, owner: Owner) -> tuple[str, str, tuple[TableFile, ...]]:
    if owner is Owner.USER:
        return "users", layout.user_key, layout.users
    return "items", layout.item_key, layout.items


def _read(
    folder: Path, file: TableFile, key: str, owner: Owner, layout: Layout, found: CleaningLog
) -> pd.DataFrame:
    """Returns the usable rows of a file: the ids under the name of their column, and features."""
    assert layout.features is not None
    attributes = [
        one
        for name, column in layout.columns.items()
        for one in [_attribute(layout.features, name, column)]
        if one.feature.owner is owner
    ]
    wanted = dict.fromkeys([key, *(one.column for one in attributes)])
    rows = table_files.read_all(folder, file, wanted, found)
    ids = ids_of(rows.columns[key])
    usable = ids.values.is_valid()
    kept = usable.to_numpy(zero_copy_only=False)
    _count_ids(file.name, ids, rows, "id", found)
    values: dict[str, Any] = {key: ids.values.filter(usable).cast(pa.string()).to_pylist()}
    for one in attributes:
        if one.column in file.columns:
            column = rows.columns[one.column].filter(usable)
            values |= values_of(one, column, file.name, found)
    frame = {name: pd.Series(list(column), dtype="object") for name, column in values.items()}
    assert all(len(column) == kept.sum() for column in frame.values())
    return pd.DataFrame(frame)


def _attribute(features: FeatureTable, name: str, column: str) -> Any:  # noqa: ANN401
    from sources.attributes import Attribute

    return Attribute(features[name], column)


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
        rows = rows or [tuple(map(str, row)) for row in frame.itertuples(index=False)] or [()]
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


class _Dropping:
    """Which rows are still in, and the counting of the others under the first reason."""

    def __init__(self, file: str, rows: Rows, count: int, found: CleaningLog) -> None:
        self.kept = np.ones(count, np.bool_)
        self._file, self._rows, self._found = file, rows, found

    def drop(
        self, reason: str, mask: BoolArray, expected: str, shown: Mapping[int, str] | pa.Array
    ) -> None:
        places = np.flatnonzero(mask & self.kept)
        if not len(places):
            return
        examples = [
            RowExample(
                self._rows.number(int(place)),
                expected,
                shown if isinstance(shown, str) else files.shorten(str(shown[int(place)])),
            )
            for place in places[: cleaning_log.MAX_EXAMPLES]
        ]
        self._found.drop(self._file, reason, len(places), examples)
        self.kept[places] = False


def read_events(
    folder: Path, layout: Layout, part: Part, scale: RatingScale | None = None
) -> tuple[pa.RecordBatch, CleaningLog]:
    """Returns the usable events of a part as `INTERACTIONS`, and what was dropped and repaired."""
    found = CleaningLog()
    file = next(one for one in layout.interactions if one.name == part.file)
    columns = layout.roles
    rows = table_files.read_part(folder, file, part, dict.fromkeys(columns.values()), found)
    ids = {role: ids_of(rows.columns[columns[role]]) for role in ("user", "item")}
    count = len(rows.columns[columns["user"]])
    dropping = _Dropping(file.name, rows, count, found)
    for role, one in ids.items():
        usable = one.values.is_valid().to_numpy(zero_copy_only=False)
        dropping.drop(
            cleaning_log.MISSING_VALUE, one.missing, f"an id in {columns[role]}", "nothing"
        )
        dropping.drop(
            cleaning_log.UNUSABLE_ID,
            ~usable,
            f"an id in {columns[role]}",
            "a text that is too long",
        )
    rating: Any = pa.nulls(count, pa.float32())
    if "rating" in columns:
        name = columns["rating"]
        numbers = ratings_of(rows.columns[name])
        shown = rows.columns[name]
        dropping.drop(cleaning_log.MISSING_VALUE, numbers.missing, f"a value in {name}", "nothing")
        dropping.drop(cleaning_log.NON_NUMERIC_RATING, numbers.bad, f"a number in {name}", shown)
        rating = pa.array(numbers.values.astype(np.float32))
    time: Any = pa.nulls(count, pa.int64())
    if "time" in columns:
        name = columns["time"]
        numbers = times_of(rows.columns[name])
        shown = rows.columns[name]
        seconds = numbers.values
        outside = (seconds < 0) | (seconds >= TIMESTAMP_END)
        expected = f"a time in {name}: seconds or milliseconds since 1970, or a date"
        dropping.drop(cleaning_log.MISSING_VALUE, numbers.missing, f"a value in {name}", "nothing")
        dropping.drop(cleaning_log.UNREADABLE_TIME, numbers.bad, expected, shown)
        dropping.drop(
            cleaning_log.TIMESTAMP_RANGE, outside, "a time from 1970 to before the year 2100", shown
        )
        time = pa.array(seconds)
    repaired = np.flatnonzero((ids["user"].repaired | ids["item"].repaired) & dropping.kept)
    examples = [
        RowExample(
            rows.number(int(i)), "ids without blanks, quotes and decimals", "an id with such"
        )
        for i in repaired[: cleaning_log.MAX_EXAMPLES]
    ]
    found.repair(file.name, cleaning_log.QUOTES_REMOVED, len(repaired), examples)
    columns_ = [
        ids["user"].values.cast(pa.string()),
        ids["item"].values.cast(pa.string()),
        rating,
        time,
        pa.nulls(count, pa.int64()),
    ]
    if not dropping.kept.all():
        mask = pa.array(dropping.kept)
        columns_ = [column.filter(mask) for column in columns_]
    return pa.RecordBatch.from_arrays(columns_, schema=INTERACTIONS), found


def scan_of(folder: Path, layout: Layout) -> Scan:
    """Returns what one reading of all events finds; files that did not change are read once."""
    stats = [(folder / file.name).stat() for file in layout.interactions]
    key = dataclasses.replace(layout, columns={}, ignored={}, features=None, users=(), items=())
    return _scan(folder, key.to_json(), tuple((s.st_size, s.st_mtime_ns) for s in stats))


@functools.lru_cache(maxsize=1)
def _scan(folder: Path, layout_json: str, stats: tuple[tuple[int, int], ...]) -> Scan:
    layout = Layout.from_json(layout_json)
    users: set[str] = set()
    items: set[str] = set()
    ratings: set[float] = set()
    ends: list[float] = []
    for file in layout.interactions:
        for part in table_files.parts(folder, file, _SCAN_BYTES):
            batch, _ = read_events(folder, layout, part)
            users.update(batch.column("user_id").unique().to_pylist())
            items.update(batch.column("item_id").unique().to_pylist())
            if batch.num_rows and "rating" in layout.roles:
                values = np.unique(batch.column("rating").to_numpy(zero_copy_only=False))
                ends += [float(values[0]), float(values[-1])]
                if len(ratings) <= _MOST_RATINGS_SHOWN:
                    ratings.update(values[: _MOST_RATINGS_SHOWN + 1].tolist())
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    return Scan(sorted(users), sorted(items), sorted(ratings), low, high)


def scale_of(values: Sequence[float], low: float, high: float) -> RatingScale:
    """Returns the scale of ratings: the smallest one in use that has them all, else their range.

    Args:
      values: the different ratings.
      low: the least of them.
      high: the greatest of them, which is more.
    """
    step = next((s for s in (1.0, 0.5) if all(value % s == 0 for value in values)), None)
    if len(values) > _MOST_RATINGS_SHOWN:
        step = None
    for first, last in SCALES:
        on_step = step is None or first % step == 0
        if first <= low and high <= last and on_step:
            return RatingScale(first, last, step)
    return RatingScale(low, high, step)


def _with_features(folder: Path, layout: Layout) -> Layout:
    """Returns a layout with the features that events, users and items make."""
    scan = scan_of(folder, layout)
    features = [raw.USER_ID, raw.MOVIE_ID]
    ignored = dict(layout.ignored)
    if "rating" in layout.roles and scan.low < scan.high:
        scale = scale_of(scan.ratings, scan.low, scan.high)
        features.append(dataclasses.replace(raw.RATING, **scale._asdict()))
    if "time" in layout.roles:
        features.append(raw.TIMESTAMP)
    columns: dict[str, str] = {}
    for owner in (Owner.USER, Owner.MOVIE):
        _, key, listed = _listed(layout, owner)
        for file in listed[:1]:
            others = [column for column in file.columns if column != key]
            read = table_files.read_all(folder, file, others, CleaningLog())
            attributes, why = attributes_of(read.columns, owner)
            features += derived(attributes)
            columns |= {one.feature.name: one.column for one in attributes}
            ignored |= {f"{file.name}, {column}": reason for column, reason in why.items()}
    used = {*layout.roles.values()}
    ignored |= {
        f"{layout.interactions[0].name}, {column}": "it has no role that is known"
        for column in layout.interactions[0].columns
        if column not in used
    }
    table = FeatureTable(tuple(features))
    return dataclasses.replace(layout, columns=columns, ignored=ignored, features=table)
