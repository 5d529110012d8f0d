"""Where a run's data comes from, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sources import download, sample
from sources.errors import InputError
from sources.metadata import join_metadata
from sources.source import DataSource, resolve_source
from sources.tables import read_movies

REAL = os.environ.get("MOVIELENS_DIR")  # read before the fixture takes it away
REFUSED = InputError("MovieLens-100K could not be downloaded", found="connection refused")


@dataclasses.dataclass
class World:
    """Arguments of `resolve_source`, and what it printed."""

    root: Path
    printed: list[str] = dataclasses.field(default_factory=list)

    def directory(self, name: str, *, metadata: bool = False) -> Path:
        path = self.root / name
        path.mkdir()
        (path / "u.data").write_text("1\t1\t5\t881250949\n")
        if metadata:
            (path / "metadata").mkdir()
        return path

    def resolve(self, dataset="auto", **options):
        arguments = {
            "data": None,
            "metadata_dir": None,
            "output_dir": self.root / "output",
            "seed": 7,
            "sample_ratings": 1_000,
            **options,
        }
        return resolve_source(dataset=dataset, say=self.printed.append, **arguments)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A machine without data, variables or network."""
    for name in ("MOVIELENS_DIR", "MOVIES_METADATA_DIR", "MOVIELENS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOVIELENS_CACHE_DIR", str(tmp_path / "cache"))

    def refuse(*_args, **_kwargs):
        raise REFUSED

    monkeypatch.setattr(download, "download", refuse)
    return World(tmp_path)


def in_cache(world, monkeypatch):
    directory = world.directory("ml-100k")
    monkeypatch.setattr(download, "cached", lambda: directory)
    return directory


def test_auto_prefers_data_to_the_variable_to_the_cache(world, monkeypatch):
    mine, variable = world.directory("mine"), world.directory("variable")
    cache = in_cache(world, monkeypatch)
    found = world.resolve()
    assert (found.name, found.source, found.data_dir) == ("ml-100k", "cache", cache)
    monkeypatch.setenv("MOVIELENS_DIR", str(variable))
    found = world.resolve()
    assert (found.name, found.source, found.data_dir) == ("custom", "MOVIELENS_DIR", variable)
    found = world.resolve(data=mine)
    assert (found.name, found.source, found.data_dir) == ("custom", "data", mine)
    assert found.notice is None
    assert found.seed is None
    assert world.printed == []


def test_the_users_own_name_of_the_data_stands_in_place_of_custom(tmp_path):
    found = DataSource("custom", "data", tmp_path, called="bookshop").to_json()
    assert (found["name"], "called" in found) == ("bookshop", False)
    assert DataSource("custom", "data", tmp_path).to_json()["name"] == "custom"


def test_a_release_is_called_by_its_name_and_not_by_that_of_its_format(tmp_path):
    assert DataSource("ml-25m", "cache", tmp_path, format="ml-csv").title == "MovieLens-25M"
    assert DataSource("custom", "data", tmp_path, called="bookshop").title == "bookshop"
    assert DataSource("custom", "data", tmp_path, format="ml-csv").title == ""
    assert DataSource("sample", "generated", tmp_path).title == "Generated sample"


@pytest.mark.parametrize("dataset", ["auto", "ml-100k"])
def test_without_a_cache_the_data_is_downloaded(world, monkeypatch, dataset):
    fetched = world.directory("fetched")
    monkeypatch.setattr(download, "download", lambda progress: fetched)
    found = world.resolve(dataset)
    assert (found.name, found.source, found.data_dir) == ("ml-100k", "download", fetched)
    assert len(world.printed) == 1
    assert "Downloading" in world.printed[0]


def test_auto_without_real_data_makes_a_sample_and_says_so_loudly(world):
    found = world.resolve()
    assert (found.name, found.source, found.seed) == ("sample", "generated", 7)
    assert sample.is_complete(found.data_dir)
    for part in ("NOT REAL DATA", "connection refused", "--data", "MOVIELENS_DIR"):
        assert part in found.notice
    assert found.notice in world.printed


def test_ml_100k_never_ends_with_a_sample(world):
    with pytest.raises(InputError, match="could not be downloaded"):
        world.resolve("ml-100k")
    assert not (world.root / "output").exists()


def test_sample_is_a_sample_whatever_else_there_is(world, monkeypatch):
    monkeypatch.setenv("MOVIELENS_DIR", str(world.directory("variable")))
    in_cache(world, monkeypatch)
    found = world.resolve("sample")
    assert found.data_dir == world.root / "output" / "data" / "sample-1000-seed7"
    assert (found.name, found.notice) == ("sample", None)


def test_a_sample_is_made_once(world):
    first = world.resolve("sample")
    before = (first.data_dir / "u.data").stat().st_mtime_ns
    count = len(world.printed)
    assert world.resolve("sample") == first
    assert (first.data_dir / "u.data").stat().st_mtime_ns == before
    assert len(world.printed) == count
    assert world.resolve("sample", seed=8).data_dir != first.data_dir
    assert world.resolve("sample", sample_ratings=1_001).data_dir != first.data_dir


def test_an_incomplete_sample_is_made_again(world):
    found = world.resolve("sample")
    content = (found.data_dir / "u.item").read_bytes()
    (found.data_dir / "u.item").unlink()
    assert world.resolve("sample") == found
    assert (found.data_dir / "u.item").read_bytes() == content


@pytest.mark.parametrize("dataset", ["auto", "ml-100k"])
@pytest.mark.parametrize("option", ["--data", "$MOVIELENS_DIR"])
def test_a_given_directory_that_is_not_there_is_refused(world, monkeypatch, dataset, option):
    missing = world.root / "missing"
    data = missing if option == "--data" else None
    if data is None:
        monkeypatch.setenv("MOVIELENS_DIR", str(missing))
    with pytest.raises(InputError) as error:
        world.resolve(dataset, data=data)
    assert option in str(error.value)
    assert str(missing) in str(error.value)
    assert "does not exist" in str(error.value)


def test_one_of_the_files_stands_for_its_folder(world):
    mine = world.directory("mine")
    assert world.resolve(data=mine / "u.data").data_dir == mine


def test_data_contradicts_sample(world):
    with pytest.raises(InputError, match="contradicts"):
        world.resolve("sample", data=world.directory("mine"))


def test_an_unknown_dataset_is_refused(world):
    with pytest.raises(InputError, match="unknown dataset"):
        world.resolve("ml-2m")


def test_metadata_comes_from_option_then_variable_then_the_data_directory(world, monkeypatch):
    mine = world.directory("mine", metadata=True)
    assert world.resolve(data=mine).metadata_dir == mine / "metadata"
    variable = world.directory("variable")
    monkeypatch.setenv("MOVIES_METADATA_DIR", str(variable))
    assert world.resolve(data=mine).metadata_dir == variable
    option = world.directory("option")
    assert world.resolve(data=mine, metadata_dir=option).metadata_dir == option


def test_without_metadata_there_is_none(world):
    assert world.resolve(data=world.directory("mine")).metadata_dir is None


def test_a_sample_brings_metadata_of_its_own_films(world, monkeypatch):
    monkeypatch.setenv("MOVIES_METADATA_DIR", str(world.directory("variable")))
    found = world.resolve("sample")
    assert found.metadata_dir == found.data_dir / "metadata"
    movies, _ = read_movies(found.data_dir)
    joined, match = join_metadata(movies, found.metadata_dir)
    assert match.matched / match.movies > 0.93
    assert (joined["director"] != "unknown").mean() > 0.93
    assert match.broken_literals == 1


@pytest.mark.parametrize("option", ["--metadata-dir", "$MOVIES_METADATA_DIR"])
def test_given_metadata_that_is_not_there_is_refused(world, monkeypatch, option):
    missing = world.root / "missing"
    metadata_dir = missing if option == "--metadata-dir" else None
    if metadata_dir is None:
        monkeypatch.setenv("MOVIES_METADATA_DIR", str(missing))
    with pytest.raises(InputError) as error:
        world.resolve(data=world.directory("mine"), metadata_dir=metadata_dir)
    assert option in str(error.value)


def test_a_source_is_json(world):
    found = world.resolve("sample")
    assert json.loads(json.dumps(found.to_json()))["data_dir"] == str(found.data_dir)


def test_real_ratings_are_recognised_wherever_they_lie(world, monkeypatch):
    if not REAL:
        pytest.skip("needs MOVIELENS_DIR")
    assert world.resolve(data=Path(REAL)).name == "ml-100k"
    monkeypatch.setenv("MOVIELENS_DIR", REAL)
    found = world.resolve("ml-100k")
    assert (found.name, found.source) == ("ml-100k", "MOVIELENS_DIR")


def test_importing_it_needs_neither_tensorflow_nor_pandas():
    script = (
        "import sys, sources.source\n"
        "heavy = {'tensorflow', 'tfx', 'pandas', 'requests', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
