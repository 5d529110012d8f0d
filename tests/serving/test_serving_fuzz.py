"""Thousands of malformed requests: never a 5xx, a stack trace, a hang or a crash."""

import http.client
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis_profiles import examples

# The marker is set by hypothesis where a test itself is given examples; here it is within.
pytestmark = [pytest.mark.xdist_group("serving"), pytest.mark.slow, pytest.mark.hypothesis]

BATCH = 50
PREDICT_BATCHES, API_BATCHES = 100, 40
"""In the tier `all`, 7,000 requests beside those of schemathesis; `make fuzz` sends more."""
SCHEMATHESIS_EXAMPLES = 30
STANDARD_SHARE = 0.2
"""The share of the standard tier: each form of request still comes many times."""
CONFIG = Path(__file__).with_name("schemathesis.toml")
WAIT_SECONDS = 90

RELAXED = {"suppress_health_check": list(HealthCheck)}

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "1", "50", 2**31, -(2**63), 1e308, {"b64": "MQ=="}, {"b64": "?"}, []]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
number = st.integers(-5, 2**40) | st.floats(-1e40, 1e40) | st.sampled_from([0, 1, 5, 30])
word = st.sampled_from(["", "1", "2", "nobody", "Male", "94110"]) | st.text(max_size=10)
COLUMNS = {
    "user_id": st.lists(word, max_size=3),
    "raw_user_age": st.lists(number, max_size=3),
    "user_gender": st.lists(word, max_size=3),
    "user_occupation_text": st.lists(word, max_size=3),
    "user_zip_code": st.lists(word, max_size=3),
    "timestamp": st.lists(number, max_size=3),
    "recent_movie_ids": st.lists(st.lists(word, max_size=3), max_size=3),
    "recent_timestamps": st.lists(st.lists(number, max_size=3), max_size=3),
    "recent_ratings": st.lists(st.lists(number, max_size=3), max_size=3),
    "exclude_movie_ids": st.lists(st.lists(word, max_size=3), max_size=3),
    "exclude_seen": st.booleans(),
    "movie_ids": st.lists(st.lists(word, max_size=3), max_size=3),
    "movie_id": st.lists(word, max_size=3),
    "examples": st.lists(st.just({"b64": "MQ=="}) | word, max_size=3),
    "k": number,
}
ONE_ROW = {
    "user_id": ["1"], "raw_user_age": [30.0], "user_gender": ["Male"], "user_occupation_text": [""],
    "user_zip_code": [""], "timestamp": [0], "recent_movie_ids": [["1"]],
    "recent_timestamps": [[0]], "recent_ratings": [[0.0]], "exclude_movie_ids": [[""]],
    "exclude_seen": True, "movie_ids": [["1", "2"]], "movie_id": ["1"],
    "examples": [{"b64": "MQ=="}], "k": 3,
}  # fmt: skip
WHO = [
    "user_id", "raw_user_age", "user_gender", "user_occupation_text", "user_zip_code",
    "timestamp", "recent_movie_ids", "recent_timestamps", "recent_ratings",
]  # fmt: skip
SIGNATURES = {
    "recommend": [*WHO, "k", "exclude_movie_ids", "exclude_seen"],
    "rank": [*WHO, "movie_ids"],
    "explain": [*WHO, "movie_ids", "k"],
    "similar": ["movie_id", "k"],
    "serving_default": ["examples"],
}


@st.composite
def predict_bodies(draw):
    """A valid request in which some inputs, and sometimes more, are replaced."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60) | junk.map(lambda value: json.dumps(value).encode()))
    signature = draw(st.sampled_from(sorted(SIGNATURES)))
    inputs = {name: ONE_ROW[name] for name in SIGNATURES[signature]}
    for name in draw(st.lists(st.sampled_from(sorted(inputs)), max_size=3)):
        inputs[name] = draw(COLUMNS[name] | junk)
    for name in draw(st.lists(st.sampled_from(sorted(inputs)), max_size=1)):
        if draw(st.booleans()):
            del inputs[name]
    form = draw(st.sampled_from(["inputs", "inputs", "instances"]))
    document = {"signature_name": signature, form: inputs if form == "inputs" else [inputs]}
    if draw(st.integers(0, 9)) == 0:
        document[draw(st.sampled_from(["inputs", "instances", "signature_name", "x"]))] = draw(junk)
    return json.dumps(document).encode()


PATHS = st.sampled_from(
    [
        "/api/recommendations", "/api/ratings/predict", "/api/movies", "/api/movies/1",
        "/api/movies/1/similar", "/api/users/1/recommendations", "/api/users", "/api/model",
        "/v1/models/movielens", "/v1/models/movielens/versions/1", "/static/app.js", "/", "/docs",
    ]
) | st.text("/%.:;?&=#+ab1\\~@", max_size=30).map(lambda text: f"/{text}")  # fmt: skip


@st.composite
def api_requests(draw):
    """Any method, any path, any query, any body."""
    query = draw(
        st.text("kqueryli=&%0123456789+;[]", max_size=20)
        | st.sampled_from(["k=5", "query=a", "k=%00", "exclude=1&exclude=2", "limit=-1", "k=1e3"])
    )
    path = draw(PATHS)
    body = draw(
        st.none()
        | st.binary(max_size=40)
        | junk.map(lambda value: json.dumps(value).encode())
        | st.dictionaries(
            st.sampled_from(["user_id", "k", "liked", "movie_ids", "age", "timestamp", "exclude"]),
            junk,
            max_size=3,
        ).map(lambda value: json.dumps(value).encode())
    )
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]))
    content = draw(st.sampled_from(["application/json", "text/plain", "x", "multipart/form-data"]))
    return method, f"{path}?{query}" if query else path, body, {"content-type": content}


class Sender:
    """Sends requests on one connection and checks each answer."""

    def __init__(self, server):
        self.sent = 0
        self.succeeded = 0
        self._server = server
        self._connection = None

    def send(self, method, path, body=None, headers=None):
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._server.port, timeout=WAIT_SECONDS
            )
        try:
            self._connection.request(method, path, body, headers or {})
            answer = self._connection.getresponse()
        except (http.client.BadStatusLine, ConnectionError):
            # A head that is none is answered and the connection closed, which may come first.
            self._connection.close()
            self._connection = None
            assert self._server.process.poll() is None, "the server crashed"
            return
        text = answer.read()
        self.sent += 1
        if answer.getheader("connection") == "close":
            self._connection = None
        described = f"{method} {path} {body!r}: {answer.status} {text[:500]!r}"
        assert answer.status < 500, described
        assert b"Traceback" not in text, described
        self.succeeded += answer.status < 400
        json_expected = answer.status >= 400 and method != "HEAD"
        if json_expected and answer.getheader("content-type") == "application/json":
            assert json.loads(text)["error"], described


def is_whole(request):
    """Whether the chosen tier is the one that tries everything."""
    return request.config.getoption("--tier") == "all"


@pytest.fixture(scope="module")
def scaled(request):
    """Returns how many of a number of examples the chosen tier tries."""
    share = 1.0 if is_whole(request) else STANDARD_SHARE
    return lambda number: max(1, round(number * share))


def test_the_predict_endpoint_takes_anything(server, scaled):
    sender = Sender(server)
    tried = examples(scaled(PREDICT_BATCHES), **RELAXED)

    @tried
    @given(st.lists(predict_bodies(), min_size=BATCH, max_size=BATCH))
    def fuzz(bodies):
        for body in bodies:
            sender.send("POST", "/v1/models/movielens:predict", body)

    fuzz()
    print(f"{sender.sent} requests, {sender.succeeded} of them answered")
    assert sender.sent >= 0.97 * BATCH * tried.max_examples
    assert sender.succeeded > sender.sent / 20, "hardly a question was valid: nothing was tried"


def test_every_path_takes_anything(server, scaled):
    sender = Sender(server)
    tried = examples(scaled(API_BATCHES), **RELAXED)

    @tried
    @given(st.lists(api_requests(), min_size=BATCH, max_size=BATCH))
    def fuzz(requests):
        for request in requests:
            sender.send(*request)

    fuzz()
    print(f"{sender.sent} requests, {sender.succeeded} of them answered")
    assert sender.sent >= 0.8 * BATCH * tried.max_examples


def test_schemathesis_finds_nothing(server, scaled, request):
    """In the standard tier without the phase that combines every parameter's edges in turn."""
    phases = "examples,coverage,fuzzing" if is_whole(request) else "examples,fuzzing"
    command = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [command, f"--config-file={CONFIG}", "run", f"{server.url}/openapi.json",
         f"--phases={phases}",
         "--mode=all", f"--max-examples={scaled(SCHEMATHESIS_EXAMPLES)}", "--continue-on-failure",
         "--generation-database=none", "--seed=1", "--request-timeout=90", "--no-color"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    generated = int(re.search(r"(\d+) generated", done.stdout).group(1))
    print(f"{generated} requests")
    assert generated >= scaled(200)


def test_the_server_has_the_same_memory_and_no_error_of_its_own_afterwards(server, client):
    assert client.get("/healthz").status_code == 200
    assert not [line for line in server.log if '"internal error"' in line]
    # The large calls of the attacks are among the peak.
    assert server.peak_memory_mb() < 1_200
