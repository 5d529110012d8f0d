"""The folders of artifacts that a report is made from; each of them may be missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import names
from components.pusher.kind import Kind
from components.report.store import Lineage, read_latest_run
from schema.features import FEATURES_KEY, MOVIELENS, FeatureTable

RESULTS_FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "results.json"
"""The comparison with other methods, in a checkout of the project."""

_SPLIT_PREFIX = "Split-"


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where each part comes from; None stands for what a run did not get to.

    Attributes:
      ratings: Examples of the ratings, with `wrangling.json` beside the splits.
      movies: Examples of the catalogue.
      statistics: TFDV's statistics of the ratings.
      previous_statistics: those of the run before, on other data.
      inferred_schema: the schema that SchemaGen inferred.
      schema: the curated schema.
      findings: `anomalies.json` of the gate.
      model: the trained model.
      model_run: the training's losses.
      evaluation: TFMA's results.
      blessing: the Evaluator's word.
      lineage: the executions and artifacts behind all that.
      dataset: name, folders and notice of the data, as the runner resolved them.
      kind: data set and split, in words.
      error: why the run ended early, as it was printed.
      results: the comparison with other methods.
      features: the columns of ratings and movies.
    """

    ratings: Path | None = None
    movies: Path | None = None
    statistics: Path | None = None
    previous_statistics: Path | None = None
    inferred_schema: Path | None = None
    schema: Path | None = None
    findings: Path | None = None
    model: Path | None = None
    model_run: Path | None = None
    evaluation: Path | None = None
    blessing: Path | None = None
    lineage: Lineage | None = None
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    kind: str = ""
    error: str = ""
    results: Path | None = None
    features: FeatureTable = MOVIELENS

    def evaluated_model(self) -> Path | None:
        """Returns the SavedModel that was evaluated, in the model's artifact; None without one.

        It does not know the test split, so what it recommends can be compared with that. The
        model that is served knows it. Artifacts of earlier releases have one for both.
        """
        folders = [self.model / name for name in ("Format-TFMA", "Format-Serving") if self.model]
        return next((path for path in folders if (path / "saved_model.pb").exists()), None)


_OUTPUTS: Mapping[str, tuple[str, str]] = {
    "ratings": (names.RATINGS_GEN, "examples"),
    "movies": (names.MOVIES_GEN, "examples"),
    "statistics": (names.STATISTICS_GEN, "statistics"),
    "inferred_schema": (names.SCHEMA_GEN, "schema"),
    "schema": (names.IMPORT_SCHEMA_GEN, "schema"),
    "model": (names.TRAINER, "model"),
    "model_run": (names.TRAINER, "model_run"),
    "evaluation": (names.EVALUATOR, "evaluation"),
    "blessing": (names.EVALUATOR, "blessing"),
}
"""Component and output of each field of `Sources`."""


def find_sources(
    output_dir: Path,
    *,
    dataset: Mapping[str, Any] | None = None,
    kind: Mapping[str, Any] | None = None,
    error: str = "",
) -> Sources:
    """Finds what the latest run in an output directory left behind, however it ended.

    Args:
      output_dir: the runner's output directory.
      dataset: the data as the runner resolved it; else it is read from `summary.json`.
      kind: data set and split, as JSON values; else they are read from `summary.json`.
      error: why the run ended early; else it is read from `summary.json`.
    """
    lineage = read_latest_run(output_dir / names.METADATA_FILE)
    summary = _summary_of(output_dir, lineage)
    found: dict[str, Path | None] = {}
    if lineage is not None:
        for field, output in _OUTPUTS.items():
            artifact = lineage.output(*output)
            found[field] = existing(Path(artifact.uri)) if artifact else None
        previous = lineage.input(names.ANOMALY_GATE, "previous_statistics")
        found["previous_statistics"] = existing(Path(previous.uri)) if previous else None
        found["findings"] = _findings(output_dir, lineage)
    return Sources(
        **found,
        lineage=lineage,
        dataset=dataset or summary.get("dataset") or {},
        kind=_in_words(kind or summary.get("kind")),
        error=error or str(summary.get("error") or ""),
        results=existing(RESULTS_FILE),
        features=features_of(lineage),
    )


def features_of(lineage: Lineage | None) -> FeatureTable:
    """Returns the feature table of a run's RatingsGen; MovieLens's if that did not start."""
    for execution in lineage.executions if lineage is not None else ():
        if execution.component == names.RATINGS_GEN:
            # The JSON form of a proto that holds a struct: see `ExampleGenOptions.to_proto`.
            options = json.loads(str(execution.settings.get("custom_config", "{}")))
            text = options.get("custom_config", {}).get("value", {}).get(FEATURES_KEY)
            return FeatureTable.from_json(text) if text else MOVIELENS
    return MOVIELENS


def _findings(output_dir: Path, lineage: Lineage) -> Path | None:
    """Returns what the gate found in this run; None if the run did not get to it."""
    passed = lineage.output(names.ANOMALY_GATE, "gate_pass")
    if passed is not None:
        return existing(Path(passed.uri) / names.ANOMALIES_FILE)
    if not any(execution.component == names.ANOMALY_GATE for execution in lineage.executions):
        return None
    # TFX deletes what a failed gate wrote; the runner's copy is left.
    return existing(output_dir / names.ANOMALIES_FILE)


def _summary_of(output_dir: Path, lineage: Lineage | None) -> Mapping[str, Any]:
    """Returns the summary if it is the run's own: one that read no data has none in the store."""
    summary = read_json(output_dir / names.SUMMARY_FILE)
    return summary if lineage is not None and summary.get("run") == lineage.run else {}


def _in_words(kind: object) -> str:
    """Returns a kind that is given as JSON values in words; nothing where it is none."""
    try:
        return Kind.from_json(kind).describe() if isinstance(kind, Mapping) else ""
    except ValueError:
        return ""


def existing(path: Path) -> Path | None:
    """Returns a path if there is something at it."""
    return path if path.exists() else None


def read_json(path: Path | None) -> Mapping[str, Any]:
    """Returns the JSON object in a file; an empty one where there is none that can be read."""
    if path is None or not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def splits(folder: Path | None) -> dict[str, Path]:
    """Returns the folder of each split of an artifact: training first, test last."""
    if folder is None or not folder.is_dir():
        return {}
    found = {
        path.name.removeprefix(_SPLIT_PREFIX): path
        for path in folder.iterdir()
        if path.name.startswith(_SPLIT_PREFIX)
    }
    known = [name for name in names.SPLITS if name in found]
    return {name: found[name] for name in (*known, *sorted(found.keys() - set(known)))}
