"""The small tables: users, movies, genres and occupations, cleaned and counted."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import pandas as pd

from components.data import files, report, wrangling
from components.data.report import BadRow, RowExample, WranglingReport
from components.errors import InputError
from schema import features

AGE_MIN, AGE_MAX = 1.0, 120.0
"""Years; an age outside is a wrong value."""

_INT64_MAX = 2**63 - 1


class _User(NamedTuple):
    id: int
    age: float
    gender: str
    occupation: str
    zip_code: str


class _Movie(NamedTuple):
    id: int
    title: str
    release_date: datetime.date | None
    genres: tuple[str, ...]


_R = TypeVar("_R", _User, _Movie)


class _Line(NamedTuple):
    """One row of a text table: its 1-based number, its columns, and what was repaired."""

    row: int
    fields: list[str]
    repairs: list[str]

    def clean(self, column: int) -> str:
        """Returns a column without residue and quotes, and notes the repair if there was one."""
        return self._note(column, wrangling.clean_token(self.fields[column]))

    def clean_title(self, column: int) -> str:
        """Returns a column cleaned as free text, whose own quotes stay."""
        return self._note(column, wrangling.clean_text(self.fields[column]))

    def _note(self, column: int, cleaned: str) -> str:
        if cleaned != self.fields[column].strip():
            self.repairs.append(report.QUOTES_REMOVED)
        return cleaned


def read_users(
    data_dir: Path, invalid_zip: Literal["keep", "drop"]
) -> tuple[pd.DataFrame, WranglingReport]:
    """Reads and cleans `u.user`.

    Args:
      data_dir: the directory of the raw files.
      invalid_zip: "drop" drops users whose zip code is not five digits; "keep" keeps the
        code as it is, cleaned.

    Returns:
      The users by ascending `user_id` (int64) with `user_gender`, `raw_user_age` (float32,
      years), `bucketized_user_age` (int64), `user_occupation_text`,
      `user_occupation_label` (nullable Int64) and `user_zip_code`; and the report, whose
      `dropped_ids["u.user"]` holds the users whose ratings go as well.

    Raises:
      InputError: more than 1 % of the rows are bad, a user has two different rows, an
        occupation is not in `u.occupation`, or the file cannot be read.
    """
    occupations = frozenset(read_occupations(data_dir))
    found = WranglingReport()
    users = _read_records(data_dir, files.USERS, 0, lambda line: _user(line, occupations), found)
    if invalid_zip == "drop":
        users = _drop_invalid_zips(users, found)
    found.check()
    return _users_frame([user for _, user in users]), found


def read_movies(data_dir: Path) -> tuple[pd.DataFrame, WranglingReport]:
    """Reads and cleans `u.item`.

    Args:
      data_dir: the directory of the raw files.

    Returns:
      The movies by ascending `movie_id` (int64) with `movie_title` (as published, with its
      year), `movie_genres` (a list of names, in the order of `u.genre`), `release_date`
      (nullable Int64, unix seconds) and `movie_year_release` (nullable Int64); and the
      report, whose `dropped_ids["u.item"]` holds the movies whose ratings go as well.

    Raises:
      InputError: more than 1 % of the rows are bad, a movie has two different rows, or the
        file cannot be read.
    """
    genres = read_genres(data_dir)
    found = WranglingReport()
    movies = _read_records(
        data_dir, files.MOVIES, len(genres), lambda line: _movie(line, genres), found
    )
    found.check()
    return _movies_frame([movie for _, movie in movies]), found


def read_genres(data_dir: Path) -> tuple[str, ...]:
    """Returns the genres of `u.genre` in the order of their numbers, that of the flags.

    Raises:
      InputError: a row is not a genre and its number, or the numbers are not 0, 1, 2, …
    """
    form = files.row_format(files.GENRES, 0)
    by_number: dict[int, str] = {}
    lines, _ = _lines(data_dir, files.GENRES)
    for row, text in lines:
        fields = [wrangling.clean_token(field) for field in text.split("|")]
        if len(fields) != form.columns or not (fields[1].isascii() and fields[1].isdigit()):
            raise _bad_genre("not a genre and its number", row, form.expected, text)
        if int(fields[1]) in by_number:
            raise _bad_genre("a genre number twice", row, "every number once", text)
        by_number[int(fields[1])] = fields[0]
    if sorted(by_number) != list(range(len(by_number))):
        numbers = ", ".join(map(str, sorted(by_number)))
        raise _bad_genre("genre numbers with gaps", None, "the numbers 0, 1, 2, …", numbers)
    return tuple(by_number[number] for number in sorted(by_number))


def read_occupations(data_dir: Path) -> tuple[str, ...]:
    """Returns the occupations of `u.occupation`, in its order.

    Raises:
      InputError: the file cannot be read.
    """
    lines, _ = _lines(data_dir, files.OCCUPATIONS)
    cleaned = (wrangling.clean_token(text) for _, text in lines)
    return tuple(dict.fromkeys(occupation for occupation in cleaned if occupation))


def _bad_genre(problem: str, row: int | None, expected: str, found: str) -> InputError:
    return InputError(
        problem,
        file=files.GENRES,
        row=row,
        expected=expected,
        found=files.shorten(found),
        action="list every genre once as name|number, numbered in the order of u.item's flags",
    )


def _lines(data_dir: Path, file: str) -> tuple[list[tuple[int, str]], bool]:
    """Returns the lines that are not blank with their numbers, and whether they were UTF-8."""
    try:
        data = (data_dir / file).read_bytes()
    except OSError as error:
        raise files.unreadable(file, error) from error
    text, utf8 = files.decode_text(data)
    # Not splitlines(): in Latin-1 it would also split at characters such as \x85.
    lines = enumerate(text.split("\n"), start=1)
    return [(row, line.rstrip("\r")) for row, line in lines if line.strip()], utf8


def _read_records(
    data_dir: Path,
    file: str,
    genres: int,
    parse: Callable[[_Line], _R],
    found: WranglingReport,
) -> list[tuple[int, _R]]:
    """Returns the usable rows of a table with their row numbers, by ascending id."""
    form = files.row_format(file, genres)
    lines, utf8 = _lines(data_dir, file)
    found.read(file, len(lines))
    kept: dict[int, tuple[int, _R]] = {}
    dropped: dict[int, str] = {}
    for row, text in lines:
        line = _Line(row, text.split("|"), [])
        try:
            if len(line.fields) != form.columns:
                raise BadRow(
                    report.WRONG_COLUMNS, expected=form.expected, found=files.shorten(text)
                )
            record = parse(line)
        except BadRow as problem:
            example = RowExample(row, problem.expected, problem.found)
            found.drop(file, problem.reason, 1, [example])
            dropped.update((key, problem.reason) for key in _ids(line.fields[0]))
            continue
        if record.id in kept:
            _drop_duplicate(file, row, record, kept[record.id], found)
            continue
        kept[record.id] = (row, record)
        if utf8 and not text.isascii():
            line.repairs.append(report.UTF8_READ)
        _count_repairs(file, line, text, found)
    found.dropped_ids[file] = {
        key: _rating_reason(file, reason) for key, reason in dropped.items() if key not in kept
    }
    return [kept[key] for key in sorted(kept)]


def _rating_reason(file: str, reason: str) -> str:
    """Returns the reason of a rating whose user or movie was dropped for `reason`."""
    return f"{'user' if file == files.USERS else 'movie'} dropped: {reason}"


def _ids(text: str) -> Iterator[int]:
    """Yields the id of a row that cannot be used, if its first column is one."""
    try:
        yield _parse_id(wrangling.clean_token(text), "id")
    except BadRow:
        return


def _count_repairs(file: str, line: _Line, text: str, found: WranglingReport) -> None:
    for reason in dict.fromkeys(line.repairs):
        example = RowExample(line.row, _REPAIRED_TO[reason], files.shorten(text))
        found.repair(file, reason, 1, [example])


_REPAIRED_TO = {
    report.QUOTES_REMOVED: "values without quotes around them",
    report.UTF8_READ: "text in Latin-1",
    report.DATE_IGNORED: "a release date such as 01-Jan-1995",
    report.TITLE_UNKNOWN: "a title",
}


def _drop_duplicate(
    file: str, row: int, record: _R, first: tuple[int, _R], found: WranglingReport
) -> None:
    first_row, first_record = first
    if record != first_record:
        raise InputError(
            f"id {record.id} has a second row that differs from row {first_row}",
            file=file,
            row=row,
            expected=f"one row for each id; row {first_row} has {_describe(first_record)}",
            found=_describe(record),
            action="remove one of the two rows, or give one of them another id",
        )
    example = RowExample(row, "one row for each id", f"id {record.id}, as in row {first_row}")
    found.drop(file, report.EXACT_DUPLICATE, 1, [example])


def _describe(record: _User | _Movie) -> str:
    return files.shorten(", ".join(str(value) for value in record))


def _parse_id(text: str, name: str) -> int:
    """Returns a whole number that fits int64, written with or without decimals of zero."""
    expected = f"a whole number as {name}"
    if wrangling.is_missing(text):
        raise BadRow(report.MISSING_VALUE, expected=expected, found="nothing")
    value = wrangling.parse_whole_number(text)
    if value is None or abs(value) > _INT64_MAX:
        raise BadRow(report.NON_NUMERIC_ID, expected=expected, found=files.shorten(text))
    return value


def _user(line: _Line, occupations: frozenset[str]) -> _User:
    user_id = _parse_id(line.clean(0), "user id")
    occupation = line.clean(3)
    gender = wrangling.normalize_gender(line.clean(2))
    for name, value in (("gender", gender), ("occupation", occupation)):
        if wrangling.is_missing(value):
            raise BadRow(report.MISSING_VALUE, expected=f"a value for {name}", found="nothing")
    age = _parse_age(line.clean(1))
    if occupation not in occupations:
        raise InputError(
            "an occupation that u.occupation does not list",
            file=files.USERS,
            row=line.row,
            expected=f"one of the {len(occupations)} occupations in {files.OCCUPATIONS}",
            found=files.shorten(occupation),
            action=f"add it to {files.OCCUPATIONS}, or correct the row",
        )
    return _User(user_id, age, gender, occupation, line.clean(4))


def _parse_age(text: str) -> float:
    expected = f"an age from {AGE_MIN:.0f} to {AGE_MAX:.0f} years"
    if wrangling.is_missing(text):
        raise BadRow(report.MISSING_VALUE, expected=expected, found="nothing")
    age = wrangling.parse_number(text)
    if age is None:
        raise BadRow(report.NON_NUMERIC_AGE, expected=expected, found=files.shorten(text))
    if not AGE_MIN <= age <= AGE_MAX:
        raise BadRow(report.AGE_RANGE, expected=expected, found=files.shorten(text))
    return age


def _drop_invalid_zips(
    users: list[tuple[int, _User]], found: WranglingReport
) -> list[tuple[int, _User]]:
    kept = []
    for row, user in users:
        if wrangling.is_valid_zip(user.zip_code):
            kept.append((row, user))
            continue
        example = RowExample(row, "a zip code of five digits", files.shorten(user.zip_code))
        found.drop(files.USERS, report.INVALID_ZIP, 1, [example])
        found.dropped_ids[files.USERS][user.id] = report.INVALID_ZIP
    return kept


def _movie(line: _Line, genres: tuple[str, ...]) -> _Movie:
    movie_id = _parse_id(line.clean(0), "movie id")
    flags = line.fields[files.MOVIE_COLUMNS :]
    title = line.clean_title(1)
    if wrangling.is_missing(title):
        line.repairs.append(report.TITLE_UNKNOWN)
        title = features.UNKNOWN
    try:
        day = wrangling.parse_release_date(line.clean(2))
    except ValueError:
        line.repairs.append(report.DATE_IGNORED)
        day = None
    return _Movie(movie_id, title, day, tuple(_flagged(flags, genres)))


def _flagged(flags: list[str], genres: tuple[str, ...]) -> Iterator[str]:
    for flag, genre in zip(flags, genres, strict=True):
        value = wrangling.clean_token(flag)
        if value not in ("0", "1"):
            expected = f"0 or 1 for genre {genre}"
            raise BadRow(report.BAD_GENRE_FLAG, expected=expected, found=files.shorten(flag))
        if value == "1":
            yield genre


def _users_frame(users: list[_User]) -> pd.DataFrame:
    labels = [wrangling.occupation_label(user.occupation) for user in users]
    columns = {
        features.USER_ID: pd.array([user.id for user in users], dtype="int64"),
        features.GENDER: pd.array([user.gender for user in users], dtype="object"),
        features.AGE: pd.array([user.age for user in users], dtype="float32"),
        features.AGE_BUCKET: pd.array(
            [wrangling.age_bucket(user.age) for user in users], dtype="int64"
        ),
        features.OCCUPATION: pd.array([user.occupation for user in users], dtype="object"),
        features.OCCUPATION_LABEL: pd.array(labels, dtype="Int64"),
        features.ZIP_CODE: pd.array([user.zip_code for user in users], dtype="object"),
    }
    return pd.DataFrame({feature.name: values for feature, values in columns.items()})


def _movies_frame(movies: list[_Movie]) -> pd.DataFrame:
    seconds = [
        None if movie.release_date is None else wrangling.unix_seconds(movie.release_date)
        for movie in movies
    ]
    years = [wrangling.release_year(movie.release_date, movie.title) for movie in movies]
    columns = {
        features.MOVIE_ID: pd.Series([movie.id for movie in movies], dtype="int64"),
        features.TITLE: pd.Series([movie.title for movie in movies], dtype="object"),
        features.GENRES: pd.Series([list(movie.genres) for movie in movies], dtype="object"),
        features.RELEASE_DATE: pd.Series(seconds, dtype="Int64"),
        features.RELEASE_YEAR: pd.Series(years, dtype="Int64"),
    }
    return pd.DataFrame({feature.name: values for feature, values in columns.items()})
