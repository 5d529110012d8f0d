"""Typed options of the ExampleGens, beyond the input directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2
from tfx.proto import example_gen_pb2

from components.names import SplitMethod
from schema.features import FEATURES_KEY, MOVIELENS, FeatureTable
from sources.adapter import InvalidZip
from sources.cleaning_log import DEFAULT_MAX_LOSS, LossLimits
from sources.names import ML_100K


@dataclasses.dataclass(frozen=True)
class ExampleGenOptions:
    """Options of `RatingsGen` and `MoviesGen`; all of them are part of the cache key.

    Attributes:
      metadata_dir: folder of The Movies Dataset, or None without it.
      split: split method: which ratings are train, validation and test.
      split_seed: seed of the splits' hash.
      invalid_zip: keep or drop users whose zip code is not five digits.
      content_digest: hash over the content of all files read. The driver's own
        fingerprint knows sizes and times of modification only, and of `u.*` only.
      max_loss: share (0 to 1) of rows, values and ratings that may be lost.
      format: name of the format of the files (`sources.detect.ADAPTERS`).
      layout: of own tables: files and roles as JSON (`sources.layout.Layout`).
      title: what people call the data; empty: as its format says.
      features: the columns of the records.
      split_time: T of a timeline, unix seconds: test begins there. None: after 80 % of the
        ratings.
      chunk_bytes: bytes of ratings read at a time.
      partition_bytes: bytes of ratings held by one worker at a time, about.
    """

    metadata_dir: str | None
    split: SplitMethod
    split_seed: int
    invalid_zip: InvalidZip
    content_digest: str
    max_loss: float = DEFAULT_MAX_LOSS
    format: str = ML_100K
    layout: str = ""
    title: str = ""
    features: FeatureTable = MOVIELENS
    split_time: int | None = None
    chunk_bytes: int = 16 * 2**20
    partition_bytes: int = 16 * 2**20

    @property
    def metadata_path(self) -> Path | None:
        """The folder of The Movies Dataset as a path."""
        return None if self.metadata_dir is None else Path(self.metadata_dir)

    @property
    def limits(self) -> LossLimits:
        """What may be lost before the run is refused."""
        return LossLimits.of(self.max_loss)

    def to_proto(self) -> example_gen_pb2.CustomConfig:
        """Returns the options as the proto that ExampleGen takes."""
        config = example_gen_pb2.CustomConfig()
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values[FEATURES_KEY] = self.features.to_json()
        config.custom_config.Pack(json_format.ParseDict(values, struct_pb2.Struct()))
        return config

    @classmethod
    def from_json(cls, text: str) -> ExampleGenOptions:
        """Returns the options from the JSON form of `to_proto`, an execution property."""
        config = json_format.Parse(text, example_gen_pb2.CustomConfig())
        packed = struct_pb2.Struct()
        config.custom_config.Unpack(packed)
        values: dict[str, Any] = json_format.MessageToDict(packed)
        # A Struct knows no whole numbers: 42 comes back as 42.0.
        for name in ("split_seed", "split_time", "chunk_bytes", "partition_bytes"):
            values[name] = None if values[name] is None else int(values[name])
        values[FEATURES_KEY] = FeatureTable.from_json(values[FEATURES_KEY])
        return cls(**values)
