"""One small world and one model trained on it, for all tests of the trainer."""

import pytest
import tensorflow as tf
import trainer_fixtures as fixtures


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return fixtures.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def trained(world, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return fixtures.train(world, tmp_path_factory.mktemp("trained"), monkeypatch)


@pytest.fixture(scope="session")
def model(trained):
    """The exported model, loaded as a server would."""
    return tf.saved_model.load(str(trained.path))


@pytest.fixture(scope="session")
def oracle(trained):
    return fixtures.Oracle(trained)
