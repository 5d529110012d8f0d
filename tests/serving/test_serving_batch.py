"""Batch scoring gives the server's results; wrong models and signals end it as documented."""

import functools
import json
import shutil
import signal
import subprocess
import sys

import pyarrow.parquet
import pytest
from serving_fixtures import ROOT

from serving.batch.command import main
from serving.titles import display_title

pytestmark = pytest.mark.xdist_group("serving")


@pytest.fixture(scope="module")
def scored(pushed, tmp_path_factory):
    path = tmp_path_factory.mktemp("batch") / "recommendations.parquet"
    options = ["--users", "all", "--k", "20", "--chunk", "32", "--output", str(path)]
    assert main(["--model-dir", str(pushed / "serving_model"), *options]) == 0
    return pyarrow.parquet.read_table(path).to_pylist()


def test_every_user_is_scored_once_in_the_order_of_the_model(scored, user_ids, version_dir):
    assert list(dict.fromkeys(row["user_id"] for row in scored)) == user_ids
    keys = {(row["user_id"], row["rank"]) for row in scored}
    assert len(keys) == len(scored) == 20 * len(user_ids)
    assert [row["rank"] for row in scored] == list(range(1, 21)) * len(user_ids)
    assert {row["model_version"] for row in scored} == {version_dir.name}
    assert all(row["display_title"] == display_title(row["title"]) for row in scored)
    assert any(row["display_title"] != row["title"] for row in scored)


def test_batch_and_server_have_the_same_results(scored, client, user_ids):
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


def test_users_of_a_file_are_scored_in_its_order_and_unknown_ones_as_new_users(
    pushed, user_ids, client, tmp_path, capsys
):
    models = tmp_path / "models [12]*?{a,b} %41 'x' 🎬"
    models.symlink_to(pushed / "serving_model")
    known = list(reversed(user_ids[:3]))
    ids = tmp_path / "ids [1].txt"
    lines = ["\ufeff" + known[0], known[1], "", "999999999", known[0], known[2]]
    ids.write_bytes("\r\n".join(lines).encode())
    output = tmp_path / "some [1].jsonl"
    options = ["--model-dir", str(models), "--users-file", str(ids), "--k", "5"]
    assert main([*options, "--unknown", "cold", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "20 rows for 4 users" in printed
    assert "users per second" in printed
    assert "1 unknown user treated as new" in printed
    assert "1 repeated id left out" in printed
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    order = list(dict.fromkeys(row["user_id"] for row in rows))
    assert order == [known[0], known[1], "999999999", known[2]]
    served = client.post("/api/recommendations", json={"k": 5}).json()["recommendations"]
    new = [row["movie_id"] for row in rows if row["user_id"] == "999999999"]
    assert new == [movie["movie_id"] for movie in served]


def test_half_a_version_is_refused_with_a_reason(version_dir, tmp_path, capsys):
    half = tmp_path / "models" / version_dir.name
    shutil.copytree(version_dir / "assets.extra", half / "assets.extra")
    shutil.copy(version_dir / "saved_model.pb", half)
    output = tmp_path / "x.csv"
    output.write_text("old")
    assert main(["--model-dir", str(half.parent), "--output", str(output)]) == 2
    printed = capsys.readouterr().err
    assert f"Version {half.name} of the model in {half.parent} is not complete: " in printed
    assert "is missing" in printed
    assert "Traceback" not in printed
    assert output.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [half.parent, output]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)]
)
def test_a_signal_ends_the_batch_with_130_and_leaves_what_was_there(pushed, tmp_path, number):
    output = tmp_path / "x.parquet"
    output.write_text("old")
    started = subprocess.Popen(
        [sys.executable, "-m", "serving.batch", "--model-dir", str(pushed / "serving_model"),
         "--chunk", "1", "--output", str(output)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a script inherits that SIGINT is ignored.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    # It is printed just before the model is loaded, which takes seconds.
    assert "users, version" in started.stderr.readline()
    started.send_signal(number)
    _, message = started.communicate(timeout=120)
    assert started.returncode == 130, message
    assert "Interrupted; nothing was written" in message
    assert "Traceback" not in message
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]
