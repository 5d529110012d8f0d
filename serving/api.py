"""The REST API below `/api/`, with its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

import orjson
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException

from schema.dataset import DatasetLabel, plural
from schema.events import Event
from schema.features import MOVIELENS, Feature
from schema.scenarios import SCENARIOS, Scenario, metric_name
from serving import limits, schemas
from serving.catalogue import Movie
from serving.document import document_of, lacking
from serving.errors import InternalError, InvalidInput, NotFound, RequestError, shorten
from serving.metrics import CONTENT_TYPE
from serving.recommender import (
    Reason,
    Recommender,
    ScoredMovie,
    UserProfile,
    reasons,
    scored_movies,
)
from serving.service import Service
from serving.static_files import PAGES, StaticFiles
from serving.titles import display_title
from serving.user_features import Value, features_of, problems_of

_DESCRIPTION = """
Recommends movies with the model that the pipeline pushed last. Every response below `/api/` names
the model's version. Every error is `{"error": "what was expected and what was found"}`.

    curl 'localhost:8501/api/users/42/recommendations?k=3&reasons=2'
    curl localhost:8501/api/recommendations -H 'content-type: application/json' \\
         -d '{"liked": [{"movie_id": "50"}], "k": 3}'

Ids are text; in a path they are percent-encoded, so that `a/b` is `a%2Fb`.

The server also has
[TensorFlow Serving's REST API](https://www.tensorflow.org/tfx/serving/api_rest):
`GET /v1/models/movielens`, `GET /v1/models/movielens/metadata`,
`POST /v1/models/movielens:predict`.

    curl localhost:8501/v1/models/movielens:predict \\
         -d '{"signature_name": "similar", "inputs": {"movie_id": ["50"], "k": 3}}'
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "Malformed request"},
    401: {"model": schemas.Error, "description": "The token is missing or wrong"},
    403: {"model": schemas.Error, "description": "Sent by a page of another site"},
    404: {"model": schemas.Error, "description": "The user, movie or ability does not exist"},
    408: {"model": schemas.Error, "description": "The request took too long to arrive"},
    413: {"model": schemas.Error, "description": "The body is too long"},
    415: {"model": schemas.Error, "description": "The body is not JSON in UTF-8"},
    422: {"model": schemas.Error, "description": "A value is not as expected"},
    429: {"model": schemas.Error, "description": "Too many wrong tokens; see Retry-After"},
    503: {"model": schemas.Error, "description": "Busy, or no model yet; see Retry-After"},
    504: {"model": schemas.Error, "description": "No result within the deadline"},
}

_FIELD_OF = {column: field for field, column in schemas.FIELDS.items()}


class _IdConvertor(StringConvertor):
    """An id in a path, which arrives as it is encoded (`serving/application.py`)."""

    def convert(self, value: str) -> str:
        return unquote(value)


register_url_convertor("id", _IdConvertor())
MovieId = Annotated[
    str, Path(min_length=1, max_length=limits.MAX_ID, description="A movie's id.", examples=["50"])
]
UserId = Annotated[
    str, Path(min_length=1, max_length=limits.MAX_ID, description="A user's id.", examples=["42"])
]


def make_api(service: Service, lifespan: Any = None) -> FastAPI:
    """Returns the application of `/api`, of operation and of the pages."""
    app = FastAPI(
        title="Recommender",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # A redirection would repeat whatever host the client named.
        redirect_slashes=False,
        servers=[{"url": root}] if (root := service.config.root_path) else None,
        responses=_ERRORS,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    _add_errors(app)
    _add_recommendations(app, service)
    _add_movies(app, service)
    _add_model(app, service)
    _add_health(app, service)
    _add_files(app)
    whole = app.openapi

    def openapi() -> dict[str, Any]:
        if not service.versions.ready:
            return document_of(whole(), MOVIELENS, DatasetLabel.item_noun)
        model = service.versions.current
        return document_of(whole(), model.table, model.item_noun, model.choices)

    # FastAPI documents this as the way to extend the document; mypy sees a method replaced.
    app.openapi = openapi  # type: ignore[method-assign]
    return app


# -- recommendations and stars -----------------------------------------------------------------


def _add_recommendations(app: FastAPI, service: Service) -> None:
    @app.get(
        "/api/users/{user_id:id}/recommendations",
        tags=["recommendations"],
        response_model=schemas.Recommendations,
    )
    async def recommend_to_user(
        user_id: UserId, query: Annotated[schemas.UserQuery, Query()]
    ) -> Response:
        """Recommends movies to a user that the model knows."""
        with service.versions.lease() as model:
            _check_user(model, user_id, "POST /api/recommendations recommends to new users.")
            _check_needs(model, query, "query")
            profile = UserProfile(user_id, timestamp=query.timestamp)
            return await _recommend(service, model, profile, query)

    @app.post(
        "/api/recommendations", tags=["recommendations"], response_model=schemas.Recommendations
    )
    async def recommend(request: schemas.RecommendRequest) -> Response:
        """Recommends movies to any user: by profile, by movies liked, or both.

        {times: Entries of `liked` without a `timestamp` are history. Those with one belong to the
        current session if gaps of at most 30 minutes lead to them from `timestamp` (0 is now). In a
        session the next movie of the same visit is recommended, otherwise movies for the user's
        next visit.}
        """
        with service.versions.lease() as model:
            profile = _profile(model, request)
            return await _recommend(service, model, profile, request)

    @app.post(
        "/api/ratings/predict",
        tags=["recommendations"],
        response_model=schemas.Ratings,
        openapi_extra={schemas.NEEDS: schemas.RATINGS},
    )
    async def predict_ratings(request: schemas.RatingRequest) -> Response:
        """Predicts the ratings that a user would give to movies."""
        with service.versions.lease() as model:
            if not model.predicts_ratings:
                raise NotFound(
                    f"Version {model.version} of the model predicts no ratings: its training data"
                    " has none."
                )
            profile = _profile(model, request)
            _check_movies(model, request.movie_ids, "movie_ids")
            call = model.rank([profile], [request.movie_ids])
            rated = scored_movies(await service.batcher.run(call))
            ratings = [{**_titled(one.movie_id, one.title), **_stars(one)} for one in rated]
            return _json({"model_version": model.version, "ratings": ratings})


async def _recommend(
    service: Service, model: Recommender, profile: UserProfile, query: schemas.RecommendOptions
) -> Response:
    exclude = [
        movie_id
        for value in query.exclude
        for movie_id in ([value] if model.catalogue.get(value) else _split_ids(value))
    ]
    if len(exclude) > limits.MAX_LIST:
        raise RequestError(
            422, f"exclude: expected at most {limits.MAX_LIST} ids, found {len(exclude)}."
        )
    unknown = [movie_id for movie_id in exclude if model.catalogue.get(movie_id) is None]
    left_out = [*exclude, *(event.item_id for event in profile.events)]
    call = model.recommend([profile], query.k, [left_out], query.include_seen)
    found = scored_movies(await service.batcher.run(call))
    why: list[list[Reason]] = [[]] * len(found)
    if query.reasons and found and model.gives_reasons:
        call = model.explain([profile], [[movie.movie_id for movie in found]], query.reasons)
        why = reasons(await service.batcher.run(call))
    return _json(
        {
            "model_version": model.version,
            "user_id": profile.user_id,
            "exclude_unknown": unknown,
            "recommendations": [
                _recommendation(model, movie, own) for movie, own in zip(found, why, strict=True)
            ],
        }
    )


def _split_ids(value: str) -> list[str]:
    """Returns the ids in `1,2,3`."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _profile(model: Recommender, given: schemas.ProfileFields) -> UserProfile:
    if given.user_id:
        _check_user(model, given.user_id, "For a new user leave user_id out.")
    _check_needs(model, given, "body")
    _check_movies(model, [movie.movie_id for movie in given.liked], "liked")
    _check_ratings(model, given.liked)
    fields = schemas.FIELDS
    of_fields = {fields[field]: value for field in fields if (value := getattr(given, field))}
    values, context = {**of_fields, **_given(given.features)}, _given(given.context)
    for name, found, known in (
        ("features", values, features_of(model.table)),
        ("context", context, model.table.context),
    ):
        if problems := [f"body {name}.{problem}" for problem in problems_of(found, known)]:
            raise RequestError(422, f"{'; '.join(problems)}.")
    events = tuple(
        Event(
            movie.movie_id,
            movie.timestamp or None,
            movie.rating if "rating" in movie.model_fields_set else None,
        )
        for movie in given.liked
    )
    return UserProfile(given.user_id, values, given.timestamp, events, context)


def _given(values: Mapping[str, Value | None]) -> dict[str, Value]:
    """Returns the values without null, which is as if left out."""
    return {name: value for name, value in values.items() if value is not None}


def _check_needs(model: Recommender, given: BaseModel, where: str) -> None:
    if problems := list(schemas.unmet(given, lacking(model.table))):
        raise RequestError(422, "; ".join(f"{where} {problem}" for problem in problems) + ".")


def _check_ratings(model: Recommender, liked: Sequence[schemas.LikedMovie]) -> None:
    if not model.predicts_ratings:
        return
    low, high = model.table.scale.low, model.table.scale.high
    for index, movie in enumerate(liked):
        if movie.rating and not low <= movie.rating <= high:
            raise RequestError(
                422,
                f"body liked.{index}.rating: expected {low:g} to {high:g}, found {movie.rating:g}.",
            )


def _check_user(model: Recommender, user_id: str, advice: str) -> None:
    if model.users.knows(user_id) is False:
        raise NotFound(
            f"Version {model.version} of the model has no user {shorten(user_id)}. {advice}"
        )


def _check_movies(model: Recommender, movie_ids: Sequence[str], where: str) -> None:
    for movie_id in movie_ids:
        if model.catalogue.get(movie_id) is None:
            raise NotFound(
                f"Expected the ids of {plural(model.item_noun)} in {where!r},"
                f" found {shorten(movie_id)}. GET /api/movies?query=… finds ids."
            )


def _recommendation(
    model: Recommender, movie: ScoredMovie, why: Sequence[Reason]
) -> dict[str, Any]:
    return {
        **_movie(model.movie(movie.movie_id, movie.title)),
        **_stars(movie),
        "score": round(movie.score, 6),
        "reasons": [
            {
                **_titled(reason.movie_id, reason.title),
                "contribution": round(reason.contribution, 6),
            }
            for reason in why
        ],
    }


def _scale(model: Recommender) -> dict[str, Any]:
    """Returns the scale of the ratings, nothing where the data has none."""
    if not model.predicts_ratings:
        return {}
    scale = model.table.scale
    return {"rating_scale": {"low": scale.low, "high": scale.high}}


def _stars(movie: ScoredMovie) -> dict[str, float]:
    """Returns the predicted rating of a movie, nothing where none is predicted."""
    return {} if movie.stars is None else {"stars": round(movie.stars, 4)}


# -- movies ------------------------------------------------------------------------------------


def _add_movies(app: FastAPI, service: Service) -> None:
    @app.get("/api/movies", tags=["catalogue"], response_model=schemas.Movies)
    async def find_movies(query: Annotated[schemas.MovieQuery, Query()]) -> Response:
        """Finds movies by the words of their titles; without a query, the most popular ones."""
        with service.versions.lease() as model:
            found, total = model.catalogue.search(query.query, query.limit)
            movies = [_movie(movie) for movie in found]
            return _json({"model_version": model.version, "total": total, "movies": movies})

    @app.get("/api/movies/{movie_id:id}", tags=["catalogue"], response_model=schemas.OneMovie)
    async def get_movie(movie_id: MovieId) -> Response:
        """Returns a movie of the catalogue."""
        with service.versions.lease() as model:
            movie = _movie(_known_movie(model, movie_id))
            return _json({"model_version": model.version, "movie": movie})

    @app.get(
        "/api/movies/{movie_id:id}/similar",
        tags=["catalogue"],
        response_model=schemas.SimilarMovies,
    )
    async def find_similar_movies(
        movie_id: MovieId, query: Annotated[schemas.SimilarQuery, Query()]
    ) -> Response:
        """Finds movies that the same users like."""
        with service.versions.lease() as model:
            _known_movie(model, movie_id)
            if not model.finds_similar:
                raise NotFound(
                    f"Version {model.version} of the model does not know similar"
                    f" {plural(model.item_noun)}."
                    " A model trained by the present pipeline does: run 'make run'."
                )
            found = scored_movies(await service.batcher.run(model.similar([movie_id], query.k)))
            movies = [
                {**_movie(model.movie(one.movie_id, one.title)), "similarity": round(one.score, 6)}
                for one in found
            ]
            return _json({"model_version": model.version, "movie_id": movie_id, "movies": movies})


def _known_movie(model: Recommender, movie_id: str) -> Movie:
    movie = model.catalogue.get(movie_id)
    if movie is None:
        raise NotFound(
            f"There is no {model.item_noun} with the id {shorten(movie_id)}."
            " GET /api/movies?query=… finds ids."
        )
    return movie


def _movie(movie: Movie) -> dict[str, Any]:
    return {
        **_titled(movie.movie_id, movie.title),
        "year": movie.year,
        "genres": movie.genres,
    }


def _titled(movie_id: str, title: str) -> dict[str, Any]:
    return {"movie_id": movie_id, "title": title, "display_title": display_title(title)}


# -- the model and its users -------------------------------------------------------------------


def _add_model(app: FastAPI, service: Service) -> None:
    @app.get("/api/model", tags=["model"], response_model=schemas.ModelFacts)
    async def describe_model() -> Response:
        """Describes the served version: its metrics on test data, its catalogue and its users."""
        with service.versions.lease() as model:
            run_record = model.run_record
            return _json(
                {
                    "model_version": model.version,
                    "dataset": run_record.dataset,
                    "scenarios": [
                        _in_scenario(model, scenario)
                        for scenario in SCENARIOS
                        if model.table.has_time or scenario.query_time != "of_the_rating"
                    ],
                    "metrics": run_record.metrics,
                    "item_noun": model.item_noun,
                    **_scale(model),
                    "movies": len(model.catalogue),
                    "users": model.users.count,
                    "user_features": [
                        {
                            "name": feature.name,
                            "field": _FIELD_OF.get(feature.name),
                            **_feature(model, feature),
                        }
                        for feature in features_of(model.table)
                    ],
                    **_context_features(model),
                    "abilities": {
                        "similar": model.finds_similar,
                        "reasons": model.gives_reasons,
                        "liked": model.takes_recent_movies,
                        "ratings": model.predicts_ratings,
                        "times": model.table.has_time,
                    },
                }
            )

    @app.get("/api/users", tags=["model"], response_model=schemas.UserIds)
    async def list_users(query: Annotated[schemas.PrefixQuery, Query()]) -> Response:
        """Lists known users, by the beginning of their id."""
        with service.versions.lease() as model:
            ids, total = model.users.beginning_with(query.prefix, query.limit)
            return _json({"model_version": model.version, "total": total, "user_ids": ids})


def _feature(model: Recommender, feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "label": feature.called,
        "type": "text" if feature.dtype == "string" else "number",
        "choices": model.choices.get(feature.name, ()),
    }


def _context_features(model: Recommender) -> dict[str, Any]:
    """Returns the context features, nothing where the data has none."""
    found = [_feature(model, feature) for feature in model.table.context]
    return {"context_features": found} if found else {}


def _in_scenario(model: Recommender, scenario: Scenario) -> dict[str, Any]:
    shown = ("recall_at_10", "rating_rmse") if model.predicts_ratings else ("recall_at_10",)
    metrics = model.run_record.metrics
    return {
        "scenario": scenario.name,
        **{name: metrics.get(metric_name(scenario, name)) for name in shown},
    }


# -- health ------------------------------------------------------------------------------------


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["operation"], response_model=schemas.Health)
    async def healthz() -> Response:
        """Answers 200 as long as the server runs."""
        return _json({"status": "ok"})

    @app.get(
        "/readyz",
        tags=["operation"],
        response_model=schemas.Ready,
        responses={503: {"model": schemas.Ready, "description": "No model yet"}},
    )
    async def readyz() -> Response:
        """Answers 200 once a version of the model is loaded."""
        versions = service.versions
        if versions.ready:
            return _json({"status": "ready", "model_version": versions.current.version})
        return _json({"status": "no version is loaded", "model_version": None}, 503)

    @app.get(
        "/metrics",
        tags=["operation"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' format"}},
    )
    async def metrics() -> Response:
        """Returns the server's metrics in Prometheus' text format."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})


# -- pages -------------------------------------------------------------------------------------


def _add_files(app: FastAPI) -> None:
    files = StaticFiles()
    app.mount("/static", files)
    for path, name in PAGES.items():

        async def page(request: Request, name: str = name) -> Response:
            return await files.get_response(name, request.scope)

        app.add_api_route(path, page, include_in_schema=False)


# -- errors ------------------------------------------------------------------------------------


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def own(request: Request, error: RequestError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _explain(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if "GET" in headers.get("allow", ""):
            headers["allow"] += ", HEAD"
        message = _http_message(request, error)
        return RequestError(error.status_code, message, headers).response()

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> Response:
        # The middleware around this application logs the error with the same id.
        request_id = request.scope["request_id"].decode("ascii")
        return InternalError(request_id).response()


def _http_message(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return "This path does not exist. /docs lists the paths."
    if error.status_code == 405:
        return f"This path does not support {request.method}. /docs lists the methods."
    if error.status_code == 400:
        return "Expected a body of JSON in UTF-8 that is not nested hundreds of levels deep."
    return str(error.detail)


_MOST_PROBLEMS = 5


def _explain(error: RequestValidationError) -> RequestError:
    """Returns an error with one line for all invalid values."""
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        reason = problems[0].get("ctx", {}).get("error", "")
        return InvalidInput(f"Expected a body of JSON, found something else: {reason}.")
    by_place: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        by_place.setdefault(_place(problem["loc"]), []).append(problem)
    texts = [f"{place}: {_problem(found)}" for place, found in by_place.items()]
    if len(texts) > _MOST_PROBLEMS:
        texts[_MOST_PROBLEMS:] = [f"and {len(texts) - _MOST_PROBLEMS} more"]
    return RequestError(422, "; ".join(texts) + ".")


def _place(location: Sequence[str | int]) -> str:
    """Returns where a value is; the types that a feature may have are no part of it."""
    of_feature = location[1:2] in (("features",), ("context",))
    parts = location[: 2 if location[-1] == _OF_A_NAME else 3] if of_feature else location
    where = ".".join(shorten(part).strip("'") for part in parts[1:])
    return f"{parts[0]} {where}".strip()


_OF_A_NAME = "[key]"
"""Where the place of an error ends whose value is the name in an object, by pydantic."""

_EXPECTED: Mapping[str, str] = {
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
    "string_type": "text",
    "string_unicode": "text in UTF-8",
    "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than_equal": "at least {ge:.15g}",
    "less_than_equal": "at most {le:.15g}",
}
"""What was expected, by pydantic's type of an error."""


def _problem(problems: Sequence[dict[str, Any]]) -> str:
    """Returns what is wrong with a value: pydantic has an error for each type it may have."""
    # A value of a wrong length has an error for every other type as well; these are left out.
    relevant = [one for one in problems if not one["type"].endswith("_type")] or problems
    if relevant[0]["type"] == "extra_forbidden":
        return "not known here"
    if relevant[0]["type"] == "missing":
        return "missing"
    expected = (
        _EXPECTED[one["type"]].format(**one.get("ctx", {}))
        if one["type"] in _EXPECTED
        else one["msg"]
        for one in relevant
    )
    length = relevant[0].get("ctx", {}).get("actual_length")
    found = shorten(relevant[0].get("input")) if length is None else length
    of_names = "names of " if relevant[0]["loc"][-1:] == (_OF_A_NAME,) else ""
    return f"expected {of_names}{' or '.join(expected)}, found {found}"


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
