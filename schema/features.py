"""The feature table: every raw column, whose it is and what Transform makes of it.

This is the one place where feature names, owners and types are written down. The
curated schema, ExampleGen's records, the preprocessing graph, the towers and the
serving signatures derive from it. Column names are those of MovieLens as published
by TensorFlow Datasets (`movielens/100k-ratings`), so code written for it fits.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable


class Owner(enum.Enum):
    """Whose fact a feature is; a query tower may never see one of the candidate's."""

    USER = "user"
    MOVIE = "movie"
    CONTEXT = "context"  # known when the query is made: the time
    LABEL = "label"  # known only afterwards


class Kind(enum.Enum):
    """What Transform makes of a raw feature."""

    ID = "id"  # vocabulary with out-of-vocabulary buckets
    CATEGORY = "category"  # vocabulary with out-of-vocabulary buckets, cleaned first
    GENDER = "gender"  # every spelling to Male / Female / unknown
    ZIP_CODE = "zip_code"  # five digits or unknown; prefix and state group
    TITLE = "title"  # words, multi-valued
    TAGS = "tags"  # multi-hot
    AGE = "age"  # bucket by lower bound
    YEAR = "year"  # quantile bucket
    TIME = "time"  # quantile bucket, hour of day, day of week, seconds
    RATING = "rating"  # the label, passed through
    REPORT_ONLY = "report_only"  # kept for slices and reports; not a model input


@dataclasses.dataclass(frozen=True)
class Feature:
    """One raw column.

    Attributes:
      name: column name in the Examples, the schema and the signatures.
      owner: whose fact it is.
      kind: what Transform does with it.
      dtype: "string", "int64" or "float32".
      multivalued: True where a row holds a list (of any length) of values.
      optional: True where a row may lack the value; text is "unknown" instead.
      oov_buckets: hash buckets for values outside of the vocabulary, where there is one.
    """

    name: str
    owner: Owner
    kind: Kind
    dtype: str
    multivalued: bool = False
    optional: bool = False
    oov_buckets: int = 1


USER_ID = Feature("user_id", Owner.USER, Kind.ID, "string")
MOVIE_ID = Feature("movie_id", Owner.MOVIE, Kind.ID, "string")
RATING = Feature("user_rating", Owner.LABEL, Kind.RATING, "float32")
TIMESTAMP = Feature("timestamp", Owner.CONTEXT, Kind.TIME, "int64")
GENDER = Feature("user_gender", Owner.USER, Kind.GENDER, "string")
AGE = Feature("raw_user_age", Owner.USER, Kind.AGE, "float32", optional=True)
AGE_BUCKET = Feature("bucketized_user_age", Owner.USER, Kind.REPORT_ONLY, "int64", optional=True)
OCCUPATION = Feature("user_occupation_text", Owner.USER, Kind.CATEGORY, "string")
OCCUPATION_LABEL = Feature(
    "user_occupation_label", Owner.USER, Kind.REPORT_ONLY, "int64", optional=True
)
ZIP_CODE = Feature("user_zip_code", Owner.USER, Kind.ZIP_CODE, "string")
TITLE = Feature("movie_title", Owner.MOVIE, Kind.TITLE, "string")
GENRES = Feature("movie_genres", Owner.MOVIE, Kind.TAGS, "string", multivalued=True)
RELEASE_DATE = Feature("release_date", Owner.MOVIE, Kind.REPORT_ONLY, "int64", optional=True)
RELEASE_YEAR = Feature("movie_year_release", Owner.MOVIE, Kind.YEAR, "int64", optional=True)
DIRECTOR = Feature("director", Owner.MOVIE, Kind.CATEGORY, "string")
STAR = Feature("star", Owner.MOVIE, Kind.CATEGORY, "string")

FEATURES: tuple[Feature, ...] = (
    USER_ID,
    MOVIE_ID,
    RATING,
    TIMESTAMP,
    GENDER,
    AGE,
    AGE_BUCKET,
    OCCUPATION,
    OCCUPATION_LABEL,
    ZIP_CODE,
    TITLE,
    GENRES,
    RELEASE_DATE,
    RELEASE_YEAR,
    DIRECTOR,
    STAR,
)

AGE_BUCKETS: tuple[int, ...] = (1, 18, 25, 35, 45, 50, 56)
"""Lower bounds that name the age buckets, as in `movielens/100k-ratings`."""

UNKNOWN = "unknown"
"""The value of a text feature that is not known (no metadata, no gender, a bad zip code).

A number that is not known (no age, no release date) is a missing value, never a stand-in number.
"""

RATING_MIN, RATING_MAX = 1.0, 5.0
"""The scale of MovieLens's stars (README of ml-100k)."""


def owned_by(*owners: Owner, features: Iterable[Feature] = FEATURES) -> tuple[Feature, ...]:
    """Returns the features that belong to any of `owners`, in table order."""
    return tuple(feature for feature in features if feature.owner in owners)


def model_inputs(*owners: Owner) -> tuple[Feature, ...]:
    """Returns the features of `owners` that Transform makes something of, in table order."""
    return tuple(f for f in owned_by(*owners) if f.kind is not Kind.REPORT_ONLY)


def names(features: Iterable[Feature]) -> tuple[str, ...]:
    """Returns the column names of `features`, in order."""
    return tuple(feature.name for feature in features)
