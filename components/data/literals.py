"""Python literals from files of others, read without trusting them."""

from __future__ import annotations

import ast
import re
from typing import Any

MAX_LITERAL_CHARS = 2_000_000
"""The longest real cell of The Movies Dataset has about a tenth of this."""

_STRING = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_STRINGS = re.compile(_STRING, re.DOTALL)
# What is left of a list of flat records without its strings. Operators would let a short
# text nest so deeply that the parser runs out of stack; brackets it limits itself.
_SKELETON = re.compile(r"(?:[\s\[\]{}(),:]|None|True|False|-?\d+(?:\.\d*)?(?:e-?\d+)?)*")


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
    if not _SKELETON.fullmatch(_STRINGS.sub("", text)):
        raise ValueError("no list of records")
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no Python literal: {error}") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("no list of records")
    return value
