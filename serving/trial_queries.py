"""The queries that a version must answer sensibly before anybody else may ask it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from schema.events import Event
from serving.calls import Array, Call, check_answer
from serving.errors import ModelError, ModelFault, RequestError
from serving.recommender import (
    Person,
    Recommender,
    Scored,
    ranked,
    reasons,
    recommended,
    resembling,
)
from serving.user_features import features_of

_K = 10
_USERS = 60
"""Known users who are asked for, spread over all."""
_ROWS = 32
_STARS = (0.0, 10.0)
"""Any scale of ratings has its stars in here."""
_WARM_ROWS = (2, 8, 32)
"""The first call with a new number of rows is slower; requests should not be the ones to wait."""


def validate(recommender: Recommender, threads: int = 1) -> None:
    """Asks a version for recommendations, ratings, similar movies and reasons.

    For people spread over all whom it knows, and for some whom it does not know.

    Args:
      recommender: the version.
      threads: how many signatures to prepare at the same time.

    Raises:
      ModelError: if an answer makes no sense.
    """
    if not len(recommender.catalogue):
        raise ModelError("FAILED_PRECONDITION", "has no movies")
    prepare(recommender, threads)
    people = _spread(recommender)
    for start in range(0, len(people), _ROWS):
        _try_people(recommender, people[start : start + _ROWS])
    _try_similar(recommender)


def prepare(recommender: Recommender, threads: int = 1) -> None:
    """Makes the first calls, which are slow, of each signature and of usual numbers of rows.

    Raises:
      ModelError: if there is no answer.
    """
    _prepare(recommender, threads)
    for rows in _WARM_ROWS:
        _run(recommender, recommender.recommend([Person()] * rows, _K, [()] * rows, seen=False))


def _spread(recommender: Recommender) -> list[Person]:
    ids = recommender.users.ids
    some = [ids[round(place)] for place in np.linspace(0, len(ids) - 1, min(len(ids), _USERS))]
    film = next(iter(recommender.catalogue.movies))
    values = {
        feature.name: next(iter(recommender.choices.get(feature.name, ("F",))))
        if feature.dtype == "string"
        else 30
        for feature in features_of(recommender.table)
    }
    unknown = [Person(), Person("nobody"), Person("", values, 900_000_000)]
    if recommender.takes_recent_movies:
        unknown.append(Person(events=(Event(film), Event(film, 900_000_000, 1.0))))
    return [*(Person(user_id) for user_id in some), *unknown]


def _prepare(recommender: Recommender, threads: int) -> None:
    """Lets TensorFlow optimize each signature's graph, which takes most of the time."""
    movie_id = next(iter(recommender.catalogue.movies))
    calls = [
        recommender.recommend([Person()], _K, [()], seen=True),
        recommender.rank([Person()], [[movie_id]]),
    ]
    if recommender.gives_reasons:
        calls.append(recommender.explain([Person()], [[movie_id]], 1))
    if recommender.finds_similar:
        calls.append(recommender.similar([movie_id], _K))
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda call: _run(recommender, call), calls))


def _try_people(recommender: Recommender, people: Sequence[Person]) -> None:
    nothing: list[tuple[str, ...]] = [()] * len(people)
    found = _run(recommender, recommender.recommend(people, _K, nothing, seen=True))
    expected = min(_K, len(recommender.catalogue))
    ids = []
    for row in range(len(people)):
        movies = recommended(found, row)
        _require(len(movies) == expected, f"recommends {len(movies)} movies instead of {expected}")
        _check_movies(recommender, movies)
        ids.append([movie.movie_id for movie in movies])
    rated = _run(recommender, recommender.rank(people, ids))
    for row in range(len(people)):
        _check_stars(recommended(found, row), ranked(rated, row))
    if recommender.gives_reasons:
        why = _run(recommender, recommender.explain(people, ids, 1))
        for row in range(len(people)):
            _require(
                len(reasons(why, row)) == expected,
                "explains another number of movies than it was asked for",
            )


def _check_stars(movies: Sequence[Scored], stars: Sequence[Scored]) -> None:
    for one, other in zip(movies, stars, strict=True):
        _require(
            math.isclose(one.stars, other.stars, rel_tol=0.01, abs_tol=0.01),
            f"predicts {one.stars:.3f} stars for movie {one.movie_id!r} in 'recommend' and"
            f" {other.stars:.3f} in 'rank'",
        )


def _check_movies(recommender: Recommender, movies: list[Scored]) -> None:
    ids = [movie.movie_id for movie in movies]
    _require(len(set(ids)) == len(ids), f"recommends a movie twice: {ids}")
    for movie in movies:
        known = recommender.catalogue.get(movie.movie_id) is not None
        _require(known, f"recommends movie {movie.movie_id!r}, which its catalogue does not have")
        _require(math.isfinite(movie.score), f"scores a movie {movie.score}")
        sensible = _STARS[0] <= movie.stars <= _STARS[1]
        _require(sensible, f"predicts {movie.stars} stars")
    scores = [movie.score for movie in movies]
    _require(scores == sorted(scores, reverse=True), "does not recommend the best first")


def _try_similar(recommender: Recommender) -> None:
    if not recommender.finds_similar:
        return
    known = list(recommender.catalogue.movies)
    places = np.linspace(0, len(known) - 1, min(len(known), _ROWS))
    movies = [known[round(place)] for place in places]
    found = _run(recommender, recommender.similar(movies, _K))
    for row in range(len(movies)):
        for movie in resembling(found, row):
            _require(math.isfinite(movie.score), f"gives a similarity of {movie.score}")


def _run(recommender: Recommender, call: Call) -> dict[str, Array]:
    try:
        outputs = recommender.model.signatures[call.signature](call.inputs)
        check_answer(call, outputs)
        return outputs
    except ModelFault as fault:
        if fault.kind == "not_finite":
            raise ModelError("FAILED_PRECONDITION", f"answers nonsense: {fault.reason}") from fault
        raise ModelError("INTERNAL", f"fails on a query: {fault.reason}") from fault
    except RequestError as error:
        raise ModelError(
            "INTERNAL", f"fails on a query of {call.signature!r}: {error.message}"
        ) from error


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ModelError("FAILED_PRECONDITION", f"answers nonsense: {otherwise}")
