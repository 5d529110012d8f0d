"""MovieLens-100K's tables of users, movies, genres and occupations, cleaned and counted."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from schema import features
from sources import cleaning_log, files, wrangling
from sources.adapter import InvalidZip
from sources.cleaning_log import BadRow, CleaningLog, LossLimits, RowExample
from sources.errors import InputError
from sources.files import FORMATS
from sources.records import (
    MAX_TEXT_CHARS,
    REPAIRED_TO,
    Line,
    decoded_lines,
    mend,
    parse_id,
    read_records,
)

AGE_MIN, AGE_MAX = 1.0, 120.0
"""Years; an age outside is a wrong value."""

_GENRE_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


class User(NamedTuple):
    """One row of a table of users; what is not known is None or \"unknown\"."""

    id: int
    age: float | None
    gender: str
    occupation: str
    zip_code: str


class Movie(NamedTuple):
    """One row of a table of movies; what is not known is None, \"unknown\" or empty."""

    id: int
    title: str
    release_date: datetime.date | None
    genres: tuple[str, ...]


def read_users(
    data_dir: Path,
    invalid_zip: InvalidZip,
    limits: LossLimits = LossLimits(),  # noqa: B008 - frozen
) -> tuple[pd.DataFrame, CleaningLog]:
    """Reads and cleans `u.user`.

    Args:
      data_dir: the directory of the raw files.
      invalid_zip: "drop" drops users whose zip code is not five digits; "keep" keeps the
        code as it is, cleaned.
      limits: what may be lost.

    Returns:
      The users by ascending `user_id` (int64) with `user_gender`, `raw_user_age` (float32,
      years, NaN where not known), `bucketized_user_age` (nullable Int64),
      `user_occupation_text`, `user_occupation_label` (nullable Int64) and `user_zip_code`;
      text that is not known is "unknown". And the cleaning log, whose
      `dropped_ids["u.user"]` holds the users whose ratings go as well.

    Raises:
      InputError: more is lost than may be, a user has two different rows, an occupation is
        not in `u.occupation`, or the file cannot be read.
    """
    found = CleaningLog()
    occupations = frozenset(read_occupations(data_dir, found))
    users = read_records(
        data_dir / files.USERS,
        FORMATS[files.USERS],
        "user",
        lambda line: _user(line, occupations),
        found,
        limits,
        ids_alone=True,
    )
    users = drop_invalid_zips(users, files.USERS, invalid_zip, found)
    found.check(limits)
    return users_frame([user for _, user in users]), found


def read_movies(
    data_dir: Path,
    limits: LossLimits = LossLimits(),  # noqa: B008 - frozen
) -> tuple[pd.DataFrame, CleaningLog]:
    """Reads and cleans `u.item`.

    Args:
      data_dir: the directory of the raw files.
      limits: what may be lost.

    Returns:
      The movies by ascending `movie_id` (int64) with `movie_title` (as published, with its
      year), `movie_genres` (a list of names, in the order of `u.genre`), `release_date`
      (nullable Int64, unix seconds) and `movie_year_release` (nullable Int64); and the
      cleaning log, whose `dropped_ids["u.item"]` holds the movies whose ratings go as well.

    Raises:
      InputError: more is lost than may be, a movie has two different rows, or the file
        cannot be read.
    """
    found = CleaningLog()
    genres = read_genres(data_dir, found)
    movies = read_records(
        data_dir / files.MOVIES,
        files.row_format(files.MOVIES, len(genres)),
        "movie",
        lambda line: _movie(line, genres),
        found,
        limits,
    )
    found.check(limits)
    return movies_frame([movie for _, movie in movies]), found


def read_genres(data_dir: Path, found: CleaningLog | None = None) -> tuple[str, ...]:
    """Returns the genres of `u.genre` in the order of their numbers, that of the flags.

    Args:
      data_dir: the directory of the raw files.
      found: log to which repairs are added.

    Raises:
      InputError: a row is not a genre and its number, or the numbers are not 0, 1, 2, …
    """
    form = files.row_format(files.GENRES, 0)
    by_number: dict[int, str] = {}
    for row, line in _names(data_dir, files.GENRES, found):
        fields = [wrangling.clean_token(field) for field in line.split("|", form.columns)]
        if len(fields) != form.columns or not _GENRE_NUMBER.fullmatch(fields[1]):
            raise _bad_genre("not a genre and its number", row, form.expected, line)
        if int(fields[1]) in by_number:
            raise _bad_genre("a genre number twice", row, "every number once", line)
        by_number[int(fields[1])] = fields[0]
    if sorted(by_number) != list(range(len(by_number))):
        numbers = ", ".join(map(str, sorted(by_number)))
        raise _bad_genre("genre numbers with gaps", None, "the numbers 0, 1, 2, …", numbers)
    return tuple(by_number[number] for number in sorted(by_number))


def read_occupations(data_dir: Path, found: CleaningLog | None = None) -> tuple[str, ...]:
    """Returns the occupations of `u.occupation`, in its order.

    Args:
      data_dir: the directory of the raw files.
      found: log to which repairs are added.

    Raises:
      InputError: the file cannot be read.
    """
    lines = _names(data_dir, files.OCCUPATIONS, found)
    cleaned = [wrangling.clean_token(line) for _, line in lines]
    return tuple(dict.fromkeys(occupation for occupation in cleaned if occupation))


def _names(data_dir: Path, file: str, found: CleaningLog | None) -> list[tuple[int, str]]:
    """Returns the rows of a list of names, without mojibake and control characters.

    A list that took no repair is not mentioned in `found`.
    """
    log_of_file = CleaningLog()
    rows = []
    for row, line in decoded_lines(data_dir / file, log_of_file):
        plain, reasons = mend(line[:MAX_TEXT_CHARS])
        rows.append((row, plain))
        for reason in reasons:
            example = RowExample(row, REPAIRED_TO[reason], files.shorten(line))
            log_of_file.repair(file, reason, 1, [example])
    if found is not None and log_of_file.files:
        log_of_file.read(file, len(rows))
        found.merge(log_of_file)
    return rows


def _bad_genre(problem: str, row: int | None, expected: str, found: str) -> InputError:
    return InputError(
        problem,
        file=files.GENRES,
        row=row,
        expected=expected,
        found=files.shorten(found),
        action="list every genre once as name|number, numbered in the order of u.item's flags",
    )


def _user(line: Line, occupations: frozenset[str]) -> User:
    user_id = parse_id(line.clean_number(0), "user id")
    age = read_age(line, 1)
    gender = line.known(wrangling.normalize_gender(line.clean(2)), "gender")
    occupation = line.known(line.clean(3), "occupation")
    if features.UNKNOWN != occupation not in occupations:
        raise InputError(
            "an occupation that u.occupation does not list",
            file=files.USERS,
            row=line.row,
            expected=f"one of the {len(occupations)} occupations in {files.OCCUPATIONS}",
            found=files.shorten(occupation),
            action=f"add it to {files.OCCUPATIONS}, or correct the row",
        )
    return User(user_id, age, gender, occupation, line.known(line.clean(4), "zip code"))


def read_age(line: Line, column: int) -> float | None:
    """Returns the age in years; None, and the reason noted, if there is none."""
    value = line.clean_number(column)
    if wrangling.is_missing(value):
        line.missing.append("age")
        return None
    age = wrangling.parse_number(value)
    if age is not None and AGE_MIN <= age <= AGE_MAX:
        return age
    line.lost.append(
        BadRow(
            cleaning_log.NON_NUMERIC_AGE if age is None else cleaning_log.AGE_RANGE,
            expected=f"an age from {AGE_MIN:.0f} to {AGE_MAX:.0f} years",
            found=files.shorten(value),
        )
    )
    return None


def drop_invalid_zips(
    users: list[tuple[int, User]], file: str, invalid_zip: InvalidZip, found: CleaningLog
) -> list[tuple[int, User]]:
    """Returns users with their rows; counts invalid zip codes, and leaves them out for "drop"."""
    if invalid_zip == "keep":
        return users
    kept = []
    for row, user in users:
        if wrangling.is_valid_zip(user.zip_code):
            kept.append((row, user))
            continue
        example = RowExample(row, "a zip code of five digits", files.shorten(user.zip_code))
        found.drop(file, cleaning_log.INVALID_ZIP, 1, [example])
        found.dropped_ids[file][user.id] = cleaning_log.INVALID_ZIP
    # Of those that are left, none is without.
    found.file(file).missing.pop("zip code", None)
    return kept


def _movie(line: Line, genres: tuple[str, ...]) -> Movie:
    movie_id = parse_id(line.clean_number(0), "movie id")
    title = line.known(line.clean_title(1), "title")
    day = _release_date(line)
    flagged = tuple(_flagged(line, genres))
    if not flagged:
        line.missing.append("genres")
    return Movie(movie_id, title, day, flagged)


def _release_date(line: Line) -> datetime.date | None:
    """Returns the release date; None, and the reason noted, if there is none."""
    value = line.clean(2)
    try:
        day = wrangling.parse_release_date(value)
    except ValueError:
        expected, found = "a date such as 01-Jan-1995", files.shorten(value)
        line.lost.append(BadRow(cleaning_log.DATE_IGNORED, expected=expected, found=found))
        return None
    if day is None:
        line.missing.append("release date")
    return day


def _flagged(line: Line, genres: tuple[str, ...]) -> Iterator[str]:
    """Yields the genres of a movie; a blank flag is none."""
    for flag, genre in zip(line.fields[files.MOVIE_COLUMNS :], genres, strict=True):
        value = flag if flag in ("0", "1") else wrangling.clean_token(flag[:MAX_TEXT_CHARS])
        if value == "1":
            yield genre
        elif value != "0" and not wrangling.is_missing(value):
            expected, found = f"0 or 1 for genre {genre}", files.shorten(flag)
            line.lost.append(BadRow(cleaning_log.BAD_GENRE_FLAG, expected=expected, found=found))


def users_frame(users: list[User]) -> pd.DataFrame:
    """Returns the columns of users, one row each."""
    labels = [wrangling.occupation_label(user.occupation) for user in users]
    columns = {
        features.USER_ID: pd.array([user.id for user in users], dtype="int64"),
        features.GENDER: pd.array([user.gender for user in users], dtype="object"),
        features.AGE: pd.Series([user.age for user in users], dtype="float32"),
        features.AGE_BUCKET: pd.array(
            [None if user.age is None else wrangling.age_bucket(user.age) for user in users],
            dtype="Int64",
        ),
        features.OCCUPATION: pd.array([user.occupation for user in users], dtype="object"),
        features.OCCUPATION_LABEL: pd.array(labels, dtype="Int64"),
        features.ZIP_CODE: pd.array([user.zip_code for user in users], dtype="object"),
    }
    return pd.DataFrame({feature.name: values for feature, values in columns.items()})


def movies_frame(movies: list[Movie]) -> pd.DataFrame:
    """Returns the columns of movies, one row each."""
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
