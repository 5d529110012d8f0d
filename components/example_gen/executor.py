"""The Beam executors of the two ExampleGens.

Ratings are read in chunks of bytes, regrouped so that all of a user's ratings meet (exact
duplicates and splits by user need that), split, joined and written: few large elements
go through Beam, not one per row.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components import progress
from components.example_gen import held_out, records, spill, splits
from components.example_gen.held_out import TEST_KEY, HeldOut
from components.example_gen.options import ExampleGenOptions
from components.example_gen.splits import SplitTimes
from components.examples import events
from components.names import DATASET_SPEC, MOVIES, SPLITS
from schema.features import Owner
from sources import sample, staging
from sources.adapter import Part
from sources.cleaning_log import CleaningLog, LossLimits
from sources.detect import open_adapter
from sources.errors import InputError
from sources.interactions import chunk_of
from sources.metadata import MetadataMatch, join_metadata
from sources.ratings import KnownIds, RatingsChunk
from storage.paths import join, list_names

REPORT_FILE = "wrangling.json"
"""Beside the splits of the artifact: rows read, dropped, repaired and so on, by file and reason."""

TEST_FINGERPRINT = "test_fingerprint"
"""Custom property of the Examples of ratings: which test rows these are."""

_REPORTS = "reports"
_HELD_OUT = "held_out"
_ERRORS = "errors"

_Process = Callable[[Any, Any], Iterator[Any]]


def _errors_as_data(process: _Process) -> _Process:
    """Makes a DoFn's method hand on an InputError as an output of its own.

    Raised, it would be tried again in vain and arrive as text in a RuntimeError, with the
    stack traces of Beam around it.
    """

    @functools.wraps(process)
    def guarded(self: beam.DoFn, element: Any) -> Iterator[Any]:  # noqa: ANN401 - Beam has no types
        try:
            yield from process(self, element)
        except InputError as error:
            yield beam.pvalue.TaggedOutput(_ERRORS, vars(error))

    return guarded


class _Tables:
    """Users and movies, read and cleaned once per process."""

    def __init__(self, data_dir: str, options: ExampleGenOptions) -> None:
        self.adapter = adapter = open_adapter(
            options.format, Path(data_dir), options.features, options.layout
        )
        movies, self.movie_log = adapter.items(options.limits)
        self.match = MetadataMatch(0)
        if not options.layout:  # own tables are no films of The Movies Dataset
            linked = {} if options.metadata_path is None else adapter.tmdb_ids(options.limits)
            movies, self.match = join_metadata(
                movies, options.metadata_path, options.limits, linked
            )
        self.movies = records.Side(movies, Owner.MOVIE, options.features)
        self.known_movies = _known(adapter.items_file, self.movies.ids, self.movie_log)
        listed = adapter.users(options.limits, options.invalid_zip)
        users, self.user_log = listed or self._users_of_ratings(options)
        self.users = records.Side(users, Owner.USER, options.features)
        self.known_users = _known(adapter.users_file, self.users.ids, self.user_log)

    def _users_of_ratings(self, options: ExampleGenOptions) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everybody who rated, where no file lists the users."""
        anybody = KnownIds(self.adapter.users_file, None)
        found: set[str] = set()
        for part in self.adapter.parts(options.chunk_bytes):
            batch, _ = self.adapter.interactions(part, anybody, self.known_movies, options.limits)
            found.update(batch.column("user_id").unique().to_pylist())
        return pd.DataFrame({options.features.user_id.name: sorted(found)}), CleaningLog()

    def read(self, part: Part, limits: LossLimits) -> tuple[RatingsChunk, CleaningLog]:
        """Reads and cleans a part of the ratings."""
        batch, found = self.adapter.interactions(part, self.known_users, self.known_movies, limits)
        return chunk_of(batch), found


def _known(file: str, ids: npt.NDArray[np.int64], log: CleaningLog) -> KnownIds:
    return KnownIds(file, ids, log.dropped_ids.get(file, {}))


# The options carry a hash of the files' content, so a changed file is never served stale.
@functools.lru_cache(maxsize=1)
def _read_tables(data_dir: str, options: ExampleGenOptions) -> _Tables:
    return _Tables(data_dir, options)


class _ReadChunk(beam.DoFn):
    """(number, part of the ratings) to (partition, place of its rows), and a log on the side."""

    def __init__(
        self, data_dir: str, options: ExampleGenOptions, folder: str, partitions: int
    ) -> None:
        self._data_dir = data_dir
        self._options = options
        self._folder = folder
        self._partitions = partitions

    @_errors_as_data
    def process(self, element: tuple[int, Part]) -> Iterator[Any]:
        number, part = element
        known = _read_tables(self._data_dir, self._options)
        chunk, found = known.read(part, self._options.limits)
        yield beam.pvalue.TaggedOutput(_REPORTS, found)
        with staging.writable(Path(self._folder)):
            yield from spill.write(join(self._folder, f"{number}.arrow"), chunk, self._partitions)


class _WritePartition(beam.DoFn):
    """(partition, places of its rows) to a shard per split; yields a report and rows per split."""

    def __init__(
        self,
        data_dir: str,
        options: ExampleGenOptions,
        folders: list[str],
        uri: str,
        shards: int,
        times: SplitTimes | None,
    ) -> None:
        self._data_dir = data_dir
        self._options = options
        self._folders = folders
        self._uri = uri
        self._shards = shards
        self._times = times

    @_errors_as_data
    def process(self, element: tuple[int, Iterable[spill.Place]]) -> Iterator[Any]:
        shard, places = element
        whole = spill.read(places)
        known = _read_tables(self._data_dir, self._options)
        whole, split, dropped = splits.split_ratings(
            whole,
            known.adapter.repeats,
            self._options.split,
            self._options.split_seed,
            self._times,
        )
        found = CleaningLog()
        for reason, count in dropped.items():
            found.drop(known.adapter.interactions_name, reason, count)
        yield beam.pvalue.TaggedOutput(_REPORTS, found)
        yield beam.pvalue.TaggedOutput(_HELD_OUT, HeldOut.of(whole, split))
        self._write_events(shard, whole, split)
        for number, folder in enumerate(self._folders):
            part = whole.take(split == number)
            examples = records.rating_examples(part, known.users, known.movies)
            records.write_shard(folder, shard, self._shards, examples)
            yield SPLITS[number], len(part.user_id)

    def _write_events(self, shard: int, whole: RatingsChunk, split: npt.NDArray[np.int8]) -> None:
        """Writes the event files of a partition, and its users (`components.examples.events`)."""
        known = _read_tables(self._data_dir, self._options)
        order, columns = records.event_columns(whole, known.users, known.movies)
        for number, name in enumerate(SPLITS):
            rows = pa.array(split[order] == number)
            records.write_events(
                events.events_folder(self._uri, name),
                shard,
                self._shards,
                {column: values.filter(rows) for column, values in columns.items()},
            )
        records.write_shard(
            join(self._uri, events.USERS),
            shard,
            self._shards,
            records.user_examples(whole, known.users),
        )


def _merge_reports(found: Iterable[CleaningLog]) -> CleaningLog:
    return functools.reduce(CleaningLog.merge, found, CleaningLog())


def _write_json(path: str, value: object) -> None:
    io_utils.write_string_file(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class _Executor(base_beam_executor.BaseBeamExecutor):
    """What both executors share: options, folders and the report beside the artifact."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the raw files and writes the artifact's splits and its report.

        Raises:
          InputError: the files cannot be read, or are too dirty to trust, or the artifact
            cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        options = ExampleGenOptions.from_json(exec_properties["custom_config"])
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        examples.split_names = artifact_utils.encode_split_names(list(self.split_names))
        data_dir = exec_properties["input_base"]
        folders = [artifact_utils.get_split_uri([examples], name) for name in self.split_names]
        try:
            summary = self.write(data_dir, options, folders, examples.uri)
        except Exception:
            # Shards that were written look complete each; without the others they are not.
            written = [join(examples.uri, name) for name in list_names(examples.uri)]
            for folder in filter(tf.io.gfile.isdir, written):
                tf.io.gfile.rmtree(folder)
            raise
        _write_json(str(Path(examples.uri) / REPORT_FILE), summary)
        spec = open_adapter(options.format, Path(data_dir), options.features, options.layout).spec
        if options.title:
            spec = dataclasses.replace(spec, title=options.title)
        if options.title == sample.TITLE:
            # It has MovieLens's form and none of its data.
            spec = dataclasses.replace(spec, licence="", citation="")
        examples.set_string_custom_property(
            DATASET_SPEC, json.dumps(spec.to_json(), ensure_ascii=False)
        )
        if TEST_KEY in summary:
            fingerprint = summary[TEST_KEY]["fingerprint"]
            examples.set_string_custom_property(TEST_FINGERPRINT, fingerprint)
        rows = ", ".join(f"{count:,} {name}" for name, count in summary["rows"].items())
        progress.report(rows)

    split_names: tuple[str, ...]

    def write(
        self, data_dir: str, options: ExampleGenOptions, folders: list[str], uri: str
    ) -> dict[str, Any]:
        """Writes the splits; returns the report, with "rows" per split."""
        raise NotImplementedError


class RatingsExecutor(_Executor):
    """Ratings, joined with their users and movies, in three splits."""

    split_names = SPLITS

    def write(
        self, data_dir: str, options: ExampleGenOptions, folders: list[str], uri: str
    ) -> dict[str, Any]:
        """Runs the Beam pipeline over the ratings; see the base class."""
        known = _read_tables(data_dir, options)
        parts = known.adapter.parts(options.chunk_bytes)
        size = sum((part.end - part.start) * part.unit for part in parts)
        shards = max(1, math.ceil(size / options.partition_bytes))
        times = _split_times(data_dir, options)
        collected = str(Path(uri) / f".{REPORT_FILE}.beam")
        with _scratch(join(uri, spill.FOLDER)) as scratch, self._make_beam_pipeline() as pipeline:
            read = (
                pipeline
                | "Parts" >> beam.Create(list(enumerate(parts)))
                | "Spread" >> beam.Reshuffle()
                | "ReadChunk"
                >> beam.ParDo(_ReadChunk(data_dir, options, scratch, shards)).with_outputs(
                    _REPORTS, _ERRORS, main="ratings"
                )
            )
            written = (
                read["ratings"]
                | "ByUser" >> beam.GroupByKey()
                | "WritePartition"
                >> beam.ParDo(
                    _WritePartition(data_dir, options, folders, uri, shards, times)
                ).with_outputs(_REPORTS, _ERRORS, _HELD_OUT, main="rows")
            )
            found = (
                (read[_REPORTS], written[_REPORTS])
                | "Reports" >> beam.Flatten()
                | "MergeReports" >> beam.CombineGlobally(_merge_reports)
            )
            tested = (
                written[_HELD_OUT]
                | "MergeHeldOut" >> beam.CombineGlobally(held_out.merge)
                | "HeldOutAsJson" >> beam.Map(HeldOut.to_json)
            )
            errors = (read[_ERRORS], written[_ERRORS]) | "Errors" >> beam.Flatten()
            rows = (
                written["rows"]
                | "RowsPerSplit" >> beam.CombinePerKey(sum)
                | "Rows" >> beam.combiners.ToDict()
            )
            _ = (
                pipeline
                | "Once" >> beam.Create([collected])
                | "Collect"
                >> beam.Map(
                    lambda target, found, tested, rows, errors: _write_json(
                        target,
                        {"rows": rows, "errors": errors, TEST_KEY: tested, **found.to_json()},
                    ),
                    tested=beam.pvalue.AsSingleton(tested),
                    found=beam.pvalue.AsSingleton(found),
                    rows=beam.pvalue.AsSingleton(rows),
                    errors=beam.pvalue.AsList(errors),
                )
            )
        found = _finish(collected, known, options.limits)
        splits.check_rows(
            options.split, found["rows"], "ratings" if options.features.has_rating else "events"
        )
        return found


@contextlib.contextmanager
def _scratch(folder: str) -> Iterator[str]:
    """Makes a folder that is removed with all that is in it when the block ends."""
    with staging.writable(Path(folder)):
        tf.io.gfile.makedirs(folder)
    try:
        yield folder
    finally:
        tf.io.gfile.rmtree(folder)


def _finish(collected: str, known: _Tables, limits: LossLimits) -> dict[str, Any]:
    """Completes the ratings' report with that of users and movies, and judges it."""
    with Path(collected).open(encoding="utf-8") as file:
        value = json.load(file)
    Path(collected).unlink()
    if value["errors"]:
        # Each chunk may have failed, and they come in any order.
        raise min((InputError(**error) for error in value["errors"]), key=str)
    found = CleaningLog.from_json(value)
    found.read(known.adapter.ratings_file, 0)  # an empty file has no part that could report it
    found.check(limits)
    found.merge(known.user_log).merge(known.movie_log)
    rows = {name: value["rows"].get(name, 0) for name in SPLITS}
    return {
        "rows": rows,
        TEST_KEY: value[TEST_KEY],
        **found.to_json(),
        "metadata": _metadata(known.match),
    }


def first_split_time(data_dir: Path, options: ExampleGenOptions) -> int:
    """Returns T of a timeline over the ratings as they are: test begins after 80 % of them.

    Raises:
      InputError: the files cannot be read, or are too dirty to trust.
    """
    return splits.split_times(_read_times(str(data_dir), options)).test


def _split_times(data_dir: str, options: ExampleGenOptions) -> SplitTimes | None:
    """Returns where validation and test begin under a timeline, None under other methods."""
    if options.split != "timeline":
        return None
    return splits.split_times(_read_times(data_dir, options), options.split_time)


def _read_times(data_dir: str, options: ExampleGenOptions) -> npt.NDArray[np.int64]:
    """Returns the times `[n]` of all usable ratings, of repeated ones each."""
    known = _read_tables(data_dir, options)
    times = [
        known.read(part, options.limits)[0].timestamp
        for part in known.adapter.parts(options.chunk_bytes)
    ]
    return np.concatenate(times) if times else np.zeros(0, np.int64)


def _metadata(match: MetadataMatch) -> dict[str, Any]:
    return match.to_json()


class MoviesExecutor(_Executor):
    """The movie catalogue: one split, every movie, rated or not."""

    split_names = (MOVIES,)

    def write(
        self, data_dir: str, options: ExampleGenOptions, folders: list[str], uri: str
    ) -> dict[str, Any]:
        """Writes the catalogue, which fits one worker's memory; see the base class."""
        known = _read_tables(data_dir, options)
        records.write_shard(folders[0], 0, 1, records.movie_examples(known.movies))
        rows = {MOVIES: len(known.movies.ids)}
        found = known.movie_log.to_json()
        return {"rows": rows, **found, "metadata": _metadata(known.match)}
