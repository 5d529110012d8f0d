"""Own tables of any number of items, for measuring what a large catalogue costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

_GENRES = ("Rock", "Pop", "Jazz", "Folk", "Metal", "Punk", "Soul", "Blues", "Rap", "House")
_GROUPS = 40
"""Groups of items; seven tenths of a user's events are in one of them."""


def write_tables(folder: Path, items: int, users: int, events: int, seed: int = 7) -> None:
    """Writes `items.csv`, `users.csv` and `interactions.csv`.

    The popularity of items falls as their rank to the power of -0.9, as in catalogues of songs:
    most have no event, or few.

    Args:
      folder: where to; it is made.
      items: number of items.
      users: number of users.
      events: number of events, about: of a user and an item there is one.
      seed: of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.arange(items)
    words = np.array([f"word{number}" for number in range(20_000)])
    drawn = words[(rng.zipf(1.3, (items, 3)) - 1) % len(words)]
    genres = np.array(_GENRES)
    columns = {
        "item_id": [f"s{row}" for row in rows],
        "title": [" ".join(text) for text in drawn],
        "genres": ["|".join(pair) for pair in genres[rng.integers(len(genres), size=(items, 2))]],
        "year": 1950 + rows % 70,
        "price": rng.gamma(2.0, 10.0, items).round(2),
    }
    csv.write_csv(pa.table(columns), folder / "items.csv")
    ages = rng.integers(15, 80, users)
    columns = {"user_id": [f"u{row}" for row in range(users)], "age": ages}
    csv.write_csv(pa.table(columns), folder / "users.csv")
    order = rng.permutation(items)
    lengths = 2.0 + rng.pareto(1.5, users)
    user = np.repeat(np.arange(users), np.ceil(lengths * events / lengths.sum()).astype(int))
    # The inverse of the distribution function of ranks r of density (r + 10)^-0.9.
    low, high = 10.0**0.1, (items + 10.0) ** 0.1
    rank = ((low + (high - low) * rng.random(len(user))) ** 10 - 10).astype(int) % items
    in_group = rng.random(len(user)) < 0.7
    rank = np.where(in_group, rank // _GROUPS * _GROUPS + user % _GROUPS, rank) % items
    _, first = np.unique(user * items + rank, return_index=True)
    user, rank, in_group = user[first], rank[first], in_group[first]
    stars = np.clip(np.rint(3.0 + in_group + rng.normal(0.0, 0.9, len(user))), 1, 5).astype(int)
    seconds = 1_500_000_000 + np.cumsum(rng.choice([20, 60, 90_000], len(user), p=(0.5, 0.4, 0.1)))
    columns = {
        "user_id": [f"u{row}" for row in user],
        "item_id": [f"s{row}" for row in order[rank]],
        "rating": stars,
        "timestamp": seconds,
    }
    csv.write_csv(pa.table(columns), folder / "interactions.csv")
