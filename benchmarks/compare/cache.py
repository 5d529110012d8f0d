"""Files of one measurement each: an interrupted comparison goes on where it was."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.methods import Method, Metrics, Params, Sums

_ROOT = Path(__file__).resolve().parent.parent.parent
_SHARED_MODULES = ("protocols.py", "data.py", "methods.py", "movielens_1m.py")


@dataclasses.dataclass(frozen=True)
class Record:
    """One measurement.

    Attributes:
      method: name of the method.
      split: name of the split.
      stage: "validation" (fitted on the inner lines) or "test" (fitted on all of train).
      params: the method's values.
      metrics: values by name.
      seconds: time of learning and answering, by the clock.
      cpu_seconds: processor time of that, all threads together.
      sums: sums per user that the metrics are made of, to compare methods by.
    """

    method: str
    split: str
    stage: str
    params: Params
    metrics: Metrics
    seconds: float
    cpu_seconds: float
    sums: Sums = dataclasses.field(default_factory=dict, repr=False)


class Cache:
    """Measurements by what they depend on: values, data, split and source code.

    Args:
      folder: made when the first record is kept.
      data_digest: of the data set.
      any_code: also find measurements of other source code or data, of the same method, split and
        values; the newest of several.
    """

    def __init__(self, folder: Path, data_digest: str, any_code: bool = False) -> None:
        self._folder = folder
        self._data_digest = data_digest
        self._any_code = any_code

    def find(self, method: Method, split: str, stage: str, params: Params) -> Record | None:
        """Returns what was measured before, if it was; a damaged file counts as none."""
        record = _read(self._path(method, split, stage, params))
        if record is not None or not self._any_code:
            return record
        files = self._folder.glob(f"{_prefix(method, split, stage)}-*.json")
        for path in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
            record = _read(path)
            if record is not None and record.params == dict(params):
                return record
        return None

    def keep(self, method: Method, record: Record) -> None:
        """Writes a record, complete or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(method, record.split, record.stage, record.params)
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, **fields.pop("sums"))
        partial.replace(path.with_suffix(".npz"))
        # Last: a record is there when its JSON is.
        partial.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")
        partial.replace(path)

    def _path(self, method: Method, split: str, stage: str, params: Params) -> Path:
        depends_on: dict[str, Any] = {
            "params": dict(params),
            "data": self._data_digest,
            "source": _source(method.run, method.more_source),
        }
        text = json.dumps(depends_on, sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return self._folder / f"{_prefix(method, split, stage)}-{key}.json"


def _prefix(method: Method, split: str, stage: str) -> str:
    """Returns how the names of the files of a method's measurements on a split begin."""
    return f"{method.name}-{split}-{stage}".replace(" ", "-").replace("%", "")


def _read(path: Path) -> Record | None:
    try:
        value = json.loads(path.read_text("utf-8"))
        with np.load(path.with_suffix(".npz")) as sums:
            return Record(**value, sums=dict(sums))
    except (FileNotFoundError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None


@functools.cache
def _source(run: Callable[..., Any], more: Callable[[], str]) -> str:
    """Returns a hash of the code that a method's metrics depend on."""
    module = sys.modules[run.__module__].__file__
    assert module is not None, "methods are defined in files"
    digest = hashlib.blake2b(more().encode(), digest_size=8)
    for name in _SHARED_MODULES:
        digest.update((_ROOT / "benchmarks" / "compare" / name).read_bytes())
    digest.update(Path(module).read_bytes())
    return digest.hexdigest()
