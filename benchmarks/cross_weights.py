"""Prints which pairs of features the cross layer of a pushed model couples most.

`.venv/bin/python -m benchmarks.cross_weights output/serving_model/<version>`; without a folder,
of the newest version in `output/serving_model`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

USER = ("user id", "age_bucket_index", "gender_index", "occupation_index", "user's choices")
MOVIE = (
    "movie id",
    "genre_indices",
    "release_year_bucket",
    "director_index",
    "star_index",
    "movie's viewers",
)

Pair = tuple[float, str, str]


def strongest(weights: Mapping[str, Any]) -> list[Pair]:
    """Returns (strength, feature, feature) of every pair, strongest first.

    A pair is coupled in both directions; its strength is the root of the sum of squares.
    """
    names, norms = weights["blocks"], weights["norms"]
    pairs = [
        (math.hypot(norms[i][j], norms[j][i] if i != j else 0.0), names[i], names[j])
        for i in range(len(names))
        for j in range(i, len(names))
    ]
    return sorted(pairs, reverse=True)


def is_user_with_movie(pair: Pair) -> bool:
    """Whether one feature is the user's and the other the movie's."""
    _, one, other = pair
    return (one in USER and other in MOVIE) or (one in MOVIE and other in USER)


def _lines(pairs: Sequence[Pair], shown: int) -> list[str]:
    lines = [f"{'rank':>4}  {'strength':>8}  pair"]
    for rank, (strength, one, other) in enumerate(pairs, 1):
        ids = {one, other} == {"user id", "movie id"}
        if rank <= shown or ids:
            lines.append(f"{rank:4}  {strength:8.4f}  {one} × {other}")
    crossing = [rank for rank, pair in enumerate(pairs, 1) if is_user_with_movie(pair)]
    lines.append(
        f"{len(pairs)} pairs; of the {len(crossing)} of a user's and a movie's feature the "
        f"strongest is number {crossing[0]}"
    )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.cross_weights", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "version", type=Path, nargs="?", help="the folder of a pushed version (default: the newest)"
    )
    folder = parser.parse_args(arguments).version
    if folder is None:
        versions = [p for p in Path("output/serving_model").glob("*") if p.name.isdecimal()]
        if not versions:
            sys.stderr.write("expected a pushed model in output/serving_model: name its folder\n")
            return 2
        folder = max(versions, key=lambda path: int(path.name))
    path = folder / "assets.extra" / "cross_weights.json"
    if not path.is_file():
        sys.stderr.write(f"expected {path}, found nothing: is this a version of our model?\n")
        return 2
    pairs = strongest(json.loads(path.read_text(encoding="utf-8")))
    print("\n".join(_lines(pairs, 12)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
