"""Compares the recommender with its peers and writes docs/RESULTS.md and docs/results.json.

make compare                                    # everything
python -m benchmarks.compare --only ease ials   # these, then the tables of all there is
python -m benchmarks.compare --quick            # a small part, to see that it works

As long as something is not measured, the tables go to a draft beside the measurements.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.compare import data, peers_rating, peers_retrieval, report
from benchmarks.compare.cache import Cache
from benchmarks.compare.methods import Method
from benchmarks.compare.runner import Runner, splits_of
from components.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS_PYTHON = ROOT / ".venv-compare" / "bin" / "python"
PEERS: tuple[Method, ...] = (*peers_retrieval.METHODS, *peers_rating.METHODS)
_PEERS_STAGE = "--peers-stage"
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
        prog="python -m benchmarks.compare", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these methods only")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--cache-dir", type=Path, default=ROOT / "output" / "compare")
    parser.add_argument(
        "--docs-dir",
        type=Path,
        help="where the tables go (default docs, or the cache's draft where some are missing)",
    )
    parser.add_argument(_PEERS_STAGE, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    options = parse(arguments)
    loaded = data.load(options.quick)
    cache = Cache(options.cache_dir, loaded.digest)
    folds = {"folds": _QUICK_FOLDS} if options.quick else {}
    runner = Runner(loaded, splits_of(loaded, **folds), cache, options.quick)
    if options.peers_stage:
        _run(runner, _wanted(PEERS, options.only), "peers")
        return
    _check_peers_python(options.only)
    ours = our_methods()
    wanted = _wanted((*PEERS, *ours), options.only)
    if any(method in PEERS for method in wanted):
        _run_peers([method.name for method in wanted if method in PEERS], arguments)
    _run(runner, [method for method in wanted if method in ours], "TensorFlow")
    _write(runner, (*PEERS, *ours), options)


def _write(runner: Runner, methods: Sequence[Method], options: argparse.Namespace) -> None:
    """Writes the tables; unless told so, nothing but complete ones of all the data to docs."""
    missing = [method.name for method in methods if not runner.complete(method)]
    folder = options.docs_dir
    if folder is None:
        draft = missing or options.quick
        folder = options.cache_dir / _DRAFT if draft else ROOT / "docs"
    report.write(folder, runner, methods)
    print(f"Wrote {folder / report.MARKDOWN} and {report.JSON} beside it.")
    if missing:
        print(f"Not all is measured yet of: {', '.join(missing)}.")


def _check_peers_python(only: Sequence[str] | None) -> None:
    wanted = only is None or any(method.name in only for method in PEERS)
    if wanted and not PEERS_PYTHON.exists():
        raise InputError(
            "the peers' environment is not there",
            expected=str(PEERS_PYTHON),
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


def _run_peers(names: Sequence[str], arguments: Sequence[str]) -> None:
    """Measures peers with the Python of their own environment, progress and all."""
    options = parse(arguments)
    command = [str(PEERS_PYTHON), "-m", "benchmarks.compare", _PEERS_STAGE, "--only", *names]
    command += ["--cache-dir", str(options.cache_dir.resolve())]
    command += ["--quick"] if options.quick else []
    # One thread: figures do not depend on the machine, and implicit asks for it.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _run(runner: Runner, methods: Sequence[Method], what: str) -> None:
    """Measures methods, showing how far it is."""
    columns = (
        TextColumn("{task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    total = sum(runner.size(method) for method in methods)
    if not total:
        return
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total, what=what)

        def done(text: str) -> None:
            progress.update(bar, advance=1, description=text)
            if not console.is_terminal:
                print(text, file=sys.stderr, flush=True)

        for method in methods:
            progress.update(bar, description=method.title)
            runner.run(method, done)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where it was.", file=sys.stderr)
        sys.exit(130)
