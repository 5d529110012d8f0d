"""One pushed model and one running server for all tests of the application."""

import json
import os
from pathlib import Path

import pytest
from serving_fixtures import Server, push_sample_model


@pytest.fixture(scope="session")
def pushed(tmp_path_factory):
    """The output directory of a pipeline run on sample data.

    SERVING_TEST_OUTPUT names one that is there already, to spare the run while working here.
    """
    there = os.environ.get("SERVING_TEST_OUTPUT")
    return Path(there) if there else push_sample_model(tmp_path_factory.mktemp("pushed") / "output")


@pytest.fixture(scope="session")
def version_dir(pushed):
    return max((pushed / "serving_model").iterdir())


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
