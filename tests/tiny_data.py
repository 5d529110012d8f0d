"""Ratings of 1 to 20 users and 1 to 20 movies, of every odd but legal kind, for property tests."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

MOST = 20
STEPS = (0, 1, 60, 5_000, 10**6)
"""Seconds from one rating to the next."""


class TinyData(NamedTuple):
    """Ratings, every pair of user and movie once.

    Attributes:
      user_ids: ascending.
      movie_ids: ascending; some may have no rating.
      user: `[ratings]` positions in `user_ids`.
      movie: `[ratings]` positions in `movie_ids`.
      rating: `[ratings]` stars.
      timestamp: `[ratings]` unix seconds.
    """

    user_ids: np.ndarray
    movie_ids: np.ndarray
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray


def _pairs(shape, users, movies, rng):
    """Which user rated which movie."""
    if shape == "one rating per user":
        return np.arange(users), rng.integers(0, movies, users)
    if shape == "one rating per movie":
        return rng.integers(0, users, movies), np.arange(movies)
    if shape == "one rating":
        return np.array([users - 1]), np.array([movies - 1])
    share = 1.0 if shape == "everybody rates everything" else rng.uniform(0.05, 0.9)
    chosen = rng.random((users, movies)) < share
    chosen[rng.integers(users), rng.integers(movies)] = True
    return np.nonzero(chosen)


@st.composite
def tiny_data(draw):
    users, movies = draw(st.integers(1, MOST)), draw(st.integers(1, MOST))
    shape = draw(
        st.sampled_from(
            ["some", "everybody rates everything", "one rating per user", "one rating per movie",
             "one rating"]
        )
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    user, movie = _pairs(shape, users, movies, rng)
    number = len(user)
    stars = draw(st.sampled_from([(1,), (3,), (5,), (1, 5), (1, 2, 3, 4, 5)]))
    steps = draw(st.sampled_from([(0,), (1,), (10**6,), STEPS]))
    first_id = draw(st.sampled_from([1, 2**31, 2**62]))
    return TinyData(
        user_ids=first_id + np.arange(users),
        movie_ids=first_id + np.arange(movies) * draw(st.sampled_from([1, 1000])),
        user=user,
        movie=movie,
        rating=rng.choice(stars, number).astype(np.float32),
        timestamp=880_000_000 + np.cumsum(rng.choice(steps, number)),
    )
