"""Reading tables of users and items row by row: repaired, counted, and refused past the limits."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from schema import features
from sources import cleaning_log, files, text, wrangling
from sources.cleaning_log import BadRow, CleaningLog, LossLimits, RowExample
from sources.encodings import RowDecoder
from sources.errors import InputError
from sources.files import Format

Entity = Literal["user", "movie"]

_INT64_MAX = 2**63 - 1

MAX_TEXT_CHARS = 1000
"""A longer text is cut: it is no title, name or code."""

_ROWS_BEFORE_GIVING_UP = 1000


class Record(Protocol):
    """What a row becomes: a NamedTuple with an id."""

    @property
    def id(self) -> int:
        """The id of the user or item."""

    def __iter__(self) -> Iterator[Any]:
        """Yields the values."""


R = TypeVar("R", bound=Record)


@dataclasses.dataclass
class Line:
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


def decoded_lines(path: Path, found: CleaningLog) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank with their numbers, each decoded on its own.

    At the end, rows in another encoding than most are counted in `found`.
    """
    decoder = RowDecoder()
    for row, data in files.read_lines(path):
        yield row, decoder.decode(row, data)
    decoder.count_odd_rows(path.name, found)


def read_records(
    path: Path,
    form: Format,
    entity: Entity,
    parse: Callable[[Line], R],
    found: CleaningLog,
    limits: LossLimits,
    *,
    ids_alone: bool = False,
) -> list[tuple[int, R]]:
    """Returns the usable rows of a table with their row numbers, by ascending id.

    Args:
      path: the file.
      form: how its rows look.
      entity: what a row describes.
      parse: makes a record of a row; raises BadRow where it cannot.
      found: the log to count in: what was dropped and repaired, and in `dropped_ids` the ids
        whose ratings go as well.
      limits: what may be lost.
      ids_alone: whether the file may have the first column alone, in every row.

    Raises:
      InputError: more is lost than may be, an id has two different rows, or the file cannot be
        read.
    """
    file = path.name
    # A first pass: what may be lost is a share of all rows, and ids may come without columns.
    separator = form.separator or b"|"
    widths = collections.Counter(1 + line.count(separator) for _, line in files.read_lines(path))
    found.read(file, sum(widths.values()) - (form.header is not None))
    ids_only = ids_alone and set(widths) == {1}
    kept: dict[int, tuple[int, R]] = {}
    dropped: dict[int, str] = {}
    for row, line_text in decoded_lines(path, found):
        if row == 1 and form.header is not None:
            continue
        line = Line(row, form.fields(line_text))
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
        key: f"{entity} dropped: {reason}" for key, reason in dropped.items() if key not in kept
    }
    return [kept[key] for key in sorted(kept)]


def _give_up_if_hopeless(file: str, found: CleaningLog, limits: LossLimits) -> None:
    """Ends the reading of a large file that has lost too much already.

    A small one is read to its end, so that all of its rows are counted.
    """
    entry = found.file(file)
    if sum(entry.dropped.values()) + sum(entry.values_lost.values()) > _ROWS_BEFORE_GIVING_UP:
        found.check(limits)


def _ids(column: str) -> Iterator[int]:
    """Yields the id of a row that cannot be used, if its first column is one."""
    try:
        yield parse_id(wrangling.clean_token(column[:MAX_TEXT_CHARS]), "id")
    except BadRow:
        return


def _count(file: str, line: Line, line_text: str, found: CleaningLog) -> None:
    for reason in dict.fromkeys(line.repairs):
        example = RowExample(line.row, REPAIRED_TO[reason], files.shorten(line_text))
        found.repair(file, reason, 1, [example])
    for lost in {value.reason: value for value in line.lost}.values():
        found.lose(file, lost.reason, 1, [RowExample(line.row, lost.expected, lost.found)])
    for column in dict.fromkeys(line.missing):
        found.miss(file, column)


REPAIRED_TO: Mapping[str, str] = {
    cleaning_log.QUOTES_REMOVED: "values without quotes around them",
    cleaning_log.MOJIBAKE_UNDONE: "text that was decoded as it was encoded",
    cleaning_log.CONTROLS_REMOVED: "text without control characters",
}


def _drop_duplicate(
    file: str, row: int, record: R, first: tuple[int, R], found: CleaningLog
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


def _describe(record: Record) -> str:
    return files.shorten(", ".join(str(value) for value in record))


def parse_id(text: str, name: str) -> int:
    """Returns a whole number that fits int64, written with or without decimals of zero."""
    expected = f"a whole number as {name}"
    if wrangling.is_missing(text):
        raise BadRow(cleaning_log.MISSING_VALUE, expected=expected, found="nothing")
    value = wrangling.parse_whole_number(text)
    if value is None or abs(value) > _INT64_MAX:
        raise BadRow(cleaning_log.NON_NUMERIC_ID, expected=expected, found=files.shorten(text))
    return value
