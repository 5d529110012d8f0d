"""The queries that a version must answer sensibly before anybody else may ask it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

from serving.calls import Array, Call
from serving.errors import InvalidInput, ModelError
from serving.recommender import (
    Person,
    Recommender,
    Scored,
    ranked,
    reasons,
    recommended,
    resembling,
)

_K = 10
_STARS = (0.0, 10.0)
"""Any scale of ratings has its stars in here."""
_WARM_ROWS = (2, 8, 32)
"""The first call with a new number of rows is slower; requests should not be the ones to wait."""


def try_out(recommender: Recommender, threads: int = 1) -> None:
    """Asks a version for recommendations, ratings, similar movies and reasons.

    Args:
      recommender: the version.
      threads: how many signatures to prepare at the same time.

    Raises:
      ModelError: if an answer makes no sense.
    """
    if not len(recommender.catalogue):
        raise ModelError("FAILED_PRECONDITION", "has no movies")
    _prepare(recommender, threads)
    known = [Person(user_id) for user_id in recommender.users.ids[:1]]
    for person in [Person(), *known]:
        _try_person(recommender, person)
    _try_similar(recommender)
    for rows in _WARM_ROWS:
        _run(recommender, recommender.recommend([Person()] * rows, _K, [()] * rows, seen=False))


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


def _try_person(recommender: Recommender, person: Person) -> None:
    call = recommender.recommend([person], _K, [()], seen=True)
    movies = recommended(_run(recommender, call))
    expected = min(_K, len(recommender.catalogue))
    _require(len(movies) == expected, f"recommends {len(movies)} movies instead of {expected}")
    _check_movies(recommender, movies)
    ids = [movie.movie_id for movie in movies]
    stars = ranked(_run(recommender, recommender.rank([person], [ids])))
    for one, other in zip(movies, stars, strict=True):
        _require(
            math.isclose(one.stars, other.stars, rel_tol=0.01),
            f"predicts {one.stars:.3f} stars for movie {one.movie_id!r} in 'recommend' and"
            f" {other.stars:.3f} in 'rank'",
        )
    if recommender.gives_reasons:
        why = reasons(_run(recommender, recommender.explain([person], [ids], 1)))
        _require(len(why) == len(ids), "explains another number of movies than it was asked for")


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
    movie_id = next(iter(recommender.catalogue.movies))
    movies = resembling(_run(recommender, recommender.similar([movie_id], _K)))
    for movie in movies:
        _require(math.isfinite(movie.score), f"gives a similarity of {movie.score}")


def _run(recommender: Recommender, call: Call) -> dict[str, Array]:
    try:
        return recommender.model.signatures[call.signature](call.inputs)
    except InvalidInput as error:
        raise ModelError(
            "INTERNAL", f"fails on a query of {call.signature!r}: {error.message}"
        ) from error


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ModelError("FAILED_PRECONDITION", f"answers nonsense: {otherwise}")
