"""The output directory: refuses other programs' folders, locks it for a run, keeps some runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from components.names import (
    LOG_FILE,
    METADATA_FILE,
    PIPELINE_ROOT,
    REPORT_FILE,
    SCHEMA_FILE,
    SUMMARY_FILE,
    THRESHOLDS_FILE,
)
from pipeline.config import OutputPaths
from sources.description import FILE as DESCRIPTION_FILE
from sources.errors import InputError
from storage import paths as storage
from storage.errors import FULL_DISK

KEPT_RUNS = 5
"""Number of latest runs whose report, summary and log are kept."""

_MARKER = {"schema_version": 1, "made_by": "movielens-tfx-recommender"}

_OF_EVERY_RUN = frozenset({PIPELINE_ROOT, METADATA_FILE})

# Names in a folder that counts as empty: of version control, of file systems, and of what the user
# may put there before the first run.
_IGNORED = frozenset(
    {
        *(".lock", ".gitignore", ".gitkeep", ".DS_Store", "lost+found"),
        *(SCHEMA_FILE, THRESHOLDS_FILE, DESCRIPTION_FILE),
    }
)

# Names that releases without a marker wrote.
_OURS = frozenset(
    {
        *("pipeline_root", "metadata.sqlite", "metadata.sqlite-journal", "serving_model", "data"),
        *("summary.json", "anomalies.json", "report", "run.log"),
    }
)

_RUN_FOLDER = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?")
_IN_RUN_FOLDER = (REPORT_FILE.name, SUMMARY_FILE, LOG_FILE)


@contextlib.contextmanager
def claimed(paths: OutputPaths) -> Iterator[None]:
    """Creates the output directory if it is missing, and locks it against other runs.

    Raises:
      InputError: it holds files of other programs, it cannot be written to, or another run uses
        it. Nothing in it has been changed then.
    """
    try:
        refuse_foreign(paths)
        paths.root.mkdir(parents=True, exist_ok=True)
        lock = paths.lock.open("a")
    except OSError as error:
        raise _unusable(paths.root, error) from error
    with lock:
        try:
            # The system releases the lock when the process ends, also by SIGKILL.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another run uses this output directory",
                file=str(paths.root),
                action="wait until it is done, or choose another --output-dir",
            ) from error
        try:
            if not paths.marker.exists():
                storage.write_text(paths.marker, json.dumps(_MARKER) + "\n")
        except OSError as error:
            raise _unusable(paths.root, error) from error
        yield


def refuse_foreign(paths: OutputPaths) -> None:
    """Refuses a folder with files that no run has written.

    Raises:
      InputError: there are such files; the message names some.
    """
    if is_ours(paths):
        return
    names = [name for name in storage.list_names(paths.root) if name not in _IGNORED]
    raise InputError(
        "the output directory holds files that are not of this pipeline; nothing was touched",
        file=str(paths.root),
        expected="a new or empty folder, or one that an earlier run has made",
        found=", ".join(names[:5]) + (", …" if len(names) > 5 else ""),
        action="choose another --output-dir",
    )


def is_ours(paths: OutputPaths) -> bool:
    """Whether a folder is new, empty, or was written by a run of this or an earlier release."""
    names = set(storage.list_names(paths.root)) - _IGNORED
    if paths.marker.name in names:
        return True
    names = {name for name in names if not _is_output_of_its_own(paths.root / name)}
    if not names or names >= _OF_EVERY_RUN:
        return True
    return names <= _OURS and _has_signs_of_a_run(paths)


def _is_output_of_its_own(folder: Path) -> bool:
    """Whether a subfolder is an output directory, as after `--output-dir output/tune`."""
    names = set(storage.list_names(folder))
    return OutputPaths(folder).marker.name in names or names >= _OF_EVERY_RUN


def _has_signs_of_a_run(paths: OutputPaths) -> bool:
    names = set(storage.list_names(paths.root))
    samples = storage.list_names(paths.root / "data")
    return bool(
        names & _OF_EVERY_RUN
        or any(
            (paths.serving_model / name / "saved_model.pb").exists()
            for name in storage.list_names(paths.serving_model)
        )
        or (samples and all(name.startswith("sample-") for name in samples))
        or _is_our_summary(paths.summary)
    )


def _is_our_summary(file: Path) -> bool:
    try:
        return {"status", "components", "exit_code"} <= storage.read_json(file).keys()
    except (OSError, ValueError, AttributeError):
        return False


def disk_full(root: Path) -> InputError:
    """Returns the error to raise when there is no space left."""
    return InputError(
        "the disk is full",
        file=str(root),
        expected="room for artifacts and models",
        action="free some space, or choose another --output-dir; the next run goes on from here",
    )


def _unusable(root: Path, error: OSError) -> InputError:
    if error.errno in FULL_DISK:
        return disk_full(root)
    return InputError(
        "the output directory cannot be written to",
        file=str(root),
        found=error.strerror or str(error),
        action="choose another with --output-dir, or change its permissions",
    )


@contextlib.contextmanager
def log_set_aside(log: Path) -> Iterator[Callable[[], None]]:
    """Keeps the previous run's log until this block ends.

    Yields:
      A function that restores it, for a run that is refused before its first component.
    """
    aside = log.with_name(f".{log.name}.before")
    if log.exists():
        log.replace(aside)

    def put_back() -> None:
        log.unlink(missing_ok=True)
        if aside.exists():
            aside.replace(log)

    try:
        yield put_back
    finally:
        aside.unlink(missing_ok=True)


def run_folder(paths: OutputPaths, run: str) -> Path:
    """Returns the folder of a run's report, summary and log.

    Args:
      paths: the output directory.
      run: TFX's id of the run, a time in ISO 8601.
    """
    return paths.report.parent / run.replace(":", "-")


def drop_old_runs(paths: OutputPaths, kept: int = KEPT_RUNS) -> None:
    """Removes report, summary and log of all but the latest runs."""
    folder = paths.report.parent
    runs = [name for name in storage.list_names(folder) if _RUN_FOLDER.fullmatch(name)]
    for name in runs[:-kept]:
        for file in _IN_RUN_FOLDER:
            (folder / name / file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (folder / name).rmdir()
