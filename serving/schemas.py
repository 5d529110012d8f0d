"""The questions and answers of our own API: their fields, their limits, their documentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from serving import limits


def _whole(value: object) -> object:
    """Takes 5.0 for 5, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(min_length=1, max_length=limits.MAX_ID)]
Text = Annotated[str, Field(max_length=limits.MAX_TEXT)]
Number = Annotated[float, Field(ge=-limits.MAX_NUMBER, le=limits.MAX_NUMBER, allow_inf_nan=False)]
Time = Annotated[
    int,
    Field(ge=0, le=limits.MAX_TIME, description="Unix seconds; 0 means now."),
    BeforeValidator(_whole),
]
K = Annotated[
    int,
    Field(ge=1, le=limits.MAX_K, description="How many movies at most."),
    BeforeValidator(_whole),
]


class _Strict(BaseModel):
    """Refuses what it does not know: a misspelt field would go unnoticed otherwise."""

    model_config = ConfigDict(extra="forbid")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


# -- questions ---------------------------------------------------------------------------------


Exclude = Annotated[str, Field(min_length=1, max_length=limits.MAX_LIST * (limits.MAX_ID + 1))]


class RecommendOptions(_Strict):
    """What is wanted."""

    k: K = 10
    exclude: list[Exclude] = Field(
        [],
        max_length=limits.MAX_LIST,
        description="Ids of movies that may not be recommended, one each or several with commas"
        " between them; `exclude_unknown` of the answer names those that are not known.",
    )
    include_seen: bool = Field(False, description="Also recommend movies that were rated already.")
    reasons: Annotated[
        int,
        Field(ge=0, le=limits.MAX_REASONS, description="Films to name as reasons for each movie."),
        BeforeValidator(_whole),
    ] = 0


def _boolean(value: object) -> object:
    """Leaves only what the OpenAPI document allows; pydantic would take "on" and 0 as well."""
    return {"true": True, "false": False}.get(value, "") if isinstance(value, str) else value


class UserQuery(RecommendOptions):
    """What is wanted by a known user."""

    include_seen: Annotated[bool, BeforeValidator(_boolean)] = Field(
        False, description="Also recommend movies that were rated already."
    )
    timestamp: Time = 0


class _Body(_Strict):
    """Takes numbers for numbers only; a query's values are text and cannot be told apart."""

    model_config = ConfigDict(strict=True)


class LikedMovie(_Body):
    """A film that somebody liked or rated, beside what the model knows of them."""

    movie_id: Id
    timestamp: Time = Field(
        0,
        description="When, in unix seconds. Without it, or with 0, the film is history and does"
        " not belong to the current session.",
    )
    rating: float = Field(
        0,
        ge=0,
        le=limits.MAX_STARS,
        allow_inf_nan=False,
        description="Stars, on the scale of the data; 0 where there are none. Counts as the"
        " difference to the person's mean rating, or to that of all.",
    )


class ProfileFields(_Body):
    """ProfileFields asks. Whatever is left out is taken from a known user's profile, or unknown."""

    user_id: str = Field("", max_length=limits.MAX_ID, description="A known user, if any.")
    age: float = Field(
        0, ge=0, le=limits.MAX_AGE, allow_inf_nan=False, description="In years; 0 is unknown."
    )
    gender: Text = Field("", examples=["Female"])
    occupation: Text = Field("", examples=["librarian"])
    zip_code: Text = Field("", examples=["94110"])
    features: dict[Id, Text | Number] = Field(
        {},
        max_length=limits.MAX_FEATURES,
        description="What the model takes of users beside these fields, or in their place, by the"
        " names in `user_features` of GET /api/model.",
        examples=[{"user_gender": "Female"}],
    )
    timestamp: Time = 0
    liked: list[LikedMovie] = Field(
        [],
        max_length=limits.MAX_LIST,
        description="Films liked or rated, by the model's ids; of one that is given several times"
        " the last counts, by time and place in the list.",
    )


class RecommendRequest(ProfileFields, RecommendOptions):
    """ProfileFields asks, and what is wanted."""

    model_config = ConfigDict(strict=True)


class RatingRequest(ProfileFields):
    """ProfileFields would rate, and what."""

    movie_ids: list[Id] = Field(min_length=1, max_length=limits.MAX_LIST)


class MovieQuery(_Strict):
    """A search."""

    query: Text = Field("", description="Words of the title, or their beginnings.")
    limit: int = Field(20, ge=1, le=limits.MAX_K)


class SimilarQuery(_Strict):
    """How many."""

    k: K = 10


class PrefixQuery(_Strict):
    """Which users."""

    prefix: str = Field("", max_length=limits.MAX_ID, description="How their ids begin.")
    limit: int = Field(20, ge=1, le=limits.MAX_K)


# -- answers -----------------------------------------------------------------------------------


class Error(_Answer):
    """What is wrong, and what to do."""

    error: str


class _Titled(_Answer):
    movie_id: str
    title: str = Field(description="As the data has it.", examples=["Godfather, The (1972)"])
    display_title: str = Field(description="For people.", examples=["The Godfather (1972)"])


class Movie(_Titled):
    """A movie."""

    year: int | None = Field(description="Of its release, if known.")
    genres: list[str]


class Reason(_Titled):
    """A film that the person liked and that adds to a recommendation's score.

    Liked is what was rated at least the person's mean, or named without a rating.
    """

    contribution: float = Field(description="Its share in the score.")


class Recommendation(Movie):
    """A recommended movie."""

    stars: float = Field(description="The predicted rating.")
    score: float = Field(description="What the order is by; comparable within one answer.")
    reasons: list[Reason]


class Recommendations(_Answer):
    """Recommended movies, the best first."""

    model_version: str
    user_id: str
    exclude_unknown: list[str] = Field(
        description="Ids of `exclude` that this version of the model does not know."
    )
    recommendations: list[Recommendation]


class Rating(_Titled):
    """A predicted rating."""

    stars: float


class Ratings(_Answer):
    """Predicted ratings, in the order of the question."""

    model_version: str
    ratings: list[Rating]


class Movies(_Answer):
    """Movies that were found, and how many there are in all."""

    model_version: str
    total: int
    movies: list[Movie]


class OneMovie(_Answer):
    """One movie."""

    model_version: str
    movie: Movie


class SimilarMovie(Movie):
    """A similar movie."""

    similarity: float = Field(description="Between -1 and 1.")


class SimilarMovies(_Answer):
    """Movies that resemble one, the most similar first."""

    model_version: str
    movie_id: str
    movies: list[SimilarMovie]


class Abilities(_Answer):
    """What the served version can do."""

    similar: bool
    reasons: bool
    liked: bool


class InScenario(_Answer):
    """How good the version was on the test split in one scenario; null where not known."""

    scenario: str = Field(
        description="`next_visit`: a user who comes back, of whom the history is known.",
        examples=["next_visit"],
    )
    recall_at_10: float | None = Field(
        description="The share of the test split's ratings whose movie is among the first 10 that"
        " the user has not rated in training, 0 to 1."
    )
    rating_rmse: float | None = Field(
        description="The root of the mean squared error of predicted stars."
    )


class UserFeature(_Answer):
    """Something that the model takes of a user."""

    name: str = Field(description="In `features`.", examples=["user_occupation_text"])
    field: str | None = Field(
        description="The field of requests that says the same, if there is one.",
        examples=["occupation"],
    )
    type: Literal["text", "number"]
    choices: list[str] = Field(description="The values in the training data, where they are few.")


class ModelFacts(_Answer):
    """The version that answers."""

    model_version: str
    dataset: str = Field(description="What it was trained on; empty if not known.")
    scenarios: list[InScenario] = Field(
        description="The next visit, which is how this API is asked without times, comes first;"
        " in a session, right after other ratings, is another question."
    )
    metrics: dict[str, float] = Field(
        description="On the test split, `<scenario>_<metric>`; empty if not known."
    )
    movies: int
    users: int | None
    user_features: list[UserFeature] = Field(
        description="What this version takes of somebody; a field that is not here is refused."
    )
    abilities: Abilities


class UserIds(_Answer):
    """Users."""

    model_version: str
    total: int | None
    user_ids: list[str]


class Health(_Answer):
    """The server runs."""

    status: str


class Ready(_Answer):
    """Whether a version answers, and which."""

    status: str
    model_version: str | None
