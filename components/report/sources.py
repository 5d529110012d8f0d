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
from storage import paths

RESULTS_FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "results.json"
"""The comparison with other methods, in a checkout of the project."""

_SPLIT_PREFIX = "Split-"


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where each part comes from; None stands for what a run did not get to.

    Attributes:
      ratings: Examples of the ratings, with `wrangling.json` beside the splits.
      previous_statistics: those of the run before, on other data.
      inferred_schema: that of SchemaGen; `schema` is the curated one.
      findings: `anomalies.json` of the gate.
      model_run: the training's losses.
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
        """Returns the SavedModel that was evaluated, which does not know the test split.

        The model that is served knows it. Artifacts of earlier releases have one for both.
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
    """Finds what the latest run in the runner's output directory left behind, however it ended.

    `dataset`, the data as the runner resolved it, `kind`, data set and split as JSON values, and
    `error`, why the run ended early, are read from `summary.json` where they are not given.
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
    made = lineage.of(names.RATINGS_GEN) if lineage is not None else None
    # The JSON form of a proto that holds a struct: see `ExampleGenOptions.to_proto`.
    options = json.loads(str(made.settings.get("custom_config", "{}"))) if made else {}
    text = options.get("custom_config", {}).get("value", {}).get(FEATURES_KEY)
    return FeatureTable.from_json(text) if text else MOVIELENS


def _findings(output_dir: Path, lineage: Lineage) -> Path | None:
    """Returns what the gate found in this run; None if the run did not get to it."""
    passed = lineage.output(names.ANOMALY_GATE, "gate_pass")
    if passed is not None:
        return existing(Path(passed.uri) / names.ANOMALIES_FILE)
    # TFX deletes what a failed gate wrote; the runner's copy is left.
    return existing(output_dir / names.ANOMALIES_FILE) if lineage.of(names.ANOMALY_GATE) else None


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
    try:
        value = paths.read_json(path) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def splits(folder: Path | None) -> dict[str, Path]:
    """Returns the folder of each split of an artifact: training first, test last."""
    folders = folder.glob(f"{_SPLIT_PREFIX}*") if folder is not None else ()
    found = {path.name.removeprefix(_SPLIT_PREFIX): path for path in folders}
    known = [name for name in names.SPLITS if name in found]
    return {name: found[name] for name in (*known, *sorted(found.keys() - set(known)))}
