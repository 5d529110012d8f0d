"""The text of raw rows: decoded row by row, without control characters and mojibake."""

from __future__ import annotations

import re
from typing import Literal

Encoding = Literal["ascii", "utf-8", "latin-1"]

REPLACEMENT = "\ufffd"
"""What stands where a program before ours lost a character."""

BYTE_ORDER_MARK = "\ufeff"
"""Also within a file that was made of several ones."""

# Windows-1252 has printable characters where Latin-1 has the control characters C1.
_WINDOWS_1252 = {
    code: ord(bytes([code]).decode("cp1252"))
    for code in range(0x80, 0xA0)
    if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_TO_BYTES = {character: code for code, character in _WINDOWS_1252.items()}
# Controls that separate words: tabs, line and page breaks, U+2028, U+2029.
_BREAKS = re.compile("[\\t-\\r\\x1c-\\x1f\\x85\u2028\u2029]+")
# C0, C1, marks that turn the direction of text, surrogates, and characters that nobody sees.
_CONTROLS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]+"
)
# First bytes of UTF-8 that betray mojibake alone (é, ’) or in company (other alphabets):
# a text that was meant as it is seldom has Ã before a sign, and hardly ever twice.
_SURE_LEADS = frozenset((0xC2, 0xC3, 0xE2))
_LEADS = frozenset((0xC4, 0xC5, 0xCE, 0xCF, 0xD0, 0xD1, *range(0xE3, 0xEA), 0xF0)) | _SURE_LEADS
_MOJIBAKE_LAYERS = 3


def decode_row(data: bytes) -> tuple[str, Encoding]:
    """Returns the text of one row, and its encoding.

    A row that is not ASCII is UTF-8 if it decodes as such, which other encodings
    practically never do; else it is Windows-1252, which has all of Latin-1's printable
    characters.
    """
    if data.isascii():
        return data.decode("ascii"), "ascii"
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1").translate(_WINDOWS_1252), "latin-1"


def remove_controls(text: str) -> str:
    """Returns `text` without control characters; those that separate words become a space.

    Removed are C0 and C1, U+2028 and U+2029, overrides and isolates of the writing
    direction, surrogates, byte order marks and tags.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub("", _BREAKS.sub(" ", text))


def undo_mojibake(text: str) -> str:
    """Returns "Amélie" for "AmÃ©lie": UTF-8 that was once read as Windows-1252 or Latin-1.

    Only a text all of whose other letters make up UTF-8 is changed.
    """
    for _ in range(_MOJIBAKE_LAYERS):
        if text.isascii() or (undone := _read_again(text)) is None:
            return text
        text = undone
    return text


def _read_again(text: str) -> str | None:
    try:
        data = text.translate(_TO_BYTES).encode("latin-1")
        decoded = data.decode("utf-8")
    except UnicodeError:
        return None
    leads = [byte for byte in data if byte >= 0xC0]
    if not _LEADS.issuperset(leads):
        return None
    return decoded if len(leads) > 1 or _SURE_LEADS.issuperset(leads) else None
