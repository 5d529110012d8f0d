"""Offline scoring says what the server says."""

import subprocess
import sys

import pyarrow.parquet
import pytest
from serving_fixtures import ROOT

pytestmark = pytest.mark.xdist_group("serving")


def batch(*options):
    return subprocess.run(
        [sys.executable, "-m", "serving.batch", *options], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def scored(pushed, tmp_path_factory):
    path = tmp_path_factory.mktemp("batch") / "recommendations.parquet"
    done = batch(
        "--model-dir", str(pushed / "serving_model"), "--users", "all", "--k", "20",
        "--chunk", "32", "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "users per second" in done.stdout
    return pyarrow.parquet.read_table(path).to_pylist()


def test_every_user_is_scored_once(scored, user_ids, version_dir):
    assert {row["user_id"] for row in scored} == set(user_ids)
    keys = {(row["user_id"], row["rank"]) for row in scored}
    assert len(keys) == len(scored) == 20 * len(user_ids)
    assert {row["model_version"] for row in scored} == {version_dir.name}


def test_batch_and_server_say_the_same(scored, client, user_ids):
    by_user = {}
    for row in sorted(scored, key=lambda row: row["rank"]):
        by_user.setdefault(row["user_id"], []).append(row)
    for user_id in user_ids[:60]:
        path = f"/api/users/{user_id}/recommendations"
        served = client.get(path, params={"k": 20}).json()["recommendations"]
        rows = by_user[user_id]
        assert [row["movie_id"] for row in rows] == [movie["movie_id"] for movie in served]
        assert [row["title"] for row in rows] == [movie["title"] for movie in served]
        expected = [movie["stars"] for movie in served]
        assert [row["stars"] for row in rows] == pytest.approx(expected, abs=1e-3)


def test_mistakes_are_explained(tmp_path, pushed):
    output = ("--output", str(tmp_path / "x.parquet"))
    models = ("--model-dir", str(pushed / "serving_model"))
    for options, says in (
        (("--model-dir", str(tmp_path)), "make run"),
        ((*models, "--users", ","), "Expected ids in --users"),
        ((*models, "--no-such-option"), "--no-such-option"),
        ((*models, "--k", "0"), "expected 1 to 1000"),
    ):
        done = batch(*options, *output)
        assert done.returncode != 0
        assert says in done.stderr
        assert "Traceback" not in done.stderr
