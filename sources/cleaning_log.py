"""What the cleanup dropped, lost and repaired: counted by file and reason, with examples.

Everything that reads raw rows fills a `CleaningLog`; logs of chunks merge into
one, which is written beside the artifact and shown in the summary.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sources.errors import InputError

WRONG_COLUMNS = "wrong number of columns"
NO_JSON = "not a JSON object"
NON_NUMERIC_ID = "non-numeric id"
UNUSABLE_ID = "unusable id"
NON_NUMERIC_AGE = "non-numeric age"
NON_NUMERIC_RATING = "non-numeric rating"
NON_NUMERIC_TIMESTAMP = "non-numeric timestamp"
UNREADABLE_TIME = "unreadable time"
AMBIGUOUS_DATE = "ambiguous date (day or month first?)"
NO_NUMBER = "no number, which a rule compares"
NOT_A_NUMBER = "no usable number in the column of numbers"
NOT_A_YEAR = "no year in the column of years"
"""With the column's name behind it."""

LEFT_OUT = "left out by data.toml"
BAD_GENRE_FLAG = "genre flag is neither 0 nor 1"
BAD_OCCUPATION = "unknown occupation code"
AGE_RANGE = "age out of range"
RATING_RANGE = "rating out of range"
TIMESTAMP_RANGE = "timestamp out of range"
UNKNOWN_USER = "unknown user"
UNKNOWN_MOVIE = "unknown movie"
MISSING_VALUE = "missing value"
INVALID_ZIP = "invalid zip code"
EXACT_DUPLICATE = "exact duplicate"
SUPERSEDED = "superseded by a newer rating"
COUNTED = "counted with another event of the same user and item"
REPEATED = "repeats a user and item of an earlier split"

QUOTES_REMOVED = "quotes or byte-string residue removed"
ID_CLEANED = "spaces, quotes, b'', .0 or control characters removed from an id"
UNLISTED = "added from the events, not listed here"
DECIMAL_REMOVED = "decimals removed from a whole number"
UTF8_READ = "UTF-8 in a file of Latin-1"
LATIN1_READ = "Latin-1 in a file of UTF-8"
MOJIBAKE_UNDONE = "UTF-8 that was read as Latin-1 before (Ã©) read again"
CONTROLS_REMOVED = "control characters removed"

DATE_IGNORED = "unreadable release date"
CHARACTERS_LOST = "characters lost before (U+FFFD)"
TEXT_CUT = "text cut after 1,000 characters"

_ACTIONS: Mapping[str, str] = {
    WRONG_COLUMNS: "correct these rows, or write the file again with these columns",
    NON_NUMERIC_ID: "this release takes whole numbers as ids: number the users and movies, and "
    "keep a table to find yours again",
    NO_JSON: "write one JSON object a line",
    UNUSABLE_ID: "give ids of 1 to 1,000 characters",
    UNREADABLE_TIME: "give times as seconds or milliseconds since 1970-01-01 UTC, or as ISO 8601 "
    "such as 2024-05-31T18:00:00Z",
    AMBIGUOUS_DATE: "write dates with the year first, such as 2024-06-05, or with points and the "
    "day first, such as 05.06.2024",
    NO_NUMBER: "give numbers in this column, with a decimal point, or change the rule in data.toml",
    NON_NUMERIC_AGE: "give the age in years as a number, or leave it empty",
    MISSING_VALUE: "fill these values in, or remove the rows",
    NON_NUMERIC_RATING: "give the rating as a number, such as 4.5",
    NON_NUMERIC_TIMESTAMP: "give the time in seconds since 1970-01-01 UTC",
    BAD_GENRE_FLAG: "write 1 where the movie has the genre of that column, else 0",
    BAD_OCCUPATION: "correct these codes, or leave them empty where they are not known",
    AGE_RANGE: "correct these ages, or leave them empty where they are not known",
    DATE_IGNORED: "write dates as 01-Jan-1995 or 1995-01-01, or leave them empty",
    CHARACTERS_LOST: "export the file again as UTF-8 from where its text is whole",
    TEXT_CUT: "see whether rows were joined, or shorten these texts",
    RATING_RANGE: "rescale the ratings; of half stars from 0.5 on the format is MovieLens as CSV",
    TIMESTAMP_RANGE: "give the time in seconds since 1970-01-01 UTC (milliseconds / 1000)",
    UNKNOWN_USER: "add the missing users to the file of users, or remove their ratings",
    UNKNOWN_MOVIE: "add the missing movies to the file of movies, or remove their ratings",
}

ASKED_FOR: Mapping[str, str] = {INVALID_ZIP: "--invalid-zip drop", LEFT_OUT: "a rule of data.toml"}
"""Reasons to drop that a user chose, with the option that chooses them; no limit applies."""

NO_LOSS = frozenset((EXACT_DUPLICATE, SUPERSEDED, COUNTED, REPEATED, *ASKED_FOR))
"""Reasons to drop a row that lose nothing, or nothing unasked.

A duplicate is a row, not information; of several ratings by a user of a movie the newest is
the one that counts.
"""

_COLUMNS: Mapping[str, str] = {
    NON_NUMERIC_AGE: "age",
    AGE_RANGE: "age",
    DATE_IGNORED: "release date",
    BAD_GENRE_FLAG: "genres",
    BAD_OCCUPATION: "occupation",
}

MAX_EXAMPLES = 3

COUNTS = ("dropped", "repaired", "values_lost", "missing")
"""The kinds of counts of a `FileLog`."""

DEFAULT_MAX_LOSS = 0.01


@dataclasses.dataclass(frozen=True)
class LossLimits:
    """What may be lost before a run is refused, as shares from 0 to 1.

    Attributes:
      rows: of the rows of each file. Of the ratings' rows also those count that go with
        their user or movie, so it is the share of ratings as well.
      values: of the values of each column.
    """

    rows: float = DEFAULT_MAX_LOSS
    values: float = DEFAULT_MAX_LOSS

    @classmethod
    def of(cls, share: float) -> LossLimits:
        """Returns the limits that allow `share` of everything.

        Raises:
          InputError: it is no share.
        """
        if not 0 <= share <= 1:
            raise InputError(
                "--max-loss is out of range",
                expected="a share from 0 to 1, such as 0.05 for 5 %",
                found=str(share),
            )
        return cls(share, share)


class BadRow(Exception):
    """A row that cannot be used, and why; readers catch it and count it.

    Args:
      reason: one of the reasons of this module.
      expected: what would have been right.
      found: what was there instead.
    """

    def __init__(self, reason: str, *, expected: str, found: str) -> None:
        self.reason = reason
        self.expected = expected
        self.found = found
        super().__init__(f"{reason}: expected {expected}, found {found}")


@dataclasses.dataclass(frozen=True)
class RowExample:
    """One row that was dropped or repaired; `row` is its 1-based line, None if not known."""

    row: int | None
    expected: str
    found: str

    def sort_key(self) -> tuple[float, str, str]:
        """Returns a total order: by row, unknown rows last."""
        return (float("inf") if self.row is None else self.row, self.found, self.expected)


@dataclasses.dataclass
class FileLog:
    """The counts of one file.

    Attributes:
      rows: rows read, blank lines left out.
      dropped: rows dropped, by reason; a row is dropped for one reason only.
      repaired: rows kept after a repair, by reason.
      values_lost: rows kept without a value that could not be used, by reason.
      missing: rows kept that never had a value, by column.
      examples: up to three rows for each reason, those with the lowest row numbers.
    """

    rows: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    repaired: dict[str, int] = dataclasses.field(default_factory=dict)
    values_lost: dict[str, int] = dataclasses.field(default_factory=dict)
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[RowExample]] = dataclasses.field(default_factory=dict)

    def add_examples(self, reason: str, examples: Iterable[RowExample]) -> None:
        """Keeps the first rows of those known and `examples`, whatever the order of calls."""
        merged = sorted([*self.examples.get(reason, ()), *examples], key=RowExample.sort_key)
        if merged:
            self.examples[reason] = merged[:MAX_EXAMPLES]

    def merge(self, other: FileLog) -> None:
        """Adds the counts of `other`, which is left as it is."""
        self.rows += other.rows
        for kind in COUNTS:
            mine = self.counts(kind)
            for reason, count in other.counts(kind).items():
                mine[reason] = mine.get(reason, 0) + count
        for reason, examples in other.examples.items():
            self.add_examples(reason, examples)

    def counts(self, kind: str) -> dict[str, int]:
        """Returns the counts of a kind, one of `COUNTS`; they may be added to."""
        found: dict[str, int] = getattr(self, kind)
        return found

    def lost(self) -> dict[str, int]:
        """Returns the rows dropped for any reason not in `NO_LOSS`, most frequent first."""
        return _by_frequency({r: n for r, n in self.dropped.items() if r not in NO_LOSS and n})

    def lost_by_column(self) -> dict[str, dict[str, int]]:
        """Returns the values lost by column, then by reason, most frequent first."""
        columns: dict[str, dict[str, int]] = {}
        for reason, count in _by_frequency(self.values_lost).items():
            columns.setdefault(_COLUMNS.get(reason, reason), {})[reason] = count
        return columns

    def first_of(self, reasons: Iterable[str]) -> tuple[str, RowExample] | None:
        """Returns reason and example of the first row of these reasons, None if there is none."""
        found = [
            (reason, example) for reason in reasons for example in self.examples.get(reason, ())
        ]
        return min(found, key=lambda pair: pair[1].sort_key(), default=None)


@dataclasses.dataclass
class CleaningLog:
    """Rows read, dropped and repaired, and values lost and missing, per file.

    Attributes:
      files: the counts by file name.
      dropped_ids: by file name, the id of every user or movie that was dropped and the
        reason its ratings are to be dropped with. For the reader of the ratings; as large
        as the number of ids dropped, so not part of the JSON or of equality.
    """

    files: dict[str, FileLog] = dataclasses.field(default_factory=dict)
    dropped_ids: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict, compare=False)

    def file(self, name: str) -> FileLog:
        """Returns the counts of file `name`, new ones at its first mention."""
        return self.files.setdefault(name, FileLog())

    def read(self, file: str, rows: int) -> None:
        """Counts `rows` more rows as read."""
        self.file(file).rows += rows

    def drop(
        self, file: str, reason: str, count: int = 1, examples: Iterable[RowExample] = ()
    ) -> None:
        """Counts `count` more rows of `file` as dropped."""
        self._count(file, "dropped", reason, count, examples)

    def repair(
        self, file: str, reason: str, count: int = 1, examples: Iterable[RowExample] = ()
    ) -> None:
        """Counts `count` more rows of `file` as kept after a repair."""
        self._count(file, "repaired", reason, count, examples)

    def lose(
        self, file: str, reason: str, count: int = 1, examples: Iterable[RowExample] = ()
    ) -> None:
        """Counts `count` more rows of `file` as kept without a value that was no use."""
        self._count(file, "values_lost", reason, count, examples)

    def miss(self, file: str, column: str, count: int = 1) -> None:
        """Counts `count` more rows of `file` as without a value in `column`."""
        self._count(file, "missing", column, count, ())

    def _count(
        self, file: str, kind: str, reason: str, count: int, examples: Iterable[RowExample]
    ) -> None:
        if count:
            entry = self.file(file)
            counts = entry.counts(kind)
            counts[reason] = counts.get(reason, 0) + count
            entry.add_examples(reason, examples)

    def merge(self, other: CleaningLog) -> CleaningLog:
        """Adds the counts of `other` (left as it is) to this log and returns this log.

        The result does not depend on the order in which logs are merged.
        """
        for name, entry in other.files.items():
            self.file(name).merge(entry)
        for name, ids in other.dropped_ids.items():
            self.dropped_ids.setdefault(name, {}).update(ids)
        return self

    def check(self, limits: LossLimits = LossLimits()) -> None:  # noqa: B008 - frozen
        """Refuses files that lose more than may be lost.

        Args:
          limits: what may be lost. A rating that is lost with its user or movie counts as
            much as one whose own row is bad; the reasons in `NO_LOSS` do not count.

        Raises:
          InputError: more is lost, or none of a file's rows is left.
        """
        for name, entry in self.files.items():
            if sum(entry.lost().values()) > limits.rows * entry.rows:
                raise _too_many_rows(name, entry, limits.rows)
            for column, reasons in entry.lost_by_column().items():
                if sum(reasons.values()) > limits.values * entry.rows:
                    raise _too_many_values(name, entry, column, limits.values)
            # Of a table of several files repeats are counted together, and rows by file.
            if sum(entry.dropped.values()) >= entry.rows and (entry.rows or not entry.dropped):
                raise _no_rows_left(name, entry)

    def to_json(self) -> dict[str, Any]:
        """Returns the log as a JSON object; `dropped_ids` is left out."""
        return {"files": {name: dataclasses.asdict(entry) for name, entry in self.files.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CleaningLog:
        """Returns the log that `to_json` wrote."""
        return cls({name: _file_from_json(entry) for name, entry in value["files"].items()})


def _file_from_json(value: Mapping[str, Any]) -> FileLog:
    examples = {
        reason: [RowExample(**example) for example in found]
        for reason, found in value["examples"].items()
    }
    counts = {kind: dict(value.get(kind, {})) for kind in COUNTS}
    return FileLog(value["rows"], **counts, examples=examples)


def _by_frequency(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _list_reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


_ROW_NOUNS = {
    **dict.fromkeys(("u.user", "users.dat"), "user"),
    **dict.fromkeys(("u.item", "movies.dat", "movies.csv", "links.csv"), "movie"),
}


_NAMED_ROWS = re.compile(r"([A-Za-z]+)s(?![A-Za-z])")
"""A name of a file or folder that begins with a plural, as `users-00001.csv` or `items/1.csv`."""


def describe_missing(file: str, column: str, count: int, rows: int) -> str:
    """Returns what is missing in words: "58 of 65 users have no gender".

    The rows of own tables are called as the file is: those of `customers.csv` customers.
    """
    named = _NAMED_ROWS.match(file)
    noun = _ROW_NOUNS.get(file) or (named[1].lower() if named else "row")
    return (
        f"{count:,} of {rows:,} {noun}{'s' * (rows != 1)} "
        f"{'has' if count == 1 else 'have'} no {column}"
    )


def asked_for(reason: str) -> str:
    """Returns a reason, with the option by which the user chose it, if there is one."""
    option = ASKED_FOR.get(reason)
    return reason if option is None else f"{reason} (asked for: {option})"


def _too_many_rows(name: str, entry: FileLog, limit: float) -> InputError:
    lost = entry.lost()
    what = f"{sum(lost.values()):,} of {entry.rows:,} rows are lost"
    return _too_much(name, entry, lost, what, limit)


def _too_many_values(name: str, entry: FileLog, column: str, limit: float) -> InputError:
    lost = entry.lost_by_column()[column]
    what = f"{sum(lost.values()):,} of {entry.rows:,} rows lose their value"
    return _too_much(name, entry, lost, what, limit)


def _too_much(
    name: str, entry: FileLog, lost: Mapping[str, int], what: str, limit: float
) -> InputError:
    """Returns the error that shows the first row of those `lost` and the counts."""
    first = entry.first_of(lost)
    reason, example = first or (next(iter(lost)), RowExample(None, "a valid row", "unknown"))
    is_bearable = 2 * sum(lost.values()) < entry.rows
    return InputError(
        f"{reason}; {what}, more than {share(limit)} ({_list_reasons(lost)})",
        file=name,
        row=example.row,
        expected=example.expected,
        found=example.found,
        action=_action(reason) + ("; or allow more with --max-loss" if is_bearable else ""),
    )


def _action(reason: str) -> str:
    if reason in _ACTIONS:
        return _ACTIONS[reason]
    if reason.startswith((NOT_A_NUMBER, NOT_A_YEAR)):
        return 'correct these values, or give the column another kind (or "ignore") in data.toml'
    # The ratings of a user or movie that was dropped; the log of its own file says why.
    return "correct the rows of these users and movies in their own files"


def share(limit: float) -> str:
    """Returns a share as a percentage without needless digits: "1 %"."""
    return f"{100 * limit:.4g} %"


def _no_rows_left(name: str, entry: FileLog) -> InputError:
    examples = [example for found in entry.examples.values() for example in found]
    first = min(examples, key=RowExample.sort_key, default=None)
    return InputError(
        "no row is left after the cleanup",
        file=name,
        row=first.row if first else None,
        expected=first.expected if first else "at least one row",
        found=f"{entry.rows:,} rows, dropped: {_list_reasons(entry.dropped) or 'none'}",
        action=next(
            (f"leave out {option}" for r, option in ASKED_FOR.items() if r in entry.dropped),
            "see whether this is the right file, and correct its rows",
        ),
    )
