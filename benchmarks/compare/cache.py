"""One JSON file per measurement: an interrupted comparison goes on where it was."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.compare.methods import Method, Metrics, Params

_ROOT = Path(__file__).resolve().parent.parent.parent
_SHARED_MODULES = ("protocols.py", "data.py", "methods.py")


@dataclasses.dataclass(frozen=True)
class Record:
    """One measurement.

    Attributes:
      method: name of the method.
      split: name of the split.
      stage: "validation" (fitted on the inner lines) or "test" (fitted on all of train).
      params: the method's values.
      metrics: figures by name.
      seconds: time of learning and answering, by the clock.
      cpu_seconds: the same of the processor, all threads together.
    """

    method: str
    split: str
    stage: str
    params: Params
    metrics: Metrics
    seconds: float
    cpu_seconds: float


class Cache:
    """Measurements by what they depend on: values, data, split and source code.

    Args:
      folder: made when the first record is kept.
      data_digest: of the data set.
    """

    def __init__(self, folder: Path, data_digest: str) -> None:
        self._folder = folder
        self._data_digest = data_digest

    def find(self, method: Method, split: str, stage: str, params: Params) -> Record | None:
        """Returns what was measured before, if it was; a damaged file counts as none."""
        try:
            value = json.loads(self._path(method, split, stage, params).read_text("utf-8"))
            return Record(**value)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, method: Method, record: Record) -> None:
        """Writes a record, complete or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(method, record.split, record.stage, record.params)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", "utf-8")
        partial.replace(path)

    def _path(self, method: Method, split: str, stage: str, params: Params) -> Path:
        depends_on: dict[str, Any] = {
            "params": dict(params),
            "data": self._data_digest,
            "source": _source(method.run, method.more_source),
        }
        text = json.dumps(depends_on, sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        place = f"{split} {stage}".replace(" ", "-").replace("%", "")
        return self._folder / f"{method.name}-{place}-{key}.json"


@functools.cache
def _source(run: Callable[..., Any], more: Callable[[], str]) -> str:
    """Returns a hash of the code that a method's figures depend on."""
    module = sys.modules[run.__module__].__file__
    assert module is not None, "methods are defined in files"
    digest = hashlib.blake2b(more().encode(), digest_size=8)
    for name in _SHARED_MODULES:
        digest.update((_ROOT / "benchmarks" / "compare" / name).read_bytes())
    digest.update(Path(module).read_bytes())
    return digest.hexdigest()
