"""The REST API over real HTTP, with a model that the pipeline pushed."""

import json
import time

import pytest

from serving.titles import display_title

pytestmark = pytest.mark.xdist_group("serving")


def recommend(client, user_id, **params):
    answer = client.get(f"/api/users/{user_id}/recommendations", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [movie["movie_id"] for movie in answer["recommendations"]]


def test_known_user_gets_k_movies_of_the_catalogue_best_first(client, user_ids, catalogue):
    answer = recommend(client, user_ids[0], k=7)
    titles = {movie["movie_id"]: movie["title"] for movie in catalogue}
    assert len(answer["recommendations"]) == 7
    assert len(set(ids(answer))) == 7
    for movie in answer["recommendations"]:
        assert movie["title"] == titles[movie["movie_id"]]
        assert 1 <= movie["stars"] <= 5
    scores = [movie["score"] for movie in answer["recommendations"]]
    assert scores == sorted(scores, reverse=True)


def test_excluded_movies_are_left_out_and_the_next_best_moves_up(client, user_ids):
    best = ids(recommend(client, user_ids[0], k=10))
    without = ids(recommend(client, user_ids[0], k=9, exclude=[best[0]]))
    assert without == best[1:]


def test_seen_movies_are_recommended_only_on_request(client, user_ids, catalogue):
    unseen = set(ids(recommend(client, user_ids[0], k=100)))
    everything = set(ids(recommend(client, user_ids[0], k=100, include_seen=True)))
    assert everything - unseen


def test_answers_name_the_version(client, user_ids, version_dir):
    for path in (
        f"/api/users/{user_ids[0]}/recommendations",
        "/api/movies",
        "/api/movies/1",
        "/api/movies/1/similar",
        "/api/model",
        "/api/users",
        "/readyz",
    ):
        assert client.get(path).json()["model_version"] == version_dir.name, path


def test_the_error_of_an_unknown_user_names_the_path_for_new_users(client):
    answer = client.get("/api/users/nobody/recommendations")
    assert answer.status_code == 404
    assert "has no user 'nobody'" in answer.json()["error"]
    assert "POST /api/recommendations" in answer.json()["error"]


def test_a_new_user_gets_recommendations_by_profile_and_by_liked_movies(client, catalogue):
    profile = {"age": 30, "gender": "Female", "occupation": "librarian", "zip_code": "94110"}
    liked = [{"movie_id": movie["movie_id"]} for movie in catalogue[:5]]
    by_profile = client.post("/api/recommendations", json=profile).json()
    by_films = client.post("/api/recommendations", json={"liked": liked}).json()
    assert len(ids(by_profile)) == len(ids(by_films)) == 10
    assert ids(by_profile) != ids(by_films)
    assert not set(ids(by_films)) & {film["movie_id"] for film in liked}


def test_liked_films_are_named_as_reasons(client, catalogue):
    liked = [{"movie_id": movie["movie_id"]} for movie in catalogue[:8]]
    answer = client.post("/api/recommendations", json={"liked": liked, "reasons": 2}).json()
    named = {
        reason["movie_id"] for movie in answer["recommendations"] for reason in movie["reasons"]
    }
    assert named
    assert named <= {film["movie_id"] for film in liked}


def test_a_film_liked_just_now_begins_a_session_and_one_without_a_time_does_not(client, catalogue):
    film = catalogue[3]["movie_id"]

    def scores(**changes):
        body = {"liked": [{"movie_id": film, **changes}], "k": 50}
        found = client.post("/api/recommendations", json=body).json()["recommendations"]
        return [(movie["movie_id"], movie["score"]) for movie in found]

    now = int(time.time())
    history = scores()
    assert scores(timestamp=0) == history
    assert scores(timestamp=now - 86_400) == history
    assert scores(timestamp=now - 20) != history
    assert scores(timestamp=now) != history


def test_the_rating_of_a_liked_film_counts(client, catalogue):
    def ids_with(stars):
        liked = [{"movie_id": movie["movie_id"], "rating": stars} for movie in catalogue[:6]]
        return ids(client.post("/api/recommendations", json={"liked": liked, "k": 50}).json())

    assert ids_with(1) != ids_with(5)
    refused = client.post("/api/recommendations", json={"liked": [{"movie_id": "1", "rating": 11}]})
    assert refused.status_code == 422
    assert "liked.0.rating" in refused.json()["error"]


def test_user_features_are_given_by_fields_or_by_the_models_names(client):
    fields = {"age": 30, "gender": "Female", "occupation": "librarian", "zip_code": "94110"}
    own = {
        "raw_user_age": 30, "user_gender": "Female", "user_occupation_text": "librarian",
        "user_zip_code": "94110",
    }  # fmt: skip
    by_fields = client.post("/api/recommendations", json=fields).json()
    assert client.post("/api/recommendations", json={"features": own}).json() == by_fields
    assert client.post("/api/recommendations", json={}).json() != by_fields
    facts = client.get("/api/model").json()["user_features"]
    assert {one["name"]: one["field"] for one in facts} == {
        "raw_user_age": "age", "user_gender": "gender", "user_occupation_text": "occupation",
        "user_zip_code": "zip_code",
    }  # fmt: skip
    assert len(next(one for one in facts if one["field"] == "occupation")["choices"]) > 2


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"shoe_size": 44}, "shoe_size: not a feature of this model"),
        ({"user_gender": 3}, "body features.user_gender: expected text, found 3"),
        ({"raw_user_age": "old"}, "raw_user_age: expected a number"),
    ],
)
def test_features_that_the_model_does_not_have_are_refused(client, features, says):
    answer = client.post("/api/recommendations", json={"features": features})
    assert answer.status_code == 422
    assert says in answer.json()["error"]


def test_posting_a_known_user_equals_getting_one(client, user_ids):
    got = recommend(client, user_ids[1], k=5)
    posted = client.post("/api/recommendations", json={"user_id": user_ids[1], "k": 5}).json()
    assert got == posted


def test_stars_are_in_the_order_of_the_request_and_equal_the_recommended_ones(client, user_ids):
    found = recommend(client, user_ids[0], k=5)["recommendations"]
    question = {"user_id": user_ids[0], "movie_ids": [movie["movie_id"] for movie in found][::-1]}
    ratings = client.post("/api/ratings/predict", json=question).json()["ratings"]
    assert [rating["movie_id"] for rating in ratings] == question["movie_ids"]
    expected = [movie["stars"] for movie in found[::-1]]
    assert [rating["stars"] for rating in ratings] == pytest.approx(expected, abs=1e-3)


def test_search_finds_by_beginnings_of_words_in_any_case(client, catalogue):
    movie = catalogue[3]
    words = [word for word in movie["title"].split() if word.isalpha()]
    query = " ".join(word[:4].upper() for word in reversed(words))
    answer = client.get("/api/movies", params={"query": query, "limit": 100}).json()
    assert movie["movie_id"] in [found["movie_id"] for found in answer["movies"]]
    assert answer["total"] >= len(answer["movies"])


def test_similar_movies_do_not_hold_the_movie_itself(client, catalogue):
    movie_id = catalogue[0]["movie_id"]
    found = client.get(f"/api/movies/{movie_id}/similar", params={"k": 5}).json()["movies"]
    assert len(found) == 5
    assert movie_id not in [movie["movie_id"] for movie in found]
    values = [movie["similarity"] for movie in found]
    assert values == sorted(values, reverse=True)


def test_the_model_is_described_with_its_metrics(client, version_dir):
    record = json.loads((version_dir / "assets.extra" / "run.json").read_text())
    answer = client.get("/api/model").json()
    name = "next_visit_rating_rmse"
    assert answer["metrics"][name] == pytest.approx(record["metrics"][name])
    assert [one["scenario"] for one in answer["scenarios"]] == ["next_visit", "in_session"]
    for one in answer["scenarios"]:
        for name in ("recall_at_10", "rating_rmse"):
            expected = record["metrics"][f"{one['scenario']}_{name}"]
            assert one[name] == pytest.approx(expected)
    assert answer["dataset"] == record["dataset"]["name"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/api/users/1/recommendations?k=0", None, 422, "query k"),
        ("GET", "/api/users/1/recommendations?k=101", None, 422, "at most 100"),
        ("GET", "/api/users/1/recommendations?k=ten", None, 422, "found 'ten'"),
        ("GET", "/api/users/1/recommendations?kk=1", None, 422, "query kk: not known here"),
        ("GET", "/api/movies?limit=1000", None, 422, "query limit"),
        ("GET", f"/api/movies?query={'x' * 201}", None, 422, "at most 200"),
        ("GET", "/api/movies/99999999", None, 404, "no movie with the id '99999999'"),
        ("POST", "/api/recommendations", b"{", 400, "Expected a body of JSON"),
        pytest.param("POST", "/api/recommendations", b"[" * 100_000, 400, "not nested", id="deep"),
        ("POST", "/api/recommendations", b'{"age": NaN}', 422, "body age"),
        ("POST", "/api/recommendations", b'{"age": -1}', 422, "body age"),
        ("POST", "/api/recommendations", b'{"gendre": "F"}', 422, "body gendre: not known here"),
        ("POST", "/api/recommendations", b'{"liked": [{"movie_id": "no"}]}', 404, "'liked'"),
        ("POST", "/api/recommendations", b'{"user_id": "no"}', 404, "has no user"),
        ("POST", "/api/recommendations", b'"\\ud800"', 422, "body"),
        ("POST", "/api/recommendations", b'{"zip_code": "\\ud800"}', 422, "zip_code"),
        ("POST", "/api/ratings/predict", b"{}", 422, "body movie_ids: missing"),
        ("POST", "/api/ratings/predict", b'{"movie_ids": []}', 422, "movie_ids"),
        ("POST", "/api/ratings/predict", b'{"movie_ids": ["no"]}', 404, "movie_ids"),
        ("DELETE", "/api/movies", None, 405, "does not support DELETE"),
        ("GET", "/../../etc/passwd", None, 404, "This path does not exist"),
        ("GET", "/static/../serving/cli.py", None, 404, ""),
        ("GET", "/static/%2e%2e/cli.py", None, 404, "no such file"),
    ],
)
def test_errors_of_malformed_requests_name_the_problem(client, method, path, body, status, says):
    headers = {"content-type": "application/json"} if body else {}
    answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_too_long_a_body_is_refused(client):
    answer = client.post("/api/recommendations", content=b" " * (1 << 20) + b"{}")
    assert answer.status_code == 413
    chunks = (b" " * (1 << 18) for _ in range(8))
    try:
        answer = client.post("/v1/models/movielens:predict", content=chunks)
    except OSError:
        return  # Refused while it was still being sent.
    assert answer.status_code == 413


def test_every_answer_has_a_request_id_and_security_headers(client):
    for path in ("/", "/api/movies", "/nothing", "/v1/models/movielens", "/static/app.js"):
        headers = client.get(path).headers
        assert headers["x-request-id"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    assert client.get("/", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_metrics_count_requests_by_route(client):
    client.get("/api/movies/1")
    text = client.get("/metrics").text
    assert 'http_requests_total{method="GET",route="/api/movies/{movie_id}",status="200"}' in text
    assert "serving_model_version " in text
    assert "http_request_duration_seconds_bucket" in text


def test_documentation_needs_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert "SwaggerUIBundle" in client.get("/static/swagger-ui-bundle.js").text
    document = client.get("/openapi.json").json()
    assert "/api/recommendations" in document["paths"]


def _has_example(schema):
    return bool(
        {"$ref", "examples", "default", "enum", "const"} & schema.keys()
        or schema.get("type") == "boolean"
        or (schema.get("type") == "array" and _has_example(schema["items"]))
    )


def test_every_field_and_parameter_of_the_openapi_document_has_an_example(client):
    document = client.get("/openapi.json").json()
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema["properties"].items():
            assert _has_example(described), f"{name}.{field}"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                assert _has_example(parameter["schema"]), f"{path} {parameter['name']}"


def test_examples_of_request_bodies_are_valid(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for path, name in (
        ("/api/recommendations", "RecommendRequest"), ("/api/ratings/predict", "RatingRequest"),
    ):  # fmt: skip
        answer = client.post(path, json={**schemas[name]["example"], "liked": [], "user_id": ""})
        assert answer.status_code in (200, 404), answer.text


def test_the_openapi_document_names_the_features_of_the_served_model(client):
    features = client.get("/api/model").json()["user_features"]
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    fields = [
        one["properties"]["features"]
        for one in schemas.values()
        if "features" in one.get("properties", {})
    ]
    assert len(fields) == 2
    for field in fields:
        assert set(field["properties"]) == {feature["name"] for feature in features}
        assert field["properties"]["raw_user_age"]["anyOf"][0]["type"] == "number"
        assert field["additionalProperties"] is False


def test_every_title_of_a_response_has_its_display_title(client, user_ids, catalogue):
    trailing = next(m for m in catalogue if m["title"] != display_title(m["title"]))
    movie_id = trailing["movie_id"]
    liked = [{"movie_id": movie_id}]
    answers = [
        client.get(f"/api/users/{user_ids[0]}/recommendations", params={"k": 100, "reasons": 3}),
        client.post("/api/recommendations", json={"liked": liked, "k": 100, "reasons": 3}),
        client.post("/api/ratings/predict", json={"age": 30, "movie_ids": [movie_id]}),
        client.get("/api/movies", params={"query": display_title(trailing["title"])}),
        client.get("/api/movies", params={"query": trailing["title"]}),
        client.get(f"/api/movies/{movie_id}"),
        client.get(f"/api/movies/{movie_id}/similar", params={"k": 100}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        titled = list(_titled(answer.json()))
        assert any(one["title"] != one["display_title"] for one in titled), answer.url
        for one in titled:
            assert one["display_title"] == display_title(one["title"])
    assert answers[3].json()["movies"][0]["movie_id"] == movie_id
    assert answers[4].json()["movies"][0]["movie_id"] == movie_id


def _titled(document):
    """Every object with a title in an answer, however deep."""
    if isinstance(document, dict):
        if "title" in document:
            yield document
        for value in document.values():
            yield from _titled(value)
    elif isinstance(document, list):
        for value in document:
            yield from _titled(value)
