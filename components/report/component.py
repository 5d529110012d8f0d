"""The ReportGen component: an HTML report of the pipeline's artifacts.

Its inputs are the artifacts themselves, so a cached report is right as long as they are the
same ones: the verdict is in `evaluation` and `blessing`, and the executions that made the
inputs, which the page lists from the metadata store, cannot change. What comes after the
verdict is left out for that reason. Nothing waits for it, and the Pusher least of all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts

from components.gate.component import GatePass
from components.report import executor
from components.report.sources import RESULTS_FILE
from schema.features import FEATURES_KEY, FeatureTable


class Report(artifact.Artifact):
    """The HTML report: `index.html`, which needs no network."""

    TYPE_NAME = "Report"


_OPTIONAL = {
    "movies": standard_artifacts.Examples,
    "statistics": standard_artifacts.ExampleStatistics,
    "previous_statistics": standard_artifacts.ExampleStatistics,
    "inferred_schema": standard_artifacts.Schema,
    "schema": standard_artifacts.Schema,
    executor.GATE_PASS_KEY: GatePass,
    "model": standard_artifacts.Model,
    "model_run": standard_artifacts.ModelRun,
    "evaluation": standard_artifacts.ModelEvaluation,
    "blessing": standard_artifacts.ModelBlessing,
}
"""Types of the inputs that may be missing."""


class ReportGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of ReportGen."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads a plain dict
        executor.DATASET_KEY: component_spec.ExecutionParameter(type=str),
        executor.KIND_KEY: component_spec.ExecutionParameter(type=str),
        FEATURES_KEY: component_spec.ExecutionParameter(type=str),
        executor.METADATA_FILE_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.RESULTS_FILE_KEY: component_spec.ExecutionParameter(type=str),
        executor.RESULTS_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "ratings": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        **{
            name: component_spec.ChannelParameter(type=kind, optional=True)
            for name, kind in _OPTIONAL.items()
        },
    }
    OUTPUTS = {  # noqa: RUF012
        executor.REPORT_KEY: component_spec.ChannelParameter(type=Report),
    }


class ReportGen(base_component.BaseComponent):
    """Builds the HTML report of a run's artifacts.

    `outputs["report"]` is a `Report` that holds `index.html`.
    """

    SPEC_CLASS = ReportGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        ratings: types.BaseChannel,
        *,
        dataset: Mapping[str, Any],
        kind: str,
        features: FeatureTable,
        metadata_file: str | None = None,
        results_file: Path = RESULTS_FILE,
        **others: types.BaseChannel,
    ) -> None:
        """Builds the component.

        Args:
          ratings: `Examples` of the ratings, with `wrangling.json` beside the splits.
          dataset: name, folders and notice of the data, in JSON's terms.
          kind: data set and split, in words.
          features: the columns of ratings and movies; what is charted follows from them.
          metadata_file: SQLite file of the metadata store; without it the page has no lineage.
          results_file: the comparison with other methods, which may be missing.
          **others: `movies`, `statistics`, `previous_statistics`, `inferred_schema`,
            `schema`, `gate_pass`, `model`, `model_run`,
            `evaluation` and `blessing`, as `Sources` describes them; all optional.
        """
        super().__init__(
            spec=ReportGenSpec(
                ratings=ratings,
                **others,
                dataset=json.dumps(dataset, sort_keys=True),
                kind=kind,
                features=features.to_json(),
                metadata_file=metadata_file,
                results_file=str(results_file),
                results_digest=_digest(results_file),
                report=types.Channel(type=Report),
            )
        )


def _digest(path: Path) -> str:
    """Returns a hash of a file's content for the cache key; empty where there is no file."""
    if not path.is_file():
        return ""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
