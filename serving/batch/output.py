"""The output file of a batch: checks of its path, its formats and its columns."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import orjson
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from serving.batch.errors import UsageError
from storage.errors import cannot_write
from storage.paths import local_path, publish_file

ROW_GROUP_ROWS = 100_000
"""Rows of a row group of a Parquet file, about."""


class Writer(Protocol):
    """Writes tables to a stream."""

    def write(self, table: pyarrow.Table) -> None:
        """Adds a table's rows."""

    def close(self) -> None:
        """Writes the remaining rows."""


class _Parquet:
    def __init__(self, stream: BinaryIO, schema: pyarrow.Schema) -> None:
        self._writer = pyarrow.parquet.ParquetWriter(stream, schema)
        self._waiting: list[pyarrow.Table] = []
        self._rows = 0

    def write(self, table: pyarrow.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._write_waiting()

    def close(self) -> None:
        self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        if self._waiting:
            self._writer.write_table(
                pyarrow.concat_tables(self._waiting), row_group_size=self._rows
            )
        self._waiting, self._rows = [], 0


class _JsonLines:
    def __init__(self, stream: BinaryIO, schema: pyarrow.Schema) -> None:
        self._stream = stream
        self._names = schema.names

    def write(self, table: pyarrow.Table) -> None:
        columns = [_values(table.column(name)) for name in self._names]
        rows = (dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True))
        self._stream.write(
            b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        )

    def close(self) -> None:
        """Does nothing: every row is written."""


def _values(column: pyarrow.ChunkedArray) -> list[object]:
    if column.type == pyarrow.float32():
        # 3.4, not 3.4000000953674316, which is the same number in 64 bits.
        column = column.cast(pyarrow.string()).cast(pyarrow.float64())
    values: list[object] = np.asarray(column).tolist()
    return values


FORMATS: dict[str, Callable[[BinaryIO, pyarrow.Schema], Writer]] = {
    ".parquet": _Parquet,
    ".csv": pyarrow.csv.CSVWriter,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
}
"""The writer for each ending of a file."""


def check_output(output: str, keep: Iterable[Path] = (), models: Path | None = None) -> Path:
    """Returns the path of `--output` if a file can be written there; changes nothing.

    Args:
      output: the option's value.
      keep: input files, which may not be replaced.
      models: the folder of models, which servers watch.

    Raises:
      UsageError: it is a folder or device, its ending or folder is unknown, or it is read-only.
      PathError: it is a URL or not a valid path.
    """
    path = local_path(output, "--output")
    try:
        _refuse_what_is_no_file(path, output)
        _refuse_unknown_ending(path)
        target = Path(os.path.realpath(path))
        _refuse_unwritable(path, target)
        _refuse_what_is_read(path, target, keep, models)
    except OSError as error:
        raise UsageError(
            f"--output {path} cannot be used",
            expected="the path of a file",
            found=error.strerror or str(error),
        ) from error
    return path


def write(path: Path, tables: Iterable[pyarrow.Table], complete: Callable[[], None]) -> int:
    """Writes tables into a file, which is replaced as a whole or not at all.

    Args:
      path: as `check_output` returned it.
      tables: rows in order, of one schema; at least one.
      complete: called when all rows are written, before the file is replaced.

    Returns:
      How many rows.

    Raises:
      PathError: the file cannot be written; an existing one is unchanged.
    """
    rows = 0
    try:
        remaining = iter(tables)
        first = next(remaining)
        with publish_file(path) as stream, _writer(path, stream, first.schema) as writer:
            for table in itertools.chain([first], remaining):
                writer.write(table)
                rows += table.num_rows
            writer.close()
            complete()
    except OSError as error:
        raise cannot_write(str(path), error) from error
    return rows


@contextlib.contextmanager
def _writer(path: Path, stream: BinaryIO, schema: pyarrow.Schema) -> Iterator[Writer]:
    """Yields a writer for the path's ending."""
    writer = FORMATS[_ending(path)](stream, schema)
    try:
        yield writer
    except BaseException:
        # An open writer would write again, and fail, when it is collected.
        with contextlib.suppress(Exception):
            writer.close()
        raise


def _ending(path: Path) -> str:
    return os.path.splitext(f"x{path.name}")[1].lower()  # noqa: PTH122 - ".csv" is an ending here


def _refuse_what_is_no_file(path: Path, output: str) -> None:
    if path.is_dir() or output.endswith(("/", "/.", "/..")):
        raise UsageError(
            f"--output {output} is a folder",
            expected="the path of a file",
            action=f"name a file, such as {path / 'recommendations.parquet'}",
        )
    if path.exists() and not path.is_file():
        raise UsageError(
            f"--output {output} is a pipe, socket or device", expected="the path of a file"
        )


def _refuse_unknown_ending(path: Path) -> None:
    if _ending(path) not in FORMATS:
        raise UsageError(
            f"--output {path}: its ending is not that of a known format",
            expected=f"one of {', '.join(FORMATS)}",
            found=_ending(path) or "no ending",
        )


def _refuse_unwritable(path: Path, target: Path) -> None:
    if target.is_symlink():
        raise UsageError(f"--output {path} is a link that leads back to itself")
    folder = target.parent
    if not folder.is_dir():
        what = "is not there" if not folder.exists() else "is a file"
        raise UsageError(
            f"--output {path}: the folder {folder} {what}",
            expected="a folder that is there",
            action="make it, or name another",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"--output {path}: nothing may be written in the folder {folder}",
            action="change its permissions, or name another folder",
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise UsageError(
            f"--output {path} is a file that may not be written",
            action="change its permissions, or name another file",
        )


def _refuse_what_is_read(
    path: Path, target: Path, keep: Iterable[Path], models: Path | None
) -> None:
    for other in keep:
        if target.exists() and other.exists() and target.samefile(other):
            raise UsageError(
                f"--output {path} is also an input: {other}", action="name another file"
            )
    if models is not None and Path(os.path.realpath(models)) in target.parents:
        raise UsageError(
            f"--output {path} is in the folder of models, {models}",
            expected="a path elsewhere: servers watch that folder",
        )
