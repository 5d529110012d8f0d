"""Attacks of one client on a running server. Loops are bounded; nothing asserts a duration."""

import concurrent.futures
import contextlib
import functools
import gzip
import json
import re
import socket
import sys
import time
import zlib
from pathlib import Path

import handmade
import httpx
import numpy as np
import pytest
from serving_fixtures import Server

from serving.errors import InvalidInput
from serving.model import ServedModel, Signature, Tensor
from serving.tfserving import read_predict

pytestmark = pytest.mark.xdist_group("serving")
PREDICT = "/v1/models/movielens:predict"


small = pytest.fixture(scope="session")(handmade.small)


@pytest.fixture(scope="module")
def attacked(server):
    """The server of all tests: after the attacks, the others' tests are still answered."""
    return server


@pytest.fixture(scope="module")
def http(client):
    return client


def people(user_ids, rows, recent=1):
    return {
        "user_id": [user_ids[row % len(user_ids)] for row in range(rows)],
        "raw_user_age": [0] * rows,
        "user_gender": [""] * rows,
        "user_occupation_text": [""] * rows,
        "user_zip_code": [""] * rows,
        "timestamp": [0] * rows,
        "recent_movie_ids": [[""] * recent] * rows,
        "recent_timestamps": [[0] * recent] * rows,
        "recent_ratings": [[0] * recent] * rows,
    }


def recommend(user_ids, rows, k, recent=1):
    inputs = people(user_ids, rows, recent)
    inputs |= {"k": k, "exclude_movie_ids": [[""]] * rows, "exclude_seen": False}
    return {"signature_name": "recommend", "inputs": inputs}


def explain(user_ids, rows, movies, k):
    inputs = people(user_ids, rows) | {"movie_ids": [movies] * rows, "k": k}
    return {"signature_name": "explain", "inputs": inputs}


def largest_recommendation(user_ids, catalogue):
    return recommend(user_ids, 100_000 // len(catalogue), 10_000)


# -- answers that are too large ----------------------------------------------------------------


@pytest.mark.parametrize("least", [True, False])
def test_more_cells_than_the_limit_are_refused_before_the_call(
    http, attacked, user_ids, catalogue, least
):
    rows = 100_000 // len(catalogue) + 1 if least else 2_000
    answer = http.post(PREDICT, json=recommend(user_ids, rows, 10_000))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "at most 100000 cells" in error
    assert f"{rows} rows x {len(catalogue)} k = {rows * len(catalogue)}" in error
    assert "fewer rows" in error
    assert "--max-cells" in error


def test_what_explain_multiplies_is_limited(http, user_ids, catalogue):
    movies = [movie["movie_id"] for movie in catalogue[:100]]
    for question in (
        explain(user_ids, 100, movies, 10_000),
        explain(user_ids, 900, movies, 1),
        explain(user_ids, 2_000, movies[:1], 1),
    ):
        answer = http.post(PREDICT, json=question)
        assert answer.status_code == 400, answer.text[:200]
        assert "fewer rows" in answer.json()["error"]


def test_recent_movies_that_are_compared_with_each_other_are_limited(http, user_ids):
    answer = http.post(PREDICT, json=recommend(user_ids, 1, 1, recent=50_000))
    assert answer.status_code == 400
    assert "50000 recent_movie_ids x 50000 recent_movie_ids" in answer.json()["error"]


def test_a_product_below_the_limit_is_answered(http, user_ids, catalogue):
    answer = http.post(PREDICT, json=largest_recommendation(user_ids, catalogue))
    assert answer.status_code == 200
    rows = answer.json()["outputs"]["movie_id"]
    assert len(rows) == 100_000 // len(catalogue)
    assert len(set(rows[0])) == len(catalogue)


def test_memory_after_six_large_calls_is_that_after_two(attacked, http, user_ids, catalogue):
    question = json.dumps(largest_recommendation(user_ids, catalogue))
    for _ in range(2):
        assert http.post(PREDICT, content=question).status_code == 200
    after_two = attacked.memory_mb()
    for _ in range(4):
        assert http.post(PREDICT, content=question).status_code == 200
    for _ in range(200):  # Memory is returned half a second after the last large call.
        if attacked.memory_mb() < 1.2 * after_two:
            break
        time.sleep(0.05)
    assert attacked.memory_mb() < 1.2 * after_two
    assert attacked.peak_memory_mb() < 2 * after_two


def test_health_is_answered_while_large_calls_run(attacked, user_ids, catalogue):
    question = json.dumps(largest_recommendation(user_ids, catalogue))

    def call(_):
        return httpx.post(f"{attacked.url}{PREDICT}", content=question, timeout=90).status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool, attacked.client() as probe:
        calls = [pool.submit(call, number) for number in range(5)]
        waits = []
        while not all(one.done() for one in calls):
            answer = probe.get("/healthz")
            assert answer.status_code == 200
            waits.append(answer.elapsed.total_seconds())
        assert [one.result() for one in calls] == [200] * 5
    # Many answers came meanwhile: none waited for a large call to end.
    assert len(waits) > 5


# -- connections that are held for nothing -----------------------------------------------------

TOKEN = "geheim-" * 4
HOST = b"Host: localhost\r\n"
AUTHORIZED = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def guarded(small):
    """A server with a token, short clocks and few connections, for pages of one other origin.

    Its tests are not about the model, so that is a small one.
    """
    with Server(
        small, "--read-timeout", "1", "--max-connections", "40",
        "--max-connections-per-address", "30", "--cors-origin", ORIGIN, "--access-log",
        "--root-path", "/films", environment={"SERVING_TOKEN": TOKEN + "\n"},
    ) as running:  # fmt: skip
        yield running


ORIGIN = "https://films.example"
RIGHT = {"authorization": f"bearer {TOKEN}"}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def read_all(connection):
    """Returns what comes until the server closes, which it must."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def talk(server, sent):
    with connect(server) as connection:
        connection.sendall(sent)
        return read_all(connection)


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


UNREAD = b"POST /api/recommendations HTTP/1.1\r\n%bContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UNREAD % HOST, 401),
        (UNREAD % b"Host: evil.example\r\n", 421),
        (UNREAD % HOST + b"x", 401),
        (UNREAD.replace(b": 10", b": 99999999") % (HOST + AUTHORIZED), 413),
        (UNREAD % (HOST + b"Expect: 100-continue\r\n"), 401),
    ],
)  # fmt: skip
def test_an_answer_before_the_body_was_read_closes_the_connection(guarded, head, status):
    with connect(guarded) as connection:
        connection.sendall(head)
        received = connection.recv(65_536)
        connection.sendall(b"x")
        received += read_all(connection)
    assert statuses(received) == [status]
    assert b"connection: close" in received


def test_a_client_that_sends_its_whole_body_first_still_reads_why_it_is_refused(guarded):
    body = b"x" * 900_000
    head = UNREAD.replace(b": 10", b": %d" % len(body)) % HOST
    assert statuses(talk(guarded, head + body)) == [401]


def test_health_and_right_tokens_are_answered_whatever_others_hold_open(guarded):
    held = []
    for number in range(200):
        connection = connect(guarded)
        connection.sendall([b"", b"GET /heal", UNREAD % HOST, UNREAD % HOST + b"x"][number % 4])
        held.append(connection)
        if number % 20 == 19:
            with guarded.client() as http:
                assert http.get("/healthz").status_code == 200
                assert http.get("/api/model", headers=RIGHT).status_code == 200
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: ",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /h",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nx",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nx",
    ],
)
def test_every_state_of_a_connection_has_a_time_limit(guarded, sent):
    received = talk(guarded, sent)
    assert set(statuses(received)) <= {200, 408}


def test_a_client_that_never_reads_is_disconnected(guarded):
    with connect(guarded) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /static/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n"
        try:
            for _ in range(1_000):
                connection.sendall(request * 1_000)
        except (ConnectionError, TimeoutError):
            return
    pytest.fail("The server took requests without end.")


# -- edges of HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + AUTHORIZED * 2 + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 505),
        (b"GET /healthz HTTP/0.9\r\n\r\n", 505),
        (b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"BREW /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", 421),
        (b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", 200),
        (b"GET http://[::1]:80/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", 200),
        (b"GET http://localhost@localhost/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"Expect: sandwich\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", 200),
    ],
)  # fmt: skip
def test_what_is_not_a_plain_http_1_request_is_refused_with_a_reason(guarded, sent, status):
    received = talk(guarded, sent)
    assert statuses(received) == [status]
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    assert set(body) == ({"status"} if status == 200 else {"error"})


def test_answers_keep_their_order_whatever_comes_behind_them(guarded):
    request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    assert statuses(talk(guarded, request * 5 + b"GET /he")) == [200] * 5 + [408]
    assert statuses(talk(guarded, request * 3 + b"NONSENSE\r\n\r\n")) == [200] * 3 + [400]
    flood = statuses(talk(guarded, request * 5_000))
    assert flood[-1] == 503
    assert set(flood[:-1]) == {200}


def test_a_slow_answer_comes_before_the_refusal_of_what_was_sent_behind_it(
    attacked, user_ids, catalogue
):
    body = json.dumps(largest_recommendation(user_ids, catalogue)).encode()
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (PREDICT.encode(), HOST, len(body))
    received = talk(attacked, head + body + b"NONSENSE\r\n\r\n")
    assert statuses(received) == [200, 400]


def test_a_trailing_slash_does_not_redirect_to_another_host(guarded):
    with guarded.client(headers=RIGHT, follow_redirects=False) as http:
        answer = http.get("/api/movies/", headers={"x-forwarded-host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_work_for_a_client_that_left_is_given_up(guarded):
    question = b'{"movie_ids": ["1"], "user_id": ""}'
    for _ in range(20):
        with connect(guarded) as connection:
            connection.sendall(
                b"POST /api/ratings/predict HTTP/1.1\r\n" + HOST + AUTHORIZED
                + b"Content-Type: application/json\r\nX-Request-Id: left\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(question), question)
            )  # fmt: skip
    with guarded.client(headers=RIGHT) as http:
        assert http.post("/api/ratings/predict", json={"movie_ids": ["1"]}).status_code == 200
        counted = http.get("/metrics").text
    assert "Traceback" not in "".join(guarded.log)
    assert "serving_queue_length 0.0" in counted


# -- pages of other sites ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "OWN"}, 200),
        ({"origin": "https://films.lan", "x-forwarded-host": "films.lan"}, 200),
        ({"origin": "https://films.lan", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_posts_of_other_sites_are_refused_whatever_their_type(attacked, http, headers, status):
    own = {"origin": attacked.url} if headers.get("origin") == "OWN" else {}
    body = {"signature_name": "similar", "inputs": {"movie_id": ["1"], "k": 1}}
    answer = http.post(PREDICT, content=json.dumps(body), headers={**headers, **own})
    assert answer.status_code == status
    if status == 403:
        assert "--cors-origin" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/model", RIGHT, 200),
        ("GET", "/api/model", {}, 401),
        ("GET", "/api/movies/none", RIGHT, 404),
        ("DELETE", "/api/model", RIGHT, 405),
        ("GET", "/api/movies?limit=x", RIGHT, 422),
        ("GET", "/v1/models/none", RIGHT, 404),
        ("GET", "/static/none", {}, 404),
        ("GET", "/healthz", {"host": "evil.example"}, 421),
        ("POST", "/api/recommendations", {**RIGHT, "content-type": "text/plain"}, 415),
    ],
)
def test_an_allowed_page_may_read_every_answer(guarded, method, path, headers, status):
    with guarded.client() as http:
        send = functools.partial(http.request, method, path, content="{}")
        answer = send(headers={"origin": ORIGIN, **headers})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "origin" in answer.headers["vary"].lower()
        foreign = send(headers={"origin": "https://evil.example", **headers})
        assert "access-control-allow-origin" not in foreign.headers
        assert "origin" in foreign.headers["vary"].lower()


def test_an_allowed_page_may_read_that_it_was_too_slow(guarded):
    origin = b"Origin: " + ORIGIN.encode() + b"\r\n"
    head = b"POST / HTTP/1.1\r\n" + HOST + origin + b"Content-Length: 5\r\n\r\nx"
    for sent in (head, b"GET / HTTP/1.1\r\n" + HOST + origin):
        assert b"access-control-allow-origin: " in talk(guarded, sent)


def test_a_preflight_needs_no_token_and_is_refused_in_the_usual_form(guarded):
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    with guarded.client() as http:
        allowed = http.options("/api/recommendations", headers={**preflight, "origin": ORIGIN})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in allowed.headers["access-control-allow-methods"]
        foreign = http.options(
            "/api/recommendations", headers={**preflight, "origin": "https://evil.example"}
        )
        assert foreign.status_code == 400
        assert "error" in foreign.json()


# -- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN}", 200),
        (f"Bearer{TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
    ],
)
def test_the_scheme_of_a_token_may_be_written_in_any_case(guarded, authorization, status):
    with guarded.client() as http:
        answer = http.get("/api/model", headers={"authorization": authorization})
        assert answer.status_code == status
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_a_token_is_required_of_everything_but_health_and_the_page(guarded):
    with guarded.client() as http:
        for path in ("/api/movies", "/v1/models/movielens", "/metrics", "/openapi.json", "/x"):
            assert http.get(path).status_code == 401, path
        for path in ("/", "/healthz", "/readyz", "/static/app.js"):
            assert http.get(path).status_code == 200, path
        assert http.get("/api/movies", headers=RIGHT).status_code == 200
    assert TOKEN not in "".join(guarded.log)


def test_many_wrong_tokens_are_held_back_and_the_right_one_is_not(guarded):
    waits = []

    def guess(number):
        with httpx.Client(base_url=guarded.url, timeout=90) as http:
            answers = [
                http.get("/api/model", headers={"authorization": f"Bearer {number}-{turn}"})
                for turn in range(12)
            ]
            waits.extend(answer.elapsed.total_seconds() for answer in answers)
            return {answer.status_code for answer in answers}

    with concurrent.futures.ThreadPoolExecutor(4) as pool, guarded.client() as http:
        futures = [pool.submit(guess, number) for number in range(4)]
        while not all(future.done() for future in futures):
            assert http.get("/api/model", headers=RIGHT).status_code == 200
        assert {status for future in futures for status in future.result()} == {401}
    # 30 were free, the others waited, four at a time.
    assert sum(wait > 0.4 for wait in waits) >= 10


# -- bodies ------------------------------------------------------------------------------------


def test_packed_bodies_are_unpacked_and_bombs_are_not(http):
    body = json.dumps({"signature_name": "similar", "inputs": {"movie_id": ["1"], "k": 1}}).encode()
    packed = gzip.compress(body)
    for coding, sent, status in (
        ("gzip", packed, 200),
        ("x-gzip", packed, 200),
        ("deflate", zlib.compress(body), 200),
        ("identity", body, 200),
        ("gzip", gzip.compress(b" " * 100_000_000), 413),
        ("gzip", packed[:-4], 400),
        ("gzip", packed + b"more", 400),
        ("gzip", b"no gzip", 400),
        ("gzip, gzip", gzip.compress(packed), 415),
        ("br", body, 415),
    ):
        answer = http.post(PREDICT, content=sent, headers={"content-encoding": coding})
        assert answer.status_code == status, (coding, answer.text)
        if status == 415:
            assert "gzip" in answer.headers["accept-encoding"]
    answer = http.post(
        "/api/recommendations",
        content=gzip.compress(b'{"k": 1}'),
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/vnd.films+json", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_other_types_than_json_are_refused_with_a_reason(http, kind, status):
    answer = http.post("/api/recommendations", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == status
    if status == 415:
        assert "json" in answer.text.lower() or "UTF-8" in answer.text


@pytest.mark.parametrize("value", ["1", []])
def test_ten_times_the_values_are_read_with_about_ten_times_the_function_calls(value):
    """Counted rather than timed: the machine may be busy."""
    inputs = {"movie_id": Tensor("movie_id", np.dtype(object), (None,))}
    similar = Signature("similar", inputs, {}, lambda fed, fetched: [])
    model = ServedModel(1, Path(), {"similar": similar}, {}, lambda: None)

    def calls(values):
        body = json.dumps({"signature_name": "similar", "inputs": {"movie_id": [value] * values}})
        counted = 0

        def count(frame, event, argument):
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            with contextlib.suppress(InvalidInput):
                read_predict(body.encode(), model)
        finally:
            sys.setprofile(None)
        return counted

    assert calls(20_000) < 12 * calls(2_000)


# -- logs --------------------------------------------------------------------------------------


def logged(server, text):
    """Waits for a line of the log, which a thread writes."""
    for _ in range(600):
        for line in server.log[:]:
            if text in line:
                return line
        time.sleep(0.05)
    return pytest.fail(f"The log has no line with {text}.")


def test_control_characters_reach_neither_logs_nor_messages(guarded):
    with guarded.client(headers=RIGHT) as http:
        answer = http.get(
            "/v1/models/%E2%80%AE%1b%5b31m%E2%80%A8x:nothing", headers={"x-request-id": "odd"}
        )
    assert not set("\u202e\u2028\x1b") & set(answer.text)
    assert "\\u202e" in answer.json()["error"]
    line = logged(guarded, '"odd"')
    assert not set("\u202e\u2028\x1b") & set(line)
