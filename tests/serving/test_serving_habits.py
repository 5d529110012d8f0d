"""Conventions that browsers, proxies, health checks and curl users rely on."""

import asyncio
import hashlib
import io
import re
from pathlib import Path

import httpx
import pytest
from serving_fixtures import ROOT

from serving.access_log import Log
from serving.application import make_application
from serving.config import Config
from serving.service import Service
from serving.tokens import TokenError, read_token

ORIGIN = "https://films.example"
pytestmark = pytest.mark.xdist_group("serving")


@pytest.mark.parametrize(
    "path",
    [
        "/", "/docs", "/static/app.js", "/healthz", "/readyz", "/metrics", "/openapi.json",
        "/api/model", "/api/movies?limit=1", "/api/movies/none", "/v1/models/movielens",
        "/v1/models/movielens/metadata", "/v1/models/none", "/nothing",
    ],
)  # fmt: skip
def test_head_has_the_headers_of_get_and_no_body(client, path):
    got, headed = client.get(path), client.head(path)
    assert headed.status_code == got.status_code
    assert headed.content == b""
    names = {"content-type"} if path == "/metrics" else {"content-type", "content-length"}
    if "content-encoding" not in got.headers:
        assert {name: headed.headers[name] for name in names} == {
            name: got.headers[name] for name in names
        }


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/model", "GET, HEAD"),
        ("GET", "/api/ratings/predict", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/static/app.js", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/v1/models/movielens:predict", "POST"),
        ("GET", "/v1/models/movielens:predict", "POST"),
        ("POST", "/v1/models/movielens", "GET, HEAD"),
        ("OPTIONS", "/api/model", "GET, HEAD"),
    ],
)
def test_another_method_gets_405_with_the_allowed_ones(client, method, path, allow):
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == sorted(allow.split(", "))
    assert set(answer.json()) == {"error"}


def test_methods_that_are_none_of_this_server_are_not_implemented(client):
    assert client.request("PROPFIND", "/api/model").status_code == 501


@pytest.mark.parametrize("how", ["commas", "repeated", "mixed", "posted", "posted with commas"])
def test_movies_are_excluded_with_commas_or_one_by_one(client, user_ids, how):
    path = f"/api/users/{user_ids[0]}/recommendations"
    first = client.get(path, params={"k": 4}).json()
    assert first["exclude_unknown"] == []
    ids = [movie["movie_id"] for movie in first["recommendations"][:3]]
    if how.startswith("posted"):
        exclude = [", ".join([*ids, "none"])] if "commas" in how else [*ids, "none"]
        answer = client.post(
            "/api/recommendations", json={"user_id": user_ids[0], "k": 1, "exclude": exclude}
        )
    else:
        given = {
            "commas": ",".join([*ids, "none"]),
            "repeated": [*ids, "none"],
            "mixed": [ids[0], f" {ids[1]} , {ids[2]},none,"],
        }[how]
        answer = client.get(path, params={"k": 1, "exclude": given})
    found = answer.json()
    assert found["exclude_unknown"] == ["none"]
    assert [movie["movie_id"] for movie in found["recommendations"]] == [
        first["recommendations"][3]["movie_id"]
    ]


def test_a_list_with_commas_has_the_same_limit(client, user_ids):
    path = f"/api/users/{user_ids[0]}/recommendations"
    answer = client.get(path, params={"exclude": ",".join(["none"] * 501)})
    assert answer.status_code == 422
    assert "at most 500 ids, found 501" in answer.json()["error"]


# -- files -------------------------------------------------------------------------------------


def test_files_are_sent_only_if_they_changed(client):
    plain = client.get("/static/app.js")
    tag, date = plain.headers["etag"], plain.headers["last-modified"]
    for condition, status in (
        ({"if-none-match": tag}, 304),
        ({"if-none-match": f'"x", {tag}'}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": '"x"', "if-modified-since": date}, 200),
        ({"if-modified-since": date}, 304),
        ({"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
    ):
        answer = client.get("/static/app.js", headers=condition)
        assert answer.status_code == status, condition
        if status == 304:
            assert "content-length" not in answer.headers
            # Caches take these of the 304 for those of the file.
            for name in ("etag", "content-security-policy", "cache-control"):
                assert answer.headers[name] == plain.headers[name], name


def test_vendored_scripts_have_the_reviewed_checksums(client):
    pinned = {
        "swagger-ui-bundle.js": "b31c2a232d782d900ef3f7c77d2c42f6628db8729f85c9616028dd9806c926fc",
        "swagger-ui.css": "bc5e8d5c013477cf1f35e2fb8ba1dff66be0f72f24e669a509635657145e1acb",
    }
    for name, digest in pinned.items():
        body = client.get(f"/static/{name}").content
        assert hashlib.sha256(body).hexdigest() == digest, name


def test_nothing_of_the_pages_is_named_by_an_absolute_path():
    folder = ROOT / "serving" / "static"
    for path in folder.iterdir():
        assert not re.search(r"""["'`(=]/[a-z]""", path.read_text()), path.name


# -- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "found nothing"),
        ("  \n", "found nothing"),
        ("first second", "a blank in it"),
        ("first\nsecond", "2 lines"),
        ("gehe\u202eim", "another character"),
        ("gehe\x00im", "another character"),
    ],
)
def test_an_invalid_token_stops_the_start_with_a_reason(value, says, tmp_path):
    if "\0" not in value:
        with pytest.raises(TokenError, match=says) as raised:
            read_token(None, {"SERVING_TOKEN": value})
        assert "$SERVING_TOKEN" in str(raised.value)
    path = tmp_path / "token"
    path.write_text(value, encoding="utf-8")
    with pytest.raises(TokenError, match=says) as raised:
        read_token(path, {})
    assert "--token-file" in str(raised.value)
    assert "first" not in str(raised.value)


@pytest.mark.parametrize("value", ["\n\r\ngeheim \n", "geheim"])
def test_blanks_around_a_token_are_ignored(value, tmp_path):
    path = tmp_path / "token"
    path.write_text(value)
    assert read_token(path, {"SERVING_TOKEN": "other"}).value == "geheim"
    assert read_token(None, {"SERVING_TOKEN": value}).value == "geheim"


def test_short_and_readable_tokens_are_warned_of(tmp_path):
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o600)
    assert read_token(path, {}).warnings == ()
    path.chmod(0o644)
    assert "others may read" in " ".join(read_token(path, {}).warnings)
    assert "can be guessed" in " ".join(read_token(None, {"SERVING_TOKEN": "geheim"}).warnings)
    assert read_token(None, {}) == read_token(None, {"OTHER": "x"})


def test_a_token_file_without_end_is_refused():
    with pytest.raises(TokenError, match="at most 4096 bytes"):
        read_token(Path("/dev/zero"), {})


# -- faults of our own -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/model", "/v1/models/movielens/metadata"])
def test_an_unexpected_error_has_the_usual_form(tmp_path, monkeypatch, path):
    def broken():
        raise RuntimeError("a secret")

    stream = io.BytesIO()
    service = Service(Config(model_dir=tmp_path, cors_origins=(ORIGIN,)), Log(stream))
    monkeypatch.setattr(service.versions, "lease", broken)
    transport = httpx.ASGITransport(make_application(service))

    async def call():
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.get(path, headers={"origin": ORIGIN, "x-request-id": "fault"})

    answer = asyncio.run(call())
    assert answer.status_code == 500
    assert "fault" in answer.json()["error"]
    assert "secret" not in answer.text
    assert answer.headers["access-control-allow-origin"] == ORIGIN
