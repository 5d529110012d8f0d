"""Director and star of each movie, from The Movies Dataset where its folder is given.

The two catalogues share no key, so movies meet by title and year (`titles` says how).
Its files are often worse for having been through a spreadsheet; what can be read is
read, and everything repaired or dropped is counted.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from schema import features
from sources.cleaning_log import (
    DECIMAL_REMOVED,
    CleaningLog,
    LossLimits,
    RowExample,
    share,
)
from sources.encodings import RowDecoder
from sources.errors import InputError
from sources.files import (
    UTF8_BOM,
    check_encoding,
    open_regular,
    shorten,
    too_long,
    unreadable,
)
from sources.literals import parse_records
from sources.records import MAX_TEXT_CHARS, mend
from sources.titles import title_keys
from sources.wrangling import clean_text, split_title

if TYPE_CHECKING:
    import pandas as pd

MOVIES_METADATA = "movies_metadata.csv"
CREDITS = "credits.csv"
FILES = (MOVIES_METADATA, CREDITS)

BLANK_ROW = "blank row"
BAD_ID = "id is not a number"
DUPLICATE_ID = "duplicate id"
MISSING_TITLE = "missing title"
BAD_RELEASE_DATE = "unreadable release date"
NO_RELEASE_DATE = "no release date"
BROKEN_LITERAL = "broken literal"
BROKEN_ROW = "row broken across lines joined"
US_DATE = "date of another order read"
UPPER_CASE_BOOLEAN = "upper-case boolean read"

_ID, _TITLE, _ORIGINAL = "id", "title", "original_title"
_DATE, _VOTES, _ADULT = "release_date", "vote_count", "adult"
_CAST, _CREW = "cast", "crew"
_MAX_FIELD_CHARS = 16_000_000
_MAX_ROW_BYTES = 32_000_000
_MAX_JOINED_LINES = 20
_FEW_ROWS = 3
# After the last line: inside of a cell, it shows that a quote was never closed.
_END = "\x03 end of file"
_YEAR_TOLERANCE = 1

_WHOLE_NUMBER = re.compile(r"\s*(\d{1,15})(\.0*)?\s*", re.ASCII)
# Matched against text without blanks around it: these at an end would take quadratic time.
_ISO_DATE = re.compile(r"(\d{4})-\d{1,2}-\d{1,2}(?:[T ].*)?", re.ASCII)
_SLASHED_DATE = re.compile(r"\d{1,2}/\d{1,2}/(\d{4}|\d{2})(?: .*)?", re.ASCII)
_GET_METADATA = (
    "give the directory of The Movies Dataset's files as published, or leave it out: "
    "director and star are then unknown"
)


@dataclasses.dataclass(frozen=True)
class MetadataMatch:
    """What the join found.

    Attributes:
      movies: number of movies of the catalogue.
      matched: movies whose metadata row was found.
      directors: movies whose director is known.
      stars: movies whose star is known.
      broken_literals: cells of credits that could not be read.
      unmatched_titles: the first three movies without metadata.
      log: rows read, dropped and repaired in both files, with examples.
    """

    movies: int
    matched: int = 0
    directors: int = 0
    stars: int = 0
    broken_literals: int = 0
    unmatched_titles: tuple[str, ...] = ()
    log: CleaningLog = dataclasses.field(default_factory=CleaningLog)

    @property
    def unmatched(self) -> int:
        """Movies without metadata."""
        return self.movies - self.matched

    def to_json(self) -> dict[str, Any]:
        """Returns everything as a JSON object; the counts of the files are under "files"."""
        return {
            "movies": self.movies,
            "matched": self.matched,
            "unmatched": self.unmatched,
            "unmatched_titles": list(self.unmatched_titles),
            "directors": self.directors,
            "stars": self.stars,
            "broken_literals": self.broken_literals,
            **self.log.to_json(),
        }


@dataclasses.dataclass(frozen=True)
class _Listed:
    """One row of movies_metadata.csv, as far as matching needs it."""

    id: int
    year: int
    votes: float


@dataclasses.dataclass(frozen=True)
class _Row:
    """One record of a CSV file; `number` is the 1-based line it begins on."""

    number: int
    cells: list[str]


_Index = dict[str, list[_Listed]]
_Credits = tuple[str, str]  # director, star


def join_metadata(
    movies: pd.DataFrame,
    metadata_dir: Path | None,
    limits: LossLimits = LossLimits(),  # noqa: B008
    tmdb_ids: Mapping[int, int] = MappingProxyType({}),
) -> tuple[pd.DataFrame, MetadataMatch]:
    """Adds the columns `director` and `star` to a catalogue.

    A movie with an id of The Movie Database, which are the ids of The Movies Dataset, has the
    row of that id or none. Any other is looked for by its title, then without article and
    spaces, then by parts of it; by the year in its title, then the year of its release. The exact
    year comes before one off by one, more votes before fewer, the lower id before the higher.
    The director is the first crew member whose job is that, the star the first in cast
    order.

    Args:
      movies: `movie_id`, `movie_title` ("Shawshank Redemption, The (1994)") and
        `movie_year_release` (nullable integer), one row per movie.
      metadata_dir: directory of `FILES`; None where there is no metadata.
      limits: what may be lost: of the movies, as rows (three at least); of the cells of
        credits that are read, as values (one at least).
      tmdb_ids: ids of The Movie Database by movie id, as far as they are known.

    Returns:
      A copy of `movies`, same rows in the same order, with both columns ("unknown" where
      not known); and what was found.

    Raises:
      InputError: a file is missing, unreadable or lacks a column, or more is lost than may
        be.
    """
    titles = [str(title) for title in movies[features.TITLE.name]]
    if metadata_dir is None:
        joined = _with_credits(movies, [None] * len(movies), {})
        return joined, MetadataMatch(len(movies), unmatched_titles=tuple(titles[:3]))
    check_metadata_files(metadata_dir)
    released = movies[features.RELEASE_YEAR.name].astype("Int64")
    years = [_years(*pair) for pair in zip(titles, released.fillna(0), strict=True)]
    log = CleaningLog()
    linked = [tmdb_ids.get(int(key)) for key in movies[features.MOVIE_ID.name]]
    by_title = [known for known, link in zip(years, linked, strict=True) if link is None]
    wanted = {near for known in by_title for year in known for near in _near(year)}
    indices, listed = _index_movies(metadata_dir / MOVIES_METADATA, wanted, log)
    _check_movies(log, limits)
    found = [
        _find(title, known, indices) if link is None else link if link in listed else None
        for title, known, link in zip(titles, years, linked, strict=True)
    ]
    credits_ = _read_credits(
        metadata_dir / CREDITS, {movie for movie in found if movie is not None}, log, limits
    )
    joined = _with_credits(movies, found, credits_)
    lost = [title for title, movie in zip(titles, found, strict=True) if movie is None]
    match = MetadataMatch(
        movies=len(movies),
        matched=len(movies) - len(lost),
        directors=int((joined[features.DIRECTOR.name] != features.UNKNOWN).sum()),
        stars=int((joined[features.STAR.name] != features.UNKNOWN).sum()),
        broken_literals=log.file(CREDITS).values_lost.get(BROKEN_LITERAL, 0),
        unmatched_titles=tuple(lost[:3]),
        log=log,
    )
    return joined, match


def check_metadata_files(directory: Path) -> None:
    """Looks whether both files are there, before anything slow is done.

    Raises:
      InputError: the directory or one of `FILES` is missing or cannot be opened.
    """
    if not directory.is_dir():
        raise InputError(
            "no such directory of movie metadata",
            file=str(directory),
            expected=f"a directory with {' and '.join(FILES)}",
            action=_GET_METADATA,
        )
    missing = [name for name in FILES if not (directory / name).exists()]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}",
            file=str(directory),
            expected=f"a directory with {' and '.join(FILES)}",
            action=_GET_METADATA,
        )
    for name in FILES:
        try:
            open_regular(directory / name).close()
        except OSError as error:
            raise unreadable(name, error) from error


def _years(title: str, released: int) -> tuple[int, ...]:
    """Returns the years a movie may be known by, the one in its title first; 0 is no year."""
    years = (split_title(title)[1] or 0, int(released))
    return tuple(dict.fromkeys(year for year in years if year))


def _near(year: int) -> range:
    return range(year - _YEAR_TOLERANCE, year + _YEAR_TOLERANCE + 1)


def _with_credits(
    movies: pd.DataFrame, found: Sequence[int | None], credits_: dict[int, _Credits]
) -> pd.DataFrame:
    unknown = (features.UNKNOWN, features.UNKNOWN)
    pairs = [unknown if movie is None else credits_.get(movie, unknown) for movie in found]
    joined = movies.copy()
    joined[features.DIRECTOR.name] = [director for director, _ in pairs]
    joined[features.STAR.name] = [star for _, star in pairs]
    return joined.astype({features.DIRECTOR.name: "object", features.STAR.name: "object"})


# Matching.


def _find(title: str, years: Iterable[int], indices: Sequence[_Index]) -> int | None:
    """Returns the id of the movie that a movie is, None if there is none."""
    sure, compact, parts = title_keys(split_title(title)[0])
    by_title, by_compact, by_parts = indices
    for year in years:
        for distance in range(_YEAR_TOLERANCE + 1):
            for keys, index in ((sure, by_title), (compact, by_compact)):
                for key in keys:
                    movies = _released(index.get(key, ()), year, distance)
                    if movies:
                        return min(movies, key=lambda movie: (-movie.votes, movie.id)).id
    # A part of a title says little: it counts only if nothing else could be meant.
    for year in years:
        candidates = {
            movie.id
            for keys, index in ((parts, by_compact), (compact, by_parts))
            for key in keys
            for distance in range(_YEAR_TOLERANCE + 1)
            for movie in _released(index.get(key, ()), year, distance)
        }
        if len(candidates) == 1:
            return candidates.pop()
    return None


def _released(movies: Iterable[_Listed], year: int, distance: int) -> list[_Listed]:
    return [movie for movie in movies if abs(movie.year - year) == distance]


def _index_movies(
    path: Path, years: Collection[int], log: CleaningLog
) -> tuple[list[_Index], set[int]]:
    """Reads the movies of these years; one index for each tier of `title_keys`, and all ids."""
    indices: list[_Index] = [collections.defaultdict(list) for _ in range(3)]
    seen: set[int] = set()
    with _open_table(path, (_ID, _TITLE, _ORIGINAL, _DATE, _VOTES), log) as (columns, raw):
        for row in _join_broken_rows(raw, columns, log):
            movie, titles = _parse_movie(row, columns, log)
            if movie is None:
                continue
            if movie.id in seen:
                _drop(log, path.name, DUPLICATE_ID, row, "a new id", str(movie.id))
                continue
            seen.add(movie.id)
            if movie.year not in years:
                continue
            keys = [title_keys(title) for title in titles]
            for tier, index in enumerate(indices):
                for key in dict.fromkeys(key for tiers in keys for key in tiers[tier]):
                    index[key].append(movie)
    return indices, seen


def _parse_movie(
    row: _Row, columns: dict[str, int], log: CleaningLog
) -> tuple[_Listed | None, list[str]]:
    """Returns a row's movie and its titles; None, and the reason counted, if unusable."""
    file = MOVIES_METADATA
    if _is_blank(row):
        _drop(log, file, BLANK_ROW, row, "a movie", "nothing")
        return None, []
    cells = {name: _cell(row, columns, name) for name in (_ID, _TITLE, _ORIGINAL, _DATE, _VOTES)}
    number = _parse_id(cells[_ID], file, row, log)
    if number is None:
        return None, []
    titles = list(dict.fromkeys(filter(str.strip, (cells[_TITLE], cells[_ORIGINAL]))))
    if not titles:
        _drop(log, file, MISSING_TITLE, row, "a title", shorten(cells[_TITLE]))
        return None, []
    if not cells[_DATE].strip():
        _drop(log, file, NO_RELEASE_DATE, row, "a date such as 1995-10-30", "nothing")
        return None, []
    year = _parse_year(cells[_DATE], row, log)
    if year is None:
        return None, []
    adult = _cell(row, columns, _ADULT) if _ADULT in columns else ""
    if adult in ("TRUE", "FALSE"):
        _repair(log, file, UPPER_CASE_BOOLEAN, row, "True or False", adult)
    return _Listed(number, year, _parse_votes(cells[_VOTES])), titles


def _parse_id(text: str, file: str, row: _Row, log: CleaningLog) -> int | None:
    match = _WHOLE_NUMBER.fullmatch(text)
    if match is None:
        _drop(log, file, BAD_ID, row, "a whole number", shorten(text))
        return None
    if match[2] is not None:
        _repair(log, file, DECIMAL_REMOVED, row, "a whole number", shorten(text))
    return int(match[1])


def _parse_year(text: str, row: _Row, log: CleaningLog) -> int | None:
    expected = "a date such as 1995-10-30"
    text = text.strip()
    if match := _ISO_DATE.fullmatch(text):
        return int(match[1])
    if match := _SLASHED_DATE.fullmatch(text):
        _repair(log, MOVIES_METADATA, US_DATE, row, expected, shorten(text))
        year = int(match[1])
        # Two digits: as POSIX reads them.
        return year if year > 99 else year + (1900 if year >= 69 else 2000)
    _drop(log, MOVIES_METADATA, BAD_RELEASE_DATE, row, expected, shorten(text))
    return None


def _parse_votes(text: str) -> float:
    match = _WHOLE_NUMBER.fullmatch(text)
    return float(match[1]) if match else 0.0


def _check_movies(log: CleaningLog, limits: LossLimits) -> None:
    entry = log.file(MOVIES_METADATA)
    lost = {
        reason: entry.dropped[reason]
        for reason in (BAD_ID, MISSING_TITLE, BAD_RELEASE_DATE)
        if reason in entry.dropped
    }
    count = sum(lost.values())
    if count > max(_FEW_ROWS, limits.rows * entry.rows):
        reason, first = entry.first_of(lost) or (next(iter(lost)), RowExample(None, "a movie", ""))
        raise InputError(
            f"{reason}; {count:,} of {entry.rows:,} rows are lost, more than {share(limits.rows)}",
            file=MOVIES_METADATA,
            row=first.row,
            expected=first.expected,
            found=first.found,
            action="take the file as published, or allow more with --max-loss",
        )


# Credits.


def _read_credits(
    path: Path, wanted: Collection[int], log: CleaningLog, limits: LossLimits
) -> dict[int, _Credits]:
    """Returns director and star of the wanted movies; the literals of others stay unread."""
    found: dict[int, _Credits] = {}
    literals = 0
    with _open_table(path, (_CAST, _CREW, _ID), log) as (columns, rows):
        for row in rows:
            log.read(path.name, 1)
            if _is_blank(row):
                _drop(log, path.name, BLANK_ROW, row, "a movie's credits", "nothing")
                continue
            number = _parse_id(_cell(row, columns, _ID), path.name, row, log)
            if number is None or number not in wanted:
                continue
            if number in found:
                _drop(log, path.name, DUPLICATE_ID, row, "a new id", str(number))
                continue
            crew = _parse_cell(row, columns, _CREW, log)
            cast = _parse_cell(row, columns, _CAST, log)
            found[number] = (
                _mended(_director(crew), row, log),
                _mended(_star(cast), row, log),
            )
            literals += 2
            # More can never be allowed, however many are yet to be read.
            _check_broken(log, max(literals, 2 * len(wanted)), limits)
    _check_broken(log, literals, limits)
    return found


def _parse_cell(
    row: _Row, columns: dict[str, int], column: str, log: CleaningLog
) -> list[dict[Any, Any]]:
    text = _cell(row, columns, column)
    try:
        return parse_records(text)
    except ValueError:
        # Its end says more than its beginning: most broken literals were cut off.
        end = text if len(text) <= 50 else f"…{text[-50:]}"
        expected = f"{column}: a Python list of dictionaries"
        log.lose(CREDITS, BROKEN_LITERAL, examples=[RowExample(row.number, expected, shorten(end))])
        return []


def _check_broken(log: CleaningLog, literals: int, limits: LossLimits) -> None:
    entry = log.file(CREDITS)
    broken = entry.values_lost.get(BROKEN_LITERAL, 0)
    # One broken cell says nothing about a file, however short.
    if broken > max(1, limits.values * literals):
        first = entry.examples[BROKEN_LITERAL][0]
        raise InputError(
            f"{BROKEN_LITERAL}; {broken:,} of {literals:,} read, more than {share(limits.values)}",
            file=CREDITS,
            row=first.row,
            expected=first.expected,
            found=first.found,
            action="take the file as published (spreadsheets cut long cells off), or allow more "
            "with --max-loss",
        )


def _director(crew: Iterable[dict[Any, Any]]) -> str:
    names = (_name(member) for member in crew if member.get("job") == "Director")
    return next(filter(None, names), features.UNKNOWN)


def _star(cast: Sequence[dict[Any, Any]]) -> str:
    def order(place: int) -> tuple[float, int]:
        given = cast[place].get("order")
        return (given if isinstance(given, int | float) else place, place)

    names = (_name(cast[place]) for place in sorted(range(len(cast)), key=order))
    return next(filter(None, names), features.UNKNOWN)


def _name(member: dict[Any, Any]) -> str:
    name = member.get("name")
    if not isinstance(name, str):
        return ""
    return " ".join(clean_text(name[:MAX_TEXT_CHARS]).split())


def _mended(name: str, row: _Row, log: CleaningLog) -> str:
    """Returns a name without mojibake and control characters, and counts what that took."""
    plain, reasons = mend(name)
    for reason in reasons:
        _repair(log, CREDITS, reason, row, "a name as it is printed", shorten(name))
    return " ".join(plain.split()) or features.UNKNOWN


# CSV.


@contextlib.contextmanager
def _open_table(
    path: Path, required: Iterable[str], log: CleaningLog
) -> Iterator[tuple[dict[str, int], Iterator[_Row]]]:
    """Opens a CSV file; yields the place of each column, and its rows as a stream.

    Each line is decoded on its own; those in another encoding than most are counted in
    `log` at the end.

    Raises:
      InputError: also while the rows are read: the file cannot be read or is no regular
        one, is empty, lacks a column, is not CSV, or has a row of more than
        `_MAX_ROW_BYTES`.
    """
    limit = csv.field_size_limit(_MAX_FIELD_CHARS)
    line = 0
    try:
        with open_regular(path) as file:
            text = _Text(path.name, file)
            reader = csv.reader(text)

            def rows() -> Iterator[_Row]:
                nonlocal line
                for cells in reader:
                    if cells == [_END]:
                        break
                    if cells and cells[-1].endswith(f"{_END}\n"):
                        raise _unclosed_quote(path.name, _Row(line + 1, cells))
                    yield _Row(line + 1, cells)
                    line = reader.line_num
                    text.begin_row()
                text.count_odd_rows(log)

            stream = rows()
            yield _check_header(path.name, next(stream, None), required), stream
    except csv.Error as error:
        raise InputError(
            "not readable as CSV",
            file=path.name,
            row=line + 1,
            expected="comma-separated values",
            found=str(error),
            action=_GET_METADATA,
        ) from error
    except OSError as error:
        raise unreadable(path.name, error) from error
    finally:
        csv.field_size_limit(limit)


def _check_header(name: str, header: _Row | None, required: Iterable[str]) -> dict[str, int]:
    if header is None:
        raise InputError("is empty", file=name, action=_GET_METADATA)
    columns = {cell.strip(): place for place, cell in enumerate(header.cells)}
    missing = [column for column in required if column not in columns]
    if missing:
        raise InputError(
            f"missing column: {', '.join(missing)}",
            file=name,
            row=1,
            expected=f"the columns {', '.join(required)}",
            found=shorten(",".join(header.cells)),
            action=_GET_METADATA,
        )
    return columns


def _unclosed_quote(name: str, row: _Row) -> InputError:
    return InputError(
        "a quote is never closed: all rows after it are one",
        file=name,
        row=row.number,
        expected='a second " at the end of the cell',
        found=shorten(row.cells[-1]),
        action="close the quote, or take the file as published",
    )


class _Text:
    """The lines of a file as text, each decoded on its own, and `_END`, for the CSV reader.

    Args:
      name: of the file.
      file: open at its beginning.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        self._file = file
        self._decoder = RowDecoder()
        self._number = 0
        self._room = _MAX_ROW_BYTES

    def begin_row(self) -> None:
        """Says that a row is complete: the next line begins another one."""
        self._room = _MAX_ROW_BYTES

    def count_odd_rows(self, log: CleaningLog) -> None:
        """Counts lines in another encoding than most."""
        self._decoder.count_odd_rows(self._name, log)

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(self._room + 1):
            self._number += 1
            if len(line) > self._room:
                raise too_long(self._name, self._number, line, _MAX_ROW_BYTES)
            self._room -= len(line)
            if self._number == 1:
                check_encoding(self._name, line)
                line = line.removeprefix(UTF8_BOM)
            for part in line.splitlines(keepends=True):
                yield self._decoder.decode(self._number, part)
        yield f"{_END}\n"


def _join_broken_rows(
    rows: Iterable[_Row], columns: dict[str, int], log: CleaningLog
) -> Iterator[_Row]:
    """Counts rows as read and joins those whose text lost its quotes at a line break."""
    last: _Row | None = None
    lines = 0
    for row in rows:
        # Each line that is joined copies those before it.
        joined = None if last is None or lines > _MAX_JOINED_LINES else _join(last, row, columns)
        lines = 0 if joined is None else lines + 1
        if joined is None:
            if last is not None:
                yield last
            log.read(MOVIES_METADATA, 1)
            last = row
        else:
            found = shorten(row.cells[0])
            _repair(log, MOVIES_METADATA, BROKEN_ROW, row, "a row on its own", found)
            last = joined
    if last is not None:
        yield last


def _join(first: _Row, second: _Row, columns: dict[str, int]) -> _Row | None:
    """Returns the row that two halves make, None if they are not halves of one."""
    head, tail, width = first.cells, second.cells, len(columns)
    if _is_blank(first) or _is_blank(second):
        return None
    if len(head) == len(tail) == width:
        # A spreadsheet has filled both up with empty cells: the date tells the shift.
        place = next((place for place, cell in enumerate(tail) if _is_date(cell)), None)
        if place is None or _WHOLE_NUMBER.fullmatch(tail[columns[_ID]]):
            return None
        cut = columns[_DATE] - place
        if cut <= 0 or any(head[cut + 1 :]):
            return None
        head, tail = head[: cut + 1], tail[: width - cut]
    if len(head) >= width or len(head) + len(tail) - 1 > width:
        return None
    return _Row(first.number, [*head[:-1], f"{head[-1]}\n{tail[0]}", *tail[1:]])


def _is_date(text: str) -> bool:
    text = text.strip()
    return bool(_ISO_DATE.fullmatch(text) or _SLASHED_DATE.fullmatch(text))


def _is_blank(row: _Row) -> bool:
    return not any(cell.strip() for cell in row.cells)


def _cell(row: _Row, columns: dict[str, int], name: str) -> str:
    place = columns[name]
    return row.cells[place] if place < len(row.cells) else ""


def _drop(log: CleaningLog, file: str, reason: str, row: _Row, expected: str, found: str) -> None:
    log.drop(file, reason, examples=[RowExample(row.number, expected, found)])


def _repair(log: CleaningLog, file: str, reason: str, row: _Row, expected: str, found: str) -> None:
    log.repair(file, reason, examples=[RowExample(row.number, expected, found)])
