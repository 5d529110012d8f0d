"""What the sections read from the artifacts, each thing once and only if it is needed.

TensorFlow and the model are loaded on first use: a page of a run that stopped at its data
needs neither.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.names import LATEST_BLESSED_MODEL, TEST
from components.report.sources import Sources, existing, read_json, splits

if TYPE_CHECKING:
    import pandas as pd

    from components.evaluation.verdict import Verdict
    from components.report.evaluated import EvaluatedModel, Predictions
    from components.report.ratings import Ratings

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics

TOP_K = 10

MAX_PREDICTED = 5_000
"""Test ratings that are predicted; of more, those of every n-th user."""

MAX_USERS = 400
"""Users who get recommendations, from which their popularity is counted."""

# Files in artifacts: the ExampleGens', TFX 1.15's, the Trainer's.
_WRANGLING_FILE = "wrangling.json"
_STATISTICS_FILE = "FeatureStats.pb"
_HISTORY_FILE = "history.json"


class Context:
    """Reads from the sources; what is missing is None or empty.

    Args:
      sources: where everything is.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @functools.cached_property
    def wrangling(self) -> Mapping[str, Any]:
        """What RatingsGen dropped and repaired."""
        folder = self.sources.ratings
        return read_json(folder / _WRANGLING_FILE if folder else None)

    @functools.cached_property
    def statistics(self) -> Mapping[str, Statistics]:
        """TFDV's statistics by split."""
        return read_statistics(self.sources.statistics)

    @functools.cached_property
    def previous_statistics(self) -> Mapping[str, Statistics]:
        """Those of the run before, by split."""
        return read_statistics(self.sources.previous_statistics)

    @functools.cached_property
    def schema(self) -> schema_pb2.Schema | None:
        """The curated schema."""
        return read_schema(self.sources.schema)

    @functools.cached_property
    def inferred_schema(self) -> schema_pb2.Schema | None:
        """The schema inferred from the training split."""
        return read_schema(self.sources.inferred_schema)

    @functools.cached_property
    def verdict(self) -> Verdict | None:
        """What the Evaluator found."""
        if self.sources.evaluation is None or self.sources.blessing is None:
            return None
        from components.evaluation.verdict import read_verdict

        return read_verdict(self.sources.evaluation, self.sources.blessing)

    @functools.cached_property
    def comparable(self) -> bool:
        """False where a model was blessed before that cannot be compared with this one."""
        lineage = self.sources.lineage
        return (
            lineage is None
            or lineage.output(LATEST_BLESSED_MODEL, "model_blessing") is None
            or lineage.output(LATEST_BLESSED_MODEL, "model") is not None
        )

    @functools.cached_property
    def history(self) -> Mapping[str, list[float]]:
        """Losses per epoch by name."""
        folder = self.sources.model_run
        return read_json(folder / _HISTORY_FILE if folder else None)

    @functools.cached_property
    def ratings(self) -> Ratings | None:
        """The ratings."""
        if not splits(self.sources.ratings) or self.sources.ratings is None:
            return None
        from components.report.ratings import read_ratings

        found = read_ratings(self.sources.ratings, self.sources.features)
        return found if len(found.rows) else None

    @functools.cached_property
    def catalogue(self) -> pd.DataFrame | None:
        """The movies, by id."""
        if not splits(self.sources.movies) or self.sources.movies is None:
            return None
        from components.report.ratings import read_catalogue

        return read_catalogue(self.sources.movies, self.sources.features)

    @functools.cached_property
    def model(self) -> EvaluatedModel | None:
        """The trained model."""
        folder = self.sources.evaluated_model()
        if folder is None:
            return None
        from components.report.evaluated import EvaluatedModel

        return EvaluatedModel(folder)

    @functools.cached_property
    def predictions(self) -> Predictions | None:
        """Predicted ratings of the test split, or of a sample of it."""
        test = splits(self.sources.ratings).get(TEST)
        if self.model is None or self.ratings is None or test is None:
            return None
        rows = int((self.ratings.rows["split"] == TEST).sum())
        found = self.model.predict(test, max(1, math.ceil(rows / MAX_PREDICTED)))
        return found if found.rating.size else None

    def title(self, movie_id: int) -> str:
        """Returns a movie's title, or its id where the catalogue does not have it."""
        if self.catalogue is None or movie_id not in self.catalogue.index:
            return f"movie {movie_id}"
        return str(self.catalogue.at[movie_id, "title"])


def read_statistics(folder: Path | None) -> dict[str, Statistics]:
    """Returns the statistics of each split of an artifact that has any."""
    found = {}
    for name, split in splits(folder).items():
        path = existing(split / _STATISTICS_FILE)
        if path is None:
            continue
        read = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        if read.datasets:
            found[name] = read.datasets[0]
    return found


def read_schema(folder: Path | None) -> schema_pb2.Schema | None:
    """Returns the schema in the one text file of its artifact; None if there is none."""
    if folder is None or not folder.is_dir():
        return None
    paths = sorted(folder.glob("*.pbtxt"))
    if not paths:
        return None
    return text_format.Parse(paths[0].read_text(encoding="utf-8"), schema_pb2.Schema())
