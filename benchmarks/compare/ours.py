"""Our model on the comparison's splits: the pipeline's own steps, without its orchestration."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from benchmarks import cross_weights
from benchmarks.compare.data import ML_1M, Data, Task
from benchmarks.compare.methods import Answer, Method, Metrics, Params, Predictions
from benchmarks.compare.protocols import FloatArray, IntArray
from benchmarks.compare.report import CROSS, OURS, TRAIN_CPU_SECONDS, TRAIN_SECONDS
from benchmarks.compare.runner import SEQUENCE
from components.example_gen import records
from components.examples.reading import parse_first
from components.names import TRAIN, VALIDATION
from components.source_hash import source_digest
from metrics.new_users import NamedMovies
from schema import features as raw
from schema import predictions
from schema.features import MOVIELENS, FeatureTable, Owner
from schema.scenarios import IN_SESSION, NEXT_VISIT, Scenario
from sources import source, tables
from sources.metadata import join_metadata
from sources.ratings import RatingsChunk
from trainer import run as trainer_run
from trainer.config import (
    BpmfConfig,
    LongTermConfig,
    SequenceConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.data import reading
from trainer.data.training_data import TrainingData
from trainer.evaluation.signature import Evaluation
from trainer.serving import describe
from trainer.serving.interfaces import Features
from trainer.serving.module import ServingModel
from trainer.serving.queries import Excluded, QueryContext
from transform.preprocessing import preprocessing_of

_SCHEMA_FILE = Path(raw.__file__).resolve().parent / "schema.pbtxt"
_BATCH = 2_000
_USERS_AT_ONCE = 200
_SEEDS = (42, 43, 44)
_RAN_ON_SEEDS = "seed"


@dataclasses.dataclass(frozen=True)
class _Sides:
    """The tables that ratings are joined with."""

    users: records.Side
    movies: records.Side


_ORDERED = FeatureTable((*MOVIELENS.features, raw.POSITION))


def _features(data: Data) -> FeatureTable:
    """Returns the columns of the records: with places in the file where these mean something."""
    return MOVIELENS if data.position is None else _ORDERED


@functools.lru_cache(maxsize=1)
def _sides(folder: Path, features: FeatureTable) -> _Sides:
    users, _ = tables.read_users(folder, "keep")
    movies, _ = tables.read_movies(folder)
    metadata = os.environ.get(source.METADATA_VARIABLE)
    movies, _ = join_metadata(movies, Path(metadata) if metadata else None)
    return _Sides(
        records.Side(users, Owner.USER, features),
        records.Side(movies, Owner.MOVIE, features),
    )


def run(task: Task, params: Params) -> Answer:
    """Trains our model as it is shipped, with the seed of `params`; see `answer_with`."""
    return answer_with(task, _config(params))


def answer_with(task: Task, config: TrainerConfig) -> Answer:
    """Trains our model on the lines of `fit` and returns its predictions of the target lines.

    The lines become tf.Examples as RatingsGen writes them, the preprocessing graph is made
    of the lines of `fit` alone, and the predictions are those of the served model.
    """
    sides = _sides(task.data.folder, _features(task.data))
    with tempfile.TemporaryDirectory() as scratch:
        data = training_data(task, Path(scratch), task.fit)
        started, cpu_started = time.monotonic(), time.process_time()
        trained = trainer_run.train(config, data, scratch, on_progress=lambda line: None)
        seconds = {
            TRAIN_SECONDS: round(time.monotonic() - started, 2),
            TRAIN_CPU_SECONDS: round(time.process_time() - cpu_started, 2),
        }
        if task.split.new_users:
            answer = Answer(new_user=_to_new_users(trained.serving, task, sides))
        else:
            examples = _examples(task, task.targets, sides)
            answer = _answer(_evaluate(trained.evaluation.evaluate, examples))
    crosses = _crosses(trained.descriptions[describe.CROSS_WEIGHTS_FILE])
    del trained
    tf.keras.backend.clear_session()
    gc.collect()
    return dataclasses.replace(answer, more={**crosses, **seconds})


def with_sequence(task: Task, params: Params) -> Answer:
    """Trains our model with a sequence block; else as `run`."""
    sequence = SequenceConfig(**({"epochs": int(params["epochs"])} if "epochs" in params else {}))
    return answer_with(task, dataclasses.replace(_config(params), sequence=sequence))


@dataclasses.dataclass(frozen=True)
class FittedModel:
    """Our model before it is exported.

    Attributes:
      data: what it was fitted to.
      standalone: its standalone models.
      network: its towers and network.
      examples: the target lines.
    """

    data: TrainingData
    standalone: trainer_run.Standalone
    network: trainer_run.Network
    examples: list[bytes]

    def answers(self, evaluate: tf.types.experimental.GenericFunction) -> Mapping[str, FloatArray]:
        """Returns the outputs (`schema.predictions`) of an evaluation for the target lines."""
        return _evaluate(evaluate, self.examples)


def fitted_model(task: Task, config: TrainerConfig, scratch: Path) -> FittedModel:
    """Trains our model on the lines of `fit`.

    Args:
      task: what is learned from and what is to be found.
      config: hyperparameters.
      scratch: an empty folder.
    """
    data = training_data(task, scratch, task.fit)
    tf.keras.utils.set_random_seed(config.train.seed)
    standalone = trainer_run.fit_standalone(config, data, print)
    network = trainer_run.fit_network(config, standalone, data, str(scratch), print)
    examples = _examples(task, task.targets, _sides(task.data.folder, _features(task.data)))
    return FittedModel(data, standalone, network, examples)


def traced(evaluation: Evaluation) -> tf.types.experimental.GenericFunction:
    """Returns an evaluation whose graph is made once: tables may change, other values may not."""
    return tf.function(
        evaluation.evaluate, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )


def by_sequence_weight(
    task: Task, config: TrainerConfig, weights: Sequence[float], scratch: Path
) -> Iterator[tuple[str, Mapping[str, FloatArray]]]:
    """Trains our model with a sequence block, once.

    Args:
      task: what is learned from and what is to be found.
      config: hyperparameters; those of the block are among them.
      weights: of the block within a session; the configured one is measured as well.
      scratch: an empty folder.

    Yields:
      Each weight in words, ascending, the configured one marked, and the model's outputs
      (`schema.predictions`) for the target lines.
    """
    model = fitted_model(task, config, scratch)
    block = model.standalone.sequence
    assert block is not None, "the configuration has a block"
    configured = block.weight
    for weight in sorted({*weights, configured}):
        block.weight = weight
        name = f"{weight:.2g}" + (", as configured" if weight == configured else "")
        yield name, model.answers(model.network.evaluation.evaluate)


def training_data(task: Task, scratch: Path, lines: IntArray) -> TrainingData:
    """Returns what the Trainer reads of some lines, given the preprocessing graph of `fit`.

    Args:
      task: data and split.
      scratch: a new folder, in which the records are.
      lines: line numbers.
    """
    features = _features(task.data)
    sides = _sides(task.data.folder, features)
    fit, ratings, users, movies = (scratch / n for n in ("fit", "ratings", "users", "movies"))
    records.write_shard(str(fit), 0, 1, _examples(task, task.fit, sides))
    chunk = _chunk(task, lines)
    held_out = np.isin(lines, np.concatenate([task.split.validation, task.split.only_final]))
    for split, own in ((TRAIN, lines[~held_out]), (VALIDATION, lines[held_out])):
        _, columns = records.event_columns(_chunk(task, own), sides.users, sides.movies)
        records.write_events(str(ratings / split), 0, 1, columns)
    records.write_shard(str(users), 0, 1, records.user_examples(chunk, sides.users))
    records.write_shard(str(movies), 0, 1, records.movie_examples(sides.movies))
    return reading.load_training_data(
        [str(path) for path in ratings.glob("*/*")],
        _files(users),
        _files(movies),
        tft.TFTransformOutput(_transform_graph(task, fit)),
        features,
        [str(path) for path in ratings.glob(f"{VALIDATION}/*")],
    )


def _config(params: Params) -> TrainerConfig:
    config = TrainerConfig(train=TrainConfig(seed=int(params[_RAN_ON_SEEDS])))
    if "epochs" not in params:
        return config
    epochs = int(params["epochs"])
    return dataclasses.replace(
        config,
        long_term=LongTermConfig(epochs=epochs),
        bpmf=BpmfConfig(burn_in=2, draws=2, thinning=1),
        train=dataclasses.replace(config.train, epochs=epochs),
    )


def _examples(task: Task, lines: IntArray, sides: _Sides) -> list[bytes]:
    return list(records.rating_examples(_chunk(task, lines), sides.users, sides.movies))


def _chunk(task: Task, lines: IntArray) -> RatingsChunk:
    data = task.data
    return RatingsChunk(
        data.user_ids[data.users[lines]],
        data.movie_ids[data.movies[lines]],
        data.ratings[lines].astype(np.float32),
        data.timestamps[lines],
        None if data.position is None else data.position[lines],
    )


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("*.gz"))


# It does not depend on the model's seed, and seeds of a split come one after the other.
_GRAPHS: dict[tuple[str, str], tempfile.TemporaryDirectory[str]] = {}


def _transform_graph(task: Task, ratings: Path) -> str:
    """Returns the folder of the preprocessing graph made of the ratings; kept per split."""
    key = (task.data.digest, f"{task.split.name} {len(task.fit)}")
    if key not in _GRAPHS:
        _GRAPHS.clear()
        folder = tempfile.TemporaryDirectory()
        _analyze(_files(ratings), Path(folder.name) / "graph")
        _GRAPHS[key] = folder
    return str(Path(_GRAPHS[key].name) / "graph")


def _analyze(paths: list[str], target: Path) -> None:
    schema = text_format.Parse(_SCHEMA_FILE.read_text("utf-8"), schema_pb2.Schema())
    examples = tfxio.TFExampleRecord(paths, schema=schema, telemetry_descriptors=["compare"])
    with (
        tempfile.TemporaryDirectory() as scratch,
        beam.Pipeline() as pipeline,
        tft_beam.Context(temp_dir=scratch),
    ):
        rows = pipeline | examples.BeamSource()
        graph = (rows, examples.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            preprocessing_of(MOVIELENS)
        )
        _ = graph | tft_beam.WriteTransformFn(str(target))


def _crosses(weights: Mapping[str, Any]) -> Metrics:
    """Returns how strongly the cross layer couples each pair, by their names."""
    return {
        f"{CROSS}{one} × {other}": strength
        for strength, one, other in cross_weights.strongest(weights)
    }


def _evaluate(
    predict: tf.types.experimental.GenericFunction, examples: list[bytes]
) -> Mapping[str, FloatArray]:
    compiled = tf.function(
        predict, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    batches = [
        compiled(tf.constant(examples[start : start + _BATCH]))
        for start in range(0, len(examples), _BATCH)
    ]
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def _answer(answers: Mapping[str, FloatArray]) -> Answer:
    return Answer(_predictions(answers, NEXT_VISIT), _predictions(answers, IN_SESSION))


def _predictions(answers: Mapping[str, FloatArray], scenario: Scenario) -> Predictions:
    return Predictions(
        ranks=answers[predictions.rank_of(scenario)].astype(np.int64),
        ratings=answers[predictions.rating_of(scenario)].astype(np.float64),
    )


def _to_new_users(serving: ServingModel, task: Task, sides: _Sides) -> Mapping[int, FloatArray]:
    """Returns the served model's scores for the held-out users, by number of named movies."""
    movies = task.data.shape[1]

    # As a graph, which leaves out the predicted ratings of whole lists: most of the cost.
    @tf.function(autograph=False, reduce_retracing=True)
    def listed(profiles: Features, named: QueryContext) -> tuple[tf.Tensor, tf.Tensor]:
        nothing = Excluded(tf.fill([tf.shape(named.recent_movie_ids)[0], 0], ""), tf.constant(True))
        answer = serving.recommend(profiles, named, tf.constant(movies), nothing)
        return answer["movie_id"], answer["count"]

    return {
        number: _recommended(listed, serving, task, each, sides)
        for number, each in task.split.new_users.items()
    }


def _recommended(
    listed: Callable[[Features, QueryContext], tuple[tf.Tensor, tf.Tensor]],
    serving: ServingModel,
    task: Task,
    new_users: NamedMovies,
    sides: _Sides,
) -> FloatArray:
    """Returns `[users, movies]` scores that order movies as the `recommend` signature does.

    Users give their profile and the movies that they name, with ratings and without times.
    """
    data = task.data
    scores = np.full(data.shape, -np.inf)
    everybody = np.unique(data.users[new_users.wanted])
    for start in range(0, len(everybody), _USERS_AT_ONCE):
        users = everybody[start : start + _USERS_AT_ONCE]
        profiles = _profiles(serving, task, users, sides)
        movie_ids, counts = listed(profiles, _named(data, new_users, users))
        for user, ids, count in zip(users, movie_ids.numpy(), counts.numpy(), strict=True):
            rows = np.searchsorted(data.movie_ids, ids[:count].astype(np.int64))
            scores[user, rows] = -np.arange(count)
    return scores


def _profiles(serving: ServingModel, task: Task, users: IntArray, sides: _Sides) -> Features:
    lines, first = np.unique(task.data.users[task.targets], return_index=True)
    one_each = task.targets[first[np.searchsorted(lines, users)]]
    examples = tf.constant(_examples(task, one_each, sides))
    return parse_first(examples, serving.features.model_inputs(Owner.USER))


def _named(data: Data, new_users: NamedMovies, users: IntArray) -> QueryContext:
    lines = [new_users.named[data.users[new_users.named] == user] for user in users]
    most = max(map(len, lines))
    ids = np.full([len(users), most], b"", object)
    stars = np.zeros([len(users), most], np.float32)
    for row, own in enumerate(lines):
        ids[row, : len(own)] = [str(key).encode() for key in data.movie_ids[data.movies[own]]]
        stars[row, : len(own)] = data.ratings[own]
    return QueryContext(
        timestamp=tf.zeros([len(users)], tf.int64),
        recent_movie_ids=tf.constant(ids, tf.string),
        recent_timestamps=tf.zeros(ids.shape, tf.int64),
        recent_ratings=tf.constant(stars),
    )


def _source() -> str:
    return source_digest("trainer", "components/examples", "transform", "schema")


METHODS: tuple[Method, ...] = (
    Method(
        OURS,
        "Ours",
        "both",
        run,
        quick={"epochs": 1},
        seeds=_SEEDS,
        new_users=True,
        more_source=_source,
    ),
    Method(
        SEQUENCE,
        "with --sequence",
        "retrieval",
        with_sequence,
        quick={"epochs": 1},
        seeds=_SEEDS[:1],
        datasets=(ML_1M,),
        more_source=_source,
    ),
)
