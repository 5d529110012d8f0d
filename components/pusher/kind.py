"""The kind of a run, and of the models in a serving folder.

Models of one kind replace each other: the same data set (by name: tomorrow's rows have the same
kind), split by the same method with the same seed, and on a timeline at the same time. A model of
another kind is pushed only with `--replace`; one of a generated sample never replaces real data.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schema.export_contract import RUN_RECORD
from sources.names import SAMPLE
from storage import paths

KIND_FILE = "kind.json"
"""File in the serving folder; TensorFlow Serving reads folders named by a number only."""

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Kind:
    """The data set and split that a model was made from.

    Attributes:
      dataset: name of the data set: "ml-100k", "sample", or the name of the user's own data.
      split_method: one of `SPLIT_METHODS`.
      split_seed: seed of the split.
      split_time: when the test split of a timeline begins, unix seconds; None of other methods.
      data_dir: folder of the user's own data when its name was recorded; not compared.
    """

    dataset: str
    split_method: str
    split_seed: int
    split_time: int | None = None
    data_dir: str | None = dataclasses.field(default=None, compare=False)

    def describe(self) -> str:
        """Returns the kind in words."""
        at = "" if self.split_time is None else f" at {self.split_time}"
        return f"{self.dataset}, {self.split_method} split{at}, split seed {self.split_seed}"

    def slug(self) -> str:
        """Returns the kind as one word."""
        at = "" if self.split_time is None else f"-{self.split_time}"
        return f"{self.dataset}-{self.split_method}-{self.split_seed}{at}"

    def to_json(self) -> dict[str, Any]:
        """Returns the kind as a JSON object."""
        found = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Kind:
        """Returns the kind in a JSON object.

        Raises:
          ValueError: the object holds no kind, or one of an unknown schema version.
        """
        try:
            if document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version is {document['schema_version']!r}, not 1")
            found = cls(
                document["dataset"],
                document["split_method"],
                document["split_seed"],
                document.get("split_time"),
                document.get("data_dir"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no kind: {error}") from error
        whole = (found.split_seed, 0 if found.split_time is None else found.split_time)
        if not (isinstance(found.dataset, str) and all(isinstance(n, int) for n in whole)):
            raise ValueError("no kind: fields of other types")
        return found


@dataclasses.dataclass(frozen=True)
class EvaluationScope:
    """The test rows that metrics were computed on: metrics are comparable within one scope.

    Attributes:
      kind: of the run.
      test_fingerprint: hash of its test rows, as `RatingsGen` writes it; empty if unknown.
    """

    kind: Kind
    test_fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """Returns the scope as a JSON object."""
        return {"kind": self.kind.slug(), "test_fingerprint": self.test_fingerprint}


@dataclasses.dataclass(frozen=True)
class Served:
    """The kinds recorded in a serving folder.

    Attributes:
      kinds: the folder's and the newest version's, if recorded.
      unknown: whether there is a version without any recorded kind.
    """

    kinds: tuple[Kind, ...]
    unknown: bool

    def differs_from(self, kind: Kind) -> bool:
        """Whether another kind is served, or an unknown one."""
        return self.unknown or any(found != kind for found in self.kinds)

    def may_become(self, kind: Kind) -> bool:
        """Whether `--replace` allows `kind` here: a sample replaces samples only."""
        only_samples = not self.unknown and all(found.dataset == SAMPLE for found in self.kinds)
        return kind.dataset != SAMPLE or only_samples

    def describe(self) -> str:
        """Returns what is served in words."""
        if self.unknown:
            return "models of a kind that is not recorded"
        return "; ".join(dict.fromkeys(kind.describe() for kind in self.kinds)) or "nothing"


def read_kind(folder: Path) -> Kind | None:
    """Returns the kind that is recorded for a serving folder; None if none can be read."""
    return _kind_in(folder / KIND_FILE)


def write_kind(folder: Path, kind: Kind) -> None:
    """Records the kind of a serving folder, whole or not at all."""
    paths.write_text(folder / KIND_FILE, json.dumps(kind.to_json(), indent=2) + "\n")


def read_served(folder: Path, newest: int | None) -> Served:
    """Returns the kinds recorded in a serving folder.

    The folder's and the newest version's may differ after somebody has removed a version to roll
    back.

    Args:
      folder: the serving folder.
      newest: its newest version, if it has any.
    """
    found = [read_kind(folder)]
    if newest is not None:
        found.append(_kind_in(folder / str(newest) / RUN_RECORD, key="kind"))
    kinds = tuple(kind for kind in found if kind is not None)
    return Served(kinds, unknown=newest is not None and not kinds)


def refusal(kind: Kind, served: Served, *, replace: bool) -> str | None:
    """Returns why a model must not replace the served one; None if it may.

    Args:
      kind: the model's.
      served: the kinds in the serving folder.
      replace: whether `--replace` is given.
    """
    if not served.differs_from(kind) or (replace and served.may_become(kind)):
        return None
    lines = ["what is served here is of another kind, so the model was not pushed"]
    lines += [f"  expected: {served.describe()}", f"  found: {kind.describe()}"]
    return "\n".join([*lines, f"  what to do: {_way_out(kind, served)}"])


def _way_out(kind: Kind, served: Served) -> str:
    if not served.may_become(kind):
        return (
            "give real data with --data or $MOVIELENS_DIR, or choose another --output-dir: "
            "a generated sample never replaces anything else"
        )
    return (
        "choose another --output-dir, or add --replace if this data and split are to be served "
        "from now on; for the same data under another path, --data-name"
    )


def _kind_in(file: Path, key: str | None = None) -> Kind | None:
    """Returns the kind in a JSON file; None if the file is missing or holds none."""
    try:
        document = paths.read_json(file)
        return Kind.from_json(document if key is None else document[key])
    except (OSError, ValueError, KeyError, TypeError):
        return None
