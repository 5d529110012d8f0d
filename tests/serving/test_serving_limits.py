"""Limits of the server: slow and broken clients, a full queue, deadlines, hosts, and its stop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import handmade
import httpx
import pytest
from serving_fixtures import ROOT, Server

pytestmark = pytest.mark.xdist_group("serving")


def talk(server, sent, wait=60):
    """Sends bytes and returns what comes back until the server closes, which it must."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


small = pytest.fixture(scope="session")(handmade.small)


@pytest.fixture(scope="module")
def impatient(small):
    with Server(small, "--read-timeout", "1", "--no-access-log") as running:
        yield running


@pytest.fixture(scope="module")
def delayed(small):
    """A server whose calls wait longer than their deadline, in a queue of four."""
    with Server(small, "--deadline", "0.5", "--batch-delay", "1000", "--queue", "4") as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"GET /healthz HTT", b"408"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"408"),
        (b"POST /api/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
         b"408"),
        (b"POST /v1/models/movielens:predict HTTP/1.1\r\nHost: localhost\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":", b"408"),
        (b"GET /" + b"a" * 200_000, b""),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"400"),
    ],
)  # fmt: skip
def test_slow_and_broken_clients_are_disconnected(impatient, sent, status):
    try:
        received = talk(impatient, sent)
    except ConnectionError:
        received = b""  # Closed while we were still sending.
    if received or status:
        assert received.startswith(b"HTTP/1.1 " + (status or b"4"))


def test_others_are_served_while_hundreds_of_slow_clients_hold_on(impatient):
    slow = []
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", impatient.port))
        connection.sendall(b"POST /api/recommendations HTTP/1.1\r\nHost: x\r\nContent-Le")
        slow.append(connection)
    with impatient.client() as http:
        for _ in range(20):
            assert http.get("/api/users/1/recommendations").status_code == 200
    for connection in slow:
        connection.close()


def test_calls_beyond_the_queue_are_refused_at_once_and_waiting_ones_at_their_deadline(delayed):
    async def send_many():
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(timeout=90, limits=limits, base_url=delayed.url) as http:
            sent = [http.post("/api/ratings/predict", json={"movie_ids": ["1"]}) for _ in range(50)]
            return await asyncio.gather(*sent, http.get("/healthz"))

    *answers, health = asyncio.run(send_many())
    assert health.status_code == 200
    assert {answer.status_code for answer in answers} == {503, 504}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert "is busy" in refused.json()["error"]
    assert refused.headers["retry-after"] == "1"
    late = next(answer for answer in answers if answer.status_code == 504)
    assert "No answer within 0.5 s" in late.json()["error"]


def test_an_interrupt_ends_with_exit_code_0(delayed):
    assert delayed.stop(signal.SIGINT) == 0
    assert "Traceback" not in "".join(delayed.log)


def test_only_local_names_are_answered_on_loopback(client):
    for host, status in (("localhost", 200), ("127.0.0.1:8501", 200), ("evil.example", 421)):
        assert client.get("/healthz", headers={"host": host}).status_code == status


def test_other_origins_may_not_call_by_default(client):
    answer = client.get("/api/movies", headers={"origin": "https://films.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_requests_under_way_are_answered_when_the_server_is_stopped(small):
    with Server(small, "--batch-delay", "1000") as server:

        async def stop_while_asking():
            async with httpx.AsyncClient(timeout=90, base_url=server.url) as http:
                question = {"movie_ids": ["1"]}
                asked = [
                    asyncio.create_task(http.post("/api/ratings/predict", json=question))
                    for _ in range(5)
                ]
                while "serving_queue_length 5.0" not in (
                    await http.get("/metrics")
                ).text and not any(one.done() for one in asked):
                    await asyncio.sleep(0.02)
                server.process.send_signal(signal.SIGTERM)
                return await asyncio.gather(*asked)

        assert [answer.status_code for answer in asyncio.run(stop_while_asking())] == [200] * 5
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "serving", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_without_a_model_the_message_names_the_command_to_run(tmp_path):
    done = run("--model-dir", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "make run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_and_a_bad_option_are_explained(pushed, server):
    models = ("--model-dir", str(pushed / "serving_model"))
    done = run(*models, "--port", str(server.port))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "--port" in done.stderr
    assert "expected 0 to 65535, found 70000" in run(*models, "--port", "70000").stderr
    done = run(*models, "--token-file", "/nowhere")
    assert (done.returncode, "cannot be read: No such file" in done.stderr) == (2, True)
    assert "Correct the path" in done.stderr


def test_nothing_of_the_pipeline_is_imported(pushed):
    script = """
import importlib.abc, sys

FORBIDDEN = ("tfx", "tfx_bsl", "apache_beam", "tensorflow_transform", "ml_metadata",
             "tensorflow_data_validation", "tensorflow_model_analysis", "tensorflow_recommenders",
             "keras", "pandas", "pyarrow", "trainer", "components", "pipeline", "sources",
             "transform")

class Forbid(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbid())
from serving import tensorflow_import
tensorflow_import.install()
import pathlib
import serving.cli, serving.model_validation
from serving.model import load
from serving.recommender import make_recommender
path = max(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.name.isdecimal())
made = make_recommender(load(path, int(path.name)))
for call in made.sample_calls(next(iter(made.catalogue.movies))):
    made.model.signatures[call.signature](call.inputs)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(pushed / "serving_model")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
