"""The executor of ReportGen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components import names
from components.report.build import write_report
from components.report.sources import FOLDERS, Sources, existing
from components.report.store import Lineage, read_latest_run
from schema.features import FEATURES_KEY, FeatureTable

REPORT_KEY = "report"
DATASET_KEY = "dataset"
KIND_KEY = "kind"
METADATA_FILE_KEY = "metadata_file"
RESULTS_FILE_KEY = "results_file"
RESULTS_DIGEST_KEY = "results_digest"

GATE_PASS_KEY = "gate_pass"
"""What the gate found, in its artifact."""

BROKEN = "broken"
"""Property of the report: titles of sections that could not be made, separated by commas."""

# What happens after the verdict can differ between runs whose reports are the same.
_AFTERWARDS = frozenset({names.PUSHER, names.REPORT_GEN})


class Executor(base_executor.BaseExecutor):
    """Executor of `ReportGen`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `index.html`; a part that cannot be made says so in its place.

        Args:
          input_dict: the artifacts to report on, each of which may be missing.
          output_dict: `report`.
          exec_properties: `dataset` and `features` as JSON, `kind`, `metadata_file`,
            `results_file`.
        """
        report = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        made = write_report(
            self.sources(input_dict, exec_properties), Path(report.uri) / names.REPORT_FILE.name
        )
        report.set_string_custom_property(BROKEN, ", ".join(made.broken))

    def sources(
        self, input_dict: Mapping[str, list[types.Artifact]], exec_properties: Mapping[str, Any]
    ) -> Sources:
        """Returns where the page's parts come from."""
        folders: dict[str, Any] = {
            key: Path(found[0].uri) for key in FOLDERS if (found := input_dict.get(key))
        }
        gate = input_dict.get(GATE_PASS_KEY)
        results = exec_properties.get(RESULTS_FILE_KEY)
        return Sources(
            **folders,
            findings=existing(Path(gate[0].uri) / names.ANOMALIES_FILE) if gate else None,
            lineage=_lineage(exec_properties.get(METADATA_FILE_KEY)),
            dataset=json.loads(exec_properties[DATASET_KEY]),
            kind=exec_properties[KIND_KEY],
            results=existing(Path(results)) if results else None,
            features=FeatureTable.from_json(exec_properties[FEATURES_KEY]),
        )


def _lineage(metadata: str | None) -> Lineage | None:
    """Returns this run up to the verdict, which is all that the inputs' history says."""
    found = read_latest_run(Path(metadata)) if metadata else None
    if found is None:
        return None
    # Whether this run, or one before, did the work can differ as well.
    kept = tuple(
        dataclasses.replace(execution, cached=False)
        for execution in found.executions
        if execution.component not in _AFTERWARDS
    )
    return dataclasses.replace(found, executions=kept)
