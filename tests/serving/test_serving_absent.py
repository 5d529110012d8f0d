"""Data without ratings, times or features of users, and ids that are any text.

Hand-made models of such data in applications in this process.
"""

import asyncio
import dataclasses
import io
import itertools
import json
import re
from urllib.parse import quote

import handmade
import httpx
import numpy as np
import pyarrow.parquet
import pytest
from fastapi.openapi.utils import get_openapi

from schema.events import Event
from schema.features import (
    AGE,
    MOVIE_ID,
    MOVIELENS,
    RATING,
    TIMESTAMP,
    TITLE,
    USER_ID,
    Feature,
    FeatureTable,
    Kind,
    Owner,
)
from serving.access_log import Log
from serving.api import make_api
from serving.application import make_application
from serving.batch.command import main
from serving.config import Config
from serving.document import document_of, lacking
from serving.errors import ModelFault
from serving.recommender import UserProfile
from serving.service import Service
from serving.signatures import check_outputs

pytestmark = pytest.mark.xdist_group("serving")

IDS = [
    "550e8400-e29b-41d4-a716-446655440000", "SKU/12 ä%2F", "本と猫", "a,b", "007", "7", "x/similar",
    "100%", "?k=1", "#1", " ", "é",
]  # fmt: skip
USERS = ["user/1", "ulrike@example.org", "0e+1", "Ünal"]
CLICKS = FeatureTable((USER_ID, MOVIE_ID, TITLE))
"""Nothing but who chose what."""
RATING_WORDS = ("stars", "rating", "rmse")


class App:
    """The application of one model, without a connection."""

    def __init__(self, model_dir):
        self.service = Service(Config(model_dir=model_dir), Log(io.BytesIO()))
        self.service.versions.look()
        self._transport = httpx.ASGITransport(make_application(self.service))

    def ask(self, method, path, **given):
        async def send():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://localhost"
            ) as http:
                return await http.request(method, path, **given)

        return asyncio.run(send())

    def get(self, path):
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    module = handmade.Handmade(ids=IDS, ratings=False)
    handmade.save(
        folder / "1", users=USERS, module=module, table=CLICKS, movies=True, recent=True,
        dataset={"name": "shop", "title": "Shop", "features": [], "item_noun": "story"},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def app(models):
    made = App(models)
    yield made
    made.service.stop()


def test_a_model_of_clicks_says_what_it_lacks_and_what_its_items_are_called(app):
    facts = app.get("/api/model")
    absent = {"ratings": False, "times": False, "liked": True}
    assert facts["abilities"] == {**facts["abilities"], **absent}
    assert facts["item_noun"] == "story"
    assert facts["user_features"] == []
    assert [one["scenario"] for one in facts["scenarios"]] == ["next_visit"]
    assert "rmse" not in json.dumps(facts)


@pytest.mark.parametrize("movie_id", IDS)
def test_any_text_is_an_id_in_a_path_a_query_and_a_body(app, movie_id):
    found = app.get(f"/api/movies/{quote(movie_id, safe='')}")["movie"]
    assert found["movie_id"] == movie_id
    answer = app.ask("POST", "/api/recommendations", json={"liked": [{"movie_id": movie_id}]})
    assert answer.status_code == 200, answer.text
    left = app.ask("GET", f"/api/users/{quote(USERS[0], safe='')}/recommendations",
                   params={"exclude": movie_id})  # fmt: skip
    assert left.json()["exclude_unknown"] == []
    assert left.json()["user_id"] == USERS[0]


def test_recommendations_of_clicks_have_no_stars(app):
    for user in USERS:
        answer = app.get(f"/api/users/{quote(user, safe='')}/recommendations?k=3")
        assert [movie["movie_id"] for movie in answer["recommendations"]] == IDS[:3]
        assert all("stars" not in movie for movie in answer["recommendations"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/api/ratings/predict", {"movie_ids": ["7"]}, 404, "predicts no ratings"),
        ("POST", "/api/recommendations", {"liked": [{"movie_id": "7", "rating": 4}]}, 422,
         "body liked.0.rating: the data of this model has no ratings"),
        ("POST", "/api/recommendations", {"liked": [{"movie_id": "7", "timestamp": 4}]}, 422,
         "body liked.0.timestamp: the data of this model has no times"),
        ("POST", "/api/recommendations", {"timestamp": 4}, 422, "body timestamp: "),
        ("POST", "/api/recommendations", {"age": 4}, 422,
         "body age: the data of this model has no age."),
        ("POST", "/api/recommendations", {"features": {"a": 1}}, 422, "has no user features"),
        ("POST", "/api/recommendations", {"context": {"a": 1}}, 422, "has no context features"),
        ("POST", "/api/recommendations", {"liked": [{"movie_id": ""}]}, 422,
         "body liked.0.movie_id: expected at least 1 character, found ''."),
        ("POST", "/api/recommendations", {"features": {"": 1}}, 422,
         "body features: expected names of at least 1 character, found ''."),
        ("POST", "/api/recommendations", {"features": {"a": ["x"], "b": [None], "c": True}}, 422,
         'features.a: expected text or a number, found ["x"]; '
         "body features.b: expected text or a number, found [null]; "
         "body features.c: expected text or a number, found true."),
        ("POST", "/api/recommendations", {"liked": ["7"]}, 422,
         "body liked.0: expected an object, found '7'."),
        ("POST", "/api/recommendations", [1], 422, "body: expected an object, found [1]."),
        ("POST", "/api/recommendations", {"features": {"a": [1], "b": 4e38, "c": "x" * 201}}, 422,
         "body features.a: expected text or a number, found [1]; "
         "body features.b: expected at most 9.00719925474099e+15, found 4e+38; "
         "body features.c: expected at most 200 characters, found 'xxx"),
        ("POST", "/api/ratings/predict", {"movie_ids": []}, 422,
         "body movie_ids: expected at least 1 entries, found 0."),
        ("POST", "/api/recommendations", {"user_id": "no"}, 404,
         "has no user 'no'. For a new user leave user_id out."),
        ("GET", "/api/users/no/recommendations", None, 404, "POST /api/recommendations"),
        ("GET", "/api/users/7/recommendations?include_seen=maybe&k=ten", None, 422,
         "query include_seen: expected true or false, found 'maybe'"),
        ("GET", "/api/users/7/recommendations?k=ten", None, 422,
         "query k: expected a whole number, found 'ten'."),
        ("GET", "/api/users/user%2F1/recommendations?timestamp=4", None, 422, "query timestamp"),
        ("GET", "/api/users//recommendations", None, 404, "does not exist"),
        ("GET", "/api/movies/SKU/12", None, 404, "does not exist"),
        ("GET", "/api/movies/08", None, 404, "no story with the id '08'"),
        ("GET", "/api/movies/%ff", None, 404, "no story"),
        ("POST", "/api/recommendations", {"liked": [{"movie_id": "no"}]}, 404,
         "Expected the ids of stories in 'liked'"),
    ],
)  # fmt: skip
def test_what_the_data_lacks_is_refused_with_a_reason(app, method, path, body, status, says):
    answer = app.ask(method, path, json=body) if body else app.ask(method, path)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]


def test_the_document_has_nothing_that_the_data_lacks(app):
    document = app.get("/openapi.json")
    assert "/api/ratings/predict" not in document["paths"]
    assert "/api/movies/{movie_id}/similar" in document["paths"]
    schemas = document["components"]["schemas"]
    fields = {name for schema in schemas.values() for name in schema["properties"]}
    # The answer has nothing on ratings but whether there are any.
    assert [name for name in fields if any(word in name for word in RATING_WORDS)] == ["ratings"]
    assert fields.isdisjoint({"timestamp", "age", "gender", "occupation", "zip_code", "features"})
    assert fields.isdisjoint({"context", "context_features"})
    assert {"Rating", "Ratings", "RatingRequest"}.isdisjoint(schemas)
    assert schemas["RecommendRequest"]["example"] == {
        "liked": [{"movie_id": "50"}, {"movie_id": "1"}], "k": 3, "reasons": 2,
    }  # fmt: skip
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "timestamp" not in [one["name"] for one in operation.get("parameters", ())]
    assert "x-needs" not in json.dumps(document)
    del schemas["Abilities"]  # whether there are ratings and times
    spoken = re.findall(r'"(?:description|summary)": ("(?:[^"\\]|\\.)*")', json.dumps(document))
    absent = r"\b(?:ratings?|rated|stars|timestamp|seconds|in_session)\b|\{(?:ratings|times):"
    assert not [one for one in spoken if re.search(absent, one, re.IGNORECASE)]


def test_the_document_speaks_of_items_in_the_words_of_the_data_and_keeps_names(app):
    document = app.get("/openapi.json")
    texts = re.findall(r'"(?:description|summary)": ("(?:[^"\\]|\\.)*")', json.dumps(document))
    assert len(texts) > 50
    assert not [text for text in texts if re.search(r"(?<!/)\bmovies?\b", text, re.IGNORECASE)]
    assert "Returns a story of the catalogue." in json.dumps(document)
    assert "movie_id" in document["components"]["schemas"]["Recommendation"]["properties"]


PARTS = [
    tuple(one for one in MOVIELENS.features if one.name not in ("user_rating", "timestamp")),
    *(tuple(one for one in MOVIELENS.features if one.name != name)
      for name in ("user_rating", "timestamp", AGE.name)),
]  # fmt: skip


@pytest.mark.parametrize("features", PARTS)
def test_every_reference_of_the_document_of_any_table_is_there(app, features):
    table = FeatureTable(features)
    document = document_of(_whole(app), table, "movie")
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text
    has = {"user_rating": '"stars"', "timestamp": '"timestamp"', AGE.name: '"age"'}
    for column, field in has.items():
        assert (field in text) is (column in table.names), column
    assert lacking(MOVIELENS) == {"context features"}
    assert '"context"' not in text


def _whole(app):
    """The document of everything, as FastAPI makes it."""
    routes = make_api(app.service).routes
    return get_openapi(title="t", version="1", routes=routes, separate_input_output_schemas=False)


def test_the_batch_takes_any_id_and_writes_no_stars(models, tmp_path, capsys):
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join([*USERS, "no,body"]), encoding="utf-8")
    output = tmp_path / "x.parquet"
    options = ["--model-dir", str(models), "--output", str(output), "--k", "2"]
    assert main([*options, "--users-file", str(ids), "--unknown", "cold"]) == 0
    rows = pyarrow.parquet.read_table(output).to_pylist()
    assert [(row["user_id"], row["movie_id"]) for row in rows] == list(
        itertools.product([*USERS, "no,body"], IDS[:2])
    )
    assert "stars" not in rows[0]
    assert main([*options, "--users", f"{USERS[1]}, {USERS[0]}"]) == 0
    assert pyarrow.parquet.read_table(output)["user_id"].to_pylist()[::2] == USERS[1::-1]


def test_users_are_counted_by_the_beginning_of_their_ids(app):
    for prefix, ids in (("u", USERS[:2]), ("", USERS), ("zz", [])):
        found = app.get(f"/api/users?prefix={prefix}")
        assert (found["user_ids"], found["total"]) == (ids, len(ids))
    found = app.get("/api/users?limit=1")
    assert (found["user_ids"], found["total"]) == (USERS[:1], len(USERS))


def test_ratings_outside_of_the_scale_are_refused_and_0_is_none(tmp_path):
    handmade.save(tmp_path / "1", movies=True, recent=True)
    stars = App(tmp_path)
    try:
        for rating, status in ((5.5, 422), (0.5, 422), (-1, 422), (0, 200), (1, 200), (5, 200)):
            liked = [{"movie_id": "1", "rating": rating}]
            answer = stars.ask("POST", "/api/recommendations", json={"liked": liked})
            assert answer.status_code == status, answer.text
            assert status == 200 or "liked.0.rating: expected 1 to 5" in answer.json()["error"]
    finally:
        stars.service.stop()


def test_a_scale_with_ratings_below_0_takes_them(app, tmp_path):
    table = FeatureTable(
        (USER_ID, MOVIE_ID, TITLE, dataclasses.replace(RATING, low=-10.0, high=10.0), TIMESTAMP)
    )
    handmade.save(tmp_path / "1", table=table, movies=True, recent=True)
    jokes = App(tmp_path)
    try:
        assert jokes.get("/api/model")["rating_scale"] == {"low": -10.0, "high": 10.0}
        for rating, status in ((-10, 200), (0, 200), (10, 200), (-10.5, 422)):
            liked = [{"movie_id": "1", "rating": rating}]
            answer = jokes.ask("POST", "/api/recommendations", json={"liked": liked})
            assert answer.status_code == status, answer.text
        recommender = jokes.service.versions.current
        events = (Event("1", rating=0.0), Event("2"), Event("3", rating=-2.0))
        call = recommender.recommend([UserProfile(events=events)], 2, [()], seen=True)
        np.testing.assert_equal(call.inputs["recent_ratings"], [[0.0, np.nan, -2.0]])
        check_outputs(call, {"score": np.ones(1)})
        with pytest.raises(ModelFault):
            check_outputs(call, {"score": np.full(1, np.nan)})
    finally:
        jokes.service.stop()


DEVICE = Feature("context_device", Owner.CONTEXT, Kind.CATEGORY, "string", label="device")
PRICE = Feature("context_price", Owner.CONTEXT, Kind.NUMBER, "float32", optional=True)


def test_a_request_may_give_the_context_features_of_its_model(tmp_path):
    table = FeatureTable((USER_ID, MOVIE_ID, TITLE, RATING, TIMESTAMP, DEVICE, PRICE))
    (tmp_path / "1" / "assets").mkdir(parents=True)
    handmade.save(tmp_path / "1", table=table, movies=True, recent=True)
    (tmp_path / "1" / "assets" / "context_device_index").write_text("unknown\ntv\nphone\n")
    shop = App(tmp_path)
    try:
        assert shop.get("/api/model")["context_features"] == [
            {
                "name": "context_device",
                "label": "device",
                "type": "text",
                "choices": ["phone", "tv"],
            },
            {"name": "context_price", "label": "context price", "type": "number", "choices": []},
        ]
        properties = {"context_device": "string", "context_price": "number"}
        examples = {"context_device": "phone", "context_price": 1}
        for name in ("RecommendRequest", "RatingRequest"):
            field = shop.get("/openapi.json")["components"]["schemas"][name]["properties"][
                "context"
            ]
            assert {
                key: one["anyOf"][0]["type"] for key, one in field["properties"].items()
            } == properties
            assert field["examples"] == [examples]
            assert "propertyNames" not in field
            assert field["properties"]["context_device"]["examples"] == ["phone", "tv"]
            assert field["additionalProperties"] is False
        for context, status, says in (
            ({"context_device": "tv", "context_price": 5e9}, 200, ""),
            ({"context_device": None, "context_price": None}, 200, ""),
            ({}, 200, ""),
            (
                {"device": "tv"},
                422,
                "context.device: not a feature of this model; did you mean context_device.",
            ),
            (
                {"colour": "red"},
                422,
                "colour: not a feature of this model; it has context_device, context_price.",
            ),
            (
                {"context_price": "3"},
                422,
                "body context.context_price: expected a number, found '3'.",
            ),
            ({"context_device": 3}, 422, "body context.context_device: expected text, found 3"),
            ({"context_device": []}, 422, "body context.context_device: expected text or a number"),
        ):
            for path, body in (("recommendations", {}), ("ratings/predict", {"movie_ids": ["1"]})):
                answer = shop.ask("POST", f"/api/{path}", json={**body, "context": context})
                assert answer.status_code == status, answer.text
                assert says in answer.text
        model = shop.service.versions.current
        people = [UserProfile(context={"context_device": "tv"}), UserProfile("1")]
        inputs = model.recommend(people, 2, [(), ()], seen=True).inputs
        assert inputs["context_device"].tolist() == [b"tv", b""]
        assert np.isnan(inputs["context_price"]).all()
    finally:
        shop.service.stop()
