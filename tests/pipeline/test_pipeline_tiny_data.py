"""Whole runs on tiny or odd but legal data: pushed, not blessed with a reason, or refused.

Other tiny data, such as that of one user or of one movie, is drawn by `make fuzz` and trained on in
tests/trainer/test_trainer_tiny_data.py.
"""

import dataclasses
import json
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
from raw_files import movie_rows, user_rows, write_raw
from tiny_data import tiny_data

from components.evaluation.verdict import NO_BASELINE
from components.example_gen.splits import random_splits
from components.names import SPLITS, VALIDATION
from pipeline.thresholds import thresholds_for
from schema.features import MOVIE_ID, MOVIELENS, USER_ID, FeatureTable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.exhaustive,
    pytest.mark.xdist_group("pipeline_tiny_data"),
]

PUSHED, REFUSED, NOT_BLESSED = 0, 2, 4
START = 880_000_000
DEFAULT_SEED = 42
FEWER_STEPS = {
    "epochs: int = 60": "epochs: int = 2",
    "burn_in: int = 40": "burn_in: int = 4",
    "draws: int = 20": "draws: int = 2",
}
"""The autoencoder and the sampler stop early: what the models reach is not looked at here."""


@pytest.fixture(scope="module")
def tiny_project(project):
    config = project.root / "trainer" / "config.py"
    text = config.read_text(encoding="utf-8")
    for usual, fewer in FEWER_STEPS.items():
        assert usual in text
        text = text.replace(usual, fewer)
    config.write_text(text, encoding="utf-8")
    return project


def rating_rows(ratings):
    return ["\t".join(map(str, row)) for row in ratings]


def one_rating_each():
    """1,500 users with one rating each."""
    rng = random.Random(1)
    ratings = [(u, rng.randint(1, 100), rng.randint(1, 5), START + u) for u in range(1, 1501)]
    return {"users": user_rows(1500), "movies": movie_rows(100), "ratings": rating_rows(ratings)}


def small_catalogue_as_csv():
    """8 movies, 200 users: half of them like the even ones, half the odd ones; no users' file."""
    rng = random.Random(2)
    pairs = [(u, m) for u in range(1, 201) for m in rng.sample(range(1, 9), rng.randint(3, 8))]
    ratings = [
        (u, m, 5 if u % 2 == m % 2 else rng.randint(1, 3) / 2, START + 50 * place)
        for place, (u, m) in enumerate(pairs)
    ]
    return {
        "ratings.csv": [
            "userId,movieId,rating,timestamp",
            *(",".join(map(str, row)) for row in ratings),
        ],
        "movies.csv": [
            "movieId,title,genres",
            *(f'{m},"Movie, A {m}",Drama|Action' for m in range(1, 9)),
        ],
    }


def clicks_of_ids_alone():
    """Who clicked on what, and nothing else: half of the users like the even items."""
    rng = random.Random(3)
    pairs = [(u, i) for u in range(200) for i in rng.sample(range(u % 2, 40, 2), 12)]
    rng.shuffle(pairs)
    return {"clicks.csv": ["customer_id,sku", *(f"käse-{u:03x},Löwe {i}" for u, i in pairs)]}


def own_tables_of_everything():
    """Ratings from -10 to 10 with dates and devices as JSON lines; odd titles; some only rated."""
    rng = random.Random(4)
    pairs = [(u, i) for u in range(200) for i in rng.sample(range(40), 12)]
    events = [
        {
            "userId": f"{u:08x}-0000",
            "itemId": f"SKU {i}",
            "stars": (9 if u % 2 == i % 2 else -8) + rng.randint(-1, 1),
            "date": f"20{10 + n % 13}-05-{1 + n % 28:02}T10:{n % 60:02}:00Z",
            "device": ("tv", "Phone", None)[n % 3],
            "minutes": n % 50 or None,
        }
        for n, (u, i) in enumerate([*pairs, *pairs[:100]])
    ]
    titles = ("日本", "", "Same", "Same", "Ελλάδα, η")
    return {
        "interactions.jsonl": [json.dumps(event) for event in events],
        "data.toml": ["[context]", 'device = "category"', 'minutes = "number"'],
        "users.csv": ["user_id,country", *(f"{u:08x}-0000,{'AB'[u % 2]}" for u in range(5, 205))],
        "items.tsv": [
            "id\tname\ttags\tyear",
            *(f"SKU {i}\t{titles[i % 5]}\ta|{'bc'[i % 2]}\t{1990 + i % 20}" for i in range(3, 43)),
        ],
    }


def one_user_one_movie():
    return {
        "users": user_rows(1),
        "movies": movie_rows(1),
        "ratings": rating_rows([(1, 1, 4, START)]),
    }


def everything_the_same():
    """Everybody gives every movie three stars in the same second; all have one title."""
    ratings = [(u, m, 3, START) for u in range(1, 13) for m in range(1, 10)]
    movies = [f"{m}|Film (1995)|01-Jan-1995||http://x|0|1|0" for m in range(1, 10)]
    return {"users": user_rows(12), "movies": movies, "ratings": rating_rows(ratings)}


def nothing_for_validation():
    """4 users and 6 movies without the ratings that a run would take for validation."""
    user, movie = np.indices((4, 6)).reshape(2, -1) + 1
    kept = random_splits(user, movie, DEFAULT_SEED) != SPLITS.index(VALIDATION)
    ratings = [
        (u, m, (u + m) % 5 + 1, START + 9 * u + m)
        for u, m in zip(user[kept], movie[kept], strict=True)
    ]
    return {"users": user_rows(4), "movies": movie_rows(6), "ratings": rating_rows(ratings)}


def run_on(project, folder, raw, *arguments):
    """Runs the pipeline with the thresholds of any data and one epoch."""
    (folder / "raw").mkdir()
    if any("." in name for name in raw):
        for name, lines in raw.items():
            (folder / "raw" / name).write_text("".join(f"{line}\n" for line in lines))
    else:
        write_raw(folder / "raw", **raw)
    table = FeatureTable((USER_ID, MOVIE_ID)) if "clicks.csv" in raw else MOVIELENS
    bounds = dataclasses.asdict(thresholds_for("custom", "random", table))
    command = ["--data", folder / "raw", "--epochs", 1, *arguments]
    return project.run(*command, output=folder / "output", thresholds=bounds)


def assert_ends_with_a_reason(result):
    printed = result.out + result.err
    assert result.code in (PUSHED, REFUSED, NOT_BLESSED), printed
    assert "Traceback" not in printed
    assert "of the report failed" not in result.log
    if result.code == PUSHED:
        assert len(result.versions) == 1
    else:
        assert not result.versions
    if result.code == NOT_BLESSED:
        assert any(not threshold["passed"] for threshold in result.summary["thresholds"])
        assert result.summary["reasons"][0] != NO_BASELINE
    if result.code == REFUSED:
        assert "  expected: " in result.err
        assert "  what to do: " in result.err


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (one_rating_each, NOT_BLESSED, "no test row is of a user with training ratings"),
        (small_catalogue_as_csv, PUSHED, "blessed and pushed"),
        (clicks_of_ids_alone, PUSHED, "blessed and pushed"),
        (own_tables_of_everything, PUSHED, "blessed and pushed"),
        (one_user_one_movie, REFUSED, "leaves no ratings for validation and test"),
        (everything_the_same, NOT_BLESSED, "r_squared is undefined: all test ratings are the same"),
        (nothing_for_validation, REFUSED, "leaves no ratings for validation"),
    ],
)
def test_a_run_on_tiny_data_ends_with_a_reason(tiny_project, tmp_path, raw, code, words):
    result = run_on(tiny_project, tmp_path, raw())
    assert_ends_with_a_reason(result)
    assert result.code == code
    assert words in result.out + result.err


def test_users_of_one_rating_each_have_nothing_to_test_on_by_time(tiny_project, tmp_path):
    result = run_on(tiny_project, tmp_path, one_rating_each(), "--split", "temporal")
    assert_ends_with_a_reason(result)
    assert result.code == REFUSED
    assert "a user of 9 ratings or more" in result.err


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "fuzz", reason="a minute for each example: make fuzz"
)
@examples(1, shrink=False)
@given(tiny=tiny_data(), split=st.sampled_from(["random", "temporal"]))
def test_a_run_on_any_tiny_data_ends_with_a_reason(tiny_project, tiny, split):
    users = [f"{user}|25|M|student|00000" for user in tiny.user_ids]
    movies = [f"{movie}|Film (1995)|01-Jan-1995||http://x|0|1|0" for movie in tiny.movie_ids]
    ratings = zip(
        tiny.user_ids[tiny.user],
        tiny.movie_ids[tiny.movie],
        tiny.rating.astype(int),
        tiny.timestamp,
        strict=True,
    )
    raw = {"users": users, "movies": movies, "ratings": rating_rows(ratings)}
    with tempfile.TemporaryDirectory() as folder:
        assert_ends_with_a_reason(run_on(tiny_project, Path(folder), raw, "--split", split))
