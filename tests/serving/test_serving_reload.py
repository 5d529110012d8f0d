"""Versions that appear, vanish, arrive half-written and corrupt, under constant load."""

import asyncio
import json
import shutil
import threading
import time

import handmade
import httpx
import pytest
from serving_fixtures import Server

from components.pusher.publish import write_manifest

pytestmark = [pytest.mark.xdist_group("serving"), pytest.mark.slow]
WAIT_SECONDS = 300


class Load:
    """Clients that send requests without a pause, and their failures."""

    def __init__(self, server, user_ids, clients=4):
        self.failures = []
        self.versions = []
        self.answered = 0
        self._urls = [f"{server.url}/api/users/{user}/recommendations" for user in user_ids[:50]]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(clients)))

    async def _run(self, clients):
        async with httpx.AsyncClient(timeout=90) as http:
            await asyncio.gather(*(self._ask(http, index) for index in range(clients)))

    async def _ask(self, http, index):
        while not self._stop.is_set():
            index += 1
            try:
                answer = await http.get(self._urls[index % len(self._urls)], params={"k": 5})
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            document = answer.json()
            if answer.status_code != 200 or len(document["recommendations"]) != 5:
                self.failures.append(answer.text)
                continue
            self.answered += 1
            if not self.versions or self.versions[-1] != document["model_version"]:
                self.versions.append(document["model_version"])
            # The versions that are tried meanwhile need a processor, too.
            await asyncio.sleep(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()


def until(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"Waited {WAIT_SECONDS} s for: {what}"
        time.sleep(0.05)


def serves(http, version):
    return lambda: http.get("/readyz").json()["model_version"] == version


def metric(http, name):
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def publish(source, target):
    """As the Pusher does: a temporary directory, then a rename."""
    partial = target.with_name(f".{target.name}")
    shutil.copytree(source, partial)
    partial.rename(target)


def corrupt_weights(version):
    weights = next((version / "variables").glob("*.data*"))
    content = bytearray(weights.read_bytes())
    start, count = len(content) // 3, len(content) // 10
    content[start : start + count] = b"\xff" * count
    weights.write_bytes(bytes(content))


def truncate_graph(version):
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-5000])


def strange_catalogue(version):
    path = version / "assets.extra" / "catalogue.json"
    movies = json.loads(path.read_text())
    path.write_text(
        json.dumps([{**movie, "movie_id": f"x{movie['movie_id']}"} for movie in movies])
    )


USERS = [str(user) for user in range(50)]
BALLAST = 10_000_000
"""Numbers of a variable, 40 MB: a session that is not closed is seen at once."""


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("version") / "1"
    return handmade.save(folder, users=USERS, movies=True, module=handmade.Handmade(None, BALLAST))


@pytest.fixture
def model_dir(tmp_path, version_dir):
    shutil.copytree(version_dir, tmp_path / "models" / "1")
    return tmp_path / "models"


@pytest.mark.exhaustive
def test_no_request_fails_while_versions_come_and_go(model_dir, version_dir):
    with (
        Server(model_dir, "--poll", "0.2", "--no-access-log") as server,
        server.client() as http,
    ):
        with Load(server, USERS) as load:
            publish(version_dir, model_dir / "2")
            until(serves(http, "2"), "the new version is served")

            for number, spoil in (
                (3, corrupt_weights), (4, truncate_graph), (5, strange_catalogue),
            ):  # fmt: skip
                failures = metric(http, "serving_model_load_failures_total")
                broken = model_dir.parent / "broken"
                shutil.copytree(version_dir, broken)
                spoil(broken)
                write_manifest(broken)  # Whole, and broken all the same.
                broken.rename(model_dir / str(number))
                until(
                    lambda before=failures: (
                        metric(http, "serving_model_load_failures_total") > before
                    ),
                    f"version {number} is refused",
                )
                assert serves(http, "2")()
                status = http.get(f"/v1/models/movielens/versions/{number}").json()
                (status,) = status["model_version_status"]
                assert status["state"] == "END"
                assert status["status"]["error_code"] != "OK"
                assert status["status"]["error_message"]

            half = model_dir / "6"  # Written in place, slowly.
            half.mkdir()
            for path in sorted(version_dir.iterdir(), reverse=True):
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, half / path.name)
                time.sleep(0.5)
            until(serves(http, "6"), "the version that was completed is served")

            for number in (6, 5, 4, 3):
                shutil.rmtree(model_dir / str(number))
            until(serves(http, "2"), "the version before is served again")
            shutil.rmtree(model_dir / "2")
            until(serves(http, "1"), "the first version is served again")
            shutil.rmtree(model_dir / "1")
            time.sleep(1)
            assert serves(http, "1")(), "the last version goes on when all are gone"
        assert load.failures == []
        assert load.answered > 100
        assert load.versions[0] == "1"
        assert {"2", "6"} <= set(load.versions)
        log = "".join(server.log)
        assert "version 3 cannot be loaded" in log
        assert "version 5 fails validation" in log
        assert server.stop() == 0


@pytest.mark.exhaustive
def test_memory_comes_back_after_a_version_is_replaced(model_dir, version_dir):
    with (
        Server(model_dir, "--poll", "0.1", "--no-access-log") as server,
        server.client() as http,
    ):
        used = []
        for number in range(2, 6):
            publish(version_dir, model_dir / str(number))
            until(serves(http, str(number)), f"version {number} is served")
            shutil.rmtree(model_dir / str(number - 1))
            time.sleep(0.5)
            used.append(server.memory_mb())
        # Three more versions at 40 MB each would be 120 MB.
        assert used[-1] < used[0] + 60, used


def test_a_server_without_a_version_waits_and_starts_when_one_arrives(tmp_path):
    (tmp_path / "models").mkdir()
    version = handmade.save(tmp_path / "version")
    with Server(
        tmp_path / "models", "--wait", "--poll", "0.1", "--port", "18642", wait_ready=False
    ) as server:
        server.url = "http://127.0.0.1:18642"
        with server.client() as http:
            until(lambda: _answers(http), "the server answers")
            assert http.get("/readyz").status_code == 503
            answer = http.get("/api/movies")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert http.get("/v1/models/movielens").status_code == 404
            publish(version, tmp_path / "models" / "7")
            until(lambda: http.get("/readyz").status_code == 200, "the version is served")


def _answers(http):
    try:
        return http.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False
