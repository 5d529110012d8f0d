"""The server behind nginx with the configuration of docs/nginx.conf: TLS, path prefix, limits."""

import os
import shutil
import socket
import ssl
import subprocess
import time

import handmade
import httpx
import pytest
from serving_fixtures import ROOT, Server

small = pytest.fixture(scope="session")(handmade.small)
pytestmark = pytest.mark.xdist_group("serving")

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
NO_NGINX = (
    "There is no nginx (on Debian: apt install nginx-light), so docs/nginx.conf is not tested."
)
NAME = "films.example"


@pytest.fixture(scope="module")
def behind(small):
    if NGINX is None:
        if os.environ.get("CI"):
            pytest.fail(NO_NGINX)
        pytest.skip(NO_NGINX)
    with Server(small, "--root-path", "/films", "--allow-host", NAME) as running:
        yield running


@pytest.fixture(scope="module")
def port(behind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "tmp").mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", "films.key",
         "-out", "films.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    listening = free_port()
    text = (ROOT / "docs" / "nginx.conf").read_text()
    assert "127.0.0.1:8501" in text
    assert "listen 443 ssl" in text
    text = text.replace("127.0.0.1:8501", f"127.0.0.1:{behind.port}")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{listening} ssl")
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        [NGINX, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await_port(listening, process)
        yield listening
    finally:
        process.terminate()
        process.communicate(timeout=30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(number, process):
    for _ in range(300):
        assert process.poll() is None, process.stderr.read()
        try:
            socket.create_connection(("127.0.0.1", number)).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("nginx does not listen.")


@pytest.fixture
def site(port):
    """A client that takes the proxy for films.example."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    headers = {"host": NAME, "origin": f"https://{NAME}"}
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}", verify=unchecked, timeout=90, headers=headers
    ) as client:
        yield client


def test_the_page_and_its_files_are_below_the_prefix(site):
    assert site.get("/films").headers["location"].endswith("/films/")
    page = site.get("/films/")
    assert page.status_code == 200
    assert 'src="static/app.js"' in page.text
    for path in ("static/app.js", "static/app.css", "docs", "static/docs.js", "openapi.json"):
        assert site.get(f"/films/{path}").status_code == 200, path
    assert site.get("/films/openapi.json").json()["servers"] == [{"url": "/films"}]
    assert site.get("/").status_code == 404


def test_both_apis_answer_and_take_posts_of_the_page(site):
    answer = site.get("/films/api/users/1/recommendations?k=3")
    assert len(answer.json()["recommendations"]) == 3
    assert site.post("/films/api/recommendations", json={"k": 3}).status_code == 200
    refused = site.post("/films/v1/models/movielens:predict", json={"inputs": {}})
    assert refused.status_code == 400
    assert "signature" in refused.json()["error"]
    assert site.get("/films/v1/models/movielens").status_code == 200
    assert site.head("/films/healthz").status_code == 200


def test_a_page_of_another_site_is_refused_behind_the_proxy_as_well(site):
    answer = site.post(
        "/films/api/recommendations", json={"k": 3}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403


def test_the_proxys_limits_apply_before_the_server(site, behind):
    assert site.post("/films/api/recommendations", content=b"x" * 2_000_000).status_code == 413
    assert site.get("/films/metrics").status_code == 404


def test_a_longer_name_is_not_the_prefix(behind):
    with behind.client() as http:
        assert http.get("/filmstrip/healthz").status_code == 404
        assert http.get("/films/healthz").status_code == 200
        assert http.get("/healthz").status_code == 200
        assert http.get("/films").headers["location"] == "/films/"
