"""A copy of the project for each module of tests."""

import pytest
from pipeline_fixtures import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    copy = Project(tmp_path_factory.mktemp("pipeline"))
    yield copy
    copy.close()


@pytest.fixture(scope="module")
def output(project):
    """The output directory that the module's runs share."""
    return project.scratch / "output"
