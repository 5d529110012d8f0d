"""Tables in files: text with separators, JSON lines and Parquet, plain or compressed, in parts.

A file is known by its content. Rows come as Arrow columns; what the values mean is for
`sources.columns` and `sources.table`.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

from sources import cleaning_log, files
from sources.adapter import Part
from sources.cleaning_log import CleaningLog, RowExample
from sources.errors import InputError
from sources.text import decode_row
from sources.wrangling import parse_number

if TYPE_CHECKING:
    import pyarrow as pa

FileKind = Literal["text", "json", "parquet"]
Compression = Literal["", "gzip", "zstd"]

MOST_PARTS_COMPRESSED = 16
"""A compressed file, or a row group of Parquet, has no more parts: each is read from its start."""

_MAGIC: Mapping[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SEPARATORS = ",\t;|"
_HEAD_BYTES = 64 * 1024
_BLOCK_BYTES = 1024 * 1024
_JSON_ROWS_LOOKED_AT = 100
_WHOLE = 2**62
_BYTES_PER_ROW = 32  # of Parquet: rows are counted in place of bytes
_DAMAGED = (EOFError, zlib.error)


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes:
      name: below the folder of the data, with "/" between.
      kind: how its rows are written.
      columns: their names, in order.
      compression: of the whole file; Parquet has its own.
      separator: the character between the columns of text.
    """

    name: str
    kind: FileKind
    columns: tuple[str, ...]
    compression: Compression = ""
    separator: str = ""

    def describe(self) -> str:
        """Returns how the file looks, in words."""
        shown = {"\t": "tabs", ",": "commas"}.get(self.separator, repr(self.separator))
        form = {"text": f"separated by {shown}", "json": "JSON lines", "parquet": "Parquet"}
        packed = f", {self.compression}" if self.compression else ""
        return f"{', '.join(self.columns)} ({form[self.kind]}{packed})"


class Rows(NamedTuple):
    """Some rows of a file.

    Attributes:
      columns: `[n]` each, by name: text, or of a type of Parquet's.
      number: returns the 1-based row in the file of a row, header and all; None where it is not
        known.
    """

    columns: dict[str, pa.Array]
    number: Callable[[int], int | None]


def look(folder: Path, name: str) -> TableFile:
    """Returns what a file is, from its first bytes.

    Raises:
      InputError: it cannot be read, or is no table.
    """
    path = folder / name
    with _reading(path, name) as file:
        magic = file.read(4)
    if magic == b"PAR1":
        with _parquet(path, name) as parquet:
            columns = tuple(parquet.schema_arrow.names)
        _refuse_twice(name, columns)
        return TableFile(name, "parquet", columns)
    compression: Compression = ""
    for start, packed in _MAGIC.items():
        compression = packed if magic.startswith(start) else compression
    with _reading(path, name, compression) as file:
        head = file.read(_HEAD_BYTES)
    files.check_encoding(name, head)
    head = head.removeprefix(files.UTF8_BOM)
    if b"\0" in head:
        raise _no_table(name, f"NUL bytes; the file starts with {head[:8]!r}")
    if not head.strip():
        raise _no_table(name, "an empty file", "the file is empty")
    if head.lstrip().startswith((b"{", b"[")):
        return TableFile(name, "json", _keys(name, head), compression)
    line = decode_row(head.lstrip(b"\r\n").split(b"\n", 1)[0].rstrip(b"\r"))[0]
    separator = max(_SEPARATORS, key=line.count)
    columns = tuple(_split(line, separator) or ())
    if len(columns) < 2:
        raise _no_table(name, files.shorten(line))
    numbers = sum(parse_number(column) is not None for column in columns)
    if 2 * numbers > len(columns):
        raise InputError(
            "the first row is not a header",
            file=name,
            row=1,
            expected="the names of the columns, such as user_id,item_id,rating,timestamp",
            found=files.shorten(line),
            action="write the names of the columns as the first row",
        )
    _refuse_twice(name, columns)
    return TableFile(name, "text", columns, compression, separator)


def _refuse_twice(name: str, columns: tuple[str, ...]) -> None:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise _no_table(name, f"{', '.join(twice)} twice", "a column name twice")


def _no_table(name: str, found: str, problem: str = "this is no table") -> InputError:
    return InputError(
        problem,
        file=name,
        expected="columns under a header, separated by commas, tabs, ';' or '|'; JSON lines; or "
        "Parquet",
        found=found,
        action="write the table in one of these forms, with the names of the columns in row 1",
    )


def _keys(name: str, head: bytes) -> tuple[str, ...]:
    """Returns the names in the first lines of JSON, in order of appearance."""
    keys: dict[str, None] = {}
    lines = head.split(b"\n")
    for row, line in enumerate(lines[: _JSON_ROWS_LOOKED_AT + 1], start=1):
        if not line.strip() or (row == len(lines) > 1 and len(head) == _HEAD_BYTES):
            continue
        value = _object(line)
        if value is None:
            if row == 1:
                raise InputError(
                    "this is no table",
                    file=name,
                    row=row,
                    expected="one JSON object a line",
                    found=files.shorten(line),
                    action='write the rows as JSON lines: {"user": 1, "item": 2} and so on',
                )
            continue
        keys.update(dict.fromkeys(map(str, value)))
    return tuple(keys)


def _object(line: bytes) -> dict[str, Any] | None:
    """Returns the JSON object of a line, None if it is none."""
    try:
        value = json.loads(decode_row(line)[0])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@contextlib.contextmanager
def _reading(path: Path, name: str, compression: str = "") -> Iterator[BinaryIO]:
    """Opens a file, decompressing; errors of the file system and of the data are InputErrors."""
    try:
        with files.open_regular(path) as file:
            yield _decompressed(file, compression)
    except _DAMAGED as error:
        raise _damaged(name, error) from error
    except OSError as error:
        if compression and error.errno is None:
            raise _damaged(name, error) from error
        raise files.unreadable(name, error) from error


def _decompressed(file: BinaryIO, compression: str) -> BinaryIO:
    if not compression:
        return file
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)
    return cast(BinaryIO, io.BufferedReader(stream, _BLOCK_BYTES))


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        "the file is damaged or cut off",
        file=name,
        expected="a whole file",
        found=str(error)[:120],
        action="write or download the file again",
    )


@contextlib.contextmanager
def _parquet(path: Path, name: str, texts: Iterable[str] = ()) -> Iterator[Any]:
    """Opens a Parquet file; columns of text are read as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet
    import pyarrow_hotfix  # noqa: F401 - Arrow 10 would run what is pickled in a column's type

    with _reading(path, name) as file:
        try:
            opened = pa.parquet.ParquetFile(file, read_dictionary=list(texts))
        except RuntimeError as error:  # of pyarrow_hotfix
            raise InputError(
                "a column has a type of Python's own, which could hold a program",
                file=name,
                expected="columns of text, numbers, dates or lists",
                found="the type arrow.py_extension_type",
                action="write the table without this type",
            ) from error
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise _damaged(name, error) from error
        try:
            yield opened
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise _damaged(name, error) from error


def parts(folder: Path, file: TableFile, chunk_bytes: int) -> list[Part]:
    """Returns the pieces that cover a file once: ranges of bytes, or of rows of Parquet.

    Of a compressed file the bytes are the decompressed ones.

    Raises:
      InputError: the file cannot be read.
    """
    path = folder / file.name
    if file.kind == "parquet":
        with _parquet(path, file.name) as parquet:
            rows = parquet.metadata.num_rows
            groups = map(parquet.metadata.row_group, range(parquet.metadata.num_row_groups))
            largest = max((group.num_rows for group in groups), default=0)
        # A part is read from the start of its row group.
        step = max(1, chunk_bytes // _BYTES_PER_ROW, -(-largest // MOST_PARTS_COMPRESSED))
        return [
            Part(file.name, start, min(start + step, rows), _BYTES_PER_ROW)
            for start in range(0, rows, step)
        ]
    with _reading(path, file.name, file.compression) as opened:
        if file.compression:
            size = sum(len(block) for block in iter(lambda: opened.read(_BLOCK_BYTES), b""))
            chunk_bytes = max(chunk_bytes, -(-size // MOST_PARTS_COMPRESSED))
        else:
            size = opened.seek(0, io.SEEK_END)
    return [
        Part(file.name, start, min(start + chunk_bytes, size))
        for start in range(0, size, chunk_bytes)
    ]


def read_part(
    folder: Path, file: TableFile, part: Part, wanted: Iterable[str], found: CleaningLog
) -> Rows:
    """Returns the rows that start in a part of a file; of the columns those wanted.

    Rows that are none are counted in `found`, and all as read.

    Raises:
      InputError: the file cannot be read, a line is too long or has NUL bytes.
    """
    columns = list(wanted)
    if file.kind == "parquet":
        return _read_parquet(folder / file.name, file, part, columns, found)
    with _reading(folder / file.name, file.name, file.compression) as opened:
        seekable = not file.compression
        offset, data = files.whole_lines(opened, part.start, part.end, file.name, seekable=seekable)
    if offset == 0:
        data = data.removeprefix(files.UTF8_BOM)
    if file.kind == "text" and offset == 0:
        header, _, data = data.partition(b"\n")
        offset = len(header) + 1
        if not header.strip():  # blank lines before the header
            header, _, data = data.lstrip(b"\r\n").partition(b"\n")
    if b"\0" in data:
        raise _no_table(file.name, "NUL bytes", "the file is binary or damaged")

    def number(line: int) -> int:
        return _lines_before(folder / file.name, file, offset) + line + 1

    lines = _Lines(file, _as_utf8(data), columns, number, found)
    lines.check_lengths()
    return _read_json(lines) if file.kind == "json" else _read_text(lines)


def read_all(folder: Path, file: TableFile, wanted: Iterable[str], found: CleaningLog) -> Rows:
    """Returns all rows of a file, whose texts may have line breaks within quotes."""
    columns = list(wanted)
    if file.kind != "text":
        whole = parts(folder, file, _WHOLE) or [Part(file.name, 0, 0)]
        return read_part(folder, file, whole[0], columns, found)
    with _reading(folder / file.name, file.name, file.compression) as opened:
        data = opened.read().removeprefix(files.UTF8_BOM).lstrip(b"\r\n")
    text = io.StringIO(_as_utf8(data).decode("utf-8"), newline="")
    reader = csv.reader(text, delimiter=file.separator, strict=True)
    kept: list[list[str]] = []
    numbers: list[int] = []
    problems = _Problems(file, found)
    next(reader, None)
    row = reader.line_num + 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            problems.add(row, str(error), max(1, reader.line_num - row + 1))
            row = reader.line_num + 1
            continue
        if fields is None:
            break
        if len(fields) == len(file.columns):
            kept.append(fields)
            numbers.append(row)
        elif fields:
            problems.add(row, file.separator.join(fields))
        row = reader.line_num + 1
    problems.count(len(kept))
    return Rows(_text_columns(file, kept, columns), numbers.__getitem__)


class _Lines(NamedTuple):
    """Whole lines of text or JSON.

    Attributes:
      file: where they are from.
      data: the lines, UTF-8.
      wanted: the columns to read.
      number: returns the 1-based row in the file of a 0-based line.
      found: where what is read and dropped is counted.
    """

    file: TableFile
    data: bytes
    wanted: list[str]
    number: Callable[[int], int]
    found: CleaningLog

    @property
    def rows(self) -> int:
        """How many lines there are."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def check_lengths(self) -> None:
        """Refuses lines that are too long, which Arrow would crash at."""
        import numpy as np

        if len(self.data) <= files.MAX_LINE_BYTES:
            return
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord("\n"))
        lengths = np.diff(ends, prepend=-1, append=len(self.data))
        if lengths.max() > files.MAX_LINE_BYTES:
            line = int(lengths.argmax())
            start = 0 if line == 0 else int(ends[line - 1]) + 1
            row, shown = self.number(line), self.data[start : start + 100]
            raise files.too_long(self.file.name, row, shown, files.MAX_LINE_BYTES)


class _Problems:
    """Rows that are none: how many, and the first."""

    def __init__(self, file: TableFile, found: CleaningLog) -> None:
        self._file = file
        self._found = found
        self._count = 0
        self._examples: list[RowExample] = []

    def add(self, row: int | None, shown: str, lines: int = 1) -> None:
        """Counts a row, or the lines that an open quote took."""
        self._count += lines
        if len(self._examples) < cleaning_log.MAX_EXAMPLES:
            expected = (
                "one JSON object a line"
                if self._file.kind == "json"
                else f"{len(self._file.columns)} columns: {', '.join(self._file.columns)}"
            )
            self._examples.append(RowExample(row, expected, files.shorten(shown)))

    def count(self, kept: int) -> None:
        """Adds what was counted to the log, and `kept` rows that are good."""
        reason = cleaning_log.NO_JSON if self._file.kind == "json" else cleaning_log.WRONG_COLUMNS
        self._found.read(self._file.name, kept + self._count)
        self._found.drop(self._file.name, reason, self._count, self._examples)


def _read_parquet(
    path: Path, file: TableFile, part: Part, wanted: list[str], found: CleaningLog
) -> Rows:
    import pyarrow as pa

    start, end = part.start, part.end
    with _parquet(path, file.name) as parquet:
        schema = parquet.schema_arrow
    texts = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
    with _parquet(path, file.name, texts) as parquet:
        groups: list[int] = []
        first = at = 0
        for group in range(parquet.metadata.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if at < end and at + rows > start:
                first = at if not groups else first
                groups.append(group)
            at += rows
        kept, at = [], first
        for batch in parquet.iter_batches(row_groups=groups, columns=wanted) if groups else ():
            if at >= end:
                break
            low, high = max(start - at, 0), min(end - at, batch.num_rows)
            if low < high:
                kept.append(batch.slice(low, high - low))
            at += batch.num_rows
        schema = pa.schema([parquet.schema_arrow.field(name) for name in wanted])
        table = pa.Table.from_batches(kept, None if kept else schema)
    found.read(file.name, table.num_rows)
    columns = {name: _one(table.column(name)) for name in wanted}
    return Rows(columns, lambda row: start + row + 1)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column in one piece."""
    import pyarrow as pa

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # of no or of several pieces
        return pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole


def _lines_before(path: Path, file: TableFile, offset: int) -> int:
    """Returns the number of lines in the bytes before an offset; for messages only."""
    lines = 0
    with _reading(path, file.name, file.compression) as opened:
        while offset > 0 and (block := opened.read(min(offset, _BLOCK_BYTES))):
            lines += block.count(b"\n")
            offset -= len(block)
    return lines


def _as_utf8(data: bytes) -> bytes:
    """Returns text as UTF-8; a line that is none is read as Windows-1252."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return b"\n".join(decode_row(line)[0].encode("utf-8") for line in data.split(b"\n"))
    return data


def _read_text(lines: _Lines) -> Rows:
    import pyarrow as pa
    import pyarrow.csv

    file, data = lines.file, lines.data
    bad: list[Any] = []

    def skip(row: Any) -> str:  # noqa: ANN401 - pyarrow has no types
        bad.append(row)
        return "skip"

    if not data.strip():
        return Rows(_text_columns(file, [], lines.wanted), lines.number)
    # Where quotes and carriage returns are, Arrow may read a line otherwise than by itself.
    if b'"' in data or data.count(b"\r") != data.count(b"\r\n"):
        return _read_text_by_line(lines)
    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(
                column_names=file.columns, use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=file.separator, invalid_row_handler=skip, ignore_empty_lines=True
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(file.columns, pa.string()),
                include_columns=lines.wanted,
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return _read_text_by_line(lines)
    if bad or table.num_rows != lines.rows:
        return _read_text_by_line(lines)
    lines.found.read(file.name, lines.rows)
    return Rows({name: _one(table.column(name)) for name in lines.wanted}, lines.number)


def _read_text_by_line(lines: _Lines) -> Rows:
    """Reads each line on its own: those that are no rows are counted, and nothing else is lost."""
    file, kept, places = lines.file, list[list[str]](), list[int]()
    problems = _Problems(file, lines.found)
    for line, content in enumerate(lines.data.decode("utf-8").split("\n")):
        if not content.strip(" \r"):
            continue
        fields = _split(content.rstrip("\r"), file.separator)
        if fields is not None and len(fields) == len(file.columns):
            kept.append(fields)
            places.append(line)
        else:
            problems.add(lines.number(line), content.rstrip("\r"))
    problems.count(len(kept))
    return Rows(_text_columns(file, kept, lines.wanted), lambda row: lines.number(places[row]))


def _split(line: str, separator: str) -> list[str] | None:
    """Returns the columns of a line, None if its quotes do not end."""
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return None


def _text_columns(
    file: TableFile, rows: list[list[str]], wanted: Iterable[str]
) -> dict[str, pa.Array]:
    import pyarrow as pa

    places = {name: place for place, name in enumerate(file.columns)}
    return {name: pa.array([row[places[name]] for row in rows], pa.string()) for name in wanted}


def _read_json(lines: _Lines) -> Rows:
    columns = _parse_json(lines.data, lines.wanted) if lines.data.strip() else None
    if columns is None or any(len(column) != lines.rows for column in columns.values()):
        return _read_json_by_line(lines)
    lines.found.read(lines.file.name, lines.rows)
    return Rows(columns, lines.number)


def _parse_json(data: bytes, wanted: list[str]) -> dict[str, pa.Array] | None:
    """Returns the columns of lines that are all objects of like values, None if they are not."""
    import pyarrow as pa
    import pyarrow.json

    types: dict[str, pa.DataType] = {}
    for _ in range(2):
        try:
            table = pa.json.read_json(
                io.BytesIO(data),
                # Arrow refuses blocks of more than 100,000 rows.
                read_options=pa.json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=pa.json.ParseOptions(explicit_schema=pa.schema(types)),
            )
        except pa.ArrowInvalid:
            return None
        kinds = {
            name: table.schema.field(name).type for name in wanted if name in table.schema.names
        }
        # Text is text, also where it reads like a time; long whole numbers have lost digits.
        types = {name: pa.string() for name, kind in kinds.items() if pa.types.is_temporal(kind)}
        if len(kinds) < len(wanted) or any(map(_is_odd, map(table.column, kinds))):
            return None
        if not types:
            break
    return {name: _one(table.column(name)) for name in wanted}


def _is_odd(column: pa.ChunkedArray) -> bool:
    """Returns whether values are objects, or whole numbers that floating-point ones cannot hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(column.type):
        return column.type != pa.list_(pa.string())
    if not pa.types.is_floating(column.type):
        return False
    greatest = pc.max(pc.abs(column)).as_py()
    return greatest is not None and greatest >= 2**53


def _read_json_by_line(lines: _Lines) -> Rows:
    kept: dict[str, list[Any]] = {name: [] for name in lines.wanted}
    places: list[int] = []
    problems = _Problems(lines.file, lines.found)
    for line, content in enumerate(lines.data.split(b"\n")):
        if not content.strip():
            continue
        value = _object(content)
        if value is None:
            problems.add(lines.number(line), decode_row(content)[0])
            continue
        places.append(line)
        for name, column in kept.items():
            column.append(_plain(value.get(name)))
    problems.count(len(places))
    columns = {name: json_column(values) for name, values in kept.items()}
    return Rows(columns, lambda row: lines.number(places[row]))


def json_column(values: list[Any]) -> pa.Array:
    """Returns texts, or lists of texts if one of the values is a list, as a column."""
    import pyarrow as pa

    if not any(isinstance(value, list) for value in values):
        return pa.array(values, pa.string())
    lists = [[value] if isinstance(value, str) else value for value in values]
    return pa.array(lists, pa.list_(pa.string()))


def _plain(value: object) -> str | list[str] | None:
    """Returns a JSON value as text, a list as texts; None where there is none."""
    if value is None:
        return None
    if isinstance(value, list):
        return [
            _one_plain(decode_row(one)[0] if isinstance(one, bytes) else one)
            for one in value
            if one is not None
        ]
    return _one_plain(value)


def _one_plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain_values(column: pa.Array) -> list[str | list[str] | None]:
    """Returns the values of a column of any type as text, lists as texts."""
    import pyarrow as pa

    from sources.columns import texts

    nested = pa.types.is_nested(column.type)
    values = column.to_pylist() if nested else texts(column).to_pylist()
    return [_plain(decode_row(one)[0] if isinstance(one, bytes) else one) for one in values]


def first_nested(column: pa.Array, file: TableFile) -> str | None:
    """Returns the first value of a column that is an object or a list; None if none is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from sources.columns import texts

    nested = pa.types.is_nested(column.type)
    if file.kind == "json" and not nested:  # an object was read as its text
        nested = pc.any(pc.starts_with(texts(column), '{"')).as_py()
    if not nested:
        return None
    values = (one for one in plain_values(column) if one is not None)
    return str(next((one for one in values if isinstance(one, list) or one[:2] == '{"'), ""))


def first_bytes(column: pa.Array) -> str | None:
    """Returns the first value of a column that is bytes and no UTF-8; None if none is."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return str(column[0].as_py()) if pa.types.is_fixed_size_binary(kind) else None
    for value in column.to_pylist():
        try:
            str(value or b"", "utf-8")
        except UnicodeDecodeError:
            return str(value)
    return None
