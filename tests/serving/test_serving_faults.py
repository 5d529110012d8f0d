"""Failed calls: a model fault is status 500, an invalid input 400; merged calls are unaffected."""

import asyncio
import io
from types import SimpleNamespace

import handmade
import numpy as np
import pytest
import tensorflow as tf

from serving import tfserving
from serving.access_log import Log
from serving.config import Config
from serving.errors import InvalidInput, ModelFault
from serving.model import Signature, load
from serving.recommender import UserProfile, make_recommender
from serving.service import Service
from serving.signatures import Call, check_inputs, run_together

pytestmark = pytest.mark.xdist_group("serving")
SECRET = "the model's own words"


def trouble(user_id):
    """NaN for users "nan", infinity for "inf", an assertion for "assert"."""
    fine = tf.debugging.Assert(tf.reduce_all(user_id != "assert"), [SECRET])
    with tf.control_dependencies([fine]):
        nan = tf.where(user_id == "nan", tf.constant(float("nan")), 0.0)
        return nan + tf.where(user_id == "inf", tf.constant(float("inf")), 0.0)


@pytest.fixture(scope="module")
def recommender(tmp_path_factory):
    path = handmade.save(tmp_path_factory.mktemp("faulty") / "1", trouble)
    made = make_recommender(load(path, 1))
    yield made
    made.model.retire()


def recommend(recommender, user_id, **person):
    return recommender.recommend([UserProfile(user_id, **person)], 3, [()], seen=True)


@pytest.mark.parametrize(
    ("user", "kind"), [("nan", "not_finite"), ("inf", "not_finite"), ("assert", "failed")]
)
def test_the_models_fault_is_not_the_callers_and_shows_nothing_of_it(recommender, user, kind):
    (fault,) = run_together([recommend(recommender, user)])
    assert isinstance(fault, ModelFault)
    assert fault.status == 500
    assert fault.kind == kind
    assert "signature 'recommend'" in fault.reason
    assert SECRET not in fault.message
    assert "recommend" not in fault.message


def test_a_call_merged_with_a_failing_one_gets_its_outputs(recommender):
    users = ["1", "nan", "2", "assert", "inf", "3"]
    answers = run_together([recommend(recommender, user) for user in users])
    failed = [isinstance(answer, ModelFault) for answer in answers]
    assert failed == [False, True, False, True, True, False]
    answers = run_together([recommend(recommender, user) for user in ("1", "nan", "2")])
    assert [isinstance(answer, ModelFault) for answer in answers] == [False, True, False]
    assert answers[0]["movie_id"].shape == (1, 3)


def test_not_finite_inputs_are_invalid_input(recommender):
    (fault,) = run_together(
        [recommend(recommender, "nan", features={"raw_user_age": float("inf")})]
    )
    assert isinstance(fault, InvalidInput)
    assert "finite numbers in input 'raw_user_age'" in fault.message


def test_faults_are_counted_and_logged(recommender, tmp_path):
    log = io.BytesIO()
    service = Service(Config(tmp_path), Log(log))
    with pytest.raises(ModelFault):
        asyncio.run(service.batcher.run(recommend(recommender, "assert")))
    with pytest.raises(ModelFault):
        asyncio.run(service.batcher.run(recommend(recommender, "nan")))
    service.batcher.close()
    text = service.metrics.text().decode()
    assert 'serving_model_call_failures_total{kind="failed"} 1.0' in text
    assert 'serving_model_call_failures_total{kind="not_finite"} 1.0' in text
    assert service.log.flush(10)
    assert "assertion failed" in log.getvalue().decode()


def test_lists_of_different_length_are_refused_before_the_call(recommender):
    call = recommend(recommender, "1")
    inputs = {
        **call.inputs,
        "recent_movie_ids": np.full((1, 2), b"", object),
        "recent_timestamps": np.zeros((1, 3), np.int64),
    }
    with pytest.raises(InvalidInput, match="as long as recent_movie_ids, found 2 and 3"):
        check_inputs(Call(call.model, "recommend", inputs))


def test_a_signature_without_inputs_can_be_called():
    signature = Signature("serving_default", {}, {}, lambda fed, fetched: [])
    model = SimpleNamespace(signatures={"serving_default": signature})
    assert tfserving.read_predict(b'{"inputs": {}}', model)[0].inputs == {}
    for body in (b'{"instances": [1]}', b'{"inputs": [1]}'):
        with pytest.raises(InvalidInput):
            tfserving.read_predict(body, model)
