"""What the sections read from the artifacts, each thing once and only if it is needed."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from components.evaluation.verdict import Verdict, read_verdict
from components.names import DATASET_SPEC, LATEST_BLESSED_MODEL, RATINGS_GEN
from components.report.evaluated import EvaluatedModel
from components.report.ratings import Ratings, read_catalogue, read_ratings
from components.report.sources import Sources, read_json, splits
from schema import features as raw
from schema.dataset import DatasetLabel, in_words_of, plural, read_label
from schema.export_contract import DATASET_FILE

_WRANGLING_FILE = "wrangling.json"


class Words(NamedTuple):
    """What the page calls this data's items, such as books, and its ratings, or else its events.

    `in_stars` is whether ratings are stars, up to five.
    """

    item: str
    items: str
    event: str
    events: str
    in_stars: bool

    def fit(self, text: str) -> str:
        """Returns a text on movies and ratings in the words of this data."""
        text = in_words_of(text, self.item)
        return re.sub(r"\brating(s?)\b", lambda f: self.events if f[1] else self.event, text)

    def rated(self, value: float) -> str:
        """Returns a rating in words, such as "4 stars"."""
        if not self.in_stars:
            return f"rating {value:g}"
        return f"{value:g} star{'' if value == 1 else 's'}"


@dataclasses.dataclass
class Context:
    """Reads from the sources; what is missing is None or empty."""

    sources: Sources

    @functools.cached_property
    def label(self) -> DatasetLabel:
        """What the data is called: of the model, else of the ratings."""
        folder, lineage = self.sources.evaluated_model(), self.sources.lineage
        if folder is not None:
            return read_label(folder / DATASET_FILE)
        examples = lineage.output(RATINGS_GEN, "examples") if lineage is not None else None
        text = examples.custom_properties[DATASET_SPEC].string_value if examples else ""
        return DatasetLabel.from_json(json.loads(text) if text else None)

    @functools.cached_property
    def words(self) -> Words:
        """What the page calls items and their ratings."""
        table, item = self.sources.features, self.label.item_noun
        event = "rating" if table.has_rating else "event"
        in_stars = table.has_rating and table.scale.low >= 0 and table.scale.high == raw.RATING_MAX
        return Words(item, plural(item), event, plural(event), in_stars)

    @property
    def kind_sentence(self) -> str:
        """Data and split as a sentence after another one; empty where they are not known."""
        return f" Data and split: {self.sources.kind}." if self.sources.kind else ""

    @functools.cached_property
    def wrangling(self) -> Mapping[str, Any]:
        """What RatingsGen dropped and repaired."""
        folder = self.sources.ratings
        return read_json(folder / _WRANGLING_FILE if folder else None)

    @functools.cached_property
    def verdict(self) -> Verdict | None:
        """What the Evaluator found."""
        if self.sources.evaluation is None or self.sources.blessing is None:
            return None
        return read_verdict(self.sources.evaluation, self.sources.blessing)

    @functools.cached_property
    def comparable(self) -> bool:
        """False where a model was blessed before that cannot be compared with this one."""
        lineage = self.sources.lineage
        found = lineage.of(LATEST_BLESSED_MODEL) if lineage is not None else None
        outputs = found.outputs if found is not None else {}
        return bool(outputs.get("model")) or not outputs.get("model_blessing")

    @functools.cached_property
    def ratings(self) -> Ratings | None:
        """The ratings."""
        folder = self.sources.ratings
        found = read_ratings(folder, self.sources.features) if folder and splits(folder) else None
        return found if found is not None and len(found.rows) else None

    @functools.cached_property
    def catalogue(self) -> pd.DataFrame | None:
        """The movies, by id."""
        folder = self.sources.movies
        return read_catalogue(folder, self.sources.features) if folder and splits(folder) else None

    @functools.cached_property
    def model(self) -> EvaluatedModel | None:
        """The trained model."""
        folder = self.sources.evaluated_model()
        return EvaluatedModel(folder) if folder is not None else None

    def title(self, movie_id: str) -> str:
        """Returns a movie's title, or its id where the catalogue does not have one."""
        titles = self.catalogue["title"] if self.catalogue is not None else {}
        title = str(titles.get(movie_id, raw.UNKNOWN))
        return title if title != raw.UNKNOWN else f"{self.words.item} {movie_id}"
