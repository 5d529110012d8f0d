"""Offline scoring: the served model's recommendations for many users, into a Parquet file.

A Beam pipeline over chunks of users. Each chunk is one call of the same signature that the
server calls, so both say the same. On another runner than Beam's own, the model directory and
the output must be where its workers can reach them.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow
from apache_beam.options import pipeline_options

from serving.calls import Array
from serving.catalogue import read_users
from serving.errors import ModelError
from serving.model import load
from serving.recommender import Person, Recommender, make_recommender
from serving.versions import versions_in

CHUNK = 256
MAX_K = 1_000
PROGRESS_SECONDS = 2.0
SCHEMA = pyarrow.schema(
    [
        ("user_id", pyarrow.string()),
        ("rank", pyarrow.int32()),
        ("movie_id", pyarrow.string()),
        ("title", pyarrow.string()),
        ("score", pyarrow.float32()),
        ("stars", pyarrow.float32()),
        ("model_version", pyarrow.string()),
    ]
)
"""One row per recommendation; rank 1 is the best."""


class Recommend(beam.DoFn):
    """Scores chunks of users: `list[str]` to `pyarrow.Table`.

    Args:
      version_dir: the version's folder.
      k: recommendations for each user at most.
      include_seen: whether movies that a user rated may be recommended.
      threads: how many threads TensorFlow may use.
    """

    def __init__(self, version_dir: str, k: int, include_seen: bool, threads: int) -> None:
        self._version_dir = version_dir
        self._k = k
        self._include_seen = include_seen
        self._threads = threads
        self._model: Recommender | None = None

    def setup(self) -> None:
        """Loads the model, once per worker."""
        path = Path(self._version_dir)
        self._model = make_recommender(load(path, int(path.name), self._threads))
        PROGRESS.start()

    def process(self, user_ids: list[str]) -> Iterator[pyarrow.Table]:
        """Scores a chunk."""
        assert self._model is not None
        yield score(self._model, user_ids, self._k, self._include_seen)
        PROGRESS.add(len(user_ids))


def score(model: Recommender, user_ids: Sequence[str], k: int, include_seen: bool) -> pyarrow.Table:
    """Returns the recommendations for users, in the order of the users."""
    people = [Person(user_id) for user_id in user_ids]
    call = model.recommend(people, k, [()] * len(people), include_seen)
    outputs = model.model.signatures[call.signature](call.inputs)
    counts = outputs["count"]
    columns = np.arange(outputs["movie_id"].shape[1])
    there = columns < counts[:, np.newaxis]
    ranks = np.broadcast_to(columns + 1, there.shape)[there]
    return pyarrow.table(
        [
            pyarrow.array(np.repeat(np.array(user_ids, object), counts), pyarrow.string()),
            pyarrow.array(ranks, pyarrow.int32()),
            _text(outputs["movie_id"][there]),
            _text(outputs["movie_title"][there]),
            pyarrow.array(outputs["score"][there], pyarrow.float32()),
            pyarrow.array(outputs["predicted_rating"][there], pyarrow.float32()),
            pyarrow.array([model.version] * len(ranks), pyarrow.string()),
        ],
        schema=SCHEMA,
    )


def _text(values: Array) -> pyarrow.Array:
    return pyarrow.array(values, pyarrow.binary()).cast(pyarrow.string())


class _Progress:
    """Says now and then how far a worker is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Counts from here."""
        self.users = 0
        self.started = self._said = time.monotonic()

    def add(self, users: int) -> None:
        """Counts users that were scored."""
        with self._lock:
            self.users += users
            now = time.monotonic()
            if now - self._said < PROGRESS_SECONDS:
                return
            self._said = now
            rate = self.users / (now - self.started)
        print(f"{self.users:,} users scored, {rate:,.0f} per second", file=sys.stderr, flush=True)


PROGRESS = _Progress()


def main(argv: Sequence[str] | None = None) -> int:
    """Scores, and writes the file.

    Returns:
      The exit code: 0, or 1 if an option or the model cannot be used.
    """
    arguments, others = _parser().parse_known_args(argv)
    try:
        version_dir = _version_dir(arguments.model_dir)
        user_ids = _user_ids(arguments.users, version_dir)
        options = _beam_options(others)
        run(arguments, version_dir, user_ids, options)
    except (_UsageError, ModelError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(
    arguments: argparse.Namespace,
    version_dir: Path,
    user_ids: Sequence[str],
    options: pipeline_options.PipelineOptions,
) -> None:
    """Runs the Beam pipeline and says what came out."""
    print(f"{len(user_ids):,} users, version {version_dir.name}", file=sys.stderr, flush=True)
    started = time.monotonic()
    chunks = [list(chunk) for chunk in _chunks(user_ids, arguments.chunk)]
    function = Recommend(str(version_dir), arguments.k, arguments.include_seen, arguments.threads)
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Users" >> beam.Create(chunks, reshuffle=len(chunks) > 1)
            | "Recommend" >> beam.ParDo(function)
            | "Write"
            >> beam.io.WriteToParquetBatched(
                str(arguments.output), SCHEMA, num_shards=1, shard_name_template=""
            )
        )
    now = time.monotonic()
    rate = f", {PROGRESS.users / (now - PROGRESS.started):,.0f} users per second after loading"
    print(
        f"{arguments.output}: {arguments.k} recommendations at most for each of"
        f" {len(user_ids):,} users in {now - started:.1f} s{rate if PROGRESS.users else ''}",
        flush=True,
    )


class _UsageError(Exception):
    """The user asked for something that cannot be done."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m serving.batch",
        description="Write recommendations for many users to a Parquet file.",
        epilog="Other options are Beam's, e.g. --runner or --direct_num_workers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--users", default="all", help="'all', ids with commas between, or a file with one a line")
    add("--k", type=_between(1, MAX_K), default=20, help="recommendations for each user at most")
    add("--output", type=Path, required=True, metavar="FILE", help="the Parquet file")
    add("--model-dir", type=Path, default=Path("output/serving_model"), metavar="DIR")
    add("--include-seen", action="store_true", help="also recommend what was rated already")
    add("--chunk", type=_between(1, 2_048), default=CHUNK, help="users of one call of the model")
    add("--threads", type=_between(1, 256), default=os.cpu_count() or 1, help="of TensorFlow")
    return parser


def _between(least: int, most: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least} to {most}, found {text}")
        return value

    return number


def _version_dir(model_dir: Path) -> Path:
    versions = versions_in(model_dir)
    if not versions:
        raise _UsageError(
            f"No model has been pushed to {model_dir} yet. Run 'make run' first, or name another"
            " directory with --model-dir."
        )
    return model_dir / str(versions[0])


def _user_ids(users: str, version_dir: Path) -> list[str]:
    if users == "all":
        known = read_users(version_dir)
        if not known.count:
            raise _UsageError(
                f"{version_dir} does not say which users it knows: give their ids with --users."
            )
        return list(known.ids)
    path = Path(users)
    text = path.read_text(encoding="utf-8") if path.is_file() else users.replace(",", "\n")
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise _UsageError(f"Expected ids in --users, found none in {users!r}.")
    return ids


def _beam_options(others: Sequence[str]) -> pipeline_options.PipelineOptions:
    known = argparse.ArgumentParser(add_help=False, conflict_handler="resolve", allow_abbrev=False)
    for kind in pipeline_options.PipelineOptions.__subclasses__():
        kind._add_argparse_args(known)
    _, unknown = known.parse_known_args(list(others))
    if unknown:
        raise _UsageError(
            f"Not an option of this command or of Beam: {' '.join(unknown)}. --help lists ours."
        )
    return pipeline_options.PipelineOptions(list(others))


def _chunks(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))
