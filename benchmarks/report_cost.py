"""Processor time and memory of making a run's report.

    .venv/bin/python -m benchmarks.report_cost output [other output ...]

Makes the page of each output directory's latest run in a process of its own and prints
processor time and peak memory as a Markdown table. Nothing is written to the directories. For a
million ratings, make a run of them first:

    .venv/bin/python local_runner.py --dataset sample --sample-ratings 1000000 --epochs 1 \\
        --output-dir million
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AIM_SECONDS, AIM_MIB = 10, 600


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.report_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, nargs="+", help="output directories of runs")
    parser.add_argument("--repeat", type=int, default=3, help="the median of so many (default: 3)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.output[0].resolve())))
        return
    print("| run | ratings | imports, CPU s | page, CPU s | MiB then | peak MiB | MB | dearest |")
    print("|---|---|---|---|---|---|---|---|")
    for output in options.output:
        found = [child(output) for _ in range(options.repeat)]
        print(row(output.name, sorted(found, key=lambda one: one["seconds"])[len(found) // 2]))
    print(f"\nAims: {AIM_SECONDS} CPU s and {AIM_MIB} MiB on MovieLens-100K.")


def child(output: Path) -> dict[str, Any]:
    """Returns the measurements of a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(output)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def measure(output: Path) -> dict[str, Any]:
    """Makes the page and returns what that took."""
    from components.report import build, page
    from components.report.context import Context
    from components.report.sources import find_sources

    sources = find_sources(output)
    context = Context(sources)
    # In the pipeline they are loaded by then.
    for name in ("tensorflow", "tensorflow_data_validation", "tensorflow_model_analysis"):
        importlib.import_module(name)
    imports, loaded = time.process_time(), _peak()
    by_section = {}
    sections = []
    for part in build.PARTS:
        before = time.process_time()
        sections.append(part.build(context))
        by_section[part.title] = time.process_time() - before
    html = page.render("", "", page.Note(""), sections)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "index.html").write_text(html, encoding="utf-8")
    return {
        "ratings": len(context.ratings.rows) if context.ratings else 0,
        "imports": imports,
        "seconds": time.process_time() - imports,
        "loaded": loaded,
        "peak": _peak(),
        "size": len(html.encode()) / 1e6,
        "sections": by_section,
    }


def _peak() -> float:
    """Returns the most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(name: str, found: dict[str, Any]) -> str:
    """Returns a line of the table."""
    dearest = sorted(found["sections"].items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{key} {seconds:.1f}" for key, seconds in dearest)
    return (
        f"| {name} | {found['ratings']:,} | {found['imports']:.1f} | {found['seconds']:.1f} | "
        f"{found['loaded']:,.0f} | {found['peak']:,.0f} | {found['size']:.1f} | {parts} |"
    )


if __name__ == "__main__":
    main()
