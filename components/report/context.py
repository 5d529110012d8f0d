"""What the sections read from the artifacts, each thing once and only if it is asked for.

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

from components.names import TEST
from components.report.sources import Sources, existing, read_json, splits

if TYPE_CHECKING:
    import pandas as pd

    from components.evaluation.verdict import Verdict
    from components.report.counts import RatingCounts
    from components.report.served import Predictions, Recommendations, ServedModel

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics

TOP_K = 10

MAX_PREDICTED = 25_000
"""Test ratings that the model is asked about; of more, every n-th user's are taken."""

MAX_USERS = 400
"""Users that recommendations are asked for, to see what is recommended altogether."""

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
    def history(self) -> Mapping[str, list[float]]:
        """Losses per epoch by name."""
        folder = self.sources.model_run
        return read_json(folder / _HISTORY_FILE if folder else None)

    @functools.cached_property
    def counts(self) -> RatingCounts | None:
        """Counts over the ratings."""
        if not splits(self.sources.ratings) or self.sources.ratings is None:
            return None
        from components.report.counts import count_ratings

        found = count_ratings(self.sources.ratings, self.sources.features)
        return found if found.ratings else None

    @functools.cached_property
    def catalogue(self) -> pd.DataFrame | None:
        """The movies, by id."""
        if not splits(self.sources.movies) or self.sources.movies is None:
            return None
        from components.report.counts import read_catalogue

        return read_catalogue(self.sources.movies, self.sources.features)

    @functools.cached_property
    def model(self) -> ServedModel | None:
        """The trained model."""
        folder = self.sources.evaluated_model()
        if folder is None:
            return None
        from components.report.served import ServedModel

        return ServedModel(folder)

    @functools.cached_property
    def predictions(self) -> Predictions | None:
        """What the model says of the test ratings, or of a sample of them."""
        test = splits(self.sources.ratings).get(TEST)
        if self.model is None or self.counts is None or test is None:
            return None
        rows = int(self.counts.by_split[TEST].sum())
        found = self.model.predict(test, max(1, math.ceil(rows / MAX_PREDICTED)))
        return found if found.user.size else None

    @functools.cached_property
    def recommendations(self) -> Recommendations | None:
        """The top 10 of evenly chosen users."""
        if self.model is None or self.counts is None:
            return None
        users = self.counts.users.index.to_numpy()
        chosen = users[:: max(1, math.ceil(len(users) / MAX_USERS))]
        return self.model.recommend(chosen.tolist(), TOP_K)

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
