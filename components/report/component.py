"""The ReportGen component: an HTML report of the pipeline's artifacts.

Its inputs are the artifacts themselves, so a cached report is right as long as they are the
same ones: the verdict is in `evaluation` and `blessing`, and the executions that made the
inputs, which the page lists from the metadata store, cannot change. What comes after the
verdict is left out for that reason. Nothing waits for it, and the Pusher least of all.
"""

# Without `from __future__ import annotations`: TFX reads the types of the arguments.

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact, standard_artifacts

from components import names
from components.gate.component import GatePass
from components.report.build import write_report
from components.report.sources import RESULTS_FILE, Sources, existing
from components.report.store import Lineage, read_latest_run
from schema.features import FeatureTable

BROKEN = "broken"
"""Property of the report: titles of sections that could not be made, separated by commas."""

# What happens after the verdict can differ between runs whose reports are the same.
_AFTERWARDS = frozenset({names.PUSHER, names.REPORT_GEN})


class Report(artifact.Artifact):
    """The HTML report: `index.html`, which needs no network."""

    TYPE_NAME = "Report"


@component
def ReportGen(
    ratings: InputArtifact[standard_artifacts.Examples],
    report: OutputArtifact[Report],
    dataset: Parameter[str],
    kind: Parameter[str],
    features: Parameter[str],
    results_file: Parameter[str],
    results_digest: Parameter[str],
    movies: InputArtifact[standard_artifacts.Examples] = None,
    statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
    previous_statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
    inferred_schema: InputArtifact[standard_artifacts.Schema] = None,
    schema: InputArtifact[standard_artifacts.Schema] = None,
    gate_pass: InputArtifact[GatePass] = None,
    model: InputArtifact[standard_artifacts.Model] = None,
    model_run: InputArtifact[standard_artifacts.ModelRun] = None,
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation] = None,
    blessing: InputArtifact[standard_artifacts.ModelBlessing] = None,
    metadata_file: Parameter[str] = "",
) -> None:
    """Writes `index.html`; a part that cannot be made says so in its place.

    The inputs are as `Sources` describes them; `report_options` returns the others.
    """
    given = {
        "ratings": ratings,
        "movies": movies,
        "statistics": statistics,
        "previous_statistics": previous_statistics,
        "inferred_schema": inferred_schema,
        "schema": schema,
        "model": model,
        "model_run": model_run,
        "evaluation": evaluation,
        "blessing": blessing,
    }
    folders: dict[str, Any] = {name: Path(one.uri) for name, one in given.items() if one}
    sources = Sources(
        **folders,
        findings=existing(Path(gate_pass.uri) / names.ANOMALIES_FILE) if gate_pass else None,
        lineage=_lineage(metadata_file),
        dataset=json.loads(dataset),
        kind=kind,
        results=existing(Path(results_file)),
        features=FeatureTable.from_json(features),
    )
    made = write_report(sources, Path(report.uri) / names.REPORT_FILE.name)
    report.set_string_custom_property(BROKEN, ", ".join(made.broken))


def report_options(
    dataset: Mapping[str, Any],
    kind: str,
    features: FeatureTable,
    metadata_file: str = "",
    results_file: Path = RESULTS_FILE,
) -> dict[str, str]:
    """Returns the arguments of `ReportGen` that are no channels, as `Sources` describes them.

    Without `metadata_file`, the SQLite file of the metadata store, the page has no lineage; the
    comparison with other methods in `results_file` may be missing.
    """
    results = results_file.read_bytes() if results_file.is_file() else b""
    return {
        "dataset": json.dumps(dataset, sort_keys=True),
        "kind": kind,
        "features": features.to_json(),
        "metadata_file": metadata_file,
        "results_file": str(results_file),
        "results_digest": hashlib.blake2b(results, digest_size=16).hexdigest(),
    }


def _lineage(metadata: str) -> Lineage | None:
    """Returns this run up to the verdict, which is all that the inputs' history says."""
    found = read_latest_run(Path(metadata)) if metadata else None
    if found is None:
        return None
    # Whether this run, or one before, did the work can differ as well.
    kept = tuple(
        dataclasses.replace(execution, state="ran") if execution.state == "cached" else execution
        for execution in found.executions
        if execution.component not in _AFTERWARDS
    )
    shown = frozenset[int]().union(*(execution.used | execution.made for execution in kept))
    artifacts = {id: artifact for id, artifact in found.artifacts.items() if id in shown}
    return dataclasses.replace(found, executions=kept, artifacts=artifacts)
