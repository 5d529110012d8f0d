"""The made-up data set: same formats, same bytes, and tastes that can be learnt."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sources import sample, sample_tastes
from sources.errors import InputError
from sources.sample import generate_sample, movie_count, user_count
from sources.sample_names import make_titles


@pytest.fixture(scope="module")
def sample_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sample") / "100k"
    generate_sample(directory, ratings=100_000, seed=42)
    return directory


@pytest.fixture(scope="module")
def rows(sample_dir):
    """[ratings, 4] of u.data, dirt included."""
    return np.loadtxt(sample_dir / "u.data", dtype=np.int64, delimiter="\t")


@pytest.fixture(scope="module")
def clean(rows):
    """[ratings, 4] of u.data without duplicates and ratings out of range."""
    distinct = np.unique(rows, axis=0)
    return distinct[(distinct[:, 2] >= 1) & (distinct[:, 2] <= 5)]


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def lines(path: Path, encoding: str = "ascii") -> list[list[str]]:
    return [line.split("|") for line in path.read_text(encoding).splitlines()]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        generate_sample(tmp_path / name, ratings=2_000, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a")["u.data"] != digests(tmp_path / "c")["u.data"]


def test_every_file_is_there(sample_dir):
    assert set(digests(sample_dir)) == {
        *sample.FILES,
        sample.MARKER_FILE,
        "metadata/movies_metadata.csv",
        "metadata/credits.csv",
    }
    assert sample.is_complete(sample_dir)


@pytest.mark.parametrize("ratings", [1_000, 1_001, 5_000, 20_000])
def test_u_data_has_the_given_number_of_rows(tmp_path, ratings):
    generate_sample(tmp_path / "s", ratings=ratings, seed=1)
    data = np.loadtxt(tmp_path / "s" / "u.data", dtype=np.int64)
    assert len(data) == ratings
    distinct = np.unique(data, axis=0)
    assert len(np.unique(distinct[:, :2], axis=0)) == len(distinct), "a pair repeats"
    assert np.bincount(distinct[:, 0])[1:].min() >= sample_tastes.MIN_USER_RATINGS


def test_users_and_movies_grow_like_those_of_real_data_sets():
    assert (user_count(1_000), movie_count(1_000)) == (40, 120)
    assert (user_count(100_000), movie_count(100_000)) == (943, 1_700)
    assert user_count(25_000_000) == pytest.approx(160_000, rel=0.05)
    assert movie_count(25_000_000) >= 40_000
    sizes = [user_count(size) for size in (1_000, 10_000, 100_000, 1_000_000, 10**8)]
    assert sizes == sorted(sizes)


def test_counts_in_u_info_are_those_of_the_files(sample_dir):
    assert (sample_dir / "u.info").read_text() == "943 users\n1700 items\n100000 ratings\n"
    assert len({row[0] for row in lines(sample_dir / "u.user")}) == 943
    assert len(lines(sample_dir / "u.item", "latin-1")) == 1_700


def test_rows_are_not_grouped_by_user_or_sorted_by_time(rows):
    assert (rows[1:, 0] == rows[:-1, 0]).mean() < 0.02
    assert 0.4 < (rows[1:, 3] > rows[:-1, 3]).mean() < 0.6


def test_dirt_is_there_and_below_one_percent(sample_dir, rows):
    duplicates = len(rows) - len(np.unique(rows, axis=0))
    out_of_range = int(((rows[:, 2] < 1) | (rows[:, 2] > 5)).sum())
    assert 0 < duplicates <= 0.005 * len(rows)
    assert 0 < out_of_range <= 0.005 * len(rows)

    users = lines(sample_dir / "u.user")
    assert 943 < len(users) <= 943 * 1.01
    assert len({tuple(row) for row in users}) == 943
    odd_zip = [row for row in users if not re.fullmatch(r"\d{5}", row[4])]
    assert 0.01 < len(odd_zip) / len(users) < 0.03
    odd_gender = [row for row in users if row[2] not in "MF"]
    assert 0 < len(odd_gender) / len(users) < 0.05

    titles = [row[1] for row in lines(sample_dir / "u.item", "latin-1")]
    assert any(title.startswith('"') and title.endswith('"') for title in titles)
    assert any(title.startswith("b'") and title.endswith("'") for title in titles)
    odd_titles = [title for title in titles if title[:2] == "b'" or title[0] == '"']
    assert len(odd_titles) < 0.01 * len(titles)


def test_metadata_has_the_damage_of_spreadsheets(sample_dir):
    with (sample_dir / "metadata" / "movies_metadata.csv").open(encoding="utf-8") as file:
        films = list(csv.DictReader(file))
    assert any(not any(film.values()) for film in films)
    assert any(re.fullmatch(r"\d\d/\d\d/\d{4}", film["release_date"]) for film in films)
    assert any(film["adult"] == "FALSE" for film in films)
    with (sample_dir / "metadata" / "credits.csv").open(encoding="utf-8") as file:
        credits_ = list(csv.DictReader(file))
    assert sum(not row["cast"].endswith("]") for row in credits_) in range(1, 10)
    assert 0.95 < len(credits_) / 1_700 < 0.99


def test_titles_are_unique_with_years_and_accents(sample_dir):
    titles = [row[1].strip("b'\"") for row in lines(sample_dir / "u.item", "latin-1")]
    assert len(set(titles)) == len(titles)
    assert all(re.search(r" \((19|20)\d\d\)$", title) for title in titles)
    assert any(not title.isascii() for title in titles)
    assert any(", The (" in title for title in titles)


def test_tens_of_thousands_of_titles_stay_unique():
    titles = make_titles(np.random.default_rng(0), 60_000)
    assert len({title.english for title in titles}) == 60_000
    assert len({title.listed for title in titles}) == 60_000
    assert all(title.listed.encode("latin-1") for title in titles)


def test_movies_come_out_before_they_are_rated(sample_dir, clean):
    years = [int(row[2][-4:]) for row in lines(sample_dir / "u.item", "latin-1")]
    assert min(years) >= 1930
    first_year = 1970 + clean[:, 3].min() / (365.25 * 86_400)
    assert max(years) < first_year


def test_people_rate_in_few_sittings(clean):
    order = np.lexsort((clean[:, 3], clean[:, 0]))
    users, times = clean[order, 0], clean[order, 3]
    same_user = users[1:] == users[:-1]
    pauses = np.diff(times)[same_user]
    assert (pauses < 15 * 60).mean() > 0.9
    assert (pauses > 86_400 / 2).any()


def test_activity_and_popularity_have_long_tails(clean):
    activity = np.bincount(clean[:, 0])[1:]
    popularity = np.sort(np.bincount(clean[:, 1]))[::-1]
    assert activity.max() > 4 * np.median(activity)
    assert popularity[: len(popularity) // 10].sum() > 0.35 * popularity.sum()


def test_stars_are_spread_like_real_ones(clean):
    stars = clean[:, 2]
    assert 3.3 < stars.mean() < 3.7
    assert 1.0 < stars.std() < 1.2
    assert np.bincount(stars).argmax() in (3, 4)


def split(clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    in_test = np.random.default_rng(0).random(len(clean)) < 0.2
    return clean[~in_test], clean[in_test]


def test_a_model_can_learn_the_stars(clean):
    """Biases of users and movies alone take at least 15 % off the mean's RMSE."""
    train, test = split(clean)
    user, movie = train[:, 0], train[:, 1]
    mean = train[:, 2].mean()
    of_user, of_movie = np.zeros(clean[:, 0].max() + 1), np.zeros(clean[:, 1].max() + 1)
    for _ in range(5):
        of_movie = averages(movie, train[:, 2] - mean - of_user[user], len(of_movie))
        of_user = averages(user, train[:, 2] - mean - of_movie[movie], len(of_user))
    predicted = mean + of_user[test[:, 0]] + of_movie[test[:, 1]]
    assert rmse(test, predicted) < 0.85 * rmse(test, mean)


def averages(groups: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    sums = np.bincount(groups, values, minlength=count)
    return sums / (np.bincount(groups, minlength=count) + 5)


def rmse(test: np.ndarray, predicted: np.ndarray | float) -> float:
    return float(np.sqrt(((test[:, 2] - predicted) ** 2).mean()))


def test_personal_recommendations_beat_popularity(clean):
    """A plain nearest-neighbour recommender finds 1.5 times the unseen movies."""
    train, test = split(clean)
    seen = np.zeros((clean[:, 0].max() + 1, clean[:, 1].max() + 1), dtype=np.float32)
    seen[train[:, 0], train[:, 1]] = 1
    popularity = seen.sum(axis=0)
    weighted = seen / np.maximum(np.sqrt(popularity), 1)
    likeness = weighted.T @ weighted
    np.fill_diagonal(likeness, 0)
    by_neighbours = top_10_accuracy(seen @ likeness, seen, test)
    by_popularity = top_10_accuracy(np.tile(popularity, (len(seen), 1)), seen, test)
    assert by_neighbours > 1.5 * by_popularity


def top_10_accuracy(scores: np.ndarray, seen: np.ndarray, test: np.ndarray) -> float:
    scores = np.where(seen > 0, -np.inf, scores)
    of_true = scores[test[:, 0], test[:, 1]]
    rank = (scores[test[:, 0]] >= of_true[:, None]).sum(axis=1)
    return float((rank <= 10).mean())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_ratings(tmp_path):
    """Measured in processes of their own: ten times the ratings, under 150 MB more."""
    script = (
        "import re, sys; from pathlib import Path\n"
        "from sources.sample import generate_sample\n"
        "generate_sample(Path(sys.argv[1]), ratings=int(sys.argv[2]))\n"
        # Not getrusage: that starts from the peak of the process that forked this one.
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1]) // 1024)\n"
    )

    def peak_mb(ratings: int) -> int:
        command = [sys.executable, "-c", script, str(tmp_path / str(ratings)), str(ratings)]
        root = Path(__file__).parents[2]
        return int(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)

    small, large = peak_mb(100_000), peak_mb(1_000_000)
    assert large < small + 150
    assert large < 300


def test_progress_reaches_the_total(tmp_path):
    calls = []
    generate_sample(tmp_path / "s", ratings=1_500, progress=lambda *args: calls.append(args))
    assert calls[-1] == ("Generating the sample data", 1_500, 1_500)


@pytest.mark.parametrize(("ratings", "seed"), [(999, 1), (0, 1), (-5, 1), (1_000, -1)])
def test_impossible_arguments_are_refused(tmp_path, ratings, seed):
    with pytest.raises(InputError, match="sample"):
        generate_sample(tmp_path / "s", ratings=ratings, seed=seed)
    assert not list(tmp_path.iterdir())


def test_somebody_elses_files_are_never_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        generate_sample(tmp_path, ratings=1_000)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sample, "_write_ratings", full)
    with pytest.raises(InputError, match="No space left on device"):
        generate_sample(tmp_path / "s", ratings=1_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_generation_leaves_no_data_set_and_the_next_one_works(tmp_path):
    directory = tmp_path / "s"
    script = (
        "import sys; from pathlib import Path\n"
        "from sources.sample import generate_sample\n"
        "generate_sample(Path(sys.argv[1]), ratings=20_000_000)\n"
    )
    command = [sys.executable, "-c", script, str(directory)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".s.staging-*/payload/u.data")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert not directory.exists()
    for left in tmp_path.iterdir():
        os.utime(left, (0, 0))
    generate_sample(directory, ratings=1_000)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        generate_sample(tmp_path / "file" / "s", ratings=1_000)
