"""The AnomalyGate component: stops the run if the data has anomalies of severity ERROR.

TFX itself logs anomalies and goes on to train. No component needs this one's output, so
`transform.add_upstream_node(gate)` makes every orchestrator start Transform after the gate. A
failed execution is never cached: the gate runs again in the next run. A passed one is cached for
as long as its inputs stay the same.
"""

# Without `from __future__ import annotations`: TFX reads the types of the arguments.

import json
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact, artifact_utils, standard_artifacts

from components.gate.anomalies import (
    SCHEMA_FILE,
    Anomaly,
    blocking_anomalies,
    describe,
    find_anomalies,
    find_changes,
)
from components.names import ANOMALIES_FILE
from sources.errors import AnomaliesError
from storage.paths import write_text

_ERRORS, _WARNINGS = "errors", "warnings"

# Files of TFX 1.15 in the folder of each split.
_ANOMALIES_FILE = "SchemaDiff.pb"
_STATISTICS_FILE = "FeatureStats.pb"


class GatePass(artifact.Artifact):
    """The gate's result for data that passed; its `anomalies.json` lists the warnings."""

    TYPE_NAME = "GatePass"
    PROPERTIES = {  # noqa: RUF012 - TFX reads a plain dict
        _ERRORS: artifact.Property(type=artifact.PropertyType.INT),
        _WARNINGS: artifact.Property(type=artifact.PropertyType.INT),
    }


@component
def AnomalyGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    gate_pass: OutputArtifact[GatePass],
    previous_statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
    anomalies_path: Parameter[str] = "",
    schema_file: Parameter[str] = SCHEMA_FILE,
) -> None:
    """Writes the anomalies, and stops the run if one is an error.

    Args:
      anomalies: what ExampleValidator found.
      statistics: the statistics they were found in, for example values.
      schema: the schema they were found against, for advice.
      gate_pass: gets `anomalies.json`.
      previous_statistics: the previous run's, to find drift.
      anomalies_path: file for a copy of `anomalies.json`. TFX removes the outputs of an
        execution that fails, so without the copy a failed gate leaves only its message.
      schema_file: the file of the schema that people edit, as advice names it.

    Raises:
      AnomaliesError: an anomaly has severity ERROR.
    """
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    curated = _read_schema(Path(schema.uri))
    current = {split: _read_statistics(statistics, split) for split in splits}
    by_split = {split: _read_anomalies(anomalies, split) for split in splits}
    found = find_anomalies(by_split, current, curated, schema_file)
    found += find_changes(current, _read_previous(previous_statistics), curated, schema_file)
    blocking = blocking_anomalies(found)
    copies = [Path(anomalies_path)] if anomalies_path else []
    for path in (Path(gate_pass.uri) / ANOMALIES_FILE, *copies):
        write_anomalies(path, found)
    if blocking:
        raise AnomaliesError(describe(blocking, anomalies_path or None))
    gate_pass.errors = len(blocking)
    gate_pass.warnings = len(found) - len(blocking)


def write_anomalies(path: Path, found: Sequence[Anomaly]) -> None:
    """Writes every anomaly as JSON, replacing the file atomically."""
    errors = len(blocking_anomalies(found))
    document = {
        _ERRORS: errors,
        _WARNINGS: len(found) - errors,
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
    previous: types.Artifact | None,
) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Returns the previous run's statistics by split; empty if there was no run."""
    splits = artifact_utils.decode_split_names(previous.split_names) if previous else ()
    return {split: _read_statistics(previous, split) for split in splits}


def _read_schema(folder: Path) -> schema_pb2.Schema:
    """Returns the schema in the one text file of its artifact."""
    (path,) = (entry for entry in folder.iterdir() if entry.is_file())
    return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
