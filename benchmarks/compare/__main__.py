"""Compares the recommender with other methods; writes docs/results.md and docs/results.json.

make compare                                    # everything
.venv/bin/python -m benchmarks.compare --only ease ials   # these, then the tables of all there is
.venv/bin/python -m benchmarks.compare --dataset ml-1m    # on MovieLens-1M
.venv/bin/python -m benchmarks.compare --quick            # a small part, to see that it works

As long as something is not measured, the tables go to a draft beside the measurements.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import command
from benchmarks.compare import baselines_kernel, baselines_rating, baselines_retrieval, data, report
from benchmarks.compare.cache import Cache
from benchmarks.compare.methods import Method
from benchmarks.compare.runner import OnProgress, Runner, splits_of
from sources.errors import InputError
from sources.names import ML_100K

ROOT = Path(__file__).resolve().parent.parent.parent
BASELINES_PYTHON = ROOT / ".venv-compare" / "bin" / "python"
BASELINES: tuple[Method, ...] = (
    *baselines_retrieval.METHODS,
    *baselines_kernel.METHODS,
    *baselines_rating.METHODS,
)
_BASELINES_STAGE = "--baselines-stage"
_QUICK_FOLDS = (1, 2)
_DRAFT = "draft"


def our_methods() -> tuple[Method, ...]:
    """Returns the methods that need TensorFlow, which is slow to load."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.compare import capstone, ours

    return (*capstone.METHODS, *ours.METHODS)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.compare", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--dataset", choices=data.DATASETS, default=ML_100K, help="default: ml-100k"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these methods only")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument(
        "--any-code",
        action="store_true",
        help="take measurements of earlier source code for those of today's",
    )
    parser.add_argument("--cache-dir", type=Path, default=ROOT / "output" / "compare")
    parser.add_argument(
        "--docs-dir",
        type=Path,
        help="where the tables go (default docs, or the cache's draft where some are missing)",
    )
    parser.add_argument(_BASELINES_STAGE, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    options = parse(arguments)
    loaded = data.load(options.quick, options.dataset, options.cache_dir)
    cache = Cache(options.cache_dir, loaded.digest, options.any_code)
    folds = {"folds": _QUICK_FOLDS} if options.quick else {}
    runner = Runner(loaded, splits_of(loaded, **folds), cache, options.quick)
    if options.baselines_stage:
        runner.run(_wanted(BASELINES, options.only), lambda text: print(text, flush=True))
        return
    _check_baselines_python(options.only)
    ours = our_methods()
    wanted = _wanted((*BASELINES, *ours), options.only)
    baselines = [method for method in wanted if method in BASELINES]
    mine = [method for method in wanted if method in ours]
    with _bars() as add:
        of_baselines, of_ours = (
            add(sum(map(runner.size, methods)), what)
            for methods, what in ((baselines, "baselines"), (mine, "TensorFlow"))
        )
        with _baselines_beside([method.name for method in baselines], arguments, of_baselines):
            runner.run(mine, of_ours)
    _write(runner, (*BASELINES, *ours), options)


def _write(runner: Runner, methods: Sequence[Method], options: argparse.Namespace) -> None:
    """Writes the tables; by default only complete ones of all data go to docs."""
    missing = [method.name for method in methods if not runner.complete(method)]
    folder = options.docs_dir
    if folder is None:
        draft = missing or options.quick
        folder = options.cache_dir / _DRAFT if draft else ROOT / "docs"
    report.write(folder, runner, methods)
    print(f"Wrote {folder / report.MARKDOWN} and {report.JSON} beside it.")
    if missing:
        print(f"Not all is measured yet of: {', '.join(missing)}.")


def _check_baselines_python(only: Sequence[str] | None) -> None:
    wanted = only is None or any(method.name in only for method in BASELINES)
    if wanted and not BASELINES_PYTHON.exists():
        raise InputError(
            "the baselines' environment is not there",
            expected=str(BASELINES_PYTHON),
            action="start with `make compare`, which makes it",
        )


def _wanted(methods: Sequence[Method], only: Sequence[str] | None) -> list[Method]:
    if only is None:
        return list(methods)
    known = {method.name: method for method in methods}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise InputError(
            f"no such method: {', '.join(unknown)}",
            expected=", ".join(known),
            action="correct --only, or leave it out",
        )
    return [known[name] for name in only]


@contextlib.contextmanager
def _baselines_beside(
    names: Sequence[str], arguments: Sequence[str], done: OnProgress
) -> Iterator[None]:
    """Measures baselines meanwhile, with the Python of their own environment, and waits for them.

    They are held to one thread, and training ours leaves one of two cores idle half of the
    time.

    Raises:
      SystemExit: they failed; their output went to stderr.
    """
    if not names:
        yield
        return
    options = parse(arguments)
    line = [str(BASELINES_PYTHON), "-m", "benchmarks.compare", _BASELINES_STAGE, "--only", *names]
    line += ["--dataset", options.dataset, "--cache-dir", str(options.cache_dir.resolve())]
    line += ["--quick"] if options.quick else []
    line += ["--any-code"] if options.any_code else []
    # One thread: results do not depend on the machine, and implicit recommends it.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        lines = process.stdout
        assert lines is not None, "stdout is a pipe"

        def read() -> None:
            for line in lines:
                done(line.strip())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
            process.wait()
        finally:
            process.terminate()
            reader.join()
        if process.returncode:
            errors.seek(0)
            sys.stderr.write(errors.read())
            sys.exit(process.returncode)


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[int, str], OnProgress]]:
    """Gives a function that adds a bar of so many steps; its result takes a step."""
    columns = (
        TextColumn("{task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def add(total: int, what: str) -> OnProgress:
            bar = progress.add_task("", total=total, what=what, visible=total > 0)

            def done(text: str) -> None:
                progress.update(bar, advance=1, description=text)
                if not console.is_terminal:
                    print(text, file=sys.stderr, flush=True)

            return done

        yield add


if __name__ == "__main__":
    command.run(main, "Interrupted; the same command goes on where it was.")
