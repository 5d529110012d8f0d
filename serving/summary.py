"""How good the served version was, from the pipeline's `summary.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Quality:
    """What the pipeline found out about one version.

    Args:
      dataset: the name of the data that it was trained on; empty if not known.
      metrics: the test split's metrics by name; none if not known.
    """

    dataset: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_quality(path: Path | None, version: str) -> Quality:
    """Reads what a summary says about a version.

    A summary of another version, or one that cannot be read, says nothing: half the truth
    about a model would be worse.
    """
    if path is None:
        return Quality()
    try:
        document = json.loads(path.read_bytes())
        if str(document["pushed_version"]) != version:
            return Quality()
        metrics = {str(name): float(value) for name, value in _numbers(document["metrics"])}
        return Quality(str((document.get("dataset") or {}).get("name", "")), metrics)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Quality()


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
