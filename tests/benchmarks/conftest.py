import pytest
from compare_fixtures import Bench, write_files

from benchmarks.compare import data


@pytest.fixture
def movielens(tmp_path, monkeypatch):
    """A small data set, named by the environment."""
    folder = write_files(tmp_path / "movielens")
    monkeypatch.setenv(data.DATA_VARIABLE, str(folder))
    return folder


@pytest.fixture
def bench(movielens, tmp_path):
    """A comparison on the small data set."""
    return Bench(data.load(), tmp_path / "cache")
