"""The feature table: every raw column, the entity it describes and how it is preprocessed.

A `FeatureTable` is a value that is passed down: ExampleGen's records, the preprocessing graph,
the towers, the slices and the serving signatures derive from it. `MOVIELENS` is the table of
MovieLens. Its column names are those of TensorFlow Datasets (`movielens/100k-ratings`), so code
written for it fits. The named columns beside it are for MovieLens's own adapter and reports.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

FEATURES_KEY = "features"
"""Where the table, as JSON text, is in the `custom_config` of a component."""


class Owner(enum.Enum):
    """The entity that a feature describes; the query tower sees those of user and context only."""

    USER = "user"
    MOVIE = "movie"
    CONTEXT = "context"  # of the event, known when the query is made: the time, the device
    LABEL = "label"  # known only afterwards


class Kind(enum.Enum):
    """How Transform preprocesses a raw feature."""

    ID = "id"  # vocabulary with out-of-vocabulary buckets
    CATEGORY = "category"  # vocabulary with out-of-vocabulary buckets, cleaned first
    GENDER = "gender"  # every spelling to Male / Female / unknown
    ZIP_CODE = "zip_code"  # five digits or unknown; prefix and state group
    TITLE = "title"  # words, multi-valued
    TAGS = "tags"  # multi-hot
    AGE = "age"  # bucket by lower bound
    YEAR = "year"  # quantile bucket
    NUMBER = "number"  # quantile bucket; the missing value is NaN, since 0 is a number
    TIME = "time"  # quantile bucket, hour of day, day of week, seconds
    RATING = "rating"  # the label, passed through
    POSITION = "position"  # orders ratings of one second; not a model input
    DATE = "date"  # seconds since 1970; for reports only
    AGE_BUCKET = "age_bucket"  # least age of one of `AGE_BUCKETS`; for slices and reports only
    REPORT_ONLY = "report_only"  # anything else for slices and reports only


_FOR_REPORTS = (Kind.DATE, Kind.AGE_BUCKET, Kind.REPORT_ONLY)


@dataclasses.dataclass(frozen=True)
class Feature:
    """One raw column.

    Attributes:
      name: column name in the Examples, the schema and the signatures.
      owner: the entity it describes.
      kind: how it is preprocessed.
      dtype: "string", "int64" or "float32".
      multivalued: True where a row holds a list (of any length) of values.
      optional: True where a row may lack the value; text is "unknown" instead.
      oov_buckets: hash buckets for values outside of the vocabulary, where there is one.
      stem: what the names of its transformed features begin with; empty: `name`.
      min_ratings: a value is in the vocabulary from this many training ratings on.
      sliced: whether the evaluation has results for each of its values.
      label: its name in the HTML report, in the singular; empty: `stem` or `name`, with spaces.
      low: of a rating: the least value of its scale; None: `RATING_MIN`.
      high: of a rating: the greatest value of its scale; None: `RATING_MAX`.
      step: of a rating: the difference of neighbouring values; None: any value between the ends.
    """

    name: str
    owner: Owner
    kind: Kind
    dtype: str
    multivalued: bool = False
    optional: bool = False
    oov_buckets: int = 1
    stem: str = ""
    min_ratings: int = 0
    sliced: bool = False
    label: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None

    @property
    def key(self) -> str:
        """The beginning of the names of its transformed features and of its charts."""
        return self.stem or self.name

    @property
    def called(self) -> str:
        """Its name in sentences, such as "release year"."""
        return self.label or self.key.replace("_", " ")

    @property
    def singular(self) -> str:
        """Its name in sentences for one of several values, such as "tag" of "tags"."""
        called = self.called
        return called.removesuffix("s") if self.multivalued and called[-2:] != "ss" else called

    @property
    def missing(self) -> str | float:
        """The value of a request that does not give it: "", 0 or, of any number, NaN."""
        if self.kind is Kind.NUMBER:
            return math.nan
        return "" if self.dtype == "string" else 0

    @property
    def is_model_input(self) -> bool:
        """Whether the preprocessing graph reads it."""
        return self.kind not in (*_FOR_REPORTS, Kind.RATING, Kind.POSITION)


AGE_BUCKETS: tuple[int, ...] = (1, 18, 25, 35, 45, 50, 56)
"""Lower bounds that name the age buckets, as in `movielens/100k-ratings`."""

UNKNOWN = "unknown"
"""The value of a text feature that is not known (no metadata, no gender, a bad zip code).

A number that is not known (no age, no release date) is a missing value, never a stand-in number.
"""

RATING_MIN, RATING_MAX = 1.0, 5.0
"""The scale of MovieLens's stars (README of ml-100k)."""


class RatingScale(NamedTuple):
    """The values that a rating can have.

    Attributes:
      low: the least.
      high: the greatest.
      step: the difference of neighbouring values; None: any value between the ends.
    """

    low: float
    high: float
    step: float | None = None

    def to_stars(self, ratings: Any) -> Any:  # noqa: ANN401 - arrays and tensors alike
        """Returns ratings on the scale from 1 to 5, which the models are made for.

        Ratings of that scale are returned as they are.
        """
        if (self.low, self.high) == (RATING_MIN, RATING_MAX):
            return ratings
        return RATING_MIN + (ratings - self.low) * self._stars_per_unit

    def from_stars(self, stars: Any) -> Any:  # noqa: ANN401 - arrays and tensors alike
        """Returns ratings on this scale; the inverse of `to_stars`."""
        if (self.low, self.high) == (RATING_MIN, RATING_MAX):
            return stars
        return self.low + (stars - RATING_MIN) / self._stars_per_unit

    @property
    def units_per_star(self) -> float:
        """How many units of this scale a star is: the ratio of the ranges."""
        return (self.high - self.low) / (RATING_MAX - RATING_MIN)

    @property
    def _stars_per_unit(self) -> float:
        return (RATING_MAX - RATING_MIN) / (self.high - self.low)

    def describe(self) -> str:
        """Returns the scale in words, such as "1 to 5 in steps of 1"."""
        steps = "" if self.step is None else f" in steps of {self.step:g}"
        return f"{self.low:g} to {self.high:g}{steps}"


def names(features: Iterable[Feature]) -> tuple[str, ...]:
    """Returns the column names of `features`, in order."""
    return tuple(feature.name for feature in features)


CONTEXT_KINDS: tuple[Kind, ...] = (Kind.CATEGORY, Kind.NUMBER)
"""Kinds of context features: of what events have beside their time, such as a device."""

_KINDS_OF_RATINGS = (Kind.TIME, Kind.POSITION, Kind.RATING)
_KINDS_OF = {
    Owner.CONTEXT: (Kind.TIME, Kind.POSITION, *CONTEXT_KINDS),
    Owner.LABEL: (Kind.RATING,),
}
_ONE_VALUE_OWNERS = (Owner.USER, Owner.CONTEXT)
_DTYPES: Mapping[Kind, tuple[str, ...]] = {
    Kind.ID: ("string",),
    Kind.CATEGORY: ("string",),
    Kind.GENDER: ("string",),
    Kind.ZIP_CODE: ("string",),
    Kind.TITLE: ("string",),
    Kind.TAGS: ("string",),
    Kind.AGE: ("float32", "int64"),
    Kind.YEAR: ("int64",),
    Kind.NUMBER: ("float32",),
    Kind.TIME: ("int64",),
    Kind.RATING: ("float32",),
    Kind.POSITION: ("int64",),
    Kind.DATE: ("int64",),
    Kind.AGE_BUCKET: ("int64",),
    Kind.REPORT_ONLY: ("string", "int64", "float32"),
}


_MISSING_NUMBERS = (Kind.AGE, Kind.YEAR, Kind.NUMBER)


@dataclasses.dataclass(frozen=True)
class FeatureTable:
    """The features of a data set, in the order of the records' columns.

    Args:
      features: the features.

    Raises:
      ValueError: two have one name, an id is missing, or a feature cannot be what it says.
    """

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        found = self.names
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ValueError(f"expected every feature once, received twice: {', '.join(twice)}")
        for owner in (Owner.USER, Owner.MOVIE):
            self._one("id", Kind.ID, owner)
        for kind in (Kind.TIME, Kind.ZIP_CODE, Kind.RATING, Kind.POSITION):
            # Their transformed features, or their role, have fixed names.
            held = names(self.of_kind(kind))
            if len(held) > 1:
                raise ValueError(
                    f"expected one feature of kind {kind.value} at most, received {held}"
                )
        for feature in self.features:
            _check(feature)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return names(self.features)

    @property
    def user_id(self) -> Feature:
        """The user's id."""
        return self._one("id", Kind.ID, Owner.USER)

    @property
    def item_id(self) -> Feature:
        """The item's id."""
        return self._one("id", Kind.ID, Owner.MOVIE)

    @property
    def rating(self) -> Feature:
        """The label; a ValueError where the data has none."""
        return self._one("rating", Kind.RATING, Owner.LABEL)

    @property
    def has_rating(self) -> bool:
        """Whether the data has ratings."""
        return bool(self.of_kind(Kind.RATING))

    @property
    def scale(self) -> RatingScale:
        """The scale of the ratings; a ValueError where the data has none."""
        rating = self.rating
        return RatingScale(
            RATING_MIN if rating.low is None else rating.low,
            RATING_MAX if rating.high is None else rating.high,
            rating.step,
        )

    @property
    def timestamp(self) -> Feature:
        """The time of the event; a ValueError where the data has none."""
        return self._one("time", Kind.TIME, Owner.CONTEXT)

    @property
    def has_time(self) -> bool:
        """Whether the data has the times of events."""
        return bool(self.of_kind(Kind.TIME))

    @property
    def context(self) -> tuple[Feature, ...]:
        """The context features: what events have beside their time, in table order."""
        return tuple(f for f in self.owned_by(Owner.CONTEXT) if f.kind in CONTEXT_KINDS)

    @property
    def position(self) -> Feature | None:
        """The place of the rating in its file; None where the file's order is not that of time."""
        return next(iter(self.of_kind(Kind.POSITION)), None)

    @property
    def title(self) -> Feature | None:
        """The title of items; None where they have none."""
        return next(iter(f for f in self.owned_by(Owner.MOVIE) if f.kind is Kind.TITLE), None)

    @property
    def sliced(self) -> tuple[Feature, ...]:
        """The features by whose values results are sliced, in table order."""
        return tuple(feature for feature in self.features if feature.sliced)

    def __getitem__(self, name: str) -> Feature:
        """Returns the feature of a name.

        Raises:
          KeyError: there is none.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(f"expected one of {', '.join(self.names)}, received {name!r}")

    def owned_by(self, *owners: Owner) -> tuple[Feature, ...]:
        """Returns the features that belong to any of `owners`, in table order."""
        return tuple(feature for feature in self.features if feature.owner in owners)

    def of_kind(self, kind: Kind) -> tuple[Feature, ...]:
        """Returns the features of a kind, in table order."""
        return tuple(feature for feature in self.features if feature.kind is kind)

    def model_inputs(self, *owners: Owner) -> tuple[Feature, ...]:
        """Returns the features of `owners` that the preprocessing graph reads, in table order."""
        return tuple(feature for feature in self.owned_by(*owners) if feature.is_model_input)

    def to_json(self) -> str:
        """Returns the table as JSON text, the same for equal tables; defaults are left out."""
        return json.dumps([_to_values(feature) for feature in self.features], sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureTable:
        """Returns the table that `to_json` wrote.

        Raises:
          ValueError: it is none; the message says why.
        """
        values = json.loads(text)
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise ValueError(f"expected a list of features, received {text[:80]!r}")
        return cls(tuple(_from_values(one) for one in values))

    def _one(self, what: str, kind: Kind, owner: Owner) -> Feature:
        found = [feature for feature in self.owned_by(owner) if feature.kind is kind]
        if len(found) != 1:
            received = ", ".join(names(found)) or "none"
            raise ValueError(
                f"expected one feature of owner {owner.value} and kind {kind.value}, the {what}; "
                f"received {received}"
            )
        return found[0]


def _check(feature: Feature) -> None:
    """Refuses a feature that no part of the pipeline could use.

    Raises:
      ValueError: the kind does not fit the owner, the type or the number of values.
    """
    kind, name = feature.kind, feature.name
    if feature.dtype not in _DTYPES[kind]:
        raise ValueError(
            f"expected {name}, of kind {kind.value}, to be {' or '.join(_DTYPES[kind])}; "
            f"received {feature.dtype!r}"
        )
    if kind is not Kind.REPORT_ONLY and feature.multivalued is not (kind is Kind.TAGS):
        raise ValueError(
            f"expected {name}, of kind {kind.value}, to hold "
            f"{'lists of values' if kind is Kind.TAGS else 'one value'}; "
            f"received multivalued={feature.multivalued}"
        )
    ends = (feature.low, feature.high, feature.step)
    if kind is not Kind.RATING and ends != (None, None, None):
        raise ValueError(f"expected a scale of ratings alone; received {name} of kind {kind.value}")
    if feature.low is not None and feature.high is not None and not feature.low < feature.high:
        raise ValueError(
            f"expected a scale of {name} that rises; received {feature.low:g} to {feature.high:g}"
        )
    if feature.optional and feature.is_model_input and kind not in _MISSING_NUMBERS:
        raise ValueError(
            f"expected {name}, of kind {kind.value}, in every row; received optional=True: "
            f"write {UNKNOWN!r} for text that is not known"
        )
    if kind in (Kind.TAGS, Kind.TITLE) and feature.owner in _ONE_VALUE_OWNERS:
        raise ValueError(
            f"expected a feature of {feature.owner.value} to become one index, since queries "
            f"give one value of it; received {name} of kind {kind.value}"
        )
    fits = kind in _KINDS_OF.get(feature.owner, ()) or (
        feature.owner not in _KINDS_OF and kind not in _KINDS_OF_RATINGS
    )
    if not fits and kind is not Kind.REPORT_ONLY:
        raise ValueError(
            "expected time, position, categories and numbers alone to belong to the context and "
            f"the rating alone to the label, beside features for reports; received {name} of owner "
            f"{feature.owner.value} and kind {kind.value}"
        )


def _to_values(feature: Feature) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(feature):
        value = getattr(feature, field.name)
        if value != field.default:
            values[field.name] = value.value if isinstance(value, enum.Enum) else value
    return values


def _from_values(values: Mapping[str, Any]) -> Feature:
    fields = {field.name: field for field in dataclasses.fields(Feature)}
    unknown = sorted(values.keys() - fields.keys())
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in values
    ]
    if unknown or missing:
        raise ValueError(
            f"expected a feature with {', '.join(fields)}; "
            f"received {values!r}: unknown {unknown}, missing {missing}"
        )
    return Feature(
        **{
            **values,
            "owner": _member(Owner, values["owner"], values["name"]),
            "kind": _member(Kind, values["kind"], values["name"]),
        }
    )


def _member(members: type[enum.Enum], value: object, name: object) -> Any:  # noqa: ANN401 - a member
    known = [member.value for member in members]
    if value not in known:
        raise ValueError(
            f"expected {members.__name__.lower()} of {name} to be one of {', '.join(known)}; "
            f"received {value!r}"
        )
    return members(value)


def quarter_of(number: Feature) -> Feature:
    """Returns the feature that names the quarter in which a number lies, for slices and reports."""
    name, label = f"{number.name}_quarter", number.called
    return Feature(name, number.owner, Kind.REPORT_ONLY, "string", sliced=True, label=label)


WORD_MIN_RATINGS = 20
"""A title word, director or star is given a vector of its own from this many ratings on."""

USER_ID = Feature("user_id", Owner.USER, Kind.ID, "string")
MOVIE_ID = Feature("movie_id", Owner.MOVIE, Kind.ID, "string")
RATING = Feature(
    "user_rating", Owner.LABEL, Kind.RATING, "float32", low=RATING_MIN, high=RATING_MAX, step=1.0
)
HALF_STARS = dataclasses.replace(RATING, low=0.5, step=0.5)
"""The rating of the releases of MovieLens from 10M on."""
TIMESTAMP = Feature("timestamp", Owner.CONTEXT, Kind.TIME, "int64")
POSITION = Feature("position", Owner.CONTEXT, Kind.POSITION, "int64")
"""For data whose files list each user's ratings in the order in which they were given."""
GENDER = Feature("user_gender", Owner.USER, Kind.GENDER, "string", stem="gender", sliced=True)
AGE = Feature("raw_user_age", Owner.USER, Kind.AGE, "float32", optional=True, stem="age")
AGE_BUCKET = Feature(
    "bucketized_user_age",
    Owner.USER,
    Kind.AGE_BUCKET,
    "int64",
    optional=True,
    sliced=True,
    label="age",
)
OCCUPATION = Feature(
    "user_occupation_text", Owner.USER, Kind.CATEGORY, "string", stem="occupation", sliced=True
)
OCCUPATION_LABEL = Feature(
    "user_occupation_label", Owner.USER, Kind.REPORT_ONLY, "int64", optional=True
)
ZIP_CODE = Feature("user_zip_code", Owner.USER, Kind.ZIP_CODE, "string", stem="zip")
TITLE = Feature(
    "movie_title",
    Owner.MOVIE,
    Kind.TITLE,
    "string",
    stem="title",
    min_ratings=WORD_MIN_RATINGS,
)
GENRES = Feature("movie_genres", Owner.MOVIE, Kind.TAGS, "string", multivalued=True, stem="genre")
RELEASE_DATE = Feature("release_date", Owner.MOVIE, Kind.DATE, "int64", optional=True)
RELEASE_YEAR = Feature(
    "movie_year_release", Owner.MOVIE, Kind.YEAR, "int64", optional=True, stem="release_year"
)
DIRECTOR = Feature("director", Owner.MOVIE, Kind.CATEGORY, "string", min_ratings=WORD_MIN_RATINGS)
STAR = Feature(
    "star",
    Owner.MOVIE,
    Kind.CATEGORY,
    "string",
    min_ratings=WORD_MIN_RATINGS,
    label="lead actor",
)

MOVIELENS = FeatureTable(
    (
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
)
"""The feature table of MovieLens-100K with The Movies Dataset's directors and lead actors."""
