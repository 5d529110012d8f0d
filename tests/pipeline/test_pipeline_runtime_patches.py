"""What the runner changes in Beam and TFX."""

import weakref
from pathlib import Path

from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils import shared
from tfx_bsl.coders import batch_util

from pipeline.runtime_patches import (
    keep_paths_relative,
    read_large_batches,
    release_memory,
)

FLAG = "tfxio_use_byte_size_batching"


class Model:
    """Stands for what a component loads."""


def test_release_memory_lets_go_of_what_beam_keeps_for_the_next_bundle():
    token = shared.Shared()
    loaded = weakref.ref(token.acquire(Model))
    assert loaded() is not None, "Beam no longer keeps it: release_memory need not care"
    release_memory()
    assert loaded() is None


def test_what_is_still_used_survives_release_memory():
    token = shared.Shared()
    used = token.acquire(Model)
    release_memory()
    assert token.acquire(Model) is used


def test_a_relative_path_stays_relative_and_beam_alone_makes_it_absolute():
    files = LocalFileSystem(PipelineOptions())
    keep_paths_relative()
    assert files.split("folder/file") == ("folder", "file")
    assert files.split("file") == (str(Path.cwd()), "file")
    alone = LocalFileSystem.split.original(files, "folder/file")
    assert alone == (str(Path.cwd() / "folder"), "file"), "keep_paths_relative can go"


def test_batches_are_formed_by_bytes(monkeypatch):
    """Else their number depends on how long each takes."""
    monkeypatch.setattr(batch_util.flags.FLAGS[FLAG], "default", False)
    assert batch_util.GetBatchElementsKwargs(None)["min_batch_size"] == 1
    read_large_batches()
    found = batch_util.GetBatchElementsKwargs(None)
    assert found["min_batch_size"] == found["max_batch_size"] > 1_000_000
