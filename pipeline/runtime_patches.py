"""Patches of Beam and glibc for a process that runs many Beam pipelines and trains in between.

`keep_paths_relative` mends a fault of Beam; the others save time or memory.
"""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.utils import shared

# M_ARENA_MAX of malloc.h.
_ARENA_MAX = -8
_BEAM = "apache_beam"


def remember_signatures() -> None:
    """Lets Beam inspect each function once instead of at every use.

    For its type hints Beam asks for the signature of a DoFn's methods again and again while
    it builds and runs a pipeline; that is 14 % of Transform's processor time (three pairs
    of runs: 21.3 and 18.4, 19.7 and 16.9, 18.0 and 15.2 seconds). A signature depends on
    the function, and whether it is bound, alone.
    """
    from apache_beam.typehints import decorators

    original = decorators.get_signature
    if hasattr(original, "remembered"):
        return
    remembered: dict[Any, inspect.Signature] = {}

    def get_signature(func: Callable[..., Any]) -> inspect.Signature:
        key = (getattr(func, "__func__", func), hasattr(func, "__self__"))
        try:
            if key not in remembered:
                remembered[key] = original(func)
            return remembered[key]
        except TypeError:  # a callable that cannot be hashed
            return original(func)

    get_signature.remembered = remembered  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if name.startswith(_BEAM) and getattr(module, "get_signature", None) is original:
            module.get_signature = get_signature  # type: ignore[attr-defined]


def forget_side_inputs() -> None:
    """Switches off the cache of side inputs of Beam's runner in this process.

    Beam has it on there for its own tests, off for every other runner. To know its size, it walks
    through all that a side input refers to and lists the globals of every module first: 8 % of
    Transform's processor time (median of three pairs of runs: 23.8 and 18.5, 19.5 and 18.0,
    19.4 and 18.6 seconds).
    """
    worker_handlers.STATE_CACHE_SIZE_MB = 0


def keep_paths_relative() -> None:
    """Lets Beam split a relative path without making it absolute.

    A sink splits the path that it writes to, and later looks for its files with what came of
    it as a pattern. The runner stands in the output directory and hands out paths below it, so
    that no character of the directory's own name gets into a pattern.
    """
    original = LocalFileSystem.split
    if hasattr(original, "relative"):
        return

    def split(self: LocalFileSystem, path: str) -> tuple[str, str]:
        head, tail = os.path.split(path)
        # Without a folder in it Beam needs the working directory's name.
        return (head, tail) if head else original(self, path)

    split.relative = True  # type: ignore[attr-defined]
    LocalFileSystem.split = split


def share_arenas() -> None:
    """Lets threads share two of glibc's memory arenas, where there is glibc.

    By default it makes up to eight per core, each of which keeps what is free in it:
    60 MiB at the peak of a run on MovieLens-100K (1,291 and 1,231).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 2)


class _Nothing:
    """Takes the place of what is let go."""


def release_memory() -> None:
    """Gives memory that a component no longer uses back to the system, where glibc can.

    Beam keeps what its `Shared` last acquired alive for the next bundle (the Evaluator's
    model, Transform's graph): only a later acquisition lets go of it.
    """
    shared.Shared().acquire(_Nothing)
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
