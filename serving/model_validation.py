"""Model validation: a version is loaded and must answer these queries before it is served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from schema.events import Event
from serving.errors import ModelError, ModelFault, RequestError
from serving.model import load
from serving.recommender import (
    Recommender,
    ScoredMovie,
    UserProfile,
    make_recommender,
    reasons,
    scored_movies,
)
from serving.signatures import Array, Call, check_outputs
from serving.user_features import features_of

_K = 10
_USERS = 60
"""Known users in the queries, spread over the whole range of ids."""
_ROWS = 32
_WARM_UP_ROWS = (2, 8, 32)
"""TensorFlow's first call with a new number of rows is slower."""


def load_and_validate(
    path: Path, version: int, threads: int = 1, warm_up_threads: int = 1, validated: bool = False
) -> Recommender:
    """Loads a version, makes its first calls and validates it.

    Args:
      path: its folder.
      version: its number.
      threads: how many threads TensorFlow may use for a call.
      warm_up_threads: how many signatures to warm up at the same time.
      validated: whether it was validated before.

    Raises:
      ModelError: it cannot be loaded, or an output is wrong.
    """
    try:
        model = load(path, version, threads)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError("UNKNOWN", f"cannot be loaded: {type(error).__name__}") from error
    try:
        recommender = make_recommender(model)
        if not len(recommender.catalogue):
            raise ModelError("FAILED_PRECONDITION", "has no items")
        warm_up(recommender, warm_up_threads)
        if not validated:
            validate(recommender)
        return recommender
    except Exception as error:
        model.retire()
        raise (error if isinstance(error, ModelError) else _failure(error)) from error


def _failure(error: Exception) -> ModelError:
    """Returns why a call of the model failed."""
    if isinstance(error, ModelFault):
        if error.kind == "not_finite":
            return _wrong(error.reason)
        return ModelError("INTERNAL", f"fails on a query: {error.reason}")
    message = error.message if isinstance(error, RequestError) else type(error).__name__
    return ModelError("INTERNAL", f"fails on a query: {message}")


def _wrong(what: str) -> ModelError:
    return ModelError("FAILED_PRECONDITION", f"fails validation: {what}")


def validate(recommender: Recommender) -> None:
    """Checks the outputs of every signature, for known users and for new ones.

    Raises:
      ModelError: an output is wrong, or a call fails.
    """
    profiles = _profiles(recommender)
    for start in range(0, len(profiles), _ROWS):
        _validate_users(recommender, profiles[start : start + _ROWS])
    _validate_similar(recommender)


def warm_up(recommender: Recommender, threads: int = 1) -> None:
    """Makes the first call, which is slow, of each signature and of usual numbers of rows.

    Raises:
      ModelError: a call fails.
    """
    calls = recommender.sample_calls(next(iter(recommender.catalogue.movies)), _K)
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda call: _run(recommender, call), calls))
    for rows in _WARM_UP_ROWS:
        _run(
            recommender, recommender.recommend([UserProfile()] * rows, _K, [()] * rows, seen=False)
        )


def _profiles(recommender: Recommender) -> list[UserProfile]:
    ids = recommender.users.ids
    known = [ids[round(place)] for place in np.linspace(0, len(ids) - 1, min(len(ids), _USERS))]
    movie_id = next(iter(recommender.catalogue.movies))
    values = {
        feature.name: next(iter(recommender.choices.get(feature.name, ("F",))))
        if feature.dtype == "string"
        else 30
        for feature in features_of(recommender.table)
    }
    context = {one.name: "a" if one.dtype == "string" else 1.0 for one in recommender.table.context}
    new = [
        *(UserProfile(), UserProfile("nobody")),
        UserProfile("", values, 900_000_000, context=context),
    ]
    if recommender.takes_recent_movies:
        new.append(UserProfile(events=(Event(movie_id), Event(movie_id, 900_000_000, 1.0))))
    return [*(UserProfile(user_id) for user_id in known), *new]


def _validate_users(recommender: Recommender, profiles: Sequence[UserProfile]) -> None:
    nothing: list[tuple[str, ...]] = [()] * len(profiles)
    outputs = _run(recommender, recommender.recommend(profiles, _K, nothing, seen=True))
    expected = min(_K, len(recommender.catalogue))
    lists = [scored_movies(outputs, row) for row in range(len(profiles))]
    for movies in lists:
        _require(len(movies) == expected, f"recommends {len(movies)} items instead of {expected}")
        _check_list(recommender, movies)
    ids = [[movie.movie_id for movie in movies] for movies in lists]
    if recommender.predicts_ratings:
        rated = _run(recommender, recommender.rank(profiles, ids))
        for row, movies in enumerate(lists):
            _check_stars(recommender, movies, scored_movies(rated, row))
    if recommender.gives_reasons:
        explained = _run(recommender, recommender.explain(profiles, ids, 1))
        for row in range(len(profiles)):
            _require(
                len(reasons(explained, row)) == expected,
                "explains another number of items than was requested",
            )


def _check_stars(
    recommender: Recommender, movies: Sequence[ScoredMovie], rated: Sequence[ScoredMovie]
) -> None:
    scale = recommender.table.scale
    beyond = scale.high - scale.low
    for movie, other in zip(movies, rated, strict=True):
        if movie.stars is None or other.stars is None:
            raise _wrong("predicts no ratings, which its feature table has")
        _require(
            scale.low - beyond <= movie.stars <= scale.high + beyond,
            f"predicts {movie.stars} stars on a scale of {scale.describe()}",
        )
        _require(
            math.isclose(movie.stars, other.stars, rel_tol=0.01, abs_tol=0.01),
            f"predicts {movie.stars:.3f} stars for item {movie.movie_id!r} in 'recommend' and"
            f" {other.stars:.3f} in 'rank'",
        )


def _check_list(recommender: Recommender, movies: Sequence[ScoredMovie]) -> None:
    ids = [movie.movie_id for movie in movies]
    _require(len(set(ids)) == len(ids), f"recommends an item twice: {ids}")
    for movie in movies:
        known = recommender.catalogue.get(movie.movie_id) is not None
        _require(known, f"recommends item {movie.movie_id!r}, which its catalogue does not have")
        _require(math.isfinite(movie.score), f"scores an item {movie.score}")
    scores = [movie.score for movie in movies]
    _require(scores == sorted(scores, reverse=True), "does not recommend the best first")


def _validate_similar(recommender: Recommender) -> None:
    if not recommender.finds_similar:
        return
    known = list(recommender.catalogue.movies)
    places = np.linspace(0, len(known) - 1, min(len(known), _ROWS))
    movie_ids = [known[round(place)] for place in places]
    outputs = _run(recommender, recommender.similar(movie_ids, _K))
    for row in range(len(movie_ids)):
        for movie in scored_movies(outputs, row):
            _require(math.isfinite(movie.score), f"gives a similarity of {movie.score}")


def _run(recommender: Recommender, call: Call) -> dict[str, Array]:
    try:
        outputs = recommender.model.signatures[call.signature](call.inputs)
        check_outputs(call, outputs)
        return outputs
    except RequestError as error:
        raise _failure(error) from error


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _wrong(otherwise)
