"""Calls of a loaded version: its inputs and its errors."""

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import InvalidInput, ModelFault

pytestmark = pytest.mark.xdist_group("serving")


@pytest.fixture
def model(recommender):
    return recommender.model


@pytest.fixture
def question(model):
    """One unknown person, as arrays of the signature's types."""
    values = {}
    for name, tensor in model.signatures["recommend"].inputs.items():
        shape = tuple(1 if size is None else size for size in tensor.shape)
        if tensor.rank == 2:
            shape = (1, 0)
        values[name] = np.zeros(shape, tensor.dtype)
        if tensor.dtype == object:
            values[name][...] = b""
    return {**values, "k": np.array(5, np.int32)}


def test_values_may_be_lists_and_text(model, question):
    recommend = model.signatures["recommend"]
    expected = recommend(question)
    found = recommend({**question, "user_id": [""], "k": 5, "timestamp": [0]})
    assert expected["movie_id"].shape == (1, 5)
    for name, values in expected.items():
        assert found[name].tolist() == values.tolist(), name


def test_the_models_own_message_is_a_model_fault_and_only_for_the_log(model, question):
    with pytest.raises(ModelFault) as caught:
        model.signatures["recommend"]({**question, "user_id": ["1", "2"]})
    assert "expected exclude_movie_ids to have one list" in caught.value.reason
    assert "{{" not in caught.value.reason
    assert "exclude_movie_ids" not in caught.value.message


def test_bytes_that_are_not_an_example_are_invalid_input(model):
    with pytest.raises(InvalidInput, match="parse"):
        model.signatures["serving_default"]({"examples": [b"no example"]})


def test_tensorflows_private_call_gives_what_its_public_one_gives():
    """`serving/model.py` calls it for half of a request's time in TensorFlow."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        given = tf.compat.v1.placeholder(tf.float32, [None])
        doubled = given * 2
        values = np.array([1.5, 2.5], np.float32)
        fed, fetched = {given._as_tf_output(): values}, [doubled._as_tf_output()]
        (found,) = session._call_tf_sessionrun(None, fed, fetched, [], None)
        assert found.tolist() == session.run(doubled, {given: values}).tolist() == [3.0, 5.0]
