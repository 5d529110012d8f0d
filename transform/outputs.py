"""The outputs of the preprocessing graph: name, owner and number of values of each.

The outputs follow from the feature table by the kinds of its features; the towers are built
from them. Sizes that depend on the data are read from the transform output at training time,
never written down here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow_transform as tft

from schema import features as raw
from schema import us_states
from schema.features import Feature, FeatureTable, Kind, Owner

USER_ID_INDEX = "user_id_index"
ITEM_ID_INDEX = "movie_id_index"
STATE_INDEX = "state_index"
TIME_BUCKET, HOUR_OF_DAY, DAY_OF_WEEK = "time_bucket", "hour_of_day", "day_of_week"

TIME_BUCKETS = 1000
"""Quantile buckets of the rating's time: fine enough to separate sessions."""

UNKNOWN_TIME = TIME_BUCKETS
"""The bucket of a time after the training's: Transform never gives it, the model does."""

YEAR_BUCKETS = 16
"""Quantile buckets of a year, over ratings; 0 is kept for an unknown year."""

NUMBER_BUCKETS = 16
"""Quantile buckets of any other number, over ratings; 0 is kept for a missing one.

Buckets rather than the number itself: an embedding of each follows any relation, a price of a
million beside others of ten moves nothing, and "not known" needs no stand-in value.
"""


class Unknown(NamedTuple):
    """The indices of a feature that stand for "not known".

    Attributes:
      value: that of a value that is not given.
      end: the least index of values that are out of the vocabulary, which are not known either.
    """

    value: int
    end: int


@dataclasses.dataclass(frozen=True)
class Output:
    """One transformed feature, an int64 index (or several, where `multivalued`).

    Attributes:
      name: key in the preprocessing graph's outputs.
      source: the raw feature it is made from.
      vocabulary: name of the vocabulary that its values index, if any.
      oov_buckets: indices after the vocabulary's, for values outside of it.
      fixed_size: number of values where that does not depend on the data.
      multivalued: a ragged list of indices per row.
    """

    name: str
    source: Feature
    vocabulary: str | None = None
    oov_buckets: int = 1
    fixed_size: int | None = None
    multivalued: bool = False

    @property
    def owner(self) -> Owner:
        """The entity it describes: that of the raw feature it comes from."""
        return self.source.owner

    def size(self, transform_output: tft.TFTransformOutput) -> int:
        """Returns the number of distinct indices, from a Transform artifact."""
        if self.fixed_size is not None:
            return self.fixed_size
        size = transform_output.vocabulary_size_by_name(self.vocabulary)
        return int(size) + self.oov_buckets

    def unknown(self, transform_output: tft.TFTransformOutput) -> Unknown:
        """Returns the indices of a category or number that is not known, from a Transform artifact.

        Of a category it is that of "unknown", which is out of the vocabulary where no training row
        has it.
        """
        if self.vocabulary is None:
            return Unknown(0, NUMBER_BUCKETS + 1)
        known = transform_output.vocabulary_by_name(self.vocabulary)
        value = raw.UNKNOWN.encode()
        return Unknown(known.index(value) if value in known else len(known), len(known))


@dataclasses.dataclass(frozen=True)
class OutputTable:
    """The outputs of the preprocessing graph, in the order of the feature table.

    Args:
      outputs: the outputs.

    Raises:
      ValueError: two have one name.
    """

    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        found = [output.name for output in self.outputs]
        twice = [one for one in self.outputs if found.count(one.name) > 1]
        if twice:
            received = ", ".join(f"{one.name} of {one.source.name}" for one in twice)
            raise ValueError(
                f"expected transformed features of different names, received {received}: "
                "give the features different stems"
            )

    def owned_by(self, *owners: Owner) -> tuple[Output, ...]:
        """Returns the outputs that belong to any of `owners`, in table order."""
        return tuple(output for output in self.outputs if output.owner in owners)

    def of_kinds(self, owner: Owner, kinds: Sequence[Kind]) -> tuple[Output, ...]:
        """Returns the outputs of an owner by kind, in the order of `kinds`, then of the table."""
        return tuple(
            output
            for kind in kinds
            for output in self.owned_by(owner)
            if output.source.kind is kind
        )


def outputs_of(table: FeatureTable) -> OutputTable:
    """Returns the outputs of the preprocessing graph for a feature table.

    Raises:
      ValueError: two transformed features have one name.
    """
    return OutputTable(tuple(one for feature in table.features for one in made_from(feature)))


def made_from(feature: Feature) -> tuple[Output, ...]:
    """Returns the outputs that are made from one feature: none, one or several."""
    return _OUTPUTS[feature.kind](feature)


def _indices(name: str, feature: Feature, *, multivalued: bool = False) -> tuple[Output, ...]:
    """Returns the output whose values index a vocabulary."""
    return (
        Output(
            name,
            feature,
            vocabulary=name,
            oov_buckets=feature.oov_buckets,
            multivalued=multivalued,
        ),
    )


def _zip_code(feature: Feature) -> tuple[Output, ...]:
    state = Output(STATE_INDEX, feature, fixed_size=len(us_states.STATES) + 1)
    return (*_indices(f"{feature.key}_prefix_index", feature), state)


def _time(feature: Feature) -> tuple[Output, ...]:
    return (
        Output(TIME_BUCKET, feature, fixed_size=TIME_BUCKETS + 1),
        Output(HOUR_OF_DAY, feature, fixed_size=24),
        Output(DAY_OF_WEEK, feature, fixed_size=7),
    )


_OUTPUTS: Mapping[Kind, Callable[[Feature], tuple[Output, ...]]] = {
    Kind.ID: lambda one: _indices(USER_ID_INDEX if one.owner is Owner.USER else ITEM_ID_INDEX, one),
    Kind.CATEGORY: lambda one: _indices(f"{one.key}_index", one),
    Kind.GENDER: lambda one: (Output(f"{one.key}_index", one, fixed_size=3),),
    Kind.ZIP_CODE: _zip_code,
    Kind.TITLE: lambda one: _indices(f"{one.key}_word_indices", one, multivalued=True),
    Kind.TAGS: lambda one: _indices(f"{one.key}_indices", one, multivalued=True),
    Kind.AGE: lambda one: (
        Output(f"{one.key}_bucket_index", one, fixed_size=len(raw.AGE_BUCKETS) + 1),
    ),
    Kind.YEAR: lambda one: (Output(f"{one.key}_bucket", one, fixed_size=YEAR_BUCKETS + 1),),
    Kind.NUMBER: lambda one: (Output(f"{one.key}_bucket", one, fixed_size=NUMBER_BUCKETS + 1),),
    Kind.TIME: _time,
    Kind.RATING: lambda one: (),
    Kind.POSITION: lambda one: (),
    Kind.DATE: lambda one: (),
    Kind.AGE_BUCKET: lambda one: (),
    Kind.REPORT_ONLY: lambda one: (),
}
"""The outputs that are made from a feature, by its kind."""
