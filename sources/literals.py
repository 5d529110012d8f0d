"""Parses Python literals in files that are not trusted, in linear time."""

from __future__ import annotations

import ast
import re
from typing import Any

MAX_LITERAL_CHARS = 2_000_000
"""The longest real cell of The Movies Dataset has about a tenth of this."""

MAX_DEPTH = 8
"""Brackets within brackets; a list of records has two. Python's parser takes exponential
time for some deeper ones."""

# A quote always matches, with or without an end: no text is read twice.
_STRINGS = re.compile(
    r"'[^'\\\n]*(?:\\.[^'\\\n]*)*(?P<single>'?)"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*(?P<double>"?)',
    re.DOTALL,
)
_STRING, _UNCLOSED = "'", '"'
_NEIGHBOURS = re.compile(rf"{_STRING}\s*{_STRING}")
_WORDS = re.compile(r"[^\s\[\]{}(),:]+")
# Short numbers, since Python takes quadratic time for long ones.
_WORD = re.compile(
    rf"{_STRING}|None|True|False|-?\d{{1,18}}(?:\.\d{{0,40}})?(?:e[+-]?\d{{1,3}})?", re.ASCII
)
_NO_BRACKETS = re.compile(r"[^\[\]{}()]+")
_OPENING = frozenset("[{(")


def parse_records(text: str) -> list[dict[Any, Any]]:
    """Returns the records of a cell such as `[{'name': 'A', 'order': 0}]`; a blank one has none.

    Args:
      text: a Python literal: a list of dictionaries.

    Raises:
      ValueError: the text is longer than `MAX_LITERAL_CHARS`, no literal, or something else.
    """
    if not text.strip():
        return []
    if len(text) > MAX_LITERAL_CHARS:
        raise ValueError(f"{len(text):,} characters, more than {MAX_LITERAL_CHARS:,}")
    _check_form(text)
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no Python literal: {error}") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("no list of records")
    return value


def _check_form(text: str) -> None:
    """Refuses text that is not made of strings, numbers, constants and at most 8 brackets deep.

    Operators would let a short text nest so deeply that the parser runs out of stack.

    Raises:
      ValueError: the text is not.
    """
    skeleton = _STRINGS.sub(lambda m: _STRING if m["single"] or m["double"] else _UNCLOSED, text)
    for word in set(_WORDS.findall(skeleton)):
        if not _WORD.fullmatch(word):
            raise ValueError(f"no list of records: {word[:60]}")
    if _NEIGHBOURS.search(skeleton):
        raise ValueError("no list of records: a comma is missing between two strings")
    depth = 0
    for bracket in _NO_BRACKETS.sub("", skeleton):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} brackets within each other")
