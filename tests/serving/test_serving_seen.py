"""What users have rated, in whatever split, is not recommended to them: asked through HTTP."""

import subprocess
import sys

import pytest
from example_artifacts import needs_real_data, real_dirs
from serving_fixtures import ROOT, Server

pytestmark = pytest.mark.xdist_group("serving")

SHOWN = 100


def rated_movies(u_data):
    """Movies by user in a file of MovieLens-100K; ratings out of range are dropped on reading."""
    found = {}
    for line in u_data.read_text(encoding="latin-1").splitlines():
        user, movie, stars, _ = line.split("\t")
        if 1 <= float(stars) <= 5:
            found.setdefault(user, set()).add(movie)
    return found


def assert_nothing_rated_is_recommended(client, rated, users):
    for user in users:
        answer = client.get(f"/api/users/{user}/recommendations", params={"k": SHOWN})
        assert answer.status_code == 200, answer.text
        shown = {movie["movie_id"] for movie in answer.json()["recommendations"]}
        assert shown
        assert not shown & rated[user], user


def test_users_of_the_sample_are_recommended_nothing_that_they_have_rated(client, pushed):
    rated = rated_movies(next((pushed / "data").rglob("u.data")))
    assert_nothing_rated_is_recommended(client, rated, sorted(rated)[:40])


@pytest.mark.exhaustive
@needs_real_data
def test_users_of_movielens_are_recommended_nothing_that_they_have_rated(tmp_path):
    done = subprocess.run(
        [sys.executable, "local_runner.py", "--dataset", "ml-100k", "--output-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rated = rated_movies(real_dirs()[0] / "u.data")
    assert len(rated) == 943
    with Server(tmp_path / "serving_model") as server, server.client() as client:
        assert_nothing_rated_is_recommended(client, rated, rated)
