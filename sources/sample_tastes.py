"""The invented users, movies and tastes behind the sample data set.

Movies and users are points in one taste space. A movie's point comes from its genres,
its director and a part of its own; a person's from age, gender and a part of their
own. What somebody watches is a mixture of circles of taste, each with favourites of
its own, on top of popularity; how many stars they give is a sum of their habit, the
movie's quality, the closeness of the two points, and chance. So features, ids and
popularity all tell a model something, and the closeness of points most.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GENRES: tuple[str, ...] = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery",
    "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The flags of `u.item`, in order."""

OCCUPATIONS: tuple[str, ...] = (
    "administrator", "artist", "doctor", "educator", "engineer", "entertainment",
    "executive", "healthcare", "homemaker", "lawyer", "librarian", "marketing", "none",
    "other", "programmer", "retired", "salesman", "scientist", "student", "technician",
    "writer",
)  # fmt: skip

FIRST_YEAR, LAST_YEAR = 1930, 2009
"""Release years; the first rating is given on 1 January of the year after the last."""

MIN_USER_RATINGS = 20
MAX_CATALOGUE_SHARE = 0.4
"""Nobody rates more than this share of the movies."""

_DIMENSIONS = 8
_CIRCLES = 48
_GENRE_WEIGHTS = np.array(
    [0, 15, 8, 3, 7, 30, 7, 4, 42, 2, 2, 6, 4, 4, 15, 6, 15, 4, 2], dtype=np.float64
)
_AGE_EDGES = (18, 25, 35, 45, 50, 56)

# Spread of each part of a rating, in stars; together close to MovieLens's 1.1.
_MEAN_STARS = 2.85
_USER_SPREAD = 0.42
_MOVIE_SPREAD = 0.50
_TASTE_SPREAD = 0.75
_CHANCE_SPREAD = 0.75

_POPULARITY_SPREAD = 1.6  # of the logarithm: the long tail
_CIRCLE_FOCUS = 2.8  # how much a circle prefers the movies closest to it
_USER_FOCUS = 20.0  # how much people keep to the circles closest to them


@dataclasses.dataclass(frozen=True)
class Movies:
    """The catalogue; every array has one row per movie.

    Attributes:
      genres: [movies, genres] flags.
      year: release year.
      day: day of the release year, from 0.
      director: index of the director.
      star: index of the first in cast order.
      point: [movies, dimensions] place in the taste space.
      quality: stars above or below the mean that everybody agrees on.
      popularity: probability of being the next movie watched by anybody.
    """

    genres: Bools
    year: Ints
    day: Ints
    director: Ints
    star: Ints
    point: Floats
    quality: Floats
    popularity: Floats

    def __len__(self) -> int:
        """Returns the number of movies."""
        return len(self.year)


@dataclasses.dataclass(frozen=True)
class Users:
    """The audience; every array has one row per user.

    Attributes:
      age: years.
      is_male: gender.
      occupation: index into `OCCUPATIONS`.
      point: [users, dimensions] place in the taste space.
      habit: stars this person gives above or below the mean.
      activity: number of movies the person rates.
    """

    age: Ints
    is_male: Bools
    occupation: Ints
    point: Floats
    habit: Floats
    activity: Ints

    def __len__(self) -> int:
        """Returns the number of users."""
        return len(self.age)


@dataclasses.dataclass(frozen=True)
class Tastes:
    """Who watches what.

    Attributes:
      circles: [circles, dimensions] unit vectors, the middles of the circles of taste.
      watched: [circles, movies] each circle's probabilities of the next movie.
      watched_steps: `watched` summed up along the movies, plus the circle's index, all
        in one sorted line: drawing a movie is one binary search.
    """

    circles: Floats
    watched: Floats
    watched_steps: Floats


def make_movies(rng: np.random.Generator, count: int) -> Movies:
    """Returns `count` invented movies."""
    genre_points = _unit_rows(rng.normal(size=(len(GENRES), _DIMENSIONS)))
    directors = max(count // 5, 1)
    home_genre = rng.choice(len(GENRES), size=directors, p=_GENRE_WEIGHTS / _GENRE_WEIGHTS.sum())
    director_points = genre_points[home_genre] + _noise(rng, directors, 0.7)
    director = _long_tail(rng, directors, count)
    genres = _draw_genres(rng, home_genre[director])
    of_genres = genres @ genre_points / genres.sum(axis=1, keepdims=True)
    point = of_genres + 0.7 * director_points[director] + _noise(rng, count, 0.5)
    quality = _MOVIE_SPREAD * rng.normal(size=count)
    log_popularity = _POPULARITY_SPREAD * rng.normal(size=count) + 0.8 * quality
    age = rng.exponential(12.0, size=count).astype(np.int64)
    return Movies(
        genres=genres,
        year=np.maximum(LAST_YEAR - age, FIRST_YEAR),
        day=rng.integers(0, 365, size=count),
        director=director,
        star=_long_tail(rng, max(count // 4, 1), count),
        point=_unit_rows(point),
        quality=quality,
        popularity=_share(np.exp(log_popularity)),
    )


def make_users(rng: np.random.Generator, count: int, ratings: int, movies: int) -> Users:
    """Returns `count` invented people who give `ratings` ratings between them."""
    age = np.clip(np.rint(12.0 + rng.gamma(3.0, 7.0, size=count)), 7, 73).astype(np.int64)
    is_male = rng.random(count) < 0.7
    of_age = _unit_rows(rng.normal(size=(len(_AGE_EDGES) + 1, _DIMENSIONS)))
    of_gender = _unit_rows(rng.normal(size=(1, _DIMENSIONS)))[0]
    point = (
        0.6 * of_age[np.searchsorted(_AGE_EDGES, age, side="right")]
        + 0.4 * np.where(is_male, 1.0, -1.0)[:, None] * of_gender
        + _noise(rng, count, 1.0)
    )
    return Users(
        age=age,
        is_male=is_male,
        occupation=_draw_occupations(rng, age),
        point=_unit_rows(point),
        habit=_USER_SPREAD * rng.normal(size=count),
        activity=_draw_activity(rng, count, ratings, int(movies * MAX_CATALOGUE_SHARE)),
    )


def make_tastes(rng: np.random.Generator, movies: Movies) -> Tastes:
    """Returns the circles of taste over a catalogue."""
    circles = _unit_rows(rng.normal(size=(_CIRCLES, _DIMENSIONS)))
    closeness = circles @ movies.point.T * np.sqrt(_DIMENSIONS)
    watched = _share(movies.popularity * np.exp(_CIRCLE_FOCUS * closeness))
    steps = np.cumsum(watched, axis=1)
    steps[:, -1] = 1.0
    return Tastes(circles, watched, (steps + np.arange(_CIRCLES)[:, None]).ravel())


def draw_watched(
    rng: np.random.Generator, tastes: Tastes, point: Floats, activity: Ints
) -> tuple[Ints, Ints]:
    """Draws which movies each user watches, none twice.

    Args:
      rng: source of chance.
      tastes: circles of taste.
      point: [users, dimensions] of the users.
      activity: [users] number of movies each watches.

    Returns:
      [ratings] row of the user, ascending, and [ratings] index of the movie.
    """
    movies = tastes.watched.shape[1]
    mixture = _share(np.exp(_USER_FOCUS * (point @ tastes.circles.T)))
    pairs = np.empty(0, dtype=np.int64)
    missing = activity
    for _ in range(3):
        drawn = _draw_pairs(rng, tastes, mixture, missing + missing // 2 + 4 * (missing > 0))
        pairs = _first_of_each(np.concatenate([pairs, drawn]), movies, activity)
        missing = activity - np.bincount(pairs // movies, minlength=len(activity))
    rest = [
        user * movies + _draw_unseen(rng, mixture[user] @ tastes.watched, seen, missing[user])
        for user, seen in _seen_by(pairs, movies, np.flatnonzero(missing))
    ]
    pairs = np.sort(np.concatenate([pairs, *rest]))
    return pairs // movies, pairs % movies


def draw_stars(
    rng: np.random.Generator, users: Users, movies: Movies, user: Ints, movie: Ints
) -> Ints:
    """Returns [ratings] stars, 1 to 5, that users give to movies they watched."""
    closeness = np.einsum("ij,ij->i", users.point[user], movies.point[movie])
    stars = (
        _MEAN_STARS
        + users.habit[user]
        + movies.quality[movie]
        + _TASTE_SPREAD * np.sqrt(_DIMENSIONS) * closeness
        + _CHANCE_SPREAD * rng.normal(size=len(user))
    )
    return np.clip(np.rint(stars), 1, 5).astype(np.int64)


def _noise(rng: np.random.Generator, count: int, length: float) -> Floats:
    """Returns [count, dimensions] random vectors of about this length."""
    return rng.normal(scale=length / np.sqrt(_DIMENSIONS), size=(count, _DIMENSIONS))


def _unit_rows(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _share(weights: Floats) -> Floats:
    """Scales the last axis to sum to one."""
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _long_tail(rng: np.random.Generator, kinds: int, size: int) -> Ints:
    """Draws `size` of `kinds` indices, few of them often and many rarely."""
    return rng.choice(kinds, size=size, p=_share((np.arange(kinds) + 10.0) ** -0.8))


def _draw_genres(rng: np.random.Generator, home_genre: Ints) -> Bools:
    """Gives each movie one to three genres, the director's own more often than not."""
    count = len(home_genre)
    weights = np.tile(_share(_GENRE_WEIGHTS), (count, 1))
    weights[np.arange(count), home_genre] += 1.5
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=weights.shape)
    order = np.argsort(-keys, axis=1, kind="stable")[:, :3]
    wanted = np.arange(3) < rng.choice([1, 2, 3], size=count, p=[0.45, 0.35, 0.2])[:, None]
    genres = np.zeros(weights.shape, dtype=np.bool_)
    rows = np.repeat(np.arange(count), wanted.sum(axis=1))
    genres[rows, order[wanted]] = True
    return genres


def _draw_occupations(rng: np.random.Generator, age: Ints) -> Ints:
    drawn = _long_tail(rng, len(OCCUPATIONS), len(age))
    chance = rng.random(len(age))
    drawn[(age < 23) & (chance < 0.8)] = OCCUPATIONS.index("student")
    drawn[(age >= 65) & (chance < 0.6)] = OCCUPATIONS.index("retired")
    return drawn


def _draw_activity(rng: np.random.Generator, count: int, ratings: int, most: int) -> Ints:
    """Splits `ratings` between users: at least 20, at most `most`, with a long tail."""
    weights = rng.lognormal(sigma=1.2, size=count)
    activity = np.full(count, MIN_USER_RATINGS, dtype=np.int64)
    while (left := ratings - int(activity.sum())) > 0:
        open_weights = weights * (activity < most)
        steps = np.floor(np.cumsum(_share(open_weights)) * left + 0.5).astype(np.int64)
        steps[-1] = left  # the sum of shares may miss one by a rounding
        activity = np.minimum(activity + np.diff(steps, prepend=0), most)
    return activity


def _draw_pairs(rng: np.random.Generator, tastes: Tastes, mixture: Floats, draws: Ints) -> Ints:
    """Draws movies with repetition; returns [draws.sum()] user × movies + movie."""
    circles, movies = tastes.watched.shape
    user = np.repeat(np.arange(len(draws)), draws)
    steps = np.cumsum(mixture, axis=1)
    steps[:, -1] = 1.0
    line = (steps + np.arange(len(draws))[:, None]).ravel()
    circle = np.searchsorted(line, user + rng.random(len(user)), side="right") % circles
    movie = (
        np.searchsorted(tastes.watched_steps, circle + rng.random(len(user)), side="right")
        - circle * movies
    )
    return np.asarray(user * movies + np.clip(movie, 0, movies - 1))


def _first_of_each(pairs: Ints, movies: int, activity: Ints) -> Ints:
    """Drops repeated pairs, and of each user's pairs those after the first `activity`."""
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    pairs = pairs[first]
    user = pairs // movies
    by_user = np.argsort(user, kind="stable")
    pairs, user = pairs[by_user], user[by_user]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    return pairs[place < activity[user]]


def _seen_by(pairs: Ints, movies: int, users: Ints) -> list[tuple[int, Ints]]:
    """Returns each user with the movies they have; `pairs` are sorted by user."""
    starts = np.searchsorted(pairs // movies, users, side="left")
    ends = np.searchsorted(pairs // movies, users, side="right")
    return [
        (int(user), pairs[start:end] % movies)
        for user, start, end in zip(users, starts, ends, strict=True)
    ]


def _draw_unseen(rng: np.random.Generator, chances: Floats, seen: Ints, count: int) -> Ints:
    """Draws `count` unseen movies without repetition (the Gumbel top-k trick)."""
    keys = np.log(chances) + rng.gumbel(size=len(chances))
    keys[seen] = -np.inf
    return np.asarray(np.argpartition(-keys, count - 1)[:count])
