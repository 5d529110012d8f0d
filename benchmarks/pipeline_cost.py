"""Runs the pipeline cold and warm and prints what each component costs.

    .venv/bin/python -m benchmarks.pipeline_cost            # the data that local_runner.py finds
    .venv/bin/python -m benchmarks.pipeline_cost --runs 3   # medians of three cold runs
    .venv/bin/python -m benchmarks.pipeline_cost --dataset sample --sample-ratings 1000000
    .venv/bin/python -m benchmarks.pipeline_cost --items 300000   # own tables of so many items

Per component: seconds by the clock, processor seconds (all threads) and peak memory of
the process, from the run's own summary.json. Machines are noisy: compare values of one
run with each other, and look at the load that is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalogue_tables import write_tables

ROOT = Path(__file__).resolve().parent.parent


def run_once(output_dir: Path, options: Sequence[str]) -> dict[str, Any]:
    """Runs the pipeline in a process of its own.

    Returns:
      Its summary, with the process's own "wall" and "cpu" seconds and "load" before it.
    """
    command = [sys.executable, str(ROOT / "local_runner.py"), "--output-dir", str(output_dir)]
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 4):
        sys.exit(f"the run failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    summary: dict[str, Any] = json.loads((output_dir / "summary.json").read_text("utf-8"))
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {**summary, "wall": wall, "cpu": cpu, "load": load}


def rows(summary: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Returns wall seconds, processor seconds and peak MiB by component, "import" and "all"."""
    result = {"import": (float("nan"), summary["import_cpu_seconds"], float("nan"))}
    for component in summary["components"]:
        result[component["name"]] = (
            component["wall_seconds"],
            component["cpu_seconds"],
            component["peak_memory_mb"] or float("nan"),
        )
    peak = max(value[2] for name, value in result.items() if name != "import")
    result["all"] = (summary["wall"], summary["cpu"], peak)
    return result


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, tuple[float, ...]]:
    """Returns the median of each value over several runs."""
    tables = [rows(run) for run in runs]
    return {
        name: tuple(statistics.median(table[name][i] for table in tables) for i in range(3))
        for name in tables[0]
    }


def show(title: str, runs: Sequence[dict[str, Any]]) -> None:
    """Prints a table of medians."""
    loads = ", ".join(f"{run['load']:.1f}" for run in runs)
    print(f"\n{title} ({len(runs)} run(s), status {runs[0]['status']}, load before: {loads})")
    print(f"{'component':<22}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    for name, values in medians(runs).items():
        cells = ("" if value != value else f"{value:.2f}" for value in values[:2])
        peak = "" if values[2] != values[2] else f"{values[2]:.0f}"
        print(f"{name:<22}" + "".join(f"{cell:>9}" for cell in cells) + f"{peak:>10}")


def main() -> None:
    """Parses the options, runs, prints."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.pipeline_cost",
        description=__doc__.splitlines()[0],
        epilog="All other options go to local_runner.py.",
    )
    parser.add_argument("--runs", type=int, default=1, help="cold runs to take the median of")
    parser.add_argument("--items", type=int, help="make own tables of so many items, and run those")
    parser.add_argument("--users", type=int, default=10_000, help="their users (default: 10000)")
    parser.add_argument("--events", type=int, default=500_000, help="their events, about")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.items:
            write_tables(Path(folder), options.items, options.users, options.events)
            rest = ["--data", folder, *rest]
        _measure(options.runs, rest)


def _measure(runs: int, rest: Sequence[str]) -> None:
    """Runs the pipeline with these options and prints what it costs."""
    cold, warm = [], []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            print(f"cold run {number + 1} of {runs} …", flush=True)
            cold.append(run_once(Path(folder), rest))
            print("warm run …", flush=True)
            warm.append(run_once(Path(folder), rest))
    show("cold", cold)
    show("warm", warm)
    metrics = {
        name: round(value, 4)
        for name, value in cold[-1]["metrics"].items()
        if name.endswith(("recall_at_10", "recall_at_100", "rating_rmse"))
    }
    print(f"\nquality of the last cold run: {metrics}")


if __name__ == "__main__":
    main()
