"""Statistics, schema and anomalies as StatisticsGen and ExampleValidator write them."""

from pathlib import Path

import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.types import artifact_utils, standard_artifacts

SCHEMA = text_format.Parse(
    """
    feature {
      name: "user_gender" type: BYTES domain: "gender"
      presence { min_fraction: 1.0 min_count: 1 } shape { }
      drift_comparator { infinity_norm { threshold: 0.1 } }
    }
    feature {
      name: "user_rating" type: FLOAT
      presence { min_fraction: 1.0 min_count: 1 } shape { }
      float_domain { min: 1.0 max: 5.0 }
    }
    feature {
      name: "movie_id" type: BYTES presence { min_fraction: 1.0 min_count: 1 } shape { }
    }
    string_domain { name: "gender" value: "Male" value: "Female" }
    """,
    schema_pb2.Schema(),
)

GOOD = {
    "user_gender": ["Male", "Female"] * 10,
    "user_rating": [1.0, 5.0] * 10,
    "movie_id": ["7"] * 20,
}
NEW_GENDER = {**GOOD, "user_gender": ["Male"] * 18 + ["Diverse", "Diverse"]}
HIGH_RATING = {**GOOD, "user_rating": [4.0] * 19 + [50.0]}
GAPS = {**GOOD, "movie_id": ["7"] * 15 + [None] * 5}
NO_MOVIE = {name: values for name, values in GOOD.items() if name != "movie_id"}
EXTRA = {**GOOD, "shoe_size": ["44"] * 20}
WRONG_TYPE = {**GOOD, "user_rating": ["four"] * 20}


def statistics_of(columns):
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))


def write_statistics(uri, splits):
    """Writes an ExampleStatistics artifact from {split: columns}."""
    for split, columns in splits.items():
        folder = Path(uri) / f"Split-{split}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "FeatureStats.pb").write_bytes(statistics_of(columns).SerializeToString())
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(uri)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    return artifact


def write_schema(uri, schema=SCHEMA):
    Path(uri).mkdir(parents=True, exist_ok=True)
    (Path(uri) / "schema.pbtxt").write_text(text_format.MessageToString(schema))
    artifact = standard_artifacts.Schema()
    artifact.uri = str(uri)
    return artifact


def validate(uri, statistics, schema):
    """Runs the stock ExampleValidator's executor."""
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(uri)
    example_validator.Executor().Do(
        {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {}
    )
    return anomalies


def inputs(folder, splits, schema=SCHEMA):
    """Returns the gate's inputs for {split: columns}, made by the real components."""
    statistics = write_statistics(Path(folder) / "statistics", splits)
    schema_artifact = write_schema(Path(folder) / "schema", schema)
    anomalies = validate(Path(folder) / "anomalies", statistics, schema_artifact)
    return {"anomalies": [anomalies], "statistics": [statistics], "schema": [schema_artifact]}
