"""The ratings: read in chunks of bytes, columns at a time, in bounded memory.

A chunk goes through Arrow's parser at once. Only rows that this strict parser would
refuse are read one by one, to repair them or to say what is wrong with them.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from schema import features
from schema.features import RatingScale
from sources import cleaning_log, files, text, wrangling
from sources.cleaning_log import (
    MAX_EXAMPLES,
    BadRow,
    CleaningLog,
    LossLimits,
    RowExample,
)
from sources.files import FORMATS, RATINGS, Format

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

TIMESTAMP_END = 4_102_444_800
"""2100-01-01 in unix seconds: a later time is milliseconds, or nonsense."""

_INT64_MAX = 2**63 - 1
_READ_BYTES = 1024 * 1024
_MAX_FIELD_CHARS = 1000
_MAX_STRICT_BYTES = 128
_BAD_ROWS_BETWEEN_CHECKS = 10_000
_NAMES = ("user_id", "movie_id", "user_rating", "timestamp")
_TYPES = (pa.int64(), pa.int64(), pa.float32(), pa.int64())
_STRICT_BYTES = b"0123456789.-\t\r\n"
# At most 18 digits always fit int64, and numbers of this form never fail to parse.
_STRICT_ROW = rb"-?\d{1,18}\t-?\d{1,18}\t-?\d{1,18}(?:\.\d{1,18})?\t-?\d{1,18}\r?"
# The same with residue or quotes around any value: the commonest repair, so worth a way of
# its own. The odd groups are the quotes, the even ones the values.
_QUOTED_ROW = re.compile(
    rb"\t".join(
        rb"(?:[bB]?([\"']))?(-?\d{1,18}%s)(?(%d)\%d)" % (decimals, group, group)
        for decimals, group in ((b"", 1), (b"", 3), (rb"(?:\.\d{1,18})?", 5), (b"", 7))
    )
    + rb"\r?"
)
_OTHER_ROWS = re.compile(rb"^(?!" + _STRICT_ROW + rb"$)[^\n]*", re.MULTILINE)


class RatingsChunk(NamedTuple):
    """Ratings as columns of equal length.

    Attributes:
      user_id: [n] int64.
      movie_id: [n] int64.
      user_rating: [n] float32, stars.
      timestamp: [n] int64, seconds since 1970-01-01 UTC.
      position: [n] int64, the 0-based row in the file; None where the order of the file means
        nothing.
      context: [n] rows of the context features; None where the data has none.
    """

    user_id: IntArray
    movie_id: IntArray
    user_rating: FloatArray
    timestamp: IntArray
    position: IntArray | None = None
    context: pa.Table | None = None

    def take(self, rows: npt.NDArray[np.intp] | BoolArray) -> RatingsChunk:
        """Returns the rows at the positions, or under the mask, `rows`."""
        return RatingsChunk(
            self.user_id[rows],
            self.movie_id[rows],
            self.user_rating[rows],
            self.timestamp[rows],
            None if self.position is None else self.position[rows],
            None if self.context is None else self.context.take(np.arange(len(self.user_id))[rows]),
        )


def concatenate(chunks: Iterable[RatingsChunk]) -> RatingsChunk:
    """Returns the rows of one or more chunks, all of them with positions or none.

    Context features as well are those of all chunks or of none.
    """
    found = list(chunks)
    positions = [chunk.position for chunk in found if chunk.position is not None]
    contexts = [chunk.context for chunk in found if chunk.context is not None]
    return RatingsChunk(
        np.concatenate([chunk.user_id for chunk in found]),
        np.concatenate([chunk.movie_id for chunk in found]),
        np.concatenate([chunk.user_rating for chunk in found]),
        np.concatenate([chunk.timestamp for chunk in found]),
        np.concatenate(positions) if positions else None,
        pa.concat_tables(contexts).combine_chunks() if contexts else None,
    )


class _Rows(NamedTuple):
    """Rows of one block: their values and their positions among the block's lines, from 0."""

    values: RatingsChunk
    lines: IntArray


class _Block(NamedTuple):
    """The whole lines that belong to one byte range of a file, their columns between tabs."""

    path: Path
    offset: int
    data: bytes
    form: Format

    def row(self, line: int) -> int:
        """Returns the 1-based row in the file of a line of this block."""
        return _lines_before(self.path, self.offset) + line + 1


class _Check(NamedTuple):
    """One reason to drop rows: which ones, what was expected, and how to show row i."""

    reason: str
    mask: BoolArray
    expected: str
    found: Callable[[int], str]


def chunk_ranges(path: Path, chunk_bytes: int) -> list[tuple[int, int]]:
    """Splits a file into byte ranges [start, end) that cover it once.

    A row belongs to the range its first byte lies in, so `read_ratings_chunk` of all
    ranges reads every row exactly once, wherever the ranges end.

    Args:
      path: the file.
      chunk_bytes: the size of a range in bytes; the last one may be smaller.

    Raises:
      ValueError: `chunk_bytes` is less than 1.
      InputError: the file cannot be read.
    """
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, received {chunk_bytes}")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise files.unreadable(path.name, error) from error
    return [(start, min(start + chunk_bytes, size)) for start in range(0, size, chunk_bytes)]


class KnownIds(NamedTuple):
    """The users, or the movies, that ratings may be of.

    Attributes:
      file: the file that lists them.
      ids: those that it lists, ascending; None where no file does, so that any may be rated.
      dropped: ids whose ratings are dropped, with the reason to count them under
        (`CleaningLog.dropped_ids`).
    """

    file: str
    ids: IntArray | None
    dropped: Mapping[int, str] = MappingProxyType({})


def read_ratings_chunk(
    path: Path,
    start: int,
    end: int,
    users: KnownIds,
    movies: KnownIds,
    limits: LossLimits = LossLimits(),  # noqa: B008
    *,
    form: Format = FORMATS[RATINGS],
    scale: RatingScale = features.MOVIELENS.scale,
    positions: bool = False,
) -> tuple[RatingsChunk, CleaningLog]:
    """Reads and cleans the ratings whose rows start in the bytes [start, end) of a file.

    Args:
      path: the file of ratings: user, movie, rating, unix seconds.
      start: first byte of the range.
      end: the byte after the range.
      users: the users who have ratings.
      movies: the movies that can be rated.
      limits: what may be lost of the whole file.
      form: how its rows look: the separator, and whether there is a header.
      scale: least and greatest rating.
      positions: whether the rows' places in the file are wanted.

    Returns:
      The ratings in file order, and what was dropped and repaired. Duplicates are still
      in: they can lie in different chunks.

    Raises:
      InputError: the file cannot be read, a line is too long, or more rows of this chunk
        alone are of no use than may be lost of the whole file.
    """
    found = CleaningLog()
    block = _read_block(path, start, end, form)
    rows, repairs = _parse_block(block, found, limits)
    checks = [
        *_value_checks(rows.values, scale),
        *_known_checks("user", cleaning_log.UNKNOWN_USER, users, rows.values.user_id),
        *_known_checks("movie", cleaning_log.UNKNOWN_MOVIE, movies, rows.values.movie_id),
    ]
    kept = _drop_wrong_values(block, rows, checks, found)
    _count_repairs(block, rows.lines[kept], repairs, found)
    values = rows.values
    if positions:
        first = _lines_before(block.path, block.offset)
        values = values._replace(position=first + rows.lines)
    return values.take(kept), found


def _read_block(path: Path, start: int, end: int, form: Format) -> _Block:
    def row_at(offset: int) -> int:
        return _lines_before(path, offset) + 1

    try:
        with files.open_regular(path) as file:
            start, data = files.whole_lines(file, start, end, path.name, row_at)
    except OSError as error:
        raise files.unreadable(path.name, error) from error
    if start == 0:
        first_row = len(files.UTF8_BOM) if data.startswith(files.UTF8_BOM) else 0
        if form.header is not None:
            first_row = data.find(b"\n", first_row) + 1 or len(data)
            start = first_row
        data = data[first_row:]
    return _Block(path, start, data.replace(form.separator or b"\t", b"\t"), form)


def _parse_block(
    block: _Block, found: CleaningLog, limits: LossLimits
) -> tuple[_Rows, dict[str, list[int]]]:
    """Returns the rows that are numbers, in order, and the lines that needed a repair."""
    lines = block.data.count(b"\n") + (not block.data.endswith(b"\n") and block.data != b"")
    values = _parse_strict(block.data)
    if values is not None and len(values.user_id) == lines:
        found.read(block.path.name, lines)
        return _Rows(values, np.arange(lines, dtype=np.int64)), {}
    return _parse_mixed(block, lines, found, limits)


def _parse_strict(data: bytes) -> RatingsChunk | None:
    """Returns the values of a block, None unless every line is four plain numbers."""
    # Arrow also reads hexadecimal numbers, "inf", blanks and much else: leave that to
    # the reading by row, so that a row means the same whatever stands next to it.
    # It also takes a lone carriage return for the end of a line.
    lone_returns = data.count(b"\r") - data.count(b"\r\n") - data.endswith(b"\r")
    if lone_returns or data.translate(None, _STRICT_BYTES):
        return None
    if not data.strip():
        return _from_rows([])
    # No strict row is longer; very long ones crash Arrow.
    if _longest_line(data) > _MAX_STRICT_BYTES:
        return None
    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(column_names=_NAMES, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict(zip(_NAMES, _TYPES, strict=True)), null_values=[""]
            ),
        )
    except pa.ArrowInvalid:
        return None
    if any(column.null_count for column in table.columns):
        return None
    return RatingsChunk(*(column.to_numpy() for column in table.columns))


def _longest_line(data: bytes) -> int:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return int(np.diff(ends, prepend=-1, append=len(data)).max())


def _parse_mixed(
    block: _Block, lines: int, found: CleaningLog, limits: LossLimits
) -> tuple[_Rows, dict[str, list[int]]]:
    """Parses the strict lines of a block at once and the other ones by row."""
    data, others = _set_aside(block.data)
    strict = _parse_strict(data)
    assert strict is not None, "rows that match _STRICT_ROW parse"
    found.read(block.path.name, lines - sum(not line.strip() for _, line in others))
    parsed, positions, repairs = _parse_by_row(block, others, found, limits)
    is_other = np.zeros(lines, np.bool_)
    is_other[[line for line, _ in others]] = True
    usable = ~is_other
    usable[positions] = True
    kept = np.flatnonzero(usable)
    return _Rows(_interleave(is_other[kept], strict, parsed), kept), repairs


def _interleave(is_second: BoolArray, first: RatingsChunk, second: RatingsChunk) -> RatingsChunk:
    """Returns rows of `second` where `is_second` [n] and rows of `first` elsewhere, in order."""
    rows = np.empty(len(is_second), np.int64)
    rows[~is_second] = np.arange(len(first.user_id))
    rows[is_second] = np.arange(len(second.user_id)) + len(first.user_id)
    return concatenate([first, second]).take(rows)


def _set_aside(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Returns the strict lines of a block, and the other lines with their positions."""
    others: list[tuple[int, bytes]] = []
    strict: list[bytes] = []
    position = line = 0
    for match in _OTHER_ROWS.finditer(data):
        if match.start() == len(data):
            break  # the expression also finds the nothing after the last newline
        line += data.count(b"\n", position, match.start())
        others.append((line, match.group()))
        strict.append(data[position : match.start()])
        # The newline of the line set aside goes with it.
        position = min(match.end() + 1, len(data))
        line += 1
    strict.append(data[position:])
    return b"".join(strict), others


def _parse_by_row(
    block: _Block, others: list[tuple[int, bytes]], found: CleaningLog, limits: LossLimits
) -> tuple[RatingsChunk, IntArray, dict[str, list[int]]]:
    """Returns the values, the lines and the repaired lines of rows that are not strict."""
    rows: list[tuple[int, int, float, int]] = []
    lines: list[int] = []
    repairs: dict[str, list[int]] = {}
    problems: dict[str, tuple[int, list[RowExample]]] = {}
    bad = 0
    for line, data in others:
        if not data.strip():
            continue
        if len(data) > files.MAX_LINE_BYTES:
            raise files.too_long(block.path.name, block.row(line), data, files.MAX_LINE_BYTES)
        try:
            row, reasons = _parse_row(data, block.form)
        except BadRow as problem:
            count, examples = problems.get(problem.reason, (0, []))
            if count < MAX_EXAMPLES:
                examples.append(RowExample(block.row(line), problem.expected, problem.found))
            problems[problem.reason] = (count + 1, examples)
            bad += 1
            if bad % _BAD_ROWS_BETWEEN_CHECKS == 0:
                _give_up_if_hopeless(block, problems, limits)
            continue
        rows.append(row)
        lines.append(line)
        for reason in reasons:
            repairs.setdefault(reason, []).append(line)
    for reason, (count, examples) in problems.items():
        found.drop(block.path.name, reason, count, examples)
    return _from_rows(rows), np.array(lines, np.int64), repairs


def _give_up_if_hopeless(
    block: _Block, problems: Mapping[str, tuple[int, list[RowExample]]], limits: LossLimits
) -> None:
    """Ends the reading of a chunk that alone has lost more than the file may lose."""
    so_far = CleaningLog()
    # Never less than the file has, blank lines included.
    so_far.read(block.path.name, _lines_before(block.path, block.path.stat().st_size) + 1)
    for reason, (count, examples) in problems.items():
        so_far.drop(block.path.name, reason, count, examples)
    so_far.check(limits)


def _from_rows(rows: list[tuple[int, int, float, int]]) -> RatingsChunk:
    users, movies, ratings, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return RatingsChunk(
        np.array(users, np.int64),
        np.array(movies, np.int64),
        np.array(ratings, np.float32),
        np.array(times, np.int64),
    )


def _parse_row(data: bytes, form: Format) -> tuple[tuple[int, int, float, int], list[str]]:
    """Returns the four values of a row and the reasons it was repaired for.

    Raises:
      BadRow: it has another number of columns, or one of them is missing or no number.
    """
    if quoted := _QUOTED_ROW.fullmatch(data):
        user, movie, rating, time = quoted.group(2, 4, 6, 8)
        reasons = [cleaning_log.QUOTES_REMOVED] if any(quoted.group(1, 3, 5, 7)) else []
        return (int(user), int(movie), float(rating), int(time)), reasons
    return _parse_odd_row(data, form)


def _parse_odd_row(data: bytes, form: Format) -> tuple[tuple[int, int, float, int], list[str]]:
    """Returns what `_parse_row` does, for a row of any form."""
    raw = text.decode_row(data)[0].rstrip("\r").split("\t", form.columns)
    raw = [field.strip()[:_MAX_FIELD_CHARS] for field in raw]
    plain = [field.strip(text.BYTE_ORDER_MARK) for field in raw]
    shown = files.shorten(data.rstrip(b"\r").replace(b"\t", form.separator or b"\t"))
    if len(raw) != form.columns:
        raise BadRow(cleaning_log.WRONG_COLUMNS, expected=form.expected, found=shown)
    cleaned = [wrangling.clean_token(field) for field in plain]
    if any(wrangling.is_missing(field) for field in cleaned):
        raise BadRow(cleaning_log.MISSING_VALUE, expected="a value in every column", found=shown)
    user, movie, rating, time = cleaned
    row = (
        _whole(user, cleaning_log.NON_NUMERIC_ID, "a whole number as user id"),
        _whole(movie, cleaning_log.NON_NUMERIC_ID, "a whole number as movie id"),
        _number(rating),
        _whole(time, cleaning_log.NON_NUMERIC_TIMESTAMP, "a time in seconds since 1970"),
    )
    reasons = []
    if any(field != before for field, before in zip(cleaned, raw, strict=True)):
        reasons.append(cleaning_log.QUOTES_REMOVED)
    if any("." in field for field in (user, movie, time)):
        reasons.append(cleaning_log.DECIMAL_REMOVED)
    return row, reasons


def _whole(text: str, reason: str, expected: str) -> int:
    value = wrangling.parse_whole_number(text)
    if value is None or abs(value) > _INT64_MAX:
        raise BadRow(reason, expected=expected, found=files.shorten(text))
    return value


def _number(text: str) -> float:
    value = wrangling.parse_number(text)
    if value is None:
        raise BadRow(
            cleaning_log.NON_NUMERIC_RATING, expected="a number", found=files.shorten(text)
        )
    return value


def _known_checks(name: str, reason: str, known: KnownIds, ids: IntArray) -> list[_Check]:
    """Returns a check for each reason that an id in `ids` [n] is not known."""
    if known.ids is None:
        return []
    unknown = ~_contains(known.ids, ids)
    if not unknown.any():
        return []
    absent = np.unique(ids[unknown])
    reasons = [known.dropped.get(int(key)) for key in absent]
    kept = f"a {name} that the cleanup of {known.file} kept"
    checks = [
        _id_check(name, ids, other, absent[[one == other for one in reasons]], kept)
        for other in sorted({one for one in reasons if one is not None})
    ]
    never_listed = absent[[one is None for one in reasons]]
    listed = f"a {name} that {known.file} lists"
    return [*checks, _id_check(name, ids, reason, never_listed, listed)]


def _contains(known: IntArray, ids: IntArray) -> BoolArray:
    """Returns which `ids` [n] are in `known`, ascending."""
    if not len(known):
        return np.zeros(len(ids), np.bool_)
    # Ids close together, as most are, are looked up in a table, ten times as fast.
    if int(known[-1]) - int(known[0]) <= 4 * (len(known) + len(ids)):
        return np.isin(ids, known, kind="table")
    nearest = np.searchsorted(known, ids)
    return np.asarray(known[np.minimum(nearest, len(known) - 1)] == ids)


def _id_check(name: str, ids: IntArray, reason: str, which: IntArray, expected: str) -> _Check:
    return _Check(reason, np.isin(ids, which), expected, lambda i: f"{name} {ids[i]}")


def _value_checks(values: RatingsChunk, scale: RatingScale) -> list[_Check]:
    ratings, times = values.user_rating, values.timestamp
    return [
        _Check(
            cleaning_log.RATING_RANGE,
            ~((ratings >= scale.low) & (ratings <= scale.high)),
            f"a rating from {scale.low:g} to {scale.high:g}",
            lambda i: f"{ratings[i]:g}",
        ),
        _Check(
            cleaning_log.TIMESTAMP_RANGE,
            (times < 0) | (times >= TIMESTAMP_END),
            "a time in seconds since 1970, before the year 2100",
            lambda i: describe_time(int(times[i])),
        ),
    ]


def describe_time(seconds: int) -> str:
    """Returns a time for messages: what may be milliseconds is called so."""
    in_milliseconds = TIMESTAMP_END <= seconds < TIMESTAMP_END * 1000
    return f"{seconds}" + (" (milliseconds?)" if in_milliseconds else "")


def _drop_wrong_values(
    block: _Block, rows: _Rows, checks: Iterable[_Check], found: CleaningLog
) -> BoolArray:
    """Returns which rows no check drops, and counts the rest under the first that does."""
    kept = np.ones(len(rows.lines), np.bool_)
    for check in checks:
        dropped = np.flatnonzero(check.mask & kept)
        if len(dropped):
            examples = [
                RowExample(block.row(int(rows.lines[i])), check.expected, check.found(int(i)))
                for i in dropped[:MAX_EXAMPLES]
            ]
            found.drop(block.path.name, check.reason, len(dropped), examples)
            kept[dropped] = False
    return kept


def _count_repairs(
    block: _Block, kept: IntArray, repairs: Mapping[str, list[int]], found: CleaningLog
) -> None:
    """Counts the repaired lines that are still in after all checks."""
    for reason, lines in repairs.items():
        left = np.intersect1d(np.array(lines, np.int64), kept)
        examples = [
            RowExample(
                block.row(int(line)),
                "numbers without quotes, ids and times without decimals",
                reason,
            )
            for line in left[:MAX_EXAMPLES]
        ]
        found.repair(block.path.name, reason, len(left), examples)


class _LineCounter:
    """Counts the lines before an offset of one file, each byte at most about once.

    Chunks of a file mostly come in order: counting starts at the nearest offset known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = {0: 0}
        self._lock = threading.Lock()

    def before(self, offset: int) -> int:
        """Returns the number of newlines in the bytes [0, offset)."""
        with self._lock:
            if offset not in self._known:
                nearest = max(known for known in self._known if known < offset)
                self._known[offset] = self._known[nearest] + self._count(nearest, offset)
            return self._known[offset]

    def _count(self, start: int, end: int) -> int:
        newlines = 0
        with files.open_regular(self._path) as file:
            file.seek(start)
            while start < end and (data := file.read(min(_READ_BYTES, end - start))):
                newlines += data.count(b"\n")
                start += len(data)
        return newlines


_counters: dict[tuple[str, int, int], _LineCounter] = {}


def _lines_before(path: Path, offset: int) -> int:
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    if key not in _counters:
        _counters.clear()  # one file at a time is what a process reads
        _counters[key] = _LineCounter(path)
    return _counters[key].before(offset)
