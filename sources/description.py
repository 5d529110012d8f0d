"""`data.toml`: the user's description of own tables, where detection does not suffice."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from schema import features
from schema.features import Kind
from sources import files
from sources.errors import InputError

FILE = "data.toml"

Repeats = Literal["latest", "count", "keep"]
REPEATS: tuple[Repeats, ...] = ("latest", "count", "keep")

ROLES = ("user", "item", "rating", "time", "event")
KINDS = tuple(
    kind.value
    for kind in (
        *(Kind.CATEGORY, Kind.TAGS, Kind.TITLE, Kind.YEAR, Kind.NUMBER),
        *(Kind.AGE, Kind.GENDER, Kind.ZIP_CODE),
    )
)
CONTEXT_KINDS = tuple(kind.value for kind in features.CONTEXT_KINDS)
IGNORE = "ignore"

_OPERATORS = ("==", "!=", "<=", ">=", "<", ">")
_SIGNS = "[=!<>~]"
_RULE = re.compile(rf"\s*(.+?)\s*(?<!{_SIGNS})({'|'.join(_OPERATORS)})(?!{_SIGNS})\s*(.+?)\s*")
_NOUN = re.compile(r"[^\W\d_][\w -]{0,39}")


@dataclasses.dataclass(frozen=True)
class Rule:
    """A comparison of a column's values, such as `rating >= 4`.

    Attributes:
      column: of the events, or the role that it plays.
      operator: "==", "!=", "<", "<=", ">" or ">=".
      value: what the values are compared with: as numbers where it is one, else as text.
    """

    column: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.value}"


@dataclasses.dataclass(frozen=True)
class Description:
    """The content of `data.toml`; every part is optional.

    Attributes:
      columns: the column of events that plays each role; "" where none does.
      features: the kind of a column of users or items, or "ignore".
      context: the kind of a column of events that is a context feature, or "ignore".
      events: the weight of each type of event; others are left out, and those of weight 0.
      positive: which events count; the others are left out, and the ratings with them.
      drop: events that are left out.
      scale: the least and the greatest rating.
      repeats: what becomes of several events of one user and item.
      item_noun: what people call an item.
      of_columns: the columns of the events that it is of; none: of any.
      path: of the file with this content, or where one can be put; no part of the content.
      is_read: whether that file is there.
      has_context: whether the file has the table [context], though an empty one.
      not_followed: the paths of further such files, which are not read.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    features: Mapping[str, str] = dataclasses.field(default_factory=dict)
    context: Mapping[str, str] = dataclasses.field(default_factory=dict)
    events: Mapping[str, float] = dataclasses.field(default_factory=dict)
    positive: Rule | None = None
    drop: tuple[Rule, ...] = ()
    scale: tuple[float, float] | None = None
    repeats: Repeats = "latest"
    item_noun: str = "item"
    of_columns: tuple[str, ...] = ()
    path: str = dataclasses.field(default=FILE, compare=False)
    is_read: bool = dataclasses.field(default=False, compare=False)
    has_context: bool = dataclasses.field(default=False, compare=False)
    not_followed: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def context_kinds(self) -> dict[str, str]:
        """The kind of each column of events that is a context feature."""
        return {name: kind for name, kind in self.context.items() if kind != IGNORE}

    def shown(self) -> list[str]:
        """Returns lines that say which file is followed, and which are not; none without one."""
        if not self.is_read:
            return []
        others = (f"{path} is not followed: {self.path} is" for path in self.not_followed)
        return [f"Followed: {self.path}", *others]

    def to_json(self) -> dict[str, Any]:
        """Returns the description as a JSON object."""
        values = dataclasses.asdict(self)
        return {name: values[name] for name in _READERS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Description:
        """Returns the description that `to_json` made."""
        positive, scale = values["positive"], values["scale"]
        return cls(
            **{
                **values,
                "positive": positive and Rule(**positive),
                "drop": tuple(Rule(**rule) for rule in values["drop"]),
                "scale": scale and tuple(scale),
                "of_columns": tuple(values["of_columns"]),
            }
        )


def find(*folders: Path | None) -> Description:
    """Returns the description in the first folder that has one; an empty one if none has.

    An empty one has the path in the first folder, where one can be put.

    Raises:
      InputError: it cannot be read or says what cannot be.
    """
    found = [folder / FILE for folder in folders if folder is not None]
    there = [path for path in found if path.exists()]
    if there:
        others = (path for path in there[1:] if not path.samefile(there[0]))
        not_followed = tuple(str(path.absolute()) for path in others)
        return dataclasses.replace(read(there[0]), not_followed=not_followed)
    return Description(path=str(found[0].absolute()))


def read(path: Path) -> Description:
    """Returns the description in a file.

    Raises:
      InputError: it is no TOML, or a key or a value is none of those there are.
    """
    path = path.absolute()
    values = files.read_toml(path)
    for name in values:
        if name not in _READERS:
            raise _wrong(path, f"unknown key {name}", f"one of {', '.join(_READERS)}", name)
    _refuse_misplaced(path, values)
    found = {name: _READERS[name](path, name, value) for name, value in values.items()}
    return Description(**found, path=str(path), is_read=True, has_context="context" in values)


def _refuse_misplaced(path: Path, values: Mapping[str, object]) -> None:
    """Refuses a key of the whole file that TOML counts to the table whose header is above it."""
    alone = [name for name in _READERS if name not in _TABLES]
    for table, is_value in _TABLES.items():
        inner = values.get(table)
        for key, value in inner.items() if isinstance(inner, dict) else ():
            if key in alone and not is_value(value):
                expected = f"{', '.join(alone)} above the first line in square brackets"
                raise _wrong(path, f"{key} is below [{table}]", expected, {key: value})


def _wrong(path: Path, problem: str, expected: str, found: object) -> InputError:
    return InputError(
        problem,
        file=str(path),
        expected=expected,
        found=files.shorten(found if isinstance(found, str) else json.dumps(found, default=str)),
        action="correct it",
    )


def _texts(path: Path, name: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _wrong(path, f"{name} is wrong", f'lines such as name = "text" under [{name}]', value)
    return dict(value)


def _columns(path: Path, name: str, value: object) -> dict[str, str]:
    found = _texts(path, name, value)
    for role in found:
        if role not in ROLES:
            raise _wrong(path, f"unknown role {role} in {name}", f"one of {', '.join(ROLES)}", role)
    return found


def _features(path: Path, name: str, value: object) -> dict[str, str]:
    found = _texts(path, name, value)
    for column, kind in found.items():
        if kind not in (*KINDS, IGNORE):
            expected = f"one of {', '.join(KINDS)}, {IGNORE}"
            raise _wrong(path, f"unknown kind of feature {column}", expected, kind)
    return found


def _context(path: Path, name: str, value: object) -> dict[str, str]:
    found = _texts(path, name, value)
    for column, kind in found.items():
        if kind not in (*CONTEXT_KINDS, IGNORE):
            problem = f"{column} has a kind that a column of events cannot have"
            raise _wrong(path, problem, f"one of {', '.join(CONTEXT_KINDS)}, {IGNORE}", kind)
    return found


def _events(path: Path, name: str, value: object) -> dict[str, float]:
    weights: dict[str, Any] = value if isinstance(value, dict) else {}
    if not any(weights.values()) or not all(_is_weight(one) for one in weights.values()):
        expected = f"weights from 0 on under [{name}], not all 0"
        raise _wrong(path, f"{name} is wrong", expected, value)
    return {event: float(weight) for event, weight in weights.items()}


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


def _rule(path: Path, name: str, value: object) -> Rule:
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    signs = re.findall(f"{_SIGNS}+", value) if isinstance(value, str) and match is None else []
    if signs and signs[0] not in _OPERATORS:
        problem = f"{signs[0]} in {name} is no operator"
        raise _wrong(path, problem, f"one of {', '.join(_OPERATORS)}", value)
    if match is None:
        raise _wrong(path, f"{name} is no rule", 'a rule such as "rating >= 4"', value)
    column, operator, other = match.groups()
    return Rule(column, operator, other.strip("'\""))


def _rules(path: Path, name: str, value: object) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise _wrong(path, f"{name} is wrong", 'rules such as ["rating == 0"]', value)
    return tuple(_rule(path, name, one) for one in value)


def _scale(path: Path, name: str, value: object) -> tuple[float, float]:
    ends: list[Any] = value if isinstance(value, list) else []
    if len(ends) != 2 or not all(isinstance(one, int | float) for one in ends):
        raise _wrong(path, f"{name} is wrong", "the least and the greatest rating: [1, 5]", value)
    low, high = (float(one) for one in ends)
    if not low < high:
        raise _wrong(path, f"{name} does not rise", "the least and the greatest rating", value)
    return low, high


def _repeats(path: Path, name: str, value: object) -> Repeats:
    for known in REPEATS:
        if value == known:
            return known
    raise _wrong(path, f"{name} is wrong", f"one of {', '.join(REPEATS)}", value)


def _noun(path: Path, name: str, value: object) -> str:
    if not isinstance(value, str) or not _NOUN.fullmatch(value):
        raise _wrong(path, f"{name} is wrong", 'what people call an item, such as "book"', value)
    return value


def _of_columns(path: Path, name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong(path, f"{name} is wrong", 'names of columns such as ["user", "item"]', value)
    return tuple(value)


_READERS: Mapping[str, Any] = {
    "columns": _columns,
    "features": _features,
    "context": _context,
    "events": _events,
    "positive": _rule,
    "drop": _rules,
    "scale": _scale,
    "repeats": _repeats,
    "item_noun": _noun,
    "of_columns": _of_columns,
}

_TABLES: Mapping[str, Callable[[object], bool]] = {
    "columns": lambda value: False,
    "features": lambda value: value in (*KINDS, IGNORE),
    "context": lambda value: value in (*CONTEXT_KINDS, IGNORE),
    "events": _is_weight,
}
"""The keys that are tables, each with whether a value of a line below its header can be meant."""
