"""The executor of AnomalyGate: writes `anomalies.json` and raises if an anomaly is an error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.gate.anomalies import (
    Anomaly,
    blocking_anomalies,
    describe,
    find_anomalies,
    find_changes,
)
from components.names import ANOMALIES_FILE
from sources.errors import AnomaliesError
from storage.paths import write_text

ANOMALIES_KEY = "anomalies"
STATISTICS_KEY = "statistics"
PREVIOUS_STATISTICS_KEY = "previous_statistics"
SCHEMA_KEY = "schema"
GATE_PASS_KEY = "gate_pass"
ANOMALIES_PATH_KEY = "anomalies_path"
ERRORS_KEY = "errors"
WARNINGS_KEY = "warnings"

# Files of TFX 1.15 in the folder of each split.
_ANOMALIES_FILE = "SchemaDiff.pb"
_STATISTICS_FILE = "FeatureStats.pb"


class Executor(base_executor.BaseExecutor):
    """Executor of `AnomalyGate`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the anomalies, and stops the run if one is an error.

        Args:
          input_dict: `anomalies`, `statistics` and `schema`; `previous_statistics` if any.
          output_dict: `gate_pass`.
          exec_properties: optionally `anomalies_path`.

        Raises:
          AnomaliesError: an anomaly has severity ERROR.
        """
        found = self.find(input_dict)
        blocking = blocking_anomalies(found)
        gate_pass = artifact_utils.get_single_instance(output_dict[GATE_PASS_KEY])
        copy = exec_properties.get(ANOMALIES_PATH_KEY)
        for path in (Path(gate_pass.uri) / ANOMALIES_FILE, *([Path(copy)] if copy else ())):
            write_anomalies(path, found)
        if blocking:
            raise AnomaliesError(describe(blocking, copy or None))
        gate_pass.errors = len(blocking)
        gate_pass.warnings = len(found) - len(blocking)

    def find(self, input_dict: dict[str, list[types.Artifact]]) -> tuple[Anomaly, ...]:
        """Returns every anomaly in the input artifacts."""
        anomalies = artifact_utils.get_single_instance(input_dict[ANOMALIES_KEY])
        statistics = artifact_utils.get_single_instance(input_dict[STATISTICS_KEY])
        schema = artifact_utils.get_single_instance(input_dict[SCHEMA_KEY])
        splits = artifact_utils.decode_split_names(anomalies.split_names)
        curated = _read_schema(Path(schema.uri))
        current = {split: _read_statistics(statistics, split) for split in splits}
        found = find_anomalies(
            anomalies={split: _read_anomalies(anomalies, split) for split in splits},
            statistics=current,
            schema=curated,
        )
        return found + find_changes(current, _read_previous(input_dict), curated)


def write_anomalies(path: Path, found: Sequence[Anomaly]) -> None:
    """Writes every anomaly as JSON, replacing the file atomically."""
    errors = len(blocking_anomalies(found))
    document = {
        ERRORS_KEY: errors,
        WARNINGS_KEY: len(found) - errors,
        "anomalies": [anomaly.to_json() for anomaly in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _read_anomalies(anomalies: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    path = Path(artifact_utils.get_split_uri([anomalies], split)) / _ANOMALIES_FILE
    return anomalies_pb2.Anomalies.FromString(path.read_bytes())


def _read_statistics(
    statistics: types.Artifact, split: str
) -> statistics_pb2.DatasetFeatureStatisticsList:
    path = Path(artifact_utils.get_split_uri([statistics], split)) / _STATISTICS_FILE
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())


def _read_previous(
    input_dict: dict[str, list[types.Artifact]],
) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Returns the previous run's statistics by split; empty if there was no run."""
    return {
        split: _read_statistics(previous, split)
        for previous in input_dict.get(PREVIOUS_STATISTICS_KEY, ())[:1]
        for split in artifact_utils.decode_split_names(previous.split_names)
    }


def _read_schema(folder: Path) -> schema_pb2.Schema:
    """Returns the schema in the one text file of its artifact."""
    (path,) = (entry for entry in folder.iterdir() if entry.is_file())
    return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
