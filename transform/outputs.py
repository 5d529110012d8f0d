"""What the preprocessing graph puts out: name, owner and number of values of each feature.

The towers are built from this table; sizes that depend on the data are read from the
transform output at training time, never written down here.
"""

from __future__ import annotations

import dataclasses

import tensorflow_transform as tft

from schema import features as raw
from schema import us_states
from schema.features import Owner

TIME_BUCKETS = 1000
"""Quantile buckets of the rating's time: fine enough to tell one sitting from the next."""

UNKNOWN_TIME = TIME_BUCKETS
"""The bucket of a time after the training's: Transform never gives it, the model does."""

RELEASE_YEAR_BUCKETS = 16
"""Quantile buckets of the release year, over ratings; 0 is kept for an unknown year."""

WORD_MIN_RATINGS = 20
"""A title word, director or star is given a vector of its own from this many ratings on."""


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
    source: raw.Feature
    vocabulary: str | None = None
    oov_buckets: int = 1
    fixed_size: int | None = None
    multivalued: bool = False

    @property
    def owner(self) -> Owner:
        """Whose fact it is: that of the raw feature it comes from."""
        return self.source.owner

    def size(self, transform_output: tft.TFTransformOutput) -> int:
        """Returns the number of distinct indices, from a Transform artifact."""
        if self.fixed_size is not None:
            return self.fixed_size
        size = transform_output.vocabulary_size_by_name(self.vocabulary)
        return int(size) + self.oov_buckets


def _vocabulary(feature: raw.Feature, name: str, *, multivalued: bool = False) -> Output:
    return Output(
        name=name,
        source=feature,
        vocabulary=name,
        oov_buckets=feature.oov_buckets,
        multivalued=multivalued,
    )


USER_ID = _vocabulary(raw.USER_ID, "user_id_index")
GENDER = Output("gender_index", raw.GENDER, fixed_size=3)
AGE_BUCKET = Output("age_bucket_index", raw.AGE, fixed_size=len(raw.AGE_BUCKETS) + 1)
OCCUPATION = _vocabulary(raw.OCCUPATION, "occupation_index")
ZIP_PREFIX = _vocabulary(raw.ZIP_CODE, "zip_prefix_index")
STATE = Output("state_index", raw.ZIP_CODE, fixed_size=len(us_states.STATES) + 1)
TIME_BUCKET = Output("time_bucket", raw.TIMESTAMP, fixed_size=TIME_BUCKETS + 1)
HOUR_OF_DAY = Output("hour_of_day", raw.TIMESTAMP, fixed_size=24)
DAY_OF_WEEK = Output("day_of_week", raw.TIMESTAMP, fixed_size=7)
MOVIE_ID = _vocabulary(raw.MOVIE_ID, "movie_id_index")
GENRES = _vocabulary(raw.GENRES, "genre_indices", multivalued=True)
TITLE_WORDS = _vocabulary(raw.TITLE, "title_word_indices", multivalued=True)
RELEASE_YEAR = Output("release_year_bucket", raw.RELEASE_YEAR, fixed_size=RELEASE_YEAR_BUCKETS + 1)
DIRECTOR = _vocabulary(raw.DIRECTOR, "director_index")
STAR = _vocabulary(raw.STAR, "star_index")

OUTPUTS: tuple[Output, ...] = (
    USER_ID,
    GENDER,
    AGE_BUCKET,
    OCCUPATION,
    ZIP_PREFIX,
    STATE,
    TIME_BUCKET,
    HOUR_OF_DAY,
    DAY_OF_WEEK,
    MOVIE_ID,
    GENRES,
    TITLE_WORDS,
    RELEASE_YEAR,
    DIRECTOR,
    STAR,
)


def owned_by(*owners: Owner) -> tuple[Output, ...]:
    """Returns the outputs that belong to any of `owners`, in table order."""
    return tuple(output for output in OUTPUTS if output.owner in owners)
