"""What travels with a version: the run record, with metrics on the test split, and its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schema.dataset import DatasetLabel
from schema.export_contract import DATASET_FILE, RUN_RECORD
from serving.errors import ModelError
from serving.version_folder import read_json

_MOST_BYTES = 1 << 20
_MOST_METRICS = 1_000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class RunRecord:
    """The parts of a run record that the server shows.

    Args:
      dataset: the name of the training data; empty if not known.
      metrics: metrics of the test split by name; empty if not known.
    """

    dataset: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_run_record(version_dir: Path) -> RunRecord:
    """Reads a version's run record.

    A missing or damaged one is read as empty: the version is served all the same.
    """
    document = _object(version_dir / RUN_RECORD)
    return RunRecord(
        DatasetLabel.from_json(document.get("dataset")).name,
        dict(_numbers(document.get("metrics"))),
    )


def read_item_noun(version_dir: Path) -> str:
    """Returns what people call an item of a version, in the singular; "movie" if not known."""
    return DatasetLabel.from_json(_object(version_dir / DATASET_FILE)).item_noun


def _object(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one where it is missing or damaged."""
    try:
        document = read_json(path, _MOST_BYTES)
    except (FileNotFoundError, ModelError):
        return {}
    return document if isinstance(document, dict) else {}


def _numbers(metrics: Any) -> list[tuple[str, float]]:
    if not isinstance(metrics, dict):
        return []
    found = [
        (name[:_LONGEST_NAME], float(value))
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    return found[:_MOST_METRICS]
