"""Hyperparameters by name, such as `trainer.epochs=12`, over the fields of `trainer.config`.

Importing this needs the standard library alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from sources.errors import InputError
from sources.files import read_toml
from trainer.config import (
    BpmfConfig,
    LongTermConfig,
    ModelConfig,
    SequenceConfig,
    TrainConfig,
    TrainerConfig,
    TutorialConfig,
)

Number = int | float
Value = Number | tuple[Number, ...]
Settings = Mapping[str, Value]

TRAINER = "trainer"
"""The group of `TrainConfig`; in code and in `config.json` it is `train`, which is read as well."""

GROUPS: Mapping[str, type] = types.MappingProxyType(
    {
        TRAINER: TrainConfig,
        "model": ModelConfig,
        "long_term": LongTermConfig,
        "bpmf": BpmfConfig,
        "sequence": SequenceConfig,
        "tutorial": TutorialConfig,
    }
)
"""What can be set, by the first part of a name."""

OTHER_OPTIONS: Mapping[str, str] = types.MappingProxyType(
    {
        "trainer.seed": "--seed sets it",
        "trainer.splits": "train and validation are fitted, test never is",
        "tutorial.retrieval_weight": "--model sets it",
        "tutorial.rating_weight": "--model sets it",
    }
)
"""Fields that cannot be set, and why."""

EPOCHS = "trainer.epochs"
"""What `--epochs` sets as well."""

_ABOVE_ZERO = (
    "learning_rate",
    "ials_unobserved",
    "side_penalty",
    "side_penalty_freedom",
    "prior_variance",
    "user_noise_freedom",
    "movie_noise_freedom",
    "session_seconds",
    "session_shrinkage",
)
_SHARES = ("truncated_share", "truncation_share", "warm_up_share", "bpmf.weight", "sequence.weight")
_LARGEST = 1e12

NONE = "none"
"""How a setting of no numbers is written; in a TOML file it is `[]`."""

_MAY_BE_NONE = ("model.recency_seconds", "long_term.strong_penalties", "tutorial.hidden_units")
"""Settings of any number of values that may have none; others need one at least."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A hyperparameter that can be set.

    Attributes:
      name: `group.field`.
      default: the shipped value.
      meaning: what it is, in words.
      number: `int` or `float`.
      count: how many numbers it is; None: any number of them, 1: one that is no list.
    """

    name: str
    default: Value
    meaning: str
    number: type[int] | type[float]
    count: int | None

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        one = f"a {'whole ' if self.number is int else ''}number {self._rule[0]}"
        if self.count == 1:
            return one
        several = f"numbers with commas between, each {one}"
        if self.count is not None:
            return f"{self.count} {several}"
        return f"{NONE}, or {several}" if self.name in _MAY_BE_NONE else several

    @property
    def _rule(self) -> tuple[str, Callable[[Number], bool]]:
        """The range of its numbers, in words and as a test."""
        field = self.name.partition(".")[2]
        if self.number is int:
            return "from 1 on", lambda value: value >= 1
        if field.endswith("dropout"):
            return "from 0 to below 1", lambda value: 0 <= value < 1
        if field in _SHARES or self.name in _SHARES:
            return "from 0 to 1", lambda value: 0 <= value <= 1
        if field in _ABOVE_ZERO:
            return "above 0", lambda value: value > 0
        return "from 0 on", lambda value: value >= 0

    def checked(self, value: object) -> Value:
        """Returns a value in the setting's own type.

        Raises:
          InputError: it has another type, is out of range, or is too few or too many numbers.
        """
        several = isinstance(value, list | tuple)
        numbers: Sequence[object] = value if several else [value]  # type: ignore[assignment]
        found = [self._number(one) for one in numbers]
        fits = (self.count == 1) != several and self.count in (None, len(found))
        fits = fits and (bool(found) or self.name in _MAY_BE_NONE)
        if not fits or any(one is None for one in found):
            raise InputError(
                f"{self.name} cannot be {_shown(value)}",
                expected=f"{self.expected}, such as the shipped {_shown(self.default)}",
                action="correct the value",
            )
        kept = tuple(one for one in found if one is not None)
        return kept if several else kept[0]

    def _number(self, value: object) -> Number | None:
        """Returns a number in the setting's type; None where it is none or out of range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.number is int and not isinstance(value, int):
            return None
        fits = abs(value) <= _LARGEST and self._rule[1](value)
        return self.number(value) if fits else None


def available() -> dict[str, Setting]:
    """Returns every hyperparameter that can be set, by name, in the order of the code."""
    found = {}
    for group, config in GROUPS.items():
        hints, meanings, shipped = typing.get_type_hints(config), _meanings(config), config()
        for field in dataclasses.fields(config):
            name = f"{group}.{field.name}"
            if name not in OTHER_OPTIONS:
                number, count = _form(hints[field.name])
                found[name] = Setting(
                    name, getattr(shipped, field.name), meanings[field.name], number, count
                )
    return found


def _form(hint: object) -> tuple[type[int] | type[float], int | None]:
    """Returns the type of a field's numbers, and how many they are (None: any number)."""
    inner = typing.get_args(hint)
    if not inner:
        return (int if hint is int else float), 1
    return (int if inner[0] is int else float), (None if inner[-1] is Ellipsis else len(inner))


def _meanings(config: type) -> dict[str, str]:
    """Returns what the attributes of a dataclass are, from its docstring."""
    text = inspect.getdoc(config) or ""
    attributes = text.partition("Attributes:\n")[2]
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def parse(assignments: Iterable[str]) -> dict[str, Value]:
    """Returns the settings in texts of the form `name=value`; of one name the last counts.

    Raises:
      InputError: one is not of that form, has an unknown name or a wrong value.
    """
    found = {}
    for text in assignments:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(
                f"cannot read {_shown(text)!r}",
                expected="name=value, such as trainer.epochs=12; several numbers with commas",
                action="correct it; docs/reference/settings.md lists the names",
            )
        setting = named(name)
        found[setting.name] = setting.checked(_numbers(value, several=setting.count != 1))
    return found


def _numbers(text: str, *, several: bool) -> object:
    """Returns the number or numbers in a text; the text itself where it holds anything else."""
    if several and text == NONE:
        return []
    parts = [part for part in text.split(",") if part.strip()] if several else [text]
    try:
        found = [
            int(part) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", part) else float(part) for part in parts
        ]
    except ValueError:
        return text
    return found if several else found[0]


def read(path: Path) -> dict[str, Value]:
    """Returns the settings in a TOML file: a table for each group, `[trainer]` and so on.

    Raises:
      InputError: it cannot be read, or has an unknown name or a wrong value.
    """
    found = {}
    for group, values in read_toml(path).items():
        if not isinstance(values, Mapping):
            raise InputError(
                f"{group} stands outside of a table",
                file=str(path),
                expected=f"tables [{'], ['.join(GROUPS)}] with the settings in them",
                action="write for example [trainer] and below it epochs = 12",
            )
        for name, value in values.items():
            setting = named(f"{group}.{name}", str(path))
            found[setting.name] = setting.checked(value)
    return found


def named(name: str, file: str | None = None) -> Setting:
    """Returns the setting of a name.

    Raises:
      InputError: there is none; the message names near ones.
    """
    known = available()
    group, dot, field = name.partition(".")
    name = f"{TRAINER if group == 'train' else group}{dot}{field}"
    if name in known:
        return known[name]
    if name in OTHER_OPTIONS:
        raise InputError(f"{name} cannot be set: {OTHER_OPTIONS[name]}", file=file)
    raise InputError(
        f"there is no setting {_shown(name)}",
        file=file,
        expected=one_of(name, known),
        action="correct the name; docs/reference/settings.md lists all of them",
    )


def one_of(name: str, known: Iterable[str]) -> str:
    """Returns the known names that are near another, in words; all where none is.

    >>> one_of("trainer.epoch", ["trainer.epochs", "model.rating_dim"])
    'trainer.epochs'
    """
    names = list(known)
    last = name.rpartition(".")[2]
    same = [one for one in names if one.rpartition(".")[2] == last]
    near = [*same, *difflib.get_close_matches(name, names, n=3, cutoff=0.6)]
    return " or ".join(dict.fromkeys(near)) if near else f"one of {', '.join(names)}"


def applied(config: TrainerConfig, settings: Settings) -> TrainerConfig:
    """Returns a configuration with some values changed.

    Args:
      config: the values to start from.
      settings: names of `available`, with their values.

    Raises:
      InputError: values do not fit each other.
    """
    for name, value in settings.items():
        group, _, field = name.partition(".")
        part = "train" if group == TRAINER else group
        values = getattr(config, part) or GROUPS[group]()
        config = dataclasses.replace(
            config, **{part: dataclasses.replace(values, **{field: value})}
        )
    _check_blend(config.long_term)
    if config.sequence is not None:
        _check_multiples(config.sequence)
    return config


def _check_multiples(config: SequenceConfig) -> None:
    """Refuses shapes of the sequence block that do not divide."""
    for name, divisor in (("width", "heads"), ("batch_rows", "recency_events")):
        value, by = getattr(config, name), getattr(config, divisor)
        if value % by:
            raise InputError(
                f"sequence.{name} and sequence.{divisor} do not fit",
                expected=f"a multiple of {by}",
                found=str(value),
                action="set one of them, or both",
            )


def _check_blend(config: LongTermConfig) -> None:
    """Refuses blend weights that are not one for each length, or lengths that do not rise."""
    lengths = config.blend_lengths
    if list(lengths) != sorted(set(lengths)):
        raise InputError(
            "long_term.blend_lengths do not rise", expected="numbers, each above the one before"
        )
    for name in ("popularity_weights", "autoencoder_weights", "kernel_shares"):
        weights = getattr(config, name)
        if len(weights) != len(lengths):
            raise InputError(
                f"long_term.{name} and long_term.blend_lengths do not fit",
                expected=f"as many weights as lengths, {len(lengths)}",
                found=str(len(weights)),
                action="set both",
            )


def reference() -> str:
    """Returns a table of all settings for each group, as Markdown."""
    lines = []
    known = available()
    for group, config in GROUPS.items():
        summary = (inspect.getdoc(config) or "").partition("\n")[0]
        lines += ["", f"## `{group}`", "", summary, "", "| setting | shipped | meaning |"]
        lines += ["|---|---|---|"]
        lines += [
            f"| `{name}` | {_shown(setting.default)} | {setting.meaning} |"
            for name, setting in known.items()
            if name.partition(".")[0] == group
        ]
    return "\n".join(lines[1:]) + "\n"


def listing() -> str:
    """Returns every setting with its shipped value, one on a line."""
    return "\n".join(f"{name}={_shown(one.default)}" for name, one in available().items())


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_shown(one) for one in value) or NONE
    if isinstance(value, float):
        return f"{value:g}"
    text = "".join(filter(str.isprintable, str(value)))
    return (f"{text[:80]}…" if len(text) > 80 else text) or "nothing"


def _rewrite_page() -> None:
    """Replaces the tables of docs/reference/settings.md, which follow its introduction."""
    page = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
    introduction = page.read_text(encoding="utf-8").partition(f"## `{TRAINER}`")[0]
    page.write_text(introduction + reference(), encoding="utf-8")


if __name__ == "__main__":
    _rewrite_page()
