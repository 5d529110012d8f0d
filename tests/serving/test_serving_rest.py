"""TensorFlow Serving's REST API: its documented requests, answers and errors.

Answers are read with the official protocol buffers (tensorflow-serving-api).
"""

import base64

import numpy as np
import pytest
from google.protobuf import json_format

pytestmark = pytest.mark.xdist_group("serving")
PREDICT = "/v1/models/movielens:predict"


def similar(client, **body):
    return client.post(PREDICT, json={"signature_name": "similar", **body})


def test_status_is_a_model_status_response(client, version_dir):
    from tensorflow_serving.apis import get_model_status_pb2

    for path in ("", f"/versions/{version_dir.name}", "/labels/stable"):
        answer = client.get(f"/v1/models/movielens{path}")
        assert answer.status_code == 200
        status = json_format.Parse(answer.text, get_model_status_pb2.GetModelStatusResponse())
        (version,) = status.model_version_status
        assert version.version == int(version_dir.name)
        assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
        assert version.status.error_code == 0


def test_metadata_is_a_model_metadata_response(client, version_dir):
    from tensorflow_serving.apis import get_model_metadata_pb2 as pb2

    document = client.get("/v1/models/movielens/metadata").json()
    definitions = json_format.ParseDict(
        document["metadata"]["signature_def"], pb2.SignatureDefMap()
    ).signature_def
    assert document["model_spec"]["name"] == "movielens"
    assert document["model_spec"]["version"] == version_dir.name
    assert definitions["recommend"].method_name == "tensorflow/serving/predict"
    assert definitions["serving_default"].inputs["examples"].dtype == 7  # DT_STRING
    assert set(definitions["serving_default"].outputs) == {"predicted_rating"}


def test_row_and_column_format_say_the_same(client, catalogue):
    ids = [movie["movie_id"] for movie in catalogue[:2]]
    question = {
        "user_id": "", "raw_user_age": 30.0, "user_gender": "Male", "user_occupation_text": "",
        "user_zip_code": "", "timestamp": 0, "recent_movie_ids": [""], "recent_timestamps": [0],
        "recent_ratings": [0.0],
    }  # fmt: skip
    rows = [{**question, "movie_ids": [one]} for one in ids]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_row = client.post(PREDICT, json={"signature_name": "rank", "instances": rows}).json()
    by_column = client.post(PREDICT, json={"signature_name": "rank", "inputs": columns}).json()
    assert set(by_row) == {"predictions"}
    assert set(by_column) == {"outputs"}
    for index, row in enumerate(by_row["predictions"]):
        assert row == {name: values[index] for name, values in by_column["outputs"].items()}


def test_bytes_are_given_as_base64(client, catalogue):
    movie_id = catalogue[0]["movie_id"]
    encoded = {"b64": base64.b64encode(movie_id.encode()).decode()}
    plain = similar(client, inputs={"movie_id": [movie_id], "k": 3})
    assert similar(client, inputs={"movie_id": [encoded], "k": 3}).json() == plain.json()


def test_serialized_examples_are_rated(client, catalogue, user_ids):
    import tensorflow as tf

    example = tf.train.Example()
    example.features.feature["user_id"].bytes_list.value.append(user_ids[0].encode())
    example.features.feature["movie_id"].bytes_list.value.append(catalogue[0]["movie_id"].encode())
    encoded = {"b64": base64.b64encode(example.SerializeToString()).decode()}
    answer = client.post(PREDICT, json={"instances": [encoded, encoded]})
    assert answer.status_code == 200, answer.text
    stars = answer.json()["predictions"]
    assert len(stars) == 2
    assert stars[0] == stars[1]


def test_a_version_is_called_by_number_and_label(client, catalogue, version_dir):
    body = {
        "signature_name": "similar",
        "inputs": {"movie_id": [catalogue[0]["movie_id"]], "k": 1},
    }
    for where in (f"/versions/{version_dir.name}", "/labels/stable"):
        answer = client.post(f"/v1/models/movielens{where}:predict", json=body)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/movielens/versions/7", None, 404, "Could not find version 7"),
        ("GET", "/v1/models/movielens/nothing", None, 400, "Malformed request: GET"),
        ("POST", "/v1/models/other:predict", "{}", 404, "Servable not found for request"),
        ("POST", "/v1/models/movielens/versions/7:predict", "{}", 404, "Specific(movielens, 7)"),
        ("POST", PREDICT, "", 400, "empty document at offset: 0"),
        ("POST", PREDICT, "[]", 400, "Is not object"),
        ("POST", PREDICT, "{}", 400, "Missing 'inputs' or 'instances' key"),
        ("POST", PREDICT, '{"signature_name": 1}', 400, "to be a string"),
        ("POST", PREDICT, '{"signature_name": "x", "inputs": []}', 400, "'x' not found in signat"),
        (
            "POST",
            PREDICT,
            '{"signature_name": "evaluate", "inputs": []}',
            400,
            "'evaluate' not found",
        ),
        ("POST", PREDICT, '{"instances": []}', 400, "No values in 'instances' array"),
        ("POST", PREDICT, '{"instances": {}}', 400, "to be a list"),
        ("POST", PREDICT, '{"instances": [1]}', 400, "is not of expected type: string"),
        ("POST", PREDICT, '{"inputs": 1, "instances": 2}', 400, "only one of"),
        ("POST", PREDICT, '{"instances": [{"b64": "?"}]}', 400, "Unable to base64 decode"),
        ("POST", PREDICT, '{"instances": ["no example"]}', 400, ""),
        ("POST", PREDICT.replace("predict", "classify"), "{}", 400, "Use ':predict'"),
        ("PUT", PREDICT, "{}", 405, "Malformed request: PUT"),
    ],
)
def test_errors_are_those_of_tensorflow_serving(client, method, path, body, status, says):
    answer = client.request(method, path, content=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"movie_id": ["1"]}, "Missing named input: k"),
        ({"movie_id": ["1"], "k": 1, "x": 1}, 'not known: ["x"]'),
        ({"movie_id": "1", "k": 1}, "Expected shape [any] in input 'movie_id', found []"),
        ({"movie_id": ["1"], "k": [1]}, "Expected shape [] in input 'k', found [1]"),
        ({"movie_id": ["1"], "k": 2**40}, "expected type: int32"),
        ({"movie_id": ["1"], "k": 1.5}, "expected type: int32"),
        ({"movie_id": ["1"], "k": 10_001}, "k of at most 10000"),
        ({"movie_id": ["1"] * 2049, "k": 1}, "at most 2048 rows"),
        ({"movie_id": ["1", ["2"]], "k": 1}, "is not of expected type"),
    ],
)
def test_inputs_that_do_not_fit_the_signature_are_named(client, inputs, says):
    answer = similar(client, inputs=inputs)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_rest_and_own_api_recommend_the_same(client, user_ids):
    columns = {
        "user_id": [user_ids[0]], "raw_user_age": [0], "user_gender": [""],
        "user_occupation_text": [""], "user_zip_code": [""], "timestamp": [0], "k": 5,
        "exclude_movie_ids": [[""]], "exclude_seen": True,
        "recent_movie_ids": [[""]], "recent_timestamps": [[0]], "recent_ratings": [[0]],
    }  # fmt: skip
    rest = client.post(PREDICT, json={"signature_name": "recommend", "inputs": columns}).json()
    own = client.get(f"/api/users/{user_ids[0]}/recommendations", params={"k": 5}).json()
    assert rest["outputs"]["movie_id"][0] == [m["movie_id"] for m in own["recommendations"]]
    np.testing.assert_allclose(
        rest["outputs"]["predicted_rating"][0],
        [movie["stars"] for movie in own["recommendations"]],
        atol=1e-3,
    )
