"""What one client could do to stop the server, tried on one running server.

Loops are bounded. What is asserted are orders and ratios: tenfold input takes at most 20 times the
processor time, and memory after ten large requests is that after two.
"""

import concurrent.futures
import json

import httpx
import pytest
from serving_fixtures import Server

pytestmark = pytest.mark.xdist_group("serving")
PREDICT = "/v1/models/movielens:predict"


@pytest.fixture(scope="module")
def attacked(pushed):
    with Server(pushed / "serving_model", "--no-access-log") as running:
        yield running


@pytest.fixture(scope="module")
def http(attacked):
    with attacked.client() as client:
        yield client


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


@pytest.mark.parametrize("rows", [300, 2_000])
def test_more_cells_than_the_limit_are_refused_before_the_call_in_words(
    http, attacked, user_ids, catalogue, rows
):
    answer = http.post(PREDICT, json=recommend(user_ids, rows, 10_000))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "at most 100000 cells" in error
    assert f"{rows} rows x {len(catalogue) + 1} k = {rows * (len(catalogue) + 1)}" in error
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


def test_memory_after_ten_large_calls_is_that_after_two(attacked, http, user_ids, catalogue):
    question = json.dumps(largest_recommendation(user_ids, catalogue))
    after = []
    for _ in range(10):
        assert http.post(PREDICT, content=question).status_code == 200
        after.append(attacked.memory_mb())
    assert after[9] < 1.2 * after[1]
    assert attacked.peak_memory_mb() < 2 * after[1]


def test_health_is_answered_while_large_calls_run(attacked, user_ids, catalogue):
    question = json.dumps(largest_recommendation(user_ids, catalogue))

    def ask(_):
        return httpx.post(f"{attacked.url}{PREDICT}", content=question, timeout=90).status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool, attacked.client() as probe:
        asked = [pool.submit(ask, number) for number in range(8)]
        waits = []
        while not all(one.done() for one in asked):
            answer = probe.get("/healthz")
            assert answer.status_code == 200
            waits.append(answer.elapsed.total_seconds())
        assert [one.result() for one in asked] == [200] * 8
    # Many answers came meanwhile: none waited for a large call to end.
    assert len(waits) > 8
