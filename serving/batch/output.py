"""The output file of a batch: checks of its path, its formats and its columns."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from storage.errors import UsageError, cannot_write
from storage.paths import local_path, publish_file

ROW_GROUP_ROWS = 100_000
"""Rows of a row group of a Parquet file, about."""


class _JsonLines:
    """Writes tables to a stream, as pyarrow's writers of other formats do."""

    def __init__(self, stream: BinaryIO, schema: pyarrow.Schema) -> None:
        self._stream = stream
        self._names = schema.names

    def write(self, table: pyarrow.Table) -> None:
        columns = [_values(table.column(name)) for name in self._names]
        rows = (dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True))
        self._stream.write(
            b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        )

    def __enter__(self) -> _JsonLines:
        return self

    def __exit__(self, *error: object) -> None:
        """Does nothing: every row is written."""


def _values(column: pyarrow.ChunkedArray) -> list[object]:
    if column.type == pyarrow.float32():
        # 3.4, not 3.4000000953674316, which is the same number in 64 bits.
        column = column.cast(pyarrow.string()).cast(pyarrow.float64())
    values: list[object] = np.asarray(column).tolist()
    return values


FORMATS: dict[str, Callable[[BinaryIO, pyarrow.Schema], Any]] = {
    ".parquet": pyarrow.parquet.ParquetWriter,
    ".csv": pyarrow.csv.CSVWriter,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
}
"""The writer for each ending of a file."""


def check_output(output: str, keep: Iterable[Path] = (), models: Path | None = None) -> Path:
    """Returns the path of `--output`; changes nothing.

    Whether a file can be written there shows in `write`, before any row is made.

    Args:
      output: the option's value.
      keep: input files, which may not be replaced.
      models: the folder of models, which servers watch.

    Raises:
      UsageError: it is a folder, its ending is unknown, or it is read-only or an input.
      PathError: it is a URL or not a valid path.
    """
    path = local_path(output, "--output")
    target = Path(os.path.realpath(path))
    try:
        if path.is_dir() or output.endswith(("/", "/.", "/..")):
            raise UsageError(
                f"--output {output} is a folder",
                expected="the path of a file",
                action=f"name a file, such as {path / 'recommendations.parquet'}",
            )
        if _ending(path) not in FORMATS:
            raise UsageError(
                f"--output {path}: its ending is not that of a known format",
                expected=f"one of {', '.join(FORMATS)}",
                found=_ending(path) or "no ending",
            )
        if target.exists() and not os.access(target, os.W_OK):
            raise UsageError(
                f"--output {path} is a file that may not be written",
                action="change its permissions, or name another file",
            )
        for other in keep:
            if target.exists() and other.exists() and target.samefile(other):
                raise UsageError(
                    f"--output {path} is also an input: {other}", action="name another file"
                )
    except OSError as error:
        raise cannot_write(str(path), error) from error
    if models is not None and Path(os.path.realpath(models)) in target.parents:
        raise UsageError(
            f"--output {path} is in the folder of models, {models}",
            expected="a path elsewhere: servers watch that folder",
        )
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
        with publish_file(path) as stream:
            remaining = _grouped(tables)
            first = next(remaining)
            with FORMATS[_ending(path)](stream, first.schema) as writer:
                for table in itertools.chain([first], remaining):
                    writer.write(table)
                    rows += table.num_rows
            complete()
    except OSError as error:
        raise cannot_write(str(path), error) from error
    return rows


def _grouped(tables: Iterable[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    """Joins tables to about `ROW_GROUP_ROWS` rows each."""
    waiting: list[pyarrow.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= ROW_GROUP_ROWS:
            yield pyarrow.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pyarrow.concat_tables(waiting)


def _ending(path: Path) -> str:
    return os.path.splitext(f"x{path.name}")[1].lower()  # noqa: PTH122 - ".csv" is an ending here
