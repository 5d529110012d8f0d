"""What the cleanup dropped and repaired: counted by file and reason, with examples.

Everything that reads raw rows fills a `WranglingReport`; reports of chunks merge into
one, which is written beside the artifact and shown in the summary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from components.errors import InputError

WRONG_COLUMNS = "wrong number of columns"
NON_NUMERIC_ID = "non-numeric id"
NON_NUMERIC_AGE = "non-numeric age"
NON_NUMERIC_RATING = "non-numeric rating"
NON_NUMERIC_TIMESTAMP = "non-numeric timestamp"
BAD_GENRE_FLAG = "genre flag is neither 0 nor 1"
AGE_RANGE = "age out of range"
RATING_RANGE = "rating out of range"
TIMESTAMP_RANGE = "timestamp out of range"
UNKNOWN_USER = "unknown user"
UNKNOWN_MOVIE = "unknown movie"
MISSING_VALUE = "missing value"
INVALID_ZIP = "invalid zip code"
EXACT_DUPLICATE = "exact duplicate"
SUPERSEDED = "superseded by a newer rating"

QUOTES_REMOVED = "quotes or byte-string residue removed"
DECIMAL_REMOVED = "decimals removed from a whole number"
UTF8_READ = "UTF-8 read where Latin-1 was expected"
DATE_IGNORED = "unreadable release date ignored"
TITLE_UNKNOWN = "missing title set to unknown"

_ACTIONS: Mapping[str, str] = {
    WRONG_COLUMNS: "correct these rows, or write the file again in MovieLens-100K's format",
    NON_NUMERIC_ID: "give every user and movie a whole number as its id",
    NON_NUMERIC_AGE: "give the age in years as a number",
    NON_NUMERIC_RATING: "give the rating as a number",
    NON_NUMERIC_TIMESTAMP: "give the time in seconds since 1970-01-01 UTC",
    BAD_GENRE_FLAG: "write 1 where the movie has the genre of that column, else 0",
    AGE_RANGE: "correct these ages, or leave them empty to drop the rows",
    RATING_RANGE: "rescale the ratings to MovieLens's stars",
    TIMESTAMP_RANGE: "give the time in seconds since 1970-01-01 UTC (milliseconds / 1000)",
    UNKNOWN_USER: "add the missing users to u.user, or remove their ratings",
    UNKNOWN_MOVIE: "add the missing movies to u.item, or remove their ratings",
}

BAD_REASONS = frozenset(_ACTIONS)
"""Reasons that speak of a broken file; the other ones are ordinary cleanup."""

MAX_EXAMPLES = 3


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
class FileReport:
    """The counts of one file.

    Attributes:
      rows: rows read, blank lines left out.
      dropped: rows dropped, by reason; a row is dropped for one reason only.
      repaired: rows kept after a repair, by reason.
      examples: up to three rows for each reason, those with the lowest row numbers.
    """

    rows: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    repaired: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[RowExample]] = dataclasses.field(default_factory=dict)

    def add_examples(self, reason: str, examples: Iterable[RowExample]) -> None:
        """Keeps the first rows of those known and `examples`, whatever the order of calls."""
        merged = sorted([*self.examples.get(reason, ()), *examples], key=RowExample.sort_key)
        if merged:
            self.examples[reason] = merged[:MAX_EXAMPLES]

    def merge(self, other: FileReport) -> None:
        """Adds the counts of `other`, which is left as it is."""
        self.rows += other.rows
        for mine, theirs in ((self.dropped, other.dropped), (self.repaired, other.repaired)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count
        for reason, examples in other.examples.items():
            self.add_examples(reason, examples)

    def bad(self) -> dict[str, int]:
        """Returns the rows dropped for a reason in `BAD_REASONS`, most frequent first."""
        bad = {reason: n for reason, n in self.dropped.items() if reason in BAD_REASONS and n}
        return dict(sorted(bad.items(), key=lambda item: (-item[1], item[0])))

    def first_bad(self) -> tuple[str, RowExample] | None:
        """Returns the reason and example of the first bad row, None if there is none."""
        found = [
            (reason, example) for reason in self.bad() for example in self.examples.get(reason, ())
        ]
        return min(found, key=lambda pair: pair[1].sort_key(), default=None)


@dataclasses.dataclass
class WranglingReport:
    """Rows read, dropped and repaired per file.

    Attributes:
      files: the counts by file name.
      dropped_ids: by file name, the id of every user or movie that was dropped and the
        reason its ratings are to be dropped with. For the reader of the ratings; as large
        as the number of ids dropped, so not part of the JSON or of equality.
    """

    files: dict[str, FileReport] = dataclasses.field(default_factory=dict)
    dropped_ids: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict, compare=False)

    def file(self, name: str) -> FileReport:
        """Returns the counts of file `name`, new ones at its first mention."""
        return self.files.setdefault(name, FileReport())

    def read(self, file: str, rows: int) -> None:
        """Counts `rows` more rows as read."""
        self.file(file).rows += rows

    def drop(
        self, file: str, reason: str, count: int = 1, examples: Iterable[RowExample] = ()
    ) -> None:
        """Counts `count` more rows of `file` as dropped."""
        if count:
            entry = self.file(file)
            entry.dropped[reason] = entry.dropped.get(reason, 0) + count
            entry.add_examples(reason, examples)

    def repair(
        self, file: str, reason: str, count: int = 1, examples: Iterable[RowExample] = ()
    ) -> None:
        """Counts `count` more rows of `file` as kept after a repair."""
        if count:
            entry = self.file(file)
            entry.repaired[reason] = entry.repaired.get(reason, 0) + count
            entry.add_examples(reason, examples)

    def merge(self, other: WranglingReport) -> WranglingReport:
        """Adds the counts of `other` (left as it is) to this report and returns this report.

        The result does not depend on the order in which reports are merged.
        """
        for name, entry in other.files.items():
            self.file(name).merge(entry)
        for name, ids in other.dropped_ids.items():
            self.dropped_ids.setdefault(name, {}).update(ids)
        return self

    def bad_share(self, file: str) -> float:
        """Returns the share (0 to 1) of the rows of `file` that are bad; 0 if none was read."""
        entry = self.files.get(file)
        return sum(entry.bad().values()) / entry.rows if entry and entry.rows else 0.0

    def check(self, max_bad_share: float = 0.01) -> None:
        """Refuses files that are too dirty to trust.

        Args:
          max_bad_share: the share (0 to 1) of a file's rows that may be bad.

        Raises:
          InputError: more of a file's rows are bad, or none of its rows is left.
        """
        for name, entry in self.files.items():
            if self.bad_share(name) > max_bad_share:
                raise _too_many_bad_rows(name, entry, max_bad_share)
            if sum(entry.dropped.values()) >= entry.rows:
                raise _no_rows_left(name, entry)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON object; `dropped_ids` is left out."""
        return {"files": {name: dataclasses.asdict(entry) for name, entry in self.files.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WranglingReport:
        """Returns the report that `to_json` wrote."""
        return cls({name: _file_from_json(entry) for name, entry in value["files"].items()})


def _file_from_json(value: Mapping[str, Any]) -> FileReport:
    examples = {
        reason: [RowExample(**example) for example in found]
        for reason, found in value["examples"].items()
    }
    return FileReport(value["rows"], dict(value["dropped"]), dict(value["repaired"]), examples)


def _list_reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _too_many_bad_rows(name: str, entry: FileReport, limit: float) -> InputError:
    bad = entry.bad()
    count = sum(bad.values())
    first = entry.first_bad()
    reason, example = first or (next(iter(bad)), RowExample(None, "a valid row", "unknown"))
    return InputError(
        f"{reason}; {count:,} of {entry.rows:,} rows are bad, more than {limit:.0%} "
        f"({_list_reasons(bad)})",
        file=name,
        row=example.row,
        expected=example.expected,
        found=example.found,
        action=_ACTIONS[reason],
    )


def _no_rows_left(name: str, entry: FileReport) -> InputError:
    examples = [example for found in entry.examples.values() for example in found]
    first = min(examples, key=RowExample.sort_key, default=None)
    return InputError(
        "no row is left after the cleanup",
        file=name,
        row=first.row if first else None,
        expected=first.expected if first else "at least one row",
        found=f"{entry.rows:,} rows, dropped: {_list_reasons(entry.dropped) or 'none'}",
        action="see whether this is the right file, and correct its rows",
    )
