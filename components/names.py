"""Names that several packages share: splits, components, and files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

# -- splits --------------------------------------------------------------------------------

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: tuple[str, ...] = (TRAIN, VALIDATION, TEST)
"""The splits of the ratings, in order."""

MOVIES: Final = "movies"
"""The one split of the catalogue."""

SplitMethod = Literal["random", "temporal", "timeline", "leave-one-out"]
SPLIT_METHODS: tuple[SplitMethod, ...] = ("random", "temporal", "timeline", "leave-one-out")

MODEL_KIND: Final = "kind"
"""Custom property of a model: the data and the split that it was fitted on, as one word."""

EVALUATION_VERSION: Final = "evaluation_version"
"""Custom property of a model: the version of its signature for the evaluation."""

DATASET_SPEC: Final = "dataset"
"""Custom property of Examples: the `DatasetSpec` of the data as JSON text."""

# -- components ----------------------------------------------------------------------------

RATINGS_GEN: Final = "RatingsGen"
MOVIES_GEN: Final = "MoviesGen"
STATISTICS_GEN: Final = "StatisticsGen"
SCHEMA_GEN: Final = "SchemaGen"
IMPORT_SCHEMA_GEN: Final = "ImportSchemaGen"
EXAMPLE_VALIDATOR: Final = "ExampleValidator"
PREVIOUS_STATISTICS: Final = "PreviousStatistics"
ANOMALY_GATE: Final = "AnomalyGate"
TRANSFORM: Final = "Transform"
TUNER: Final = "Tuner"
TRAINER: Final = "Trainer"
NEW_USER_EVALUATOR: Final = "NewUserEvaluator"
LATEST_BLESSED_MODEL: Final = "LatestBlessedModel"
EVALUATOR: Final = "Evaluator"
PUSHER: Final = "Pusher"
REPORT_GEN: Final = "ReportGen"

# -- files ---------------------------------------------------------------------------------

PIPELINE_ROOT: Final = "pipeline_root"
METADATA_FILE: Final = "metadata.sqlite"
SERVING_FOLDER: Final = "serving_model"
SUMMARY_FILE: Final = "summary.json"
ANOMALIES_FILE: Final = "anomalies.json"
LOG_FILE: Final = "run.log"
SCHEMA_FILE: Final = "data.schema.pbtxt"
THRESHOLDS_FILE: Final = "thresholds.toml"
REPORT_FILE = Path("report") / "index.html"
