"""One small world and one model trained on it, for all tests of the trainer."""

import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from schema import features as raw


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return fixtures.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def trained(world, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return fixtures.train(world, tmp_path_factory.mktemp("trained"), monkeypatch)


@pytest.fixture(scope="session")
def model(trained):
    """The exported model that is evaluated, with all signatures, loaded as a server would."""
    return tf.saved_model.load(str(trained.path))


@pytest.fixture(scope="session")
def served(trained):
    """The exported model that is served."""
    return tf.saved_model.load(str(trained.served_path))


@pytest.fixture(scope="session")
def oracle(trained):
    return fixtures.Oracle(trained)


@pytest.fixture(scope="session")
def profiles(world):
    """Each training user's profile, as the raw Examples have it."""
    found = {}
    for split in fixtures.SMALL.train.splits:
        for example in fixtures.read_examples(world.rating_files[split]):
            found[fixtures.value(example, raw.USER_ID)] = {
                feature.name: fixtures.as_text(fixtures.value(example, feature))
                for feature in fixtures.USER_FIELDS
            }
    return found
