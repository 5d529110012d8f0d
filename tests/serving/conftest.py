"""One pushed model and one running server for all tests of the application."""

import json

import pytest
from serving_fixtures import Server

from serving.model import load
from serving.recommender import make_recommender


@pytest.fixture(scope="session")
def pushed(sample_output):
    """The output directory of a pipeline run on sample data."""
    return sample_output


@pytest.fixture(scope="session")
def version_dir(pushed):
    return max(path for path in (pushed / "serving_model").iterdir() if path.is_dir())


@pytest.fixture(scope="session")
def catalogue(version_dir):
    return json.loads((version_dir / "assets.extra" / "catalogue.json").read_text())


@pytest.fixture(scope="session")
def user_ids(version_dir):
    return json.loads((version_dir / "assets.extra" / "users.json").read_text())["ids"]


@pytest.fixture(scope="session")
def server(pushed):
    with Server(pushed / "serving_model") as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with server.client() as http:
        yield http


@pytest.fixture(scope="session")
def recommender(version_dir):
    """The pushed version, loaded once in this process for all tests that call it."""
    made = make_recommender(load(version_dir, int(version_dir.name)))
    yield made
    made.model.retire()
