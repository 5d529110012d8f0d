"""The run that all tests of the report look at."""

import pytest


@pytest.fixture(scope="session")
def run_output(sample_output):
    """The output directory of a run; its raw files are in `data/`. Not to be changed."""
    return sample_output
