"""A small data set in the format of MovieLens-100K, and methods that cost nothing."""

import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.compare import data, runner
from benchmarks.compare.cache import Cache
from benchmarks.compare.methods import RECALL_10, Answer, Method, Predictions
from benchmarks.compare.runner import Runner

USERS, MOVIES, RATED = 12, 60, 55
"""Each user has about 11 test ratings: more than the ten that a list holds."""


def write_files(folder: Path, seed: int = 1) -> Path:
    """Writes u.data, u.user and u.item with ratings at random."""
    rng = np.random.default_rng(seed)
    pairs = [
        (user, movie)
        for user in range(1, USERS + 1)
        for movie in rng.permutation(MOVIES)[:RATED] + 1
    ]
    order = rng.permutation(len(pairs))
    lines = [
        f"{pairs[i][0]}\t{pairs[i][1]}\t{rng.integers(1, 6)}\t{900_000_000 + rng.integers(10**6)}"
        for i in order
    ]
    folder.mkdir(exist_ok=True)
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    users = [f"{user}|{20 + user}|{'MF'[user % 2]}|student|55105" for user in range(1, USERS + 1)]
    (folder / "u.user").write_text("\n".join(users) + "\n")
    movies = []
    for movie in range(1, MOVIES + 1):
        flags = "|".join("1" if genre == movie % 19 else "0" for genre in range(19))
        day = f"{1 + movie % 28:02}-Jan-{1990 + movie // 28}"
        movies.append(f"{movie}|Film {movie} (1990)|{day}||http://example.org|{flags}")
    (folder / "u.item").write_text("\n".join(movies) + "\n", encoding="latin-1")
    genres = "".join(f"genre {genre}|{genre}\n" for genre in range(19))
    (folder / "u.genre").write_text(genres)
    (folder / "u.occupation").write_text("student\n")
    return folder


@dataclasses.dataclass
class Bench:
    """A comparison in a folder of its own; every task that a method is given is kept in `calls`."""

    loaded: data.Data
    folder: Path
    calls: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.splits = runner.splits_of(self.loaded)

    def runner(self, **options) -> Runner:
        cache = Cache(self.folder, self.loaded.digest)
        return Runner(self.loaded, self.splits, cache, **options)

    def method(self, name="method", answer=None, **options) -> Method:
        def run(task, params):
            self.calls.append((task, dict(params)))
            return (answer or perfect)(task, params)

        return Method(name, f"The {name}", options.pop("kind", "rating"), run, **options)


def perfect(task, params) -> Answer:
    """Predicts every rating, wherever it knows it from, less `off` stars."""
    off = params.get("off", 0.0)
    return Answer(
        Predictions(ratings=task.data.ratings[task.targets] - off), more={RECALL_10: 1.0 - off}
    )


def constant(**metrics):
    """Returns what answers with given metrics, whatever the task."""
    return lambda task, params: Answer(more=metrics)
