"""The server stops in time, whatever hangs: the log, a version being loaded, a call."""

import os
import shutil
import signal
import subprocess
import sys
import time

import handmade
import httpx
import pytest
import tensorflow as tf
from serving_fixtures import ROOT, START_SECONDS, Server

pytestmark = [pytest.mark.xdist_group("serving"), pytest.mark.slow]
small = pytest.fixture(scope="session")(handmade.small)
LIMIT = 45
"""Seconds: documented are 20, on an idle machine."""


def until(condition, process):
    end = time.monotonic() + START_SECONDS
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def loop_for(names):
    def trouble(user_id):
        loops = tf.reduce_any(user_id == names)
        last = tf.while_loop(
            lambda number: loops & (number >= 0.0), lambda number: (number + 0.0,), [0.0]
        )
        return tf.zeros(tf.shape(user_id)) + last[0]

    return trouble


def test_a_model_that_loops_holds_up_neither_health_nor_the_stop(tmp_path):
    handmade.save(tmp_path / "1", loop_for("loop"))
    with Server(tmp_path, "--deadline", "1") as server, server.client() as http:
        body = {"user_id": "", "liked": [{"movie_id": "1"}]}
        assert http.get("/api/users/loop/recommendations").status_code == 504
        assert http.get("/healthz").status_code == 200
        assert http.post("/api/recommendations", json=body).status_code == 504
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=LIMIT) == 0
        assert any('"stopped"' in line for line in server.log)


def test_a_version_that_loops_in_validation_holds_up_neither_others_nor_the_stop(small, tmp_path):
    shutil.copytree(small / "1", tmp_path / "1")
    with Server(tmp_path, "--poll", "0.1") as server, server.client() as http:
        handmade.save(tmp_path / "new", loop_for(""), ours=False)
        (tmp_path / "new").rename(tmp_path / "2")
        until(lambda: _state(http, 2) == "LOADING", server.process)
        for user in range(20):
            answer = http.get(f"/api/users/{user}/recommendations", params={"k": 3})
            assert answer.json()["model_version"] == "1"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=LIMIT) == 0


def _state(http, version):
    document = http.get("/v1/models/movielens").json()
    states = {one["version"]: one["state"] for one in document["model_version_status"]}
    return states.get(str(version))


def test_an_unread_log_holds_up_neither_requests_nor_the_stop(small):
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--model-dir", str(small), "--port", "0",
         "--access-log"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True,
    )  # fmt: skip
    os.close(writer)
    try:
        url = process.stdout.readline().split()[1]
        with httpx.Client(base_url=url, timeout=90) as http:
            # A line has 200 bytes; the pipe takes 64 KiB.
            for _ in range(600):
                assert http.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LIMIT) == 0
    finally:
        process.kill()
        process.stdout.close()
        os.close(reader)


@pytest.mark.parametrize("streams", ["2>&-", ">/dev/full 2>/dev/full"])
def test_streams_that_are_closed_or_full_keep_nothing_from_working(streams, small):
    command = f"exec {sys.executable} -m serving --model-dir {small} --port 18643 {streams}"
    process = subprocess.Popen(["sh", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until(_is_ready, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LIMIT) == 0
    finally:
        process.kill()


def _is_ready():
    try:
        return httpx.get("http://127.0.0.1:18643/readyz", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False
