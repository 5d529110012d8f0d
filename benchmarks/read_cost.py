"""Reads, splits and writes generated ratings in every form, and prints what a rating costs.

    .venv/bin/python -m benchmarks.read_cost                     # a million ratings
    .venv/bin/python -m benchmarks.read_cost --ratings 200000

Processor microseconds a rating of a process of its own for each form: to find out what the data is
(with one reading of it), to read and clean it, and to write Examples and event files of the three
splits as RatingsGen does, which includes both. All of it should take 12 at most.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks import command

USERS, ITEMS = 20_000, 5_000
_SEED = 1
_CHUNK_BYTES = 16 * 2**20
_BEAM = (
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    f"--setup_file={Path(__file__).resolve().parent.parent / 'setup.py'}",
)
_READ = ("find out", "read", "all")


def ratings(count: int, *, text: bool) -> pa.Table:
    """Returns ratings with ids of text, or of whole numbers, in random order."""
    rng = np.random.default_rng(_SEED)
    users = rng.integers(1, USERS + 1, count)
    items = np.minimum(rng.geometric(0.001, count), ITEMS)
    if text:
        users = np.array([f"user-{user:08x}" for user in range(USERS + 1)])[users]
        items = np.array([f"SKU{item}" for item in range(ITEMS + 1)])[items]
    names = ("user_id", "item_id") if text else ("userId", "movieId")
    return pa.table(
        {
            names[0]: users,
            names[1]: items,
            "rating": rng.integers(1, 11, count) / 2,
            "timestamp": np.sort(rng.integers(1_500_000_000, 1_600_000_000, count)),
        }
    )


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink, pa.csv.WriteOptions(include_header=False))
    return ",".join(table.column_names).encode() + b"\n" + sink.getvalue().replace(b'"', b"")


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink)
    return sink.getvalue()


def _json(table: pa.Table) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


def _movies() -> bytes:
    rows = "".join(f"{item},Thing {item} (1999),Drama\n" for item in range(1, ITEMS + 1))
    return b"movieId,title,genres\n" + rows.encode()


def _dat(table: pa.Table) -> bytes:
    return _csv(table).split(b"\n", 1)[1].replace(b",", b"::")


FORMS: Mapping[str, Callable[[int], Mapping[str, bytes]]] = {
    "csv": lambda n: {"ratings.csv": _csv(ratings(n, text=True))},
    "csv.gz": lambda n: {"ratings.csv.gz": gzip.compress(_csv(ratings(n, text=True)), 1)},
    "json lines": lambda n: {"ratings.jsonl": _json(ratings(n, text=True))},
    "parquet": lambda n: {"ratings.parquet": _parquet(ratings(n, text=True))},
    "MovieLens as CSV": lambda n: {
        "ratings.csv": _csv(ratings(n, text=False)),
        "movies.csv": _movies(),
    },
    "MovieLens-10M": lambda n: {
        "ratings.dat": _dat(ratings(n, text=False)),
        "movies.dat": _movies().split(b"\n", 1)[1].replace(b",", b"::"),
    },
}


def measure(folder: Path) -> dict[str, float]:
    """Returns processor seconds of each step for the data in a folder."""
    from tfx.types import standard_artifacts

    from components.example_gen.executor import RatingsExecutor
    from components.example_gen.options import ExampleGenOptions
    from sources.cleaning_log import LossLimits
    from sources.detect import detect
    from sources.interactions import chunk_of
    from sources.ratings import KnownIds

    seconds = {}
    anybody = KnownIds("", None)
    started = time.process_time()
    adapter = detect(folder, folder)
    seconds["find out"] = time.process_time() - started
    started = time.process_time()
    for part in adapter.parts(_CHUNK_BYTES):
        chunk_of(adapter.interactions(part, anybody, anybody, LossLimits())[0])
    seconds["read"] = time.process_time() - started
    options = ExampleGenOptions(
        metadata_dir=None,
        split="random",
        split_seed=42,
        invalid_zip="keep",
        content_digest=uuid.uuid4().hex,
        format=adapter.spec.name,
        layout=adapter.layout_text,
        features=adapter.spec.features,
    )
    output = standard_artifacts.Examples()
    output.uri = str(folder / "examples")
    started = time.process_time()
    context = RatingsExecutor.Context(beam_pipeline_args=list(_BEAM))
    executor = RatingsExecutor(context)
    executor.Do({}, {"examples": [output]}, _properties(folder, options.to_proto()))
    seconds["all"] = time.process_time() - started
    return seconds


def _properties(folder: Path, custom: Any) -> dict[str, Any]:  # noqa: ANN401 - a proto of TFX
    from google.protobuf import json_format

    return {"input_base": str(folder), "custom_config": json_format.MessageToJson(custom)}


def main(arguments: Sequence[str]) -> None:
    """Prints a line for each form."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.read_cost", description="What a rating costs to read."
    )
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    print(f"{options.ratings:,} ratings; processor microseconds a rating")
    print(f"{'form':20}" + "".join(f"{step:>10}" for step in _READ))
    for name, files in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, content in files(options.ratings).items():
                (Path(folder) / file).write_bytes(content)
            program = [sys.executable, "-m", "benchmarks.read_cost", "--measure", folder]
            done = subprocess.run(program, capture_output=True, text=True, check=True)
        seconds = json.loads(done.stdout.splitlines()[-1])
        cost = (1e6 * seconds[step] / options.ratings for step in _READ)
        print(f"{name:20}" + "".join(f"{value:10.2f}" for value in cost), flush=True)


if __name__ == "__main__":
    command.run(main, "stopped; the forms that were measured are above")
