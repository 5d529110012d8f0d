"""Which encoding each row of a file is in, and how many are in another than most."""

from __future__ import annotations

from sources import cleaning_log, files
from sources.cleaning_log import CleaningLog, RowExample
from sources.text import Encoding, decode_row


class RowDecoder:
    """Decodes rows one by one and counts their encodings.

    A file in one encoding throughout is as it should be; in a mixed one the rows in the
    rarer encoding count as repaired.
    """

    def __init__(self) -> None:
        self._counts: dict[Encoding, int] = {"latin-1": 0, "utf-8": 0}
        self._examples: dict[Encoding, list[RowExample]] = {"latin-1": [], "utf-8": []}

    def decode(self, row: int, data: bytes) -> str:
        """Returns the text of the row with the 1-based number `row`."""
        text, encoding = decode_row(data)
        if encoding != "ascii":
            self._counts[encoding] += 1
            examples = self._examples[encoding]
            if len(examples) < cleaning_log.MAX_EXAMPLES:
                example = RowExample(row, "the encoding of the other rows", files.shorten(text))
                examples.append(example)
        return text

    def count_odd_rows(self, file: str, found: CleaningLog) -> None:
        """Counts the rows in the rarer encoding, where there are both, as repaired."""
        if not all(self._counts.values()):
            return
        odd: Encoding = "latin-1" if self._counts["latin-1"] <= self._counts["utf-8"] else "utf-8"
        reason = cleaning_log.LATIN1_READ if odd == "latin-1" else cleaning_log.UTF8_READ
        found.repair(file, reason, self._counts[odd], self._examples[odd])
