"""Runs of the whole product in a copy of the project, and what can be read of them.

A copy, because the tests edit code, and because edits to the project while they run would
show as components that run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

COMPONENTS = (
    "ImportSchemaGen",
    "MoviesGen",
    "RatingsGen",
    "StatisticsGen",
    "ExampleValidator",
    "PreviousStatistics",
    "SchemaGen",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "LatestBlessedModel",
    "Evaluator",
    "Pusher",
    "ReportGen",
)
"""In the order they run in."""

RESOLVERS = frozenset({"PreviousStatistics", "LatestBlessedModel"})
"""They only look things up, in every run, so they are never cached."""

CACHEABLE = tuple(name for name in COMPONENTS if name not in RESOLVERS | {"Pusher"})
"""The Pusher looks at what is served every time; with nothing to do it is shown as cached."""

SMALL = ("--dataset", "sample", "--sample-ratings", "1000")

COMPLETE, CACHED, RUNNING, FAILED = 3, 5, 2, 4
"""States of executions in the ML Metadata store."""

LENIENT = {
    "max_rating_rmse": 5.0,
    "min_recall_at_10": 0.0,
    "min_recall_at_100": 0.0,
    "rating_rmse_worsening": 5.0,
    "recall_at_10_worsening": 1.0,
    "recall_at_100_worsening": 1.0,
}
"""Thresholds for models of few ratings, which say nothing of what a model should reach."""

_LENIENT_MODULE = f"""\
from components.evaluation.config import Thresholds


def thresholds_for(*_):
    return Thresholds(**{LENIENT!r})
"""
_PATIENCE = 420.0
_NOWHERE = "http://127.0.0.1:9/ml-100k.zip"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
      code: exit status; minus the signal that ended it.
      out: stdout.
      err: stderr.
      summary: summary.json, None if there is none.
      log: run.log, empty if there is none.
      executions: node and state of every execution in the store since it was made.
      versions: digest of each pushed version by its name.
    """

    code: int
    out: str
    err: str
    summary: dict | None
    log: str
    executions: Counter
    versions: dict[str, str]

    @property
    def states(self) -> dict[str, str]:
        return {c["name"]: c["state"] for c in self.summary["components"]}

    @property
    def ran(self) -> set[str]:
        return {name for name, state in self.states.items() if state == "ran"}

    @property
    def message(self) -> list[str]:
        """The lines that are neither of components, nor of the data, nor of the table."""
        text = re.split(r"\n *\n *data  ", self.out)[0]
        lines = [line for line in text.splitlines() if line.strip()]
        run_lines = ("✓", "○", "✗", "Data: ", "Movie metadata: ", "Generating a sample")
        return [line for line in lines if not line.startswith(run_lines)] + self.err.splitlines()


class Project:
    """A copy of the project that runs in processes of its own.

    Args:
      scratch: a new folder for the copy and what the runs write.
      root: a project to run as it is, with its own thresholds, instead of a copy.
    """

    def __init__(self, scratch: Path, root: Path | None = None) -> None:
        self.scratch = scratch
        self.root = root or scratch / "project"
        self.environment = {
            "MOVIELENS_CACHE_DIR": str(scratch / "cache"),
            "MOVIELENS_URL": _NOWHERE,
            "TMPDIR": str(scratch / "tmp"),
        }
        (scratch / "tmp").mkdir()
        self._warm: subprocess.Popen | None = None
        self._runs = 0
        if root is None:
            self._copy()

    def _copy(self) -> None:
        self.root.mkdir()
        for path in ROOT.iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                shutil.copytree(path, self.root / path.name)
            elif path.suffix in (".py", ".toml"):
                shutil.copy2(path, self.root)
        shutil.copytree(ROOT / "requirements", self.root / "requirements")
        thresholds = self.root / "pipeline" / "thresholds.py"
        thresholds.write_text(_LENIENT_MODULE, encoding="utf-8")

    def close(self) -> None:
        if self._warm:
            self._warm.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._warm.wait(5)
            self._warm.kill()

    def run(self, *arguments: object, output: Path, **options: Any) -> Result:
        """Runs to the end in a fork of a process that has imported everything."""
        return self.start(*arguments, output=output, **options).wait()

    def start(
        self,
        *arguments: object,
        output: Path,
        environment: dict[str, str] | None = None,
        thresholds: dict[str, float] | None = None,
        file_bytes: int | None = None,
        keep_log: bool = False,
    ) -> WarmRun:
        """Starts a run; one at a time.

        Args:
          arguments: of the command line.
          output: the output directory.
          environment: variables on top of the usual ones.
          thresholds: bounds to use instead of the product's.
          file_bytes: no file may become larger than this.
          keep_log: leave the log of the run before, which the result then has.
        """
        warm = self._warm = self._warm or self._start_warm()
        if not keep_log:  # what is in it now is not of this run
            with contextlib.suppress(OSError):
                (output / "run.log").unlink()
        stdout, stderr = self._files()
        request = {
            "arguments": [*map(str, arguments), "--output-dir", str(output)],
            "cwd": str(self.scratch),
            "environment": self.environment | (environment or {}),
            "stdout": str(stdout),
            "stderr": str(stderr),
            "thresholds": thresholds,
            "file_bytes": file_bytes,
        }
        warm.stdin.write(json.dumps(request) + "\n")
        warm.stdin.flush()
        return WarmRun(int(warm.stdout.readline()), warm, output, stdout, stderr)

    def run_cold(
        self,
        *arguments: object,
        output: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Result:
        """Runs `python local_runner.py` as people do."""
        stdout, stderr = self._files()
        words = [*map(str, arguments), *(("--output-dir", str(output)) if output else ())]
        with stdout.open("w") as out, stderr.open("w") as err:
            code = subprocess.run(
                [sys.executable, str(self.root / "local_runner.py"), *words],
                cwd=self.scratch,
                env=self._environment() | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=_PATIENCE,
                check=False,
            ).returncode
        return result_of(code, output, stdout, stderr)

    def _start_warm(self) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_runner.py")), str(self.root)],
            cwd=self.scratch,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.scratch / "warm.log").open("w"),
            text=True,
        )
        assert process.stdout.readline() == "ready\n", (self.scratch / "warm.log").read_text()
        return process

    def _environment(self) -> dict[str, str]:
        ours = ("MOVIELENS_DIR", "MOVIES_METADATA_DIR", "TF_CPP_MIN_LOG_LEVEL")
        return {k: v for k, v in os.environ.items() if k not in ours} | self.environment

    def _files(self) -> tuple[Path, Path]:
        self._runs += 1
        return self.scratch / f"{self._runs}.out", self.scratch / f"{self._runs}.err"


class WarmRun:
    """A run on its way."""

    def __init__(
        self, pid: int, warm: subprocess.Popen, output: Path, stdout: Path, stderr: Path
    ) -> None:
        self.pid = pid
        self._warm = warm
        self._output = output
        self._files = stdout, stderr
        self._started = time.monotonic()

    @property
    def out(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def is_at_work(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def wait(self) -> Result:
        code = int(self._warm.stdout.readline())
        return result_of(code, self._output, *self._files)

    def wait_for_start_of(self, component: str, seconds: float = 0.0) -> None:
        """Returns when the component has been at work for some time."""
        sign = f"Component {component} started"
        while sign not in _text(self._output / "run.log"):
            assert time.monotonic() - self._started < _PATIENCE, f"{component} never started"
            assert self.is_at_work, self.out
            time.sleep(0.02)
        time.sleep(seconds)

    def kill(self) -> Result:
        """Ends the run's process group as `kill -9` does."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def interrupt(self) -> Result:
        """Ends the run as Ctrl-C does."""
        os.killpg(self.pid, signal.SIGINT)
        return self.wait()


def result_of(code: int, output: Path | None, stdout: Path, stderr: Path) -> Result:
    """Reads what a run left; its exit status and the files of its streams are given."""
    output = output or stdout.with_name("no output")
    summary = _text(output / "summary.json")
    return Result(
        code=code,
        out=stdout.read_text(encoding="utf-8"),
        err=stderr.read_text(encoding="utf-8"),
        summary=json.loads(summary) if summary else None,
        log=_text(output / "run.log"),
        executions=executions(output),
        versions=versions(output),
    )


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def executions(output: Path) -> Counter:
    """Counts the executions in the store by (node, state)."""
    store = output / "metadata.sqlite"
    if not store.is_file():
        return Counter()
    with tempfile.TemporaryDirectory() as folder:
        # A copy: opening the store would mend what a killed run left, as the next run must.
        for path in output.glob("metadata.sqlite*"):
            shutil.copy2(path, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / store.name)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if ("Association",) not in tables.fetchall():
                return Counter()
            rows = database.execute(
                "SELECT Context.name, Execution.last_known_state FROM Execution"
                " JOIN Association ON Association.execution_id = Execution.id"
                " JOIN Context ON Context.id = Association.context_id"
                " JOIN Type ON Type.id = Context.type_id WHERE Type.name = 'node'"
            ).fetchall()
    return Counter((name.split(".")[-1], state) for name, state in rows)


def versions(output: Path) -> dict[str, str]:
    """Returns a digest of each version that a model server would see."""
    folder = output / "serving_model"
    if not folder.is_dir():
        return {}
    return {path.name: tree_digest(path) for path in folder.iterdir() if path.name.isdecimal()}


def tree_digest(folder: Path) -> str:
    """Returns a hash over names and bytes of a version's files but what a push adds to them."""
    digest = hashlib.sha256()
    added = {folder / "assets.extra" / name for name in ("run.json", "manifest.json")}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in added:
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
