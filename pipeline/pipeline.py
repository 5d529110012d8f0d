"""The pipeline: its components and how their outputs are connected."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.transform.component import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import transform_pb2
from tfx.types import Channel, standard_artifacts

from components import names
from components.evaluation.config import Thresholds, build_eval_config
from components.example_gen.component import MoviesGen, RatingsGen
from components.example_gen.options import ExampleGenOptions
from components.gate.component import AnomalyGate
from components.pusher.component import Pusher, push_options
from components.pusher.kind import Kind
from components.report.component import ReportGen, report_options
from components.resolvers import LatestOtherBlessedModel, LatestOtherStatistics
from components.source_hash import keyed_by_source
from components.statistics_gen.component import StatisticsGen
from pipeline.config import OutputPaths
from schema.features import FEATURES_KEY, FeatureTable
from trainer.component import Trainer
from trainer.config import TrainerConfig, TunerConfig
from trainer.settings import Settings

SCHEMA_FILE = Path(__file__).resolve().parent.parent / "schema" / "schema.pbtxt"

# Other modes start processes that each import TensorFlow: twice the processor time at every size
# that was measured.
LOCAL_BEAM_ARGS: tuple[str, ...] = (
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    # Without it TFX packs its own sources in a child process for every Beam component.
    f"--setup_file={SCHEMA_FILE.parent.parent / 'setup.py'}",
)


_TRAINER_CODE = ("trainer", "components/examples", "transform", "schema", "metrics", "sources")
"""What the components run that fit a model."""


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """Everything the pipeline is built from.

    Attributes:
      data_dir: folder of the raw files.
      example_gen: how they are cleaned and split.
      trainer: hyperparameters.
      tuner: how hyperparameters are searched first; None: they are not.
      new_user_folds: folds of users that are held out to measure the lists of new users; 0: none.
      kind: data set and split by which models replace each other.
      thresholds: what a model must reach to be blessed.
      paths: the output directory's.
      replace: push even if a model of another kind is served.
      no_push: push nothing.
      dataset: name, folders and notice of the data, for the report.
      settings: which of `trainer`'s values the user set, for the run record.
      cache: reuse results of components whose inputs have not changed.
      schema_file: the curated schema.
      schema_shown: the file of it that people edit.
      beam_args: options of Beam's pipelines.
    """

    data_dir: Path
    example_gen: ExampleGenOptions
    trainer: TrainerConfig
    kind: Kind
    thresholds: Thresholds
    paths: OutputPaths
    replace: bool = False
    no_push: bool = False
    tuner: TunerConfig | None = None
    new_user_folds: int = 0
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Settings = dataclasses.field(default_factory=dict)
    cache: bool = True
    schema_file: Path = SCHEMA_FILE
    schema_shown: Path = SCHEMA_FILE
    beam_args: tuple[str, ...] = LOCAL_BEAM_ARGS

    @property
    def features(self) -> FeatureTable:
        """The feature table: that of the records that the ExampleGens write."""
        return self.example_gen.features


def create_pipeline(config: PipelineConfig) -> Pipeline:
    """Builds the pipeline, from raw files to a blessed and pushed model."""
    ratings = keyed_by_source(
        RatingsGen(config.data_dir, config.example_gen),
        "sources",
        "components/example_gen",
        "components/examples",
        "schema",
    )
    movies = keyed_by_source(
        MoviesGen(config.data_dir, config.example_gen),
        "sources",
        "components/example_gen",
        "components/examples",
        "schema",
    )
    statistics = keyed_by_source(
        StatisticsGen(examples=ratings.outputs["examples"]),
        "components/statistics_gen",
        "components/examples",
    )
    inferred_schema = SchemaGen(statistics=statistics.outputs["statistics"])
    schema = keyed_by_source(ImportSchemaGen(schema_file=str(config.schema_file)), "schema")
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    previous = Resolver(
        strategy_class=LatestOtherStatistics,
        statistics=Channel(type=standard_artifacts.ExampleStatistics),
        candidate=statistics.outputs["statistics"],
    ).with_id(names.PREVIOUS_STATISTICS)
    gate = keyed_by_source(
        AnomalyGate(
            anomalies=validator.outputs["anomalies"],
            statistics=statistics.outputs["statistics"],
            schema=schema.outputs["schema"],
            previous_statistics=previous.outputs["statistics"],
            anomalies_path=str(config.paths.anomalies),
            schema_file=str(config.schema_shown),
        ),
        "components/gate",
    )
    transform = keyed_by_source(_transform(config, ratings, schema), "transform", "schema")
    transform.add_upstream_node(gate)
    tuners = _tuners(config, ratings, movies, transform, schema)
    trainer = keyed_by_source(
        Trainer(
            examples=ratings.outputs["examples"],
            movies=movies.outputs["examples"],
            transform_graph=transform.outputs["transform_graph"],
            schema=schema.outputs["schema"],
            config=config.trainer,
            features=config.features,
            kind=config.kind.slug(),
            hyperparameters=next((one.outputs["best_hyperparameters"] for one in tuners), None),
        ),
        *_TRAINER_CODE,
    )
    baseline = Resolver(
        strategy_class=LatestOtherBlessedModel,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=trainer.outputs["model"],
    ).with_id(names.LATEST_BLESSED_MODEL)
    evaluator = keyed_by_source(
        Evaluator(
            examples=ratings.outputs["examples"],
            model=trainer.outputs["model"],
            baseline_model=baseline.outputs["model"],
            eval_config=build_eval_config(config.thresholds, config.features),
            example_splits=[names.TEST],
            schema=schema.outputs["schema"],
            module_path="components.evaluation.extractors",
        ),
        "components/evaluation",
        "metrics",
        "schema",
    )
    pusher = keyed_by_source(
        Pusher(
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            evaluation=evaluator.outputs["evaluation"],
            **push_options(
                str(config.paths.serving_model),
                kind=config.kind,
                dataset=config.dataset,
                settings=config.settings,
                replace=config.replace,
                no_push=config.no_push,
            ),
        ),
        "components/pusher",
        "components/evaluation",
        "sources",
        "metrics",
        "schema",
    )
    report = keyed_by_source(
        ReportGen(
            ratings=ratings.outputs["examples"],
            movies=movies.outputs["examples"],
            statistics=statistics.outputs["statistics"],
            previous_statistics=previous.outputs["statistics"],
            inferred_schema=inferred_schema.outputs["schema"],
            schema=schema.outputs["schema"],
            gate_pass=gate.outputs["gate_pass"],
            model=trainer.outputs["model"],
            model_run=trainer.outputs["model_run"],
            evaluation=evaluator.outputs["evaluation"],
            blessing=evaluator.outputs["blessing"],
            **report_options(
                config.dataset,
                config.kind.describe(),
                config.features,
                str(config.paths.metadata),
            ),
        ),
        "components/report",
        "components/examples",
        "sources",
        "components/evaluation",
        "components/gate",
        "components/pusher",
        "metrics",
        "schema",
    )
    return Pipeline(
        # Resolvers and the cache see the runs of this name only. Statistics and models of another
        # kind are not comparable.
        pipeline_name=f"movielens-{config.kind.slug()}",
        # Relative to the output directory, the runner's working directory: see `working_in`.
        pipeline_root=config.paths.pipeline_root.name,
        components=[
            ratings,
            movies,
            statistics,
            inferred_schema,
            schema,
            validator,
            previous,
            gate,
            transform,
            *tuners,
            trainer,
            *_new_user_evaluators(config, ratings, movies, transform),
            baseline,
            evaluator,
            pusher,
            report,
        ],
        enable_cache=config.cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(config.paths.metadata)
        ),
        beam_pipeline_args=list(config.beam_args),
    )


def _transform(config: PipelineConfig, ratings: RatingsGen, schema: ImportSchemaGen) -> Transform:
    """Computes vocabularies and quantiles on the fitted splits; writes the graph only.

    The Trainer applies the graph while it reads, so no transformed copy of the data is written and
    no component needs its statistics.
    """
    return Transform(
        examples=ratings.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="transform.preprocessing.preprocessing_fn",
        custom_config={FEATURES_KEY: config.features.to_json()},
        splits_config=transform_pb2.SplitsConfig(analyze=list(config.trainer.train.splits)),
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )


def _tuners(
    config: PipelineConfig,
    ratings: RatingsGen,
    movies: MoviesGen,
    transform: Transform,
    schema: ImportSchemaGen,
) -> list[BaseComponent]:
    """Returns the Tuner, if hyperparameters are searched."""
    if config.tuner is None:
        return []
    # Imports Keras Tuner.
    from trainer.tuner import Tuner

    tuner = Tuner(
        examples=ratings.outputs["examples"],
        movies=movies.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        config=config.trainer,
        features=config.features,
        tuner=config.tuner,
    )
    return [keyed_by_source(tuner, *_TRAINER_CODE)]


def _new_user_evaluators(
    config: PipelineConfig, ratings: RatingsGen, movies: MoviesGen, transform: Transform
) -> list[BaseComponent]:
    """Returns the component that measures the lists of new users, if folds of users are given."""
    if not config.new_user_folds:
        return []
    # The models that it fits are loaded by the runs that use it.
    from trainer.new_user_evaluator import NewUserEvaluator, config_of

    evaluator = NewUserEvaluator(
        examples=ratings.outputs["examples"],
        movies=movies.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        custom_config=config_of(config.trainer, config.features),
        folds=config.new_user_folds,
    )
    return [keyed_by_source(evaluator, *_TRAINER_CODE)]
