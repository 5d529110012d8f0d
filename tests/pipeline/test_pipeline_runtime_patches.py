"""What is saved in a process that runs many Beam pipelines."""

import platform
import subprocess
import sys
import weakref
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import statecache
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils import shared

from pipeline.runtime_patches import forget_side_inputs, release_memory

ROOT = Path(__file__).resolve().parents[2]


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


def test_beam_runs_in_this_process_without_a_cache_of_side_inputs(monkeypatch):
    monkeypatch.setattr(worker_handlers, "STATE_CACHE_SIZE_MB", 100)
    measured = []
    monkeypatch.setattr(statecache, "get_deep_size", lambda value: measured.append(value) or 8)

    def run():
        measured.clear()
        with beam.Pipeline(argv=["--direct_running_mode=in_memory"]) as pipeline:
            side = beam.pvalue.AsList(pipeline | "side" >> beam.Create([10, 20]))
            sums = (
                pipeline
                | "main" >> beam.Create([1, 2])
                | beam.Map(lambda one, others: one + sum(others), side)
            )
            assert_that(sums, equal_to([31, 32]))

    run()
    assert measured, "Beam no longer measures side inputs: forget_side_inputs can go"
    forget_side_inputs()
    run()
    assert not measured


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")
def test_threads_share_two_arenas():
    code = """
import threading
from pathlib import Path
from pipeline.runtime_patches import share_arenas

share_arenas()
hold, ready = threading.Event(), threading.Barrier(17)

def work():
    kept = [bytes(1_000) for _ in range(100)]
    ready.wait()
    hold.wait()

threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
ready.wait()
import ctypes
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
hold.set()
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert 1 <= shown.count("<heap nr=") <= 2
