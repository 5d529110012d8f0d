"""Requests and responses of the REST API: fields, limits, descriptions and examples.

A field that some training data does not have says what it needs of it; `serving/document.py`
leaves it out of the OpenAPI document of models of other data, which refuse it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from schema import features
from serving import limits

NEEDS = "x-needs"
RATINGS, TIMES, USER_FEATURES = "ratings", "times", "user features"
CONTEXT = "context features"
"""What a field can need of the training data, beside a column of `FIELDS`.

A description has "{ratings: text}" for text that needs ratings, and so on.
"""

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "age": features.AGE.name,
        "gender": features.GENDER.name,
        "occupation": features.OCCUPATION.name,
        "zip_code": features.ZIP_CODE.name,
    }
)
"""Fields of requests for MovieLens's columns; other features are given in `features`."""


_FIELD_OF = {column: field for field, column in FIELDS.items()}


def _needs(what: str) -> dict[str, Any]:
    return {NEEDS: what}


def unmet(given: BaseModel, lacking: Collection[str], where: str = "") -> Iterator[str]:
    """Yields a message for each value of a request that needs what the training data lacks."""
    for name, field in type(given).model_fields.items():
        extra, value = field.json_schema_extra, getattr(given, name)
        need = extra.get(NEEDS) if isinstance(extra, dict) else None
        if need in lacking and value != field.default:
            lacked = _FIELD_OF.get(str(need), str(need))
            yield f"{where}{name}: the data of this model has no {lacked}"
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, BaseModel):
                yield from unmet(item, lacking, f"{where}{name}.{index}.")


def _whole(value: object) -> object:
    """Takes 5.0 for 5, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(min_length=1, max_length=limits.MAX_ID, examples=["50"])]
Text = Annotated[str, Field(max_length=limits.MAX_TEXT)]
Number = Annotated[float, Field(ge=-limits.MAX_NUMBER, le=limits.MAX_NUMBER, allow_inf_nan=False)]
Time = Annotated[
    int,
    Field(
        ge=0,
        le=limits.MAX_TIME,
        description="Unix seconds; 0 means now.",
        json_schema_extra=_needs(TIMES),
    ),
    BeforeValidator(_whole),
]
K = Annotated[
    int,
    Field(ge=1, le=limits.MAX_K, description="How many movies at most."),
    BeforeValidator(_whole),
]


class _Strict(BaseModel):
    """Refuses unknown fields, so that a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")


class _Response(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


# -- requests ----------------------------------------------------------------------------------


Exclude = Annotated[str, Field(min_length=1, max_length=limits.MAX_LIST * (limits.MAX_ID + 1))]


class RecommendOptions(_Strict):
    """Options of a list of recommendations."""

    k: K = 10
    exclude: list[Exclude] = Field(
        [],
        max_length=limits.MAX_LIST,
        description="Ids of movies to leave out, one or several separated by commas each;"
        " `exclude_unknown` of the response lists those that the model does not have.",
        examples=[["1", "2,3"]],
    )
    include_seen: bool = Field(False, description="Include movies of the user's history.")
    reasons: Annotated[
        int,
        Field(ge=0, le=limits.MAX_REASONS, description="How many reasons each movie has at most."),
        BeforeValidator(_whole),
    ] = 0


def _boolean(value: object) -> object:
    """Takes only what the OpenAPI document allows; pydantic also accepts "on" and 0."""
    if not isinstance(value, str):
        return value
    if value not in ("true", "false"):
        raise PydanticKnownError("bool_parsing")
    return value == "true"


class UserQuery(RecommendOptions):
    """Options of a list of recommendations for a known user."""

    include_seen: Annotated[bool, BeforeValidator(_boolean)] = Field(
        False, description="Include movies of the user's history."
    )
    timestamp: Time = 0


class _Body(_Strict):
    """Takes JSON types strictly; in a query, all values are text."""

    model_config = ConfigDict(strict=True)


class LikedMovie(_Body):
    """A movie that the user liked{ratings:  or rated}, beside the history that the model has."""

    movie_id: Id
    timestamp: Time = Field(
        0,
        description="Unix seconds. Without it, or with 0, the movie is history and does not belong"
        " to the current session.",
    )
    rating: Number = Field(
        0,
        description="Stars, on the scale of the data. Without it, or with 0 where 0 is not on the"
        " scale, there is no rating. The model uses"
        " the difference to the user's mean rating; of a new user, to the mean of all ratings.",
        examples=[5],
        json_schema_extra=_needs(RATINGS),
    )


class ProfileFields(_Body):
    """The user. Fields left out are taken from a known user's profile, or are unknown."""

    user_id: str = Field("", max_length=limits.MAX_ID, description="A known user's id, or empty.")
    age: float = Field(
        0,
        ge=0,
        le=limits.MAX_AGE,
        allow_inf_nan=False,
        description="In years; 0 is unknown.",
        json_schema_extra=_needs(FIELDS["age"]),
    )
    gender: Text = Field("", examples=["Female"], json_schema_extra=_needs(FIELDS["gender"]))
    occupation: Text = Field(
        "", examples=["librarian"], json_schema_extra=_needs(FIELDS["occupation"])
    )
    zip_code: Text = Field("", examples=["94110"], json_schema_extra=_needs(FIELDS["zip_code"]))
    features: dict[Id, Text | Number | None] = Field(
        {},
        max_length=limits.MAX_FEATURES,
        description="Features of the user by the names in `user_features` of GET /api/model; they"
        " take precedence over the fields above; null is as if left out.",
        json_schema_extra=_needs(USER_FEATURES),
    )
    context: dict[Id, Text | Number | None] = Field(
        {},
        max_length=limits.MAX_FEATURES,
        description="Features of this query by the names in `context_features` of GET /api/model;"
        " those left out, or null, are unknown. They count for predicted ratings and, in a session,"
        " for the list.",
        json_schema_extra=_needs(CONTEXT),
    )
    timestamp: Time = 0
    liked: list[LikedMovie] = Field(
        [],
        max_length=limits.MAX_LIST,
        description="Movies liked{ratings:  or rated}. Where a movie is given several times, the"
        " last one by {times: time and }place in the list counts.",
    )


class RecommendRequest(ProfileFields, RecommendOptions):
    """A user, and options of the list."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "example": {
                "age": 30,
                "occupation": "librarian",
                "liked": [{"movie_id": "50", "rating": 5}, {"movie_id": "1"}],
                "k": 3,
                "reasons": 2,
            }
        },
    )


class RatingRequest(ProfileFields):
    """A user, and movies to predict ratings of."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"user_id": "42", "movie_ids": ["50", "1"]}}
    )
    movie_ids: list[Id] = Field(min_length=1, max_length=limits.MAX_LIST)


class MovieQuery(_Strict):
    """A search for movies."""

    query: Text = Field(
        "", description="Words of the title, or their beginnings.", examples=["godf"]
    )
    limit: int = Field(20, ge=1, le=limits.MAX_K)


class SimilarQuery(_Strict):
    """Options of a list of similar movies."""

    k: K = 10


class PrefixQuery(_Strict):
    """A search for users."""

    prefix: str = Field(
        "", max_length=limits.MAX_ID, description="Beginning of the ids.", examples=["4"]
    )
    limit: int = Field(20, ge=1, le=limits.MAX_K)


# -- responses ---------------------------------------------------------------------------------

Version = Annotated[str, Field(examples=["1795677916"])]


class Error(_Response):
    """What was expected, what was found and what to do."""

    error: str = Field(examples=["Expected a body of JSON, found something else."])


class _Titled(_Response):
    movie_id: str = Field(examples=["127"])
    title: str = Field(description="As in the data.", examples=["Godfather, The (1972)"])
    display_title: str = Field(
        description="With the article in front.", examples=["The Godfather (1972)"]
    )


class Movie(_Titled):
    """A movie of the catalogue."""

    year: int | None = Field(description="Of the release, if known.", examples=[1972])
    genres: list[str] = Field(examples=[["Action", "Crime", "Drama"]])


class Reason(_Titled):
    """A movie that the user liked and that adds to a recommendation's score.

    {ratings: Liked means rated at least the user's mean rating, or given without a rating.}
    """

    contribution: float = Field(description="Its part of the score.", examples=[0.42])


class Recommendation(Movie):
    """A recommended movie."""

    stars: float = Field(
        description="The predicted rating.", examples=[4.3], json_schema_extra=_needs(RATINGS)
    )
    score: float = Field(
        description="Determines the order; comparable within one response.", examples=[2.75]
    )
    reasons: list[Reason]


class Recommendations(_Response):
    """Recommended movies, the best first."""

    model_version: Version
    user_id: str = Field(examples=["42"])
    exclude_unknown: list[str] = Field(
        description="Ids of `exclude` that this version of the model does not have.", examples=[[]]
    )
    recommendations: list[Recommendation]


class Rating(_Titled):
    """A predicted rating."""

    stars: float = Field(examples=[4.3])


class Ratings(_Response):
    """Predicted ratings, in the order of the request."""

    model_version: Version
    ratings: list[Rating]


class Movies(_Response):
    """Movies found, and how many match in all."""

    model_version: Version
    total: int = Field(examples=[1])
    movies: list[Movie]


class OneMovie(_Response):
    """One movie."""

    model_version: Version
    movie: Movie


class SimilarMovie(Movie):
    """A similar movie."""

    similarity: float = Field(description="Between -1 and 1.", examples=[0.81])


class SimilarMovies(_Response):
    """Movies similar to one, the most similar first."""

    model_version: Version
    movie_id: str = Field(examples=["50"])
    movies: list[SimilarMovie]


class Abilities(_Response):
    """Optional abilities of the served version."""

    similar: bool
    reasons: bool
    liked: bool
    ratings: bool = Field(
        description="Whether ratings are predicted; not where the training data has none."
    )
    times: bool = Field(
        description="Whether the times of movies liked count; not where the training data has none."
    )


class InScenario(_Response):
    """Metrics of the version on the test split in one scenario; null where not known."""

    scenario: str = Field(
        description="`next_visit`: a known user at a later visit.{times:  `in_session`: right after"
        " other events.}",
        examples=["next_visit"],
    )
    recall_at_10: float | None = Field(
        description="Share of the test events whose movie is among the first 10 of those that the"
        " user does not have in the history, 0 to 1.",
        examples=[0.14],
    )
    rating_rmse: float | None = Field(
        description="Root mean squared error of predicted ratings.",
        examples=[0.9],
        json_schema_extra=_needs(RATINGS),
    )


class ContextFeature(_Response):
    """A context feature of the model."""

    name: str = Field(description="Its name in `context` of requests.", examples=["context_device"])
    label: str = Field(description="Its name for people.", examples=["device"])
    type: Literal["text", "number"]
    choices: list[str] = Field(
        description="The values in the training data, where they are few.",
        examples=[["phone", "tv"]],
    )


class UserFeature(_Response):
    """A user feature of the model."""

    name: str = Field(
        description="Its name in `features` of requests.", examples=["user_occupation_text"]
    )
    label: str = Field(description="Its name for people.", examples=["occupation"])
    field: str | None = Field(
        description="The field of requests with the same meaning, if there is one.",
        examples=["occupation"],
    )
    type: Literal["text", "number"]
    choices: list[str] = Field(
        description="The values in the training data, where they are few.",
        examples=[["artist", "librarian"]],
    )


class RatingScale(_Response):
    """The ends of a scale of ratings."""

    low: float = Field(description="The least rating.", examples=[1.0])
    high: float = Field(description="The greatest rating.", examples=[5.0])


class ModelFacts(_Response):
    """The served version."""

    model_version: Version
    dataset: str = Field(
        description="The name of the training data; empty if not known.", examples=["ml-100k"]
    )
    scenarios: list[InScenario] = Field(
        description="Metrics by scenario.{times:  Requests without times are of the first,"
        " `next_visit`.}"
    )
    metrics: dict[str, float] = Field(
        description="On the test split, `<scenario>_<metric>`; empty if not known.",
        examples=[{"next_visit_recall_at_10": 0.14}],
    )
    item_noun: str = Field(
        description="What people call an item of the data, in the singular.", examples=["movie"]
    )
    rating_scale: RatingScale = Field(
        description="The scale of ratings and of predicted ones.",
        examples=[{"low": 1.0, "high": 5.0}],
        json_schema_extra=_needs(RATINGS),
    )
    movies: int = Field(description="How many movies the catalogue has.", examples=[1682])
    users: int | None = Field(description="How many users are known.", examples=[943])
    user_features: list[UserFeature] = Field(
        description="User features of this version; requests with other ones are refused."
    )
    context_features: list[ContextFeature] = Field(
        description="Context features of this version; requests with other ones are refused.",
        json_schema_extra=_needs(CONTEXT),
    )
    abilities: Abilities


class UserIds(_Response):
    """Known users."""

    model_version: Version
    total: int | None = Field(
        description="How many known users' ids begin with `prefix`; null where the model has no "
        "list of users.",
        examples=[111],
    )
    user_ids: list[str] = Field(examples=[["4", "40", "41"]])


class Health(_Response):
    """The server runs."""

    status: str = Field(examples=["ok"])


class Ready(_Response):
    """Whether a version is loaded, and which."""

    status: str = Field(examples=["ready"])
    model_version: str | None = Field(examples=["1795677916"])
