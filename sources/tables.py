"""The small tables: users, movies, genres and occupations, cleaned and counted."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import pandas as pd

from schema import features
from sources import cleaning_log, files, text, wrangling
from sources.cleaning_log import BadRow, CleaningLog, LossLimits, RowExample
from sources.encodings import RowDecoder
from sources.errors import InputError

AGE_MIN, AGE_MAX = 1.0, 120.0
"""Years; an age outside is a wrong value."""

_INT64_MAX = 2**63 - 1
_GENRE_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


MAX_TEXT_CHARS = 1000
"""A longer text is cut: it is no title, name or code."""

_ROWS_BEFORE_GIVING_UP = 1000


class _User(NamedTuple):
    id: int
    age: float | None
    gender: str
    occupation: str
    zip_code: str


class _Movie(NamedTuple):
    id: int
    title: str
    release_date: datetime.date | None
    genres: tuple[str, ...]


_R = TypeVar("_R", _User, _Movie)


@dataclasses.dataclass
class _Line:
    """One row of a text table.

    Attributes:
      row: its 1-based number.
      fields: its columns.
      repairs: why it was repaired.
      lost: the values that were of no use: reason, expected and found.
      missing: columns without a value.
    """

    row: int
    fields: list[str]
    repairs: list[str] = dataclasses.field(default_factory=list)
    lost: list[BadRow] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)

    def clean(self, column: int) -> str:
        """Returns a column without residue and quotes, and notes the repair if there was one."""
        return self._text(column, wrangling.clean_token)

    def clean_title(self, column: int) -> str:
        """Returns a column cleaned as free text, whose own quotes stay."""
        return self._text(column, wrangling.clean_text)

    def clean_number(self, column: int) -> str:
        """Returns a column as `clean` does, with control characters: without, it is another."""
        cleaned = wrangling.clean_token(self.fields[column][:MAX_TEXT_CHARS])
        number = wrangling.clean_token(cleaned.strip(text.BYTE_ORDER_MARK))
        if number != self.fields[column].strip():
            self.repairs.append(cleaning_log.QUOTES_REMOVED)
        return number

    def _text(self, column: int, clean: Callable[[str], str]) -> str:
        raw = self.fields[column]
        if len(raw) > MAX_TEXT_CHARS:
            self.lost.append(
                BadRow(
                    cleaning_log.TEXT_CUT,
                    expected=f"at most {MAX_TEXT_CHARS:,} characters",
                    found=f"{len(raw):,} characters",
                )
            )
            raw = raw[:MAX_TEXT_CHARS]
        cleaned = clean(raw)
        if cleaned != raw.strip():
            self.repairs.append(cleaning_log.QUOTES_REMOVED)
        mended, reasons = mend(cleaned)
        self.repairs += reasons
        if text.REPLACEMENT in mended:
            self.lost.append(
                BadRow(
                    cleaning_log.CHARACTERS_LOST, expected="whole text", found=files.shorten(mended)
                )
            )
        return clean(mended) if reasons else mended

    def known(self, value: str, column: str) -> str:
        """Returns an optional text; "unknown", and the column noted as missing, if it is blank."""
        if not wrangling.is_missing(value):
            return value
        self.missing.append(column)
        return features.UNKNOWN


def mend(value: str) -> tuple[str, list[str]]:
    """Returns a text without mojibake and control characters, and the repairs that it took."""
    if value.isascii() and value.isprintable():
        return value, []
    reasons = []
    undone = text.undo_mojibake(value)
    if undone != value:
        reasons.append(cleaning_log.MOJIBAKE_UNDONE)
    plain = text.remove_controls(undone)
    if plain != undone:
        reasons.append(cleaning_log.CONTROLS_REMOVED)
    return plain, reasons


def read_users(
    data_dir: Path,
    invalid_zip: Literal["keep", "drop"],
    limits: LossLimits = LossLimits(),  # noqa: B008
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
    users = _read_records(
        data_dir, files.USERS, 0, lambda line: _user(line, occupations), found, limits
    )
    if invalid_zip == "drop":
        users = _drop_invalid_zips(users, found)
    found.check(limits)
    return _users_frame([user for _, user in users]), found


def read_movies(
    data_dir: Path,
    limits: LossLimits = LossLimits(),  # noqa: B008
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
    movies = _read_records(
        data_dir, files.MOVIES, len(genres), lambda line: _movie(line, genres), found, limits
    )
    found.check(limits)
    return _movies_frame([movie for _, movie in movies]), found


def read_genres(data_dir: Path, found: CleaningLog | None = None) -> tuple[str, ...]:
    """Returns the genres of `u.genre` in the order of their numbers, that of the flags.

    Args:
      data_dir: the directory of the raw files.
      found: told what was repaired, if anything was.

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
      found: told what was repaired, if anything was.

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
    for row, line in _lines(data_dir, file, log_of_file):
        plain, reasons = mend(line[:MAX_TEXT_CHARS])
        rows.append((row, plain))
        for reason in reasons:
            example = RowExample(row, _REPAIRED_TO[reason], files.shorten(line))
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


def _lines(data_dir: Path, file: str, found: CleaningLog) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank with their numbers, each decoded on its own.

    At the end, rows in another encoding than most are counted in `found`.
    """
    decoder = RowDecoder()
    for row, data in files.read_lines(data_dir / file):
        yield row, decoder.decode(row, data)
    decoder.count_odd_rows(file, found)


def _read_records(
    data_dir: Path,
    file: str,
    genres: int,
    parse: Callable[[_Line], _R],
    found: CleaningLog,
    limits: LossLimits,
) -> list[tuple[int, _R]]:
    """Returns the usable rows of a table with their row numbers, by ascending id."""
    form = files.row_format(file, genres)
    # A first pass: what may be lost is a share of all rows, and ids may come without columns.
    widths = collections.Counter(
        1 + line.count(b"|") for _, line in files.read_lines(data_dir / file)
    )
    found.read(file, sum(widths.values()))
    ids_only = file == files.USERS and set(widths) == {1}
    kept: dict[int, tuple[int, _R]] = {}
    dropped: dict[int, str] = {}
    for row, line_text in _lines(data_dir, file, found):
        line = _Line(row, line_text.split("|", form.columns))
        if ids_only:
            line.fields += [""] * (form.columns - 1)
        try:
            if len(line.fields) != form.columns:
                shown = files.shorten(line_text)
                raise BadRow(cleaning_log.WRONG_COLUMNS, expected=form.expected, found=shown)
            record = parse(line)
        except BadRow as problem:
            example = RowExample(row, problem.expected, problem.found)
            found.drop(file, problem.reason, 1, [example])
            _give_up_if_hopeless(file, found, limits)
            dropped.update((key, problem.reason) for key in _ids(line.fields[0]))
            continue
        if record.id in kept:
            _drop_duplicate(file, row, record, kept[record.id], found)
            continue
        kept[record.id] = (row, record)
        _count(file, line, line_text, found)
        if line.lost:
            _give_up_if_hopeless(file, found, limits)
    found.dropped_ids[file] = {
        key: _rating_reason(file, reason) for key, reason in dropped.items() if key not in kept
    }
    return [kept[key] for key in sorted(kept)]


def _give_up_if_hopeless(file: str, found: CleaningLog, limits: LossLimits) -> None:
    """Ends the reading of a large file that has lost too much already.

    A small one is read to its end, so that all of its rows are counted.
    """
    entry = found.file(file)
    if sum(entry.dropped.values()) + sum(entry.values_lost.values()) > _ROWS_BEFORE_GIVING_UP:
        found.check(limits)


def _rating_reason(file: str, reason: str) -> str:
    """Returns the reason of a rating whose user or movie was dropped for `reason`."""
    return f"{'user' if file == files.USERS else 'movie'} dropped: {reason}"


def _ids(column: str) -> Iterator[int]:
    """Yields the id of a row that cannot be used, if its first column is one."""
    try:
        yield _parse_id(wrangling.clean_token(column[:MAX_TEXT_CHARS]), "id")
    except BadRow:
        return


def _count(file: str, line: _Line, line_text: str, found: CleaningLog) -> None:
    for reason in dict.fromkeys(line.repairs):
        example = RowExample(line.row, _REPAIRED_TO[reason], files.shorten(line_text))
        found.repair(file, reason, 1, [example])
    for lost in {value.reason: value for value in line.lost}.values():
        found.lose(file, lost.reason, 1, [RowExample(line.row, lost.expected, lost.found)])
    for column in dict.fromkeys(line.missing):
        found.miss(file, column)


_REPAIRED_TO = {
    cleaning_log.QUOTES_REMOVED: "values without quotes around them",
    cleaning_log.MOJIBAKE_UNDONE: "text that was decoded as it was encoded",
    cleaning_log.CONTROLS_REMOVED: "text without control characters",
}


def _drop_duplicate(
    file: str, row: int, record: _R, first: tuple[int, _R], found: CleaningLog
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
    found.drop(file, cleaning_log.EXACT_DUPLICATE, 1, [example])


def _describe(record: _User | _Movie) -> str:
    return files.shorten(", ".join(str(value) for value in record))


def _parse_id(text: str, name: str) -> int:
    """Returns a whole number that fits int64, written with or without decimals of zero."""
    expected = f"a whole number as {name}"
    if wrangling.is_missing(text):
        raise BadRow(cleaning_log.MISSING_VALUE, expected=expected, found="nothing")
    value = wrangling.parse_whole_number(text)
    if value is None or abs(value) > _INT64_MAX:
        raise BadRow(cleaning_log.NON_NUMERIC_ID, expected=expected, found=files.shorten(text))
    return value


def _user(line: _Line, occupations: frozenset[str]) -> _User:
    user_id = _parse_id(line.clean_number(0), "user id")
    age = _age(line)
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
    return _User(user_id, age, gender, occupation, line.known(line.clean(4), "zip code"))


def _age(line: _Line) -> float | None:
    """Returns the age in years; None, and the reason noted, if there is none."""
    value = line.clean_number(1)
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


def _drop_invalid_zips(
    users: list[tuple[int, _User]], found: CleaningLog
) -> list[tuple[int, _User]]:
    kept = []
    for row, user in users:
        if wrangling.is_valid_zip(user.zip_code):
            kept.append((row, user))
            continue
        example = RowExample(row, "a zip code of five digits", files.shorten(user.zip_code))
        found.drop(files.USERS, cleaning_log.INVALID_ZIP, 1, [example])
        found.dropped_ids[files.USERS][user.id] = cleaning_log.INVALID_ZIP
    # Of those that are left, none is without.
    found.file(files.USERS).missing.pop("zip code", None)
    return kept


def _movie(line: _Line, genres: tuple[str, ...]) -> _Movie:
    movie_id = _parse_id(line.clean_number(0), "movie id")
    title = line.known(line.clean_title(1), "title")
    day = _release_date(line)
    flagged = tuple(_flagged(line, genres))
    if not flagged:
        line.missing.append("genres")
    return _Movie(movie_id, title, day, flagged)


def _release_date(line: _Line) -> datetime.date | None:
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


def _flagged(line: _Line, genres: tuple[str, ...]) -> Iterator[str]:
    """Yields the genres of a movie; a blank flag is none."""
    for flag, genre in zip(line.fields[files.MOVIE_COLUMNS :], genres, strict=True):
        value = flag if flag in ("0", "1") else wrangling.clean_token(flag[:MAX_TEXT_CHARS])
        if value == "1":
            yield genre
        elif value != "0" and not wrangling.is_missing(value):
            expected, found = f"0 or 1 for genre {genre}", files.shorten(flag)
            line.lost.append(BadRow(cleaning_log.BAD_GENRE_FLAG, expected=expected, found=found))


def _users_frame(users: list[_User]) -> pd.DataFrame:
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
