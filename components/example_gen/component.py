"""The two ExampleGen components: ratings in three splits, and the movie catalogue."""

from __future__ import annotations

from pathlib import Path

from tfx.components.example_gen import component
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components import names
from components.example_gen import executor
from components.example_gen.options import ExampleGenOptions
from sources.detect import open_adapter


class _RawFilesGen(component.FileBasedExampleGen):
    """An ExampleGen over a folder of raw files.

    Args:
      data_dir: folder of the files.
      options: splits, cleaning and the hashes that make up the cache key.
    """

    SPLITS: tuple[str, ...]

    def __init__(self, data_dir: Path, options: ExampleGenOptions) -> None:
        # The driver fingerprints what the pattern covers: it must match every file that is read.
        covered = open_adapter(options.format, data_dir, layout_text=options.layout).pattern
        pattern = example_gen_pb2.Input.Split(name="raw", pattern=covered)
        split = example_gen_pb2.SplitConfig.Split
        outputs = [split(name=name, hash_buckets=1) for name in self.SPLITS]
        super().__init__(
            input_base=str(data_dir),
            input_config=example_gen_pb2.Input(splits=[pattern]),
            output_config=example_gen_pb2.Output(
                split_config=example_gen_pb2.SplitConfig(splits=outputs)
            ),
            custom_config=options.to_proto(),
        )


class RatingsGen(_RawFilesGen):
    """Ratings joined with users and movies, as tf.Examples in train, validation and test.

    Output `examples`: an Examples artifact, with `wrangling.json` beside its splits.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.RatingsExecutor)
    SPLITS = names.SPLITS


class MoviesGen(_RawFilesGen):
    """The movie catalogue as tf.Examples, in one split of every movie, rated or not.

    Output `examples`: an Examples artifact, with `wrangling.json` beside its split.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.MoviesExecutor)
    SPLITS = executor.MoviesExecutor.split_names
