"""The description of a data set as one value: its name, its terms, its scale and its features."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from schema.features import FeatureTable, RatingScale

MOVIELENS_CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM TiiS 5, 4, Article 19. https://doi.org/10.1145/2827872"
)


EVERY_EVENT = "every event"
"""The rule by which every event is positive, also one of a low rating."""


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set in the terms of the pipeline.

    Attributes:
      name: of the format, such as "ml-1m"; letters, digits and '-'.
      title: what people call it, such as "MovieLens-1M".
      features: every column of the records: of users, items, context and the rating, with the
        scale of the rating. A feature that the data lacks is not in it.
      licence: under which terms data of this format is published.
      citation: what to cite.
      positive: which events retrieval learns from as positive; `EVERY_EVENT` is the one rule there
        is.
      item_noun: what people call an item, in the singular.

    Raises:
      ValueError: `positive` is another rule.
    """

    name: str
    title: str
    features: FeatureTable
    licence: str = ""
    citation: str = ""
    positive: str = EVERY_EVENT
    item_noun: str = "movie"

    def __post_init__(self) -> None:
        if self.positive != EVERY_EVENT:
            raise ValueError(f"expected positive {EVERY_EVENT!r}, received {self.positive!r}")

    @property
    def scale(self) -> RatingScale | None:
        """The scale of the ratings; None where the data has none."""
        return self.features.scale if self.features.has_rating else None

    @property
    def file_order_is_time(self) -> bool:
        """Whether a user's rows stand in the order in which the ratings were given."""
        return self.features.position is not None

    def to_json(self) -> dict[str, Any]:
        """Returns the specification as a JSON object; the features as `FeatureTable` has them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "features": json.loads(self.features.to_json())}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DatasetSpec:
        """Returns the specification that `to_json` made.

        Raises:
          ValueError: a field is missing, unknown or wrong.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        required = {"name", "title", "features"}
        if not required <= value.keys() <= known:
            raise ValueError(
                f"expected {', '.join(sorted(required))} and no more than "
                f"{', '.join(sorted(known))}; received {', '.join(sorted(value)) or 'nothing'}"
            )
        return cls(**{**value, "features": FeatureTable.from_json(json.dumps(value["features"]))})
