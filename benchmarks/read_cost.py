"""Reads, splits and writes generated ratings in every form, and prints what a rating costs.

    .venv/bin/python -m benchmarks.read_cost                     # a million ratings
    .venv/bin/python -m benchmarks.read_cost --ratings 200000 --forms csv parquet

Each form is measured in processes of its own. Processor microseconds a rating: to find out what the
data is (with one reading of it), to read and clean it, and to write Examples and event files of the
three splits as RatingsGen does, which includes both. Bytes a rating: by how much the peak of
resident memory of the whole process grows from the ratings to twice as many, of the same users and
items. The last lines compare with the limits.
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
MOST_MICROSECONDS, MOST_BYTES = 12, 60
"""What a rating may cost."""

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


def _csv(table: pa.Table, separator: str = ",") -> bytes:
    sink = io.BytesIO()
    options = pa.csv.WriteOptions(include_header=False, delimiter=separator)
    pa.csv.write_csv(table, sink, options)
    header = separator.join(table.column_names).encode() + b"\n"
    return header + sink.getvalue().replace(b'"', b"")


def _zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink)
    return sink.getvalue()


def _json(table: pa.Table) -> bytes:
    return "".join(
        json.dumps(row) + "\n" for batch in table.to_batches(65_536) for row in batch.to_pylist()
    ).encode()


def _lines(row: str, count: int) -> bytes:
    return "".join(row.format(number) + "\n" for number in range(1, count + 1)).encode()


def _dat(table: pa.Table, separator: bytes = b"::") -> bytes:
    return _csv(table).split(b"\n", 1)[1].replace(b",", separator)


def _whole(count: int) -> pa.Table:
    table = ratings(count, text=False)
    halves = table.column("rating").to_numpy()
    return table.set_column(2, "rating", pa.array(np.ceil(halves / 2).astype(np.int64)))


def _ml_100k(count: int) -> Mapping[str, bytes]:
    return {
        "u.data": _dat(_whole(count), b"\t"),
        "u.user": _lines("{}|25|F|writer|55105", USERS),
        "u.item": _lines("{0}|Thing {0} (1999)|01-Jan-1999||http://x/{0}|0|1", ITEMS),
        "u.genre": b"unknown|0\nDrama|1\n",
        "u.occupation": b"writer\n",
    }


def _ml_1m(count: int) -> Mapping[str, bytes]:
    return {
        "ratings.dat": _dat(_whole(count)),
        "users.dat": _lines("{}::F::25::20::55105", USERS),
        "movies.dat": _lines("{0}::Thing {0} (1999)::Drama", ITEMS),
    }


def _ml_csv(count: int) -> Mapping[str, bytes]:
    movies = _lines("{0},Thing {0} (1999),Drama", ITEMS)
    return {
        "ratings.csv": _csv(ratings(count, text=False)),
        "movies.csv": b"movieId,title,genres\n" + movies,
    }


def _own(name: str, write: Callable[[pa.Table], bytes]) -> Callable[[int], Mapping[str, bytes]]:
    return lambda count: {name: write(ratings(count, text=True))}


FORMS: Mapping[str, Callable[[int], Mapping[str, bytes]]] = {
    "ml-100k": _ml_100k,
    "ml-1m": _ml_1m,
    "ml-csv": _ml_csv,
    "csv": _own("ratings.csv", _csv),
    "csv.gz": _own("ratings.csv.gz", lambda table: gzip.compress(_csv(table), 1)),
    "csv.zst": _own("ratings.csv.zst", lambda table: _zstd(_csv(table))),
    "tsv": _own("ratings.tsv", lambda table: _csv(table, "\t")),
    "jsonl": _own("ratings.jsonl", _json),
    "parquet": _own("ratings.parquet", _parquet),
}
"""What writes ratings in each form: MovieLens's formats with their files, and own tables."""


def measure(folder: Path) -> dict[str, float]:
    """Returns processor seconds of each step for the data in a folder, and the peak of memory."""
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
    return {**seconds, "peak": _peak()}


def _properties(folder: Path, custom: Any) -> dict[str, Any]:  # noqa: ANN401 - a proto of TFX
    from google.protobuf import json_format

    return {"input_base": str(folder), "custom_config": json_format.MessageToJson(custom)}


def _peak() -> int:
    """Returns the peak of the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _measured(form: str, count: int) -> dict[str, float]:
    """Returns what `measure` finds in a process of its own, about ratings in a form."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in FORMS[form](count).items():
            (Path(folder) / file).write_bytes(content)
        program = [sys.executable, "-m", "benchmarks.read_cost", "--measure", folder]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> None:
    """Prints a line for each form, and the comparison with the limits."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.read_cost", description="What a rating costs to read."
    )
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    print(f"{options.ratings:,} ratings; processor microseconds and bytes of memory a rating")
    print(f"{'form':10}" + "".join(f"{step:>10}" for step in (*_READ, "bytes")))
    cost, size = {}, {}
    for form in options.forms:
        once, twice = (_measured(form, times * options.ratings) for times in (1, 2))
        cost[form] = 1e6 * once["all"] / options.ratings
        size[form] = (twice["peak"] - once["peak"]) / options.ratings
        shown = [1e6 * once[step] / options.ratings for step in _READ]
        print(
            f"{form:10}" + "".join(f"{value:10.2f}" for value in (*shown, size[form])), flush=True
        )
    print(f"most microseconds: {max(cost.values()):.2f}, at most {MOST_MICROSECONDS}")
    print(f"most bytes: {max(size.values()):.0f}, at most {MOST_BYTES}")
    if {"csv", "parquet"} <= set(cost):
        print(f"Parquet to CSV: {cost['parquet'] / cost['csv']:.2f}, at most 1")


if __name__ == "__main__":
    command.run(main, "stopped; the forms that were measured are above")
