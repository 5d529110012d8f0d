"""A metadata store that cannot be used: a message, and a way out that loses nothing."""

import contextlib
import os
import sqlite3

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import cache_store, run
from pipeline.config import OutputPaths
from sources.errors import InputError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a store that ML Metadata made."""
    file = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(file)
    MetadataStore(config).put_artifact_type(mlmd.ArtifactType(name="Model"))
    return file.read_bytes()


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "output").mkdir()
    return OutputPaths(tmp_path / "output")


def other_database(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE letters (text)")


DAMAGE = {
    "random bytes": lambda whole: os.urandom(5000),
    "text": lambda whole: b"not a database\n" * 100,
    "cut off": lambda whole: whole[: len(whole) // 2],
    "zeros in its midst": lambda whole: whole[:4096] + bytes(8192) + whole[12288:],
    "nothing but a header": lambda whole: whole[:100],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_named_with_what_deleting_it_costs(paths, whole, damage):
    paths.metadata.write_bytes(DAMAGE[damage](whole))
    with pytest.raises(InputError, match="the metadata store is damaged") as refused:
        cache_store.prepare(paths, reset=False)
    assert "--reset-cache" in str(refused.value)
    assert "costs only the cache" in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 4
    cache_store.prepare(paths, reset=True)
    assert cache_store.is_fresh(paths)
    assert not paths.metadata.exists()


@pytest.mark.parametrize("content", [None, b""])
def test_a_store_that_is_not_there_yet_is_none_to_complain_about(paths, content):
    if content is not None:
        paths.metadata.write_bytes(content)
    cache_store.prepare(paths, reset=False)
    assert cache_store.is_fresh(paths)


def test_a_whole_store_is_used_and_only_deleted_on_request(paths, whole):
    paths.metadata.write_bytes(whole)
    cache_store.prepare(paths, reset=False)
    assert paths.metadata.read_bytes() == whole
    assert not cache_store.is_fresh(paths)
    (paths.root / "metadata.sqlite-journal").touch()
    cache_store.prepare(paths, reset=True)
    assert list(paths.root.iterdir()) == []


@pytest.mark.parametrize("reset", [False, True])
def test_another_programs_database_is_refused_and_stays(paths, reset):
    other_database(paths.metadata)
    before = paths.metadata.read_bytes()
    with pytest.raises(InputError, match="another program's database") as refused:
        cache_store.prepare(paths, reset=reset)
    assert "letters" in str(refused.value)
    assert paths.metadata.read_bytes() == before


@pytest.mark.parametrize("reset", [False, True])
def test_a_folder_in_the_stores_place_is_refused_and_stays(paths, reset):
    (paths.metadata / "kept").mkdir(parents=True)
    with pytest.raises(InputError, match="is not a file"):
        cache_store.prepare(paths, reset=reset)
    assert (paths.metadata / "kept").is_dir()


def test_a_store_that_another_program_holds_is_reported_as_in_use(paths, whole, monkeypatch):
    monkeypatch.setattr(cache_store, "_PATIENCE_SECONDS", 0.0)
    paths.metadata.write_bytes(whole)
    with contextlib.closing(sqlite3.connect(paths.metadata)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match="in use by another program") as refused:
            cache_store.prepare(paths, reset=True)
    assert "close that program" in str(refused.value)
    assert paths.metadata.read_bytes() == whole


def test_a_store_in_a_folder_with_a_name_like_an_address_is_found(tmp_path, whole):
    paths = OutputPaths(tmp_path / "a?mode=ro&b%20#c [1]")
    paths.root.mkdir()
    paths.metadata.write_bytes(whole)
    cache_store.prepare(paths, reset=False)


def test_artifacts_of_which_a_fresh_store_knows_nothing_are_dropped_and_no_other_files(paths):
    for name in ("RatingsGen/examples/1/old", "mine/notes"):
        (paths.pipeline_root / name).parent.mkdir(parents=True)
        (paths.pipeline_root / name).touch()
    cache_store.drop_unknown_artifacts(paths, ["RatingsGen", "Trainer"])
    assert [path.name for path in paths.pipeline_root.iterdir()] == ["mine"]


def test_an_error_of_the_store_in_the_midst_of_a_run_has_the_same_way_out(paths, whole):
    paths.metadata.write_bytes(whole[:8192] + bytes(len(whole) - 8192))
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(paths.metadata)
    with pytest.raises(Exception, match=r".") as caught:
        MetadataStore(config).get_artifact_types()
    printed = run.error_to_print(caught.value, paths)
    assert isinstance(printed, InputError)
    assert "--reset-cache" in str(printed)
