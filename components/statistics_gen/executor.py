"""The executor of StatisticsGen: computes small data in this process, large data on Beam."""

from __future__ import annotations

import logging
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.statistics_gen import executor
from tfx.types import artifact_utils, standard_component_specs

from components import progress
from components.examples.reading import files_of_split
from components.statistics_gen.numbers import statistics_of

MAX_BYTES = 512 << 20
"""Largest size of gzipped tf.Examples for this process: about five million ratings."""

# Arguments that only TFX's executor implements.
_STOCK_OPTIONS = (
    standard_component_specs.EXCLUDE_SPLITS_KEY,
    standard_component_specs.STATS_OPTIONS_JSON_KEY,
    standard_component_specs.SAMPLE_RATE_BY_SPLIT_KEY,
    standard_component_specs.SHARDED_STATS_OUTPUT_KEY,
)
_UNSET = (None, 0, "null", "[]")

_logger = logging.getLogger(__name__)


class Executor(executor.Executor):
    """TFX's executor, without a Beam pipeline for data that one process reads in seconds.

    A Beam pipeline has 150 stages per split for any number of rows.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `FeatureStats.pb` of each split.

        Args:
          input_dict: `examples`, gzipped TFRecords of tf.Examples; optionally `schema`.
          output_dict: `statistics`.
          exec_properties: those of the stock component.
        """
        examples = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        stock = input_dict.get(standard_component_specs.SCHEMA_KEY) or any(
            exec_properties.get(name) not in _UNSET for name in _STOCK_OPTIONS
        )
        shards = {
            split: files_of_split(artifact_utils.get_split_uri([examples], split))
            for split in artifact_utils.decode_split_names(examples.split_names)
        }
        size = sum(tf.io.gfile.stat(shard).length for found in shards.values() for shard in found)
        if stock or size > MAX_BYTES or not all(shards.values()):
            super().Do(input_dict, output_dict, exec_properties)
            return
        _logger.info("%.1f MiB of examples: computed in this process", size / (1 << 20))
        _write(shards, examples.span, output_dict[standard_component_specs.STATISTICS_KEY])


def _write(
    shards: dict[str, list[str]], span: int | None, statistics: list[types.Artifact]
) -> None:
    artifact = artifact_utils.get_single_instance(statistics)
    artifact.split_names = artifact_utils.encode_split_names(list(shards))
    artifact.span = span
    for split, found in shards.items():
        progress.report(split)
        folder = artifact_utils.get_split_uri(statistics, split)
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(f"{folder}/{executor.DEFAULT_FILE_NAME}", "wb") as file:
            file.write(statistics_of(found).SerializeToString())
