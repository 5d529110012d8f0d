"""The run that all tests of the report look at, and what its sections read of it."""

import pytest


@pytest.fixture(scope="session")
def run_output(sample_output):
    """The output directory of a run; its raw files are in `data/`. Not to be changed."""
    return sample_output


@pytest.fixture(scope="session")
def context(run_output):
    """The context of that run, whose model and ratings are loaded once for all tests."""
    from components.report.context import Context
    from components.report.sources import find_sources

    return Context(find_sources(run_output))
