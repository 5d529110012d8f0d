"""The users of a batch: ids from the command line, a file or the model."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schema.dataset import number_of
from serving.catalogue import Users
from serving.errors import shorten
from serving.limits import MAX_ID
from storage.errors import UsageError
from storage.paths import local_path, read_bytes

MAX_FILE_BYTES = 32 << 20
"""Bytes of a file of ids: three million ids of ten characters."""

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_HEADING = "user_id"
_NAMED = 5
_USE_FILE = "a file of ids is given with --users-file FILE"


@dataclass(frozen=True)
class Selection:
    """The users that get recommendations.

    Args:
      ids: their ids, each once, in the order in which they were given.
      repeated: how many ids were given again and left out.
      skipped: how many users are unknown to the model and left out.
      cold: which of the ids are unknown to the model and kept.
    """

    ids: tuple[str, ...]
    repeated: int = 0
    skipped: int = 0
    cold: frozenset[str] = frozenset()


def given_ids(users: str | None, users_file: str | None) -> list[str] | None:
    """Returns the ids of the options; None for all known users.

    Args:
      users: ids with commas between, or "all".
      users_file: a file with one id on each line; blank lines are left out.

    Raises:
      UsageError: an id is invalid, with its number; or there is none, or the file cannot be read.
      PathError: the file's path cannot be used.
    """
    if users_file is not None:
        path = local_path(users_file, "--users-file")
        source, what = f"--users-file {path}", "line"
        words = [line.decode(errors="surrogateescape").strip() for line in _lines(path)]
    elif users is None or users.strip() == "all":
        return None
    else:
        source, what = "--users", "part"
        words = [word.strip() for word in users.split(",")]
    if not any(words):
        raise UsageError(f"{source} has no ids", found=shorten(users or ""))
    problems = [
        f"{what} {number} {problem}"
        for number, word in enumerate(words, 1)
        if (problem := problem_of(word, is_first_line=number == 1 and what == "line"))
        and (word or what == "part")
    ]
    if problems:
        raise UsageError(
            f"{source} has {number_of(len(problems), what)} without a user's id",
            expected=f"one id in each {what}, in UTF-8, and no heading",
            found=_first_few(problems),
            action=f"correct or remove them; {_USE_FILE}",
        )
    return [word for word in words if word]


def problem_of(word: str, is_first_line: bool = False) -> str:
    """Returns what keeps a word from being an id; empty if it can be one."""
    if not word:
        return "is empty"
    if is_first_line and word == _HEADING:
        return "is a heading"
    if len(word) > MAX_ID:
        return f"has {len(word):,} characters, more than {MAX_ID:,}: {shorten(word, 30)}"
    if _NOT_UTF8.search(word):
        return f"is not UTF-8: {shorten(word.encode(errors='surrogateescape'))[1:]}"
    if _CONTROL.search(word):
        return f"has a tab or another control character: {shorten(word)}"
    return ""


def choose(ids: Sequence[str] | None, known: Users, unknown: str, version: str) -> Selection:
    """Returns the users that get recommendations.

    Args:
      ids: as given; None for all.
      known: the users of the model.
      unknown: "error", "skip" or "cold": the treatment of unknown ids.
      version: the model's version, for messages.

    Raises:
      UsageError: an id is unknown and that is an error, or no user is left.
    """
    if ids is None:
        if not known.count:
            raise UsageError(
                f"Version {version} of the model has no list of users",
                action="give their ids with --users or --users-file",
            )
        return Selection(tuple(known.ids))
    once = list(dict.fromkeys(ids))
    repeated = len(ids) - len(once)
    absent = [one for one in once if known.knows(one) is False]
    if absent and unknown == "error":
        raise UsageError(
            f"Version {version} of the model has no data on {len(absent):,} of the users",
            expected="users of its training data",
            found=_first_few(absent),
            action="--unknown skip leaves them out; --unknown cold gives them the recommendations"
            f" of a new user; {_USE_FILE}",
        )
    if unknown == "cold":
        return Selection(tuple(once), repeated, cold=frozenset(absent))
    kept = tuple(one for one in once if known.knows(one) is not False)
    if not kept:
        raise UsageError(
            f"Version {version} of the model has none of the {len(once):,} users",
            found=_first_few(absent),
            action="--unknown cold gives them the recommendations of a new user",
        )
    return Selection(kept, repeated, skipped=len(absent))


def _lines(path: Path) -> list[bytes]:
    """Returns the lines of an ordinary file, without a byte order mark."""
    try:
        content = read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(
            f"--users-file {path} cannot be read",
            expected=f"a text file of at most {MAX_FILE_BYTES >> 20} MiB with one id on each line",
            found=error.strerror or str(error),
        ) from error
    return content.removeprefix(codecs.BOM_UTF8).splitlines()


def _first_few(what: Iterable[str]) -> str:
    found = list(what)
    rest = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + rest
