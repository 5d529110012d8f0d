"""Limits of the server: a full queue, deadlines, hosts, options, and its stop."""

import asyncio
import signal
import socket
import subprocess
import sys

import handmade
import httpx
import pytest
from serving_fixtures import ROOT, Server

from serving.cli import main

pytestmark = pytest.mark.xdist_group("serving")


small = pytest.fixture(scope="session")(handmade.small)


@pytest.fixture(scope="module")
def delayed(small):
    """A server whose calls wait longer than their deadline, in a queue of four."""
    with Server(small, "--deadline", "0.5", "--batch-delay", "1000", "--queue", "4") as running:
        yield running


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
                pending = [
                    asyncio.create_task(http.post("/api/ratings/predict", json=question))
                    for _ in range(5)
                ]
                while "serving_queue_length 5.0" not in (
                    await http.get("/metrics")
                ).text and not any(one.done() for one in pending):
                    await asyncio.sleep(0.02)
                server.process.send_signal(signal.SIGTERM)
                return await asyncio.gather(*pending)

        assert [answer.status_code for answer in asyncio.run(stop_while_asking())] == [200] * 5
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)


def test_without_a_model_the_message_names_the_command_to_run(tmp_path, capsys):
    assert main(["--model-dir", str(tmp_path / "none")]) == 2
    assert "make run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "environment", "code", "says"),
    [
        (("--port", "70000"), {}, 2, "expected 0 to 65535, found 70000"),
        (("--token-file", "/nowhere"), {}, 2, "cannot be read: No such file"),
        ((), {"SERVING_TOKEN": ""}, 2, "Expected a token in $SERVING_TOKEN, found nothing"),
        (("--root-path", "shop"), {}, 2, "expected a path such as /shop"),
        (("--root-path", "/shop?x"), {}, 2, "expected a path such as /shop"),
        (("--root-path", "/\u017f"), {}, 2, "expected a path such as /shop"),
        (("--cors-origin", "shop.example"), {}, 2, "expected an origin such as"),
        (("--model-dir", "gs://b/models"), {}, 1, "is a URL"),
        (("--model-dir", ""), {}, 1, "found nothing"),
    ],
)
def test_invalid_options_stop_the_start_with_a_reason(
    small, options, environment, code, says, capsys, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        main(["--model-dir", str(small), *options])
    assert stopped.value.code == code
    assert says in capsys.readouterr().err


def test_a_port_in_use_is_explained(small, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="1"):
        main(["--model-dir", str(small), "--port", str(taken.getsockname()[1])])
    printed = capsys.readouterr().err
    assert "Address already in use" in printed
    assert "--port" in printed


def test_nothing_of_the_pipeline_is_imported(small):
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
        [sys.executable, "-c", script, str(small)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
