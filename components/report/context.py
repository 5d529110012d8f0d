"""What the sections read from the artifacts, each thing once and only if it is needed.

TensorFlow and the model are loaded on first use: a page of a run that stopped at its data
needs neither.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.names import DATASET_SPEC, LATEST_BLESSED_MODEL, RATINGS_GEN, TEST
from components.report.sources import Sources, existing, read_json, splits
from schema import features as raw
from schema.dataset import DatasetLabel, plural, read_label
from schema.export_contract import DATASET_FILE

if TYPE_CHECKING:
    import pandas as pd

    from components.evaluation.verdict import Verdict
    from components.report.evaluated import EvaluatedModel, Predictions
    from components.report.ratings import Ratings

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics

TOP_K = 10

MAX_PREDICTED = 5_000
"""Test ratings that are predicted; of more, those of about one in n users."""

MAX_USERS = 400
"""Users who get recommendations, from which their popularity is counted."""

# Files in artifacts: the ExampleGens', TFX 1.15's, the Trainer's.
_WRANGLING_FILE = "wrangling.json"
_STATISTICS_FILE = "FeatureStats.pb"
_HISTORY_FILE = "history.json"


class Words(NamedTuple):
    """What the page calls things of this data, in the singular and the plural.

    Attributes:
      item: such as "movie" or "book".
      items: such as "movies".
      event: "rating", or "event" where the data has no ratings.
      events: "ratings" or "events".
      in_stars: whether ratings are stars, up to five.
    """

    item: str
    items: str
    event: str
    events: str
    in_stars: bool

    def fit(self, text: str) -> str:
        """Returns a text on movies and ratings in the words of this data."""
        for english, word in (
            ("movies", self.items),
            ("movie", self.item),
            ("ratings", self.events),
            ("rating", self.event),
        ):
            text = re.sub(rf"\b{english}\b", word, text)
        return text

    def rated(self, value: float) -> str:
        """Returns a rating in words, such as "4 stars"."""
        if not self.in_stars:
            return f"rating {value:g}"
        return f"{value:g} star{'' if value == 1 else 's'}"


class Context:
    """Reads from the sources; what is missing is None or empty.

    Args:
      sources: where everything is.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @functools.cached_property
    def label(self) -> DatasetLabel:
        """What the data is called: of the model, else of the ratings."""
        folder, lineage = self.sources.evaluated_model(), self.sources.lineage
        if folder is not None:
            return read_label(folder / DATASET_FILE)
        examples = lineage.output(RATINGS_GEN, "examples") if lineage is not None else None
        text = examples.properties.get(DATASET_SPEC) if examples is not None else None
        return DatasetLabel.from_json(json.loads(str(text)) if text else None)

    @functools.cached_property
    def words(self) -> Words:
        """What the page calls items and their ratings."""
        table, item = self.sources.features, self.label.item_noun
        event = "rating" if table.has_rating else "event"
        in_stars = table.has_rating and table.scale.low >= 0 and table.scale.high == raw.RATING_MAX
        return Words(item, plural(item), event, plural(event), in_stars)

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
        table, every = self.sources.features, max(1, math.ceil(rows / MAX_PREDICTED))
        if not table.has_rating:
            return None
        found = self.model.predict(test, every, table)
        return found if found.rating.size else None

    def title(self, movie_id: str) -> str:
        """Returns a movie's title, or its id where the catalogue does not have one."""
        titles = self.catalogue["title"] if self.catalogue is not None else {}
        title = str(titles.get(movie_id, raw.UNKNOWN))
        return title if title != raw.UNKNOWN else f"{self.words.item} {movie_id}"


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
