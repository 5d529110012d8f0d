"""Scoring by Beam's workers, if an option of Beam is given.

Each chunk of users is written as a part, a file in a folder beside the output; then the parts are
read in the order of the users. Workers on other machines need access to that folder and the
model's.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
import pyarrow
import pyarrow.feather
from apache_beam.options import pipeline_options
from apache_beam.runners import create_runner

from serving.batch.errors import RunError, UsageError
from serving.batch.scoring import load_version, score
from serving.errors import ModelError
from serving.recommender import Recommender
from storage.errors import FULL_DISK, cannot_write
from storage.paths import list_names, publish_file, write_text

_LOOK_SECONDS = 1.0
_LOCK, _PROBLEM = "lock", "problem"


class Recommend(beam.DoFn):
    """Scores chunks of users, and writes each as a part.

    Args:
      version_dir: the version's folder.
      parts: the folder of the parts.
      settings: further arguments of `score`: k, include_seen and cold.
      threads: how many threads TensorFlow may use.
    """

    def __init__(
        self, version_dir: str, parts: str, settings: dict[str, Any], threads: int
    ) -> None:
        self._version_dir = version_dir
        self._parts = parts
        self._settings = settings
        self._threads = threads
        self._model: Recommender | None = None
        self._problem = ""

    def setup(self) -> None:
        """Loads the model, once per worker."""
        try:
            self._model = load_version(Path(self._version_dir), self._threads)
        except ModelError as error:
            # Beam turns an error raised here into a RuntimeError whose text is a stack trace.
            self._problem = error.message

    def process(self, numbered: tuple[int, list[str]]) -> Sequence[object]:
        """Scores a chunk and writes its part; a retry replaces the part. Returns no elements."""
        if self._model is None:
            write_text(Path(self._parts) / _PROBLEM, self._problem)
            return ()
        number, user_ids = numbered
        table = score(self._model, user_ids, **self._settings)
        with publish_file(Path(self._parts) / part_name(number)) as stream:
            pyarrow.feather.write_feather(table, stream, compression="uncompressed")
        return ()


def part_name(number: int) -> str:
    """Returns the name of a chunk's part."""
    return f"part-{number:08}.arrow"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"An option of Beam cannot be used: {message}",
            action="https://beam.apache.org/documentation describes Beam's options",
        )


def beam_options(words: Sequence[str]) -> pipeline_options.PipelineOptions:
    """Returns the options for a pipeline.

    Raises:
      UsageError: an argument is not an option of Beam, or its value is invalid.
    """
    known = _Parser(add_help=False, conflict_handler="resolve", allow_abbrev=False)
    for kind in pipeline_options.PipelineOptions.__subclasses__():
        kind._add_argparse_args(known)
    _, unknown = known.parse_known_args(list(words))
    if unknown:
        raise UsageError(
            f"Not an option of this command or of Beam: {' '.join(unknown)}",
            action=".venv/bin/python -m serving.batch --help lists ours",
        )
    options = pipeline_options.PipelineOptions(list(words))
    runner = options.view_as(pipeline_options.StandardOptions).runner
    try:
        create_runner(runner or "DirectRunner")
    except (ValueError, ImportError) as error:
        raise UsageError(
            f"Beam has no runner {runner!r} here", found=str(error).splitlines()[0]
        ) from error
    return options


def tables(
    function: Callable[[str], Recommend],
    chunks: Sequence[Sequence[str]],
    options: pipeline_options.PipelineOptions,
    output: Path,
    reach: Callable[[int], None],
) -> Iterator[pyarrow.Table]:
    """Yields a table for each chunk, in their order, once all are scored.

    Args:
      function: returns the DoFn for a folder of parts.
      chunks: the users.
      options: Beam's options.
      output: the file beside which the parts are written.
      reach: called about every second with the number of finished chunks.

    Raises:
      ModelError: a worker could not load the model.
      RunError: the runner failed.
    """
    with parts_beside(output) as parts:
        with _watched(parts, reach):
            _run(function(str(parts)), chunks, options, output)
        problem = parts / _PROBLEM
        if problem.exists():
            raise ModelError("UNKNOWN", problem.read_text(encoding="utf-8"))
        reach(len(chunks))
        for number in range(len(chunks)):
            part = parts / part_name(number)
            try:
                yield pyarrow.feather.read_table(part, memory_map=False)
            except FileNotFoundError as error:
                raise RunError(
                    f"Beam's workers left no {part}: they must reach the folder of the output"
                ) from error
            part.unlink()


def _run(
    function: Recommend,
    chunks: Sequence[Sequence[str]],
    options: pipeline_options.PipelineOptions,
    output: Path,
) -> None:
    numbered = [(number, list(chunk)) for number, chunk in enumerate(chunks)]
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        | "Users" >> beam.Create(numbered, reshuffle=len(numbered) > 1)
        | "Recommend" >> beam.ParDo(function)
    )
    # A worker's error is reported below; Beam would log its stack trace too.
    logging.getLogger("apache_beam.runners").setLevel(logging.CRITICAL)
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        for number in FULL_DISK:
            if os.strerror(number) in str(error):
                raise cannot_write(str(output), OSError(number, os.strerror(number))) from error
        raise RunError(f"Beam's runner failed: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    """Returns the message of a worker's error: its last line; the stack trace is before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:500]


@contextlib.contextmanager
def _watched(parts: Path, reach: Callable[[int], None]) -> Iterator[None]:
    """Reports the number of parts about every second."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            reach(sum(name.startswith("part-") for name in list_names(parts)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def parts_beside(output: Path) -> Iterator[Path]:
    """Makes a folder beside the output, and removes it when the block ends.

    Folders of killed batches on the same output are removed as well.

    Raises:
      PathError: no folder can be made there.
    """
    target = Path(os.path.realpath(output))
    key = hashlib.blake2b(os.fsencode(target.name), digest_size=6).hexdigest()
    prefix = f".batch-parts-{key}-"
    try:
        for name in list_names(target.parent):
            if name.startswith(prefix):
                _remove_leftover(target.parent / name)
        parts = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        lock = (parts / _LOCK).open("wb")
    except OSError as error:
        raise cannot_write(str(output), error) from error
    try:
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield parts
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def _remove_leftover(parts: Path) -> None:
    """Removes a folder of parts unless a running batch has its lock."""
    with contextlib.suppress(OSError), (parts / _LOCK).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(parts)
