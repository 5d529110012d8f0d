"""TFDV's statistics of one split, computed in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import (
    basic_stats_generator,
    top_k_uniques_sketch_stats_generator,
)
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.coders import example_coder

from components.examples.reading import serialized_batches

_BATCH = 8_192

# Misra-Gries and KMV sketches are exact up to this many different values of a feature. With TFDV's
# default for data in memory, 1,024, a third of MovieLens-100K's movies are miscounted by one.
_EXACT_VALUES = 1 << 18


def statistics_of(shards: Sequence[Path | str]) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of `tfdv.GenerateStatistics` without a Beam pipeline.

    Memory holds one batch and the counts of different values. Equally frequent values may be in
    another order.

    Args:
      shards: gzipped TFRecords of tf.Examples, at least one file.
    """
    options = tfdv.StatsOptions()
    generators = [
        basic_stats_generator.BasicStatsGenerator(
            num_values_histogram_buckets=options.num_values_histogram_buckets,
            num_histogram_buckets=options.num_histogram_buckets,
            num_quantiles_histogram_buckets=options.num_quantiles_histogram_buckets,
            epsilon=options.epsilon,
        ),
        top_k_uniques_sketch_stats_generator.TopKUniquesSketchStatsGenerator(
            num_top_values=options.num_top_values,
            num_rank_histogram_buckets=options.num_rank_histogram_buckets,
            num_misragries_buckets=_EXACT_VALUES,
            num_kmv_buckets=_EXACT_VALUES,
        ),
    ]
    partial = [generator.create_accumulator() for generator in generators]
    for batch in _batches(shards):
        partial = [
            generator.add_input(one, batch)
            for generator, one in zip(generators, partial, strict=True)
        ]
    return stats_impl.extract_statistics_output(partial, generators)


def _batches(shards: Sequence[Path | str]) -> Iterator[pa.RecordBatch]:
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    records = serialized_batches(shards, _BATCH)
    for serialized in records.as_numpy_iterator():
        yield decoder.DecodeBatch(serialized)
