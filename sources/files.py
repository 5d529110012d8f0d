"""The raw files: their names and formats, and a first look at them before a run.

Only the standard library is imported here: the runner looks at the files before it
loads anything heavy.
"""

from __future__ import annotations

import csv
import dataclasses
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from sources.errors import InputError
from sources.text import decode_row

RATINGS, USERS, MOVIES = "u.data", "u.user", "u.item"
GENRES, OCCUPATIONS = "u.genre", "u.occupation"

FILES: tuple[str, ...] = (RATINGS, USERS, MOVIES, GENRES, OCCUPATIONS)
"""Every raw file that is read, by its name in MovieLens-100K."""

MOVIE_COLUMNS = 5
"""Columns of `u.item` before the genre flags."""

UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
MAX_LINE_BYTES = 1024 * 1024
"""A longer line is no row of these files; none is held in memory as a whole."""

_EDGE_BYTES = 64 * 1024
_READ_BYTES = 1024 * 1024
_MOST_TOML_BYTES = 1024 * 1024
_FIRST_LINES = 10
_WORD = re.compile(rb"[A-Za-z_][A-Za-z_ ]*")
_GET_FILES = "download the data again, or give other files"


@dataclasses.dataclass(frozen=True)
class Format:
    """How the rows of a raw file look.

    Attributes:
      separator: the byte between columns, None where a row is one value.
      description: the columns, for messages.
      columns: how many there are; for `u.item` without the genre flags.
      numeric: positions of columns that hold numbers, which a header row does not.
      header: the names of the columns in the first row; None where the first row is data.
      quoted: whether a column may stand between double quotes, with separators in it.
    """

    separator: bytes | None
    description: str
    columns: int
    numeric: tuple[int, ...]
    header: tuple[str, ...] | None = None
    quoted: bool = False

    @property
    def expected(self) -> str:
        """What a row should be, for messages."""
        return f"{self.columns} column{'s' * (self.columns > 1)}: {self.description}"

    def fields(self, text: str) -> list[str]:
        """Returns the columns of a row; of more than there should be the last holds the rest."""
        if self.separator is None:
            return [text]
        separator = self.separator.decode("ascii")
        if not self.quoted or '"' not in text:
            return text.split(separator, self.columns)
        try:
            return next(csv.reader([text], delimiter=separator, strict=True))
        except csv.Error:
            return [text]

    def is_header(self, text: str) -> bool:
        """Returns whether a row is the header that the format has."""
        if self.header is None:
            return False
        found = [field.strip().strip("\"'").lower() for field in self.fields(text)]
        return found == [name.lower() for name in self.header]


FORMATS: dict[str, Format] = {
    RATINGS: Format(b"\t", "user id, movie id, rating, time, separated by tabs", 4, (0, 1, 2, 3)),
    USERS: Format(
        b"|",
        "user id, age, gender, occupation, zip code, separated by '|' (all but the id may be "
        "empty), or the user id alone",
        5,
        (0, 1),
    ),
    MOVIES: Format(
        b"|",
        "movie id, title, release date, video release date, URL and one flag for each genre "
        "of u.genre, separated by '|'",
        MOVIE_COLUMNS,
        (0,),
    ),
    GENRES: Format(b"|", "genre and its number, separated by '|'", 2, (1,)),
    OCCUPATIONS: Format(None, "the occupation", 1, ()),
}


def row_format(file: str, genres: int) -> Format:
    """Returns MovieLens-100K's format of `file` where `u.genre` lists `genres` genres."""
    form = FORMATS[file]
    return form if file != MOVIES else dataclasses.replace(form, columns=MOVIE_COLUMNS + genres)


def check_files(data_dir: Path, formats: Mapping[str, Format] = FORMATS) -> None:
    """Looks at the raw files before a run: a few blocks of each, so it takes milliseconds.

    Args:
      data_dir: the directory that holds them.
      formats: how each file looks, by its name.

    Raises:
      InputError: the directory or a file is missing, cannot be read, is empty, binary,
        truncated, in the wrong encoding, or does not have the columns it should.
    """
    if not data_dir.is_dir():
        raise InputError(
            "the data directory is a file" if data_dir.exists() else "no such data directory",
            file=str(data_dir),
            expected=f"a directory with {', '.join(formats)}",
            action="correct the path of the data",
        )
    missing = [name for name in formats if not (data_dir / name).exists()]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}",
            file=str(data_dir),
            expected=f"a directory with {', '.join(formats)}",
            found=listing(data_dir),
            action=_GET_FILES,
        )
    for name, form in formats.items():
        _check_bytes(data_dir / name, form)
    if formats is FORMATS:
        genres = sum(1 for line in head_lines(data_dir / GENRES) if line)
        formats = {name: row_format(name, genres) for name in formats}
    for name, form in formats.items():
        _check_rows(data_dir / name, form)


def whole_lines(
    file: BinaryIO,
    start: int,
    end: int,
    name: str,
    row_at: Callable[[int], int] | None = None,
    *,
    seekable: bool = True,
) -> tuple[int, bytes]:
    """Returns the offset and the bytes of the lines that start in a range of bytes.

    Args:
      file: at its beginning.
      start: first byte of the range.
      end: the byte after the range.
      name: of the file, for messages.
      row_at: returns the 1-based row that starts at an offset, for messages.
      seekable: whether the file can be positioned without reading what comes before.

    Raises:
      InputError: a line is too long.
    """

    def rest_of_line() -> bytes:
        data = file.readline(MAX_LINE_BYTES + 1)
        if len(data) > MAX_LINE_BYTES:
            row = row_at(file.tell() - len(data)) if row_at else None
            raise too_long(name, row, data, MAX_LINE_BYTES)
        return data

    if start > 0:
        # The line that starts before the range belongs to the range before.
        if seekable:
            file.seek(start - 1)
        else:
            _skip(file, start - 1)
        start += len(rest_of_line()) - 1
    if start >= end:
        return start, b""
    data = file.read(end - start)
    return start, data if data.endswith(b"\n") else data + rest_of_line()


def _skip(file: BinaryIO, size: int) -> None:
    while size > 0 and (block := file.read(min(size, _READ_BYTES))):
        size -= len(block)


def file_digest(data_dir: Path, names: Iterable[str]) -> str:
    """Returns a hash (hex) of the names and contents of files, which a cache key can hold.

    Args:
      data_dir: the directory of the files.
      names: file names in it; their order does not matter.

    Raises:
      InputError: a file is missing or cannot be read.
    """
    total = hashlib.sha256()
    for name in sorted(names):
        digest = hashlib.sha256()
        try:
            with open_regular(data_dir / name) as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
        except OSError as error:
            raise unreadable(name, error) from error
        total.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return total.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading; never waits, as opening a pipe does.

    Raises:
      InputError: it is no regular file (nor a link to one).
      OSError: it cannot be opened.
    """
    try:
        # What the path names can change between a look at it and opening it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_regular(path.name, "a socket") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_regular(path.name, _KINDS.get(stat.S_IFMT(mode), "something else"))
    return os.fdopen(descriptor, "rb")


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path) -> None:
    """Refuses a path of something other than a regular file (or a link to one).

    Raises:
      InputError: it is such, or cannot be opened.
    """
    try:
        open_regular(path).close()
    except OSError as error:
        raise unreadable(str(path), error) from error


def _not_regular(name: str, found: str) -> InputError:
    return InputError(
        "not a regular file",
        file=name,
        expected="a file on disk, or a link to one",
        found=found,
        action="write the data to a file of this name first",
    )


def read_toml(path: Path) -> dict[str, object]:
    """Returns the content of a TOML file.

    Raises:
      InputError: it cannot be read, or is no TOML.
    """
    import tomli  # --help needs the standard library alone

    try:
        with open_regular(path) as file:
            return tomli.loads(file.read(_MOST_TOML_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            "this file cannot be read",
            file=str(path),
            expected="a file in TOML (https://toml.io)",
            found=(reason or "")[:200],
            action="correct the file",
        ) from error


def read_lines(path: Path, longest: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a file that are not blank, with their 1-based numbers.

    Lines come without their ending and the first without a byte order mark. Memory is
    bounded by the longest line.

    Raises:
      InputError: the file cannot be read or is no regular one, is in UTF-16 or UTF-32, or
        a line is longer than `longest` bytes or has NUL bytes.
    """
    try:
        with open_regular(path) as file:
            for row, line in enumerate(iter(lambda: file.readline(longest + 2), b""), start=1):
                if row == 1:
                    check_encoding(path.name, line)
                    line = line.removeprefix(UTF8_BOM)
                line = line.rstrip(b"\r\n")
                if len(line) > longest:
                    raise too_long(path.name, row, line, longest)
                if b"\0" in line:
                    raise _nul_bytes(path.name, row, line)
                if line.strip():
                    yield row, line
    except OSError as error:
        raise unreadable(path.name, error) from error


def check_encoding(name: str, head: bytes) -> None:
    """Refuses a file whose first bytes are a byte order mark of UTF-16 or UTF-32.

    Raises:
      InputError: they are.
    """
    for mark, encoding in _OTHER_BOMS.items():
        if head.startswith(mark):
            raise InputError(
                "the file is in the wrong encoding",
                file=name,
                expected="text in UTF-8, or in Latin-1 as MovieLens publishes it",
                found=f"{encoding} (it starts with a byte order mark)",
                action="save the file again as UTF-8",
            )


def too_long(name: str, row: int | None, line: bytes, longest: int) -> InputError:
    """Returns the error to raise where a line is longer than `longest` bytes."""
    return InputError(
        f"the line is longer than {longest:,} bytes",
        file=name,
        row=row,
        expected="one row a line, with line feeds between them",
        found=shorten(line),
        action="see whether this is the right file, and whether its line breaks are lost",
    )


def _nul_bytes(name: str, row: int, line: bytes) -> InputError:
    return InputError(
        "NUL bytes: the file is binary or damaged",
        file=name,
        row=row,
        expected="text",
        found=shorten(line),
        action=_GET_FILES,
    )


def shorten(value: str | bytes) -> str:
    """Returns a value in quotes as messages show it, cut after 60 characters."""
    text = decode_row(value)[0] if isinstance(value, bytes) else value
    return repr(text if len(text) <= 60 else text[:60] + "…")


def unreadable(name: str, error: OSError) -> InputError:
    """Returns the error to raise where opening or reading file `name` failed."""
    return InputError(
        "cannot be read",
        file=name,
        expected="a readable file",
        found=error.strerror or str(error),
        action="see whether the file is there and its permissions let you read it",
    )


def listing(directory: Path) -> str:
    """Returns the first names in a directory, for messages."""
    names = sorted(path.name for path in directory.iterdir())
    return (", ".join(names[:8]) + (", …" if len(names) > 8 else "")) or "an empty directory"


def _edges(path: Path) -> tuple[bytes, bytes]:
    """Returns the first and the last block of a file; both are all of it if it is small."""
    try:
        with open_regular(path) as file:
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _EDGE_BYTES))
            return head, file.read(_EDGE_BYTES)
    except OSError as error:
        raise unreadable(path.name, error) from error


def head_lines(path: Path) -> list[bytes]:
    """Returns the first lines that are complete (or end the file), without line endings."""
    head, _ = _edges(path)
    lines = head.removeprefix(UTF8_BOM).split(b"\n")
    if len(head) == _EDGE_BYTES:
        lines.pop()
    return [line.rstrip(b"\r") for line in lines]


def _check_bytes(path: Path, form: Format) -> None:
    head, tail = _edges(path)
    # Users need not have occupations.
    if path.name != OCCUPATIONS and not head.removeprefix(UTF8_BOM).strip():
        raise InputError(
            "the file is empty",
            file=path.name,
            expected=f"rows of {form.description}",
            found=f"{path.stat().st_size} bytes",
            action=_GET_FILES,
        )
    check_encoding(path.name, head)
    if b"\0" in head or b"\0" in tail:
        raise InputError(
            "the file is binary",
            file=path.name,
            expected=f"text: rows of {form.description}",
            found=f"NUL bytes; the file starts with {head[:8]!r}",
            action=_GET_FILES,
        )


def _check_rows(path: Path, form: Format) -> None:
    lines = [(row, line) for row, line in enumerate(head_lines(path), start=1) if line.strip()]
    if path.name == USERS and not any(b"|" in line for _, line in lines):
        form = dataclasses.replace(form, description="user id", columns=1)
    lines = lines[:_FIRST_LINES]
    wrong = [(row, line) for row, line in lines if _columns(line, form) != form.columns]
    # One odd row is for the cleanup to count; most of them means another format.
    if len(wrong) * 2 > len(lines):
        row, line = wrong[0]
        raise InputError(
            "wrong number of columns",
            file=path.name,
            row=row,
            expected=form.expected,
            found=f"{_columns(line, form)} column(s) in {shorten(line)}",
            action=f"write {path.name} again with these columns"
            + (", without a header" if form.header is None else ""),
        )
    if form.header is not None and lines and not form.is_header(decode_row(lines[0][1])[0]):
        raise InputError(
            "the first row is not the header",
            file=path.name,
            row=lines[0][0],
            expected=",".join(form.header),
            found=shorten(lines[0][1]),
            action="write the header as the first row, and the columns in its order",
        )
    if form.header is None and lines and _is_header(lines[0][1], form):
        raise InputError(
            "the first row is a header",
            file=path.name,
            row=lines[0][0],
            expected=form.expected,
            found=shorten(lines[0][1]),
            action="remove the header row",
        )
    _check_last_row(path, form)


def _check_last_row(path: Path, form: Format) -> None:
    _, tail = _edges(path)
    last = tail.rsplit(b"\n", 1)[-1]
    # A row that is whole but for its newline is fine; so is a wrong one that has its newline.
    if last.strip() and _columns(last, form) < form.columns:
        raise InputError(
            "the file is truncated: its last row is cut off",
            file=path.name,
            row=_count_newlines(path) + 1,
            expected=form.expected,
            found=f"{_columns(last, form)} column(s) in {shorten(last)}",
            action=_GET_FILES,
        )


def _count_newlines(path: Path) -> int:
    with open_regular(path) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_READ_BYTES), b""))


def _columns(line: bytes, form: Format) -> int:
    if form.separator is None:
        return 1 + line.count(b"|") + line.count(b"\t")
    if form.quoted and b'"' in line:
        return len(form.fields(decode_row(line)[0]))
    return 1 + line.count(form.separator)


def _is_header(line: bytes, form: Format) -> bool:
    if form.separator is None:
        return False
    fields = [field.strip(b" \r\"'") for field in line.split(form.separator)]
    named = [fields[i] for i in form.numeric if i < len(fields)]
    missing = {b"nan", b"na", b"null", b"none"}
    return bool(named) and all(
        _WORD.fullmatch(field) and field.lower() not in missing for field in named
    )
