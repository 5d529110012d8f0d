"""Small own tables, for tests: ids of text, users and items with features."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

COUNTRIES = ("DE", "FR", "Ελλάδα")
TITLES = ("Löwe, der große", "日本", "", "Thing", "Thing")


def events(users: int = 20, items: int = 15, count: int = 150, seed: int = 1) -> list[dict]:
    """Events of different pairs; ids are UUIDs and stock numbers, ratings 1 to 5."""
    rng = random.Random(seed)
    people = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(users)]
    pairs = rng.sample([(user, f"SKU-{i:03}") for user in people for i in range(items)], count)
    return [
        {
            "user_id": user,
            "item_id": item,
            "rating": rng.randint(1, 5),
            "timestamp": 1_600_000_000 + rng.randrange(10**7),
        }
        for user, item in pairs
    ]


def write_csv(path: Path, rows: list[dict], separator: str = ",") -> Path:
    """Writes rows under a header; values with a separator in quotes."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def cell(value: object) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if separator in text else text

    lines = [separator.join(rows[0]), *(separator.join(map(cell, r.values())) for r in rows)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def write_tables(folder: Path, rows: list[dict]) -> Path:
    """Writes interactions, users and items; one user and one item are listed without an event."""
    write_csv(folder / "interactions.csv", rows)
    users = sorted({row["user_id"] for row in rows})
    items = sorted({row["item_id"] for row in rows})
    write_csv(
        folder / "users.csv",
        [
            {"user_id": user, "country": COUNTRIES[i % 3], "age": 20 + i % 40}
            for i, user in enumerate([*users[1:], "nobody"])
        ],
    )
    write_csv(
        folder / "items.csv",
        [
            {
                "id": item,
                "title": TITLES[i % len(TITLES)],
                "genres": "|".join(("A", "B", "C")[: 1 + i % 3]),
                "brand": "xyz"[i % 3],
                "price": i * 1.5,
                "year": 1990 + i,
            }
            for i, item in enumerate([*items[1:], "unsold"])
        ],
    )
    return folder
