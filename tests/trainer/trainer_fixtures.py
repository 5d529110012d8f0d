"""A small world on disk (sample data, Examples, transform graph), models trained on it,
and slow, independent answers to the same queries."""

import dataclasses
import json
import math
import shutil
import tempfile
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import scipy.stats
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import json_format, text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.components.trainer import fn_args_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.public import tfxio

from components import progress
from components.example_gen import executor
from components.example_gen.options import ExampleGenOptions
from components.examples import events
from pipeline.pipeline import LOCAL_BEAM_ARGS, SCHEMA_FILE
from schema import features as raw
from sources.sample import generate_sample
from trainer import run
from trainer.config import (
    LEFT_OUT_FILE,
    BpmfConfig,
    LongTermConfig,
    ModelConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.data import training_data
from trainer.evaluation.signature import Evaluation
from trainer.serving.module import ServingModel
from transform.outputs import UNKNOWN_TIME
from transform.preprocessing import preprocessing_of

USER_FIELDS = (raw.USER_ID, raw.GENDER, raw.AGE, raw.OCCUPATION, raw.ZIP_CODE)

# Few decay times and events, and a batch smaller than some histories: every edge is met.
SMALL = TrainerConfig(
    model=ModelConfig(embedding_dim=8, recency_events=16, rating_dim=8, hidden_units=8),
    long_term=LongTermConfig(
        embedding_dim=6,
        epochs=3,
        batch_users=16,
        autoencoders=2,
        ease_penalty=20.0,
        ials_dim=5,
        ials_iterations=3,
    ),
    bpmf=BpmfConfig(rank=4, burn_in=3, draws=3, thinning=2, components=3),
    train=TrainConfig(epochs=2, batch_size=128, learning_rate=0.01, seed=7),
)


# --- data


@dataclasses.dataclass(frozen=True)
class World:
    """Files of a data set, as the components before the Trainer leave them."""

    folder: Path
    rating_files: dict[str, list[str]]
    event_files: dict[str, list[str]]
    user_files: list[str]
    movie_files: list[str]
    transform_graph: str


def make_world(folder, ratings=2_500, seed=11):
    generate_sample(folder / "raw", ratings=ratings, seed=seed)
    return world_of(folder / "raw", folder / "raw" / "metadata", folder)


def world_of(data_dir, metadata_dir, folder, table=raw.MOVIELENS, **more):
    """Reads raw files as the components do; `metadata_dir` may be None."""
    options = ExampleGenOptions(
        metadata_dir=str(metadata_dir) if metadata_dir else None,
        split_seed=42,
        invalid_zip="keep",
        content_digest="",
        features=table,
        **{"split": "random", **more},
    )
    ratings_files = _generate(executor.RatingsExecutor, data_dir, folder, "ratings", options)
    movie_files = _generate(executor.MoviesExecutor, data_dir, folder, "catalogue", options)
    analyzed = [path for split in SMALL.train.splits for path in ratings_files[split]]
    return World(
        folder=folder,
        rating_files=ratings_files,
        event_files={
            split: sorted(map(str, (folder / "ratings" / f"Events-{split}").iterdir()))
            for split in ratings_files
        },
        user_files=sorted(map(str, (folder / "ratings" / "Users").iterdir())),
        movie_files=movie_files["movies"],
        transform_graph=analyze(analyzed, folder / "transform_graph", table),
    )


def _generate(executor_class, data_dir, folder, name, options):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / name)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[*LOCAL_BEAM_ARGS, "--setup_file=./setup.py"],
        tmp_dir=str(folder / "tmp"),
        unique_id=name,
    )
    executor_class(context).Do(
        {},
        {"examples": [artifact]},
        {
            "input_base": str(data_dir),
            "custom_config": json_format.MessageToJson(options.to_proto()),
        },
    )
    return {
        split: sorted(str(path) for path in (Path(artifact.uri) / f"Split-{split}").glob("*.gz"))
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }


def schema_of(table):
    """The curated schema of MovieLens; of other tables the types of their columns."""
    if table is raw.MOVIELENS:
        return text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    spec = {
        one.name: tf.io.VarLenFeature(tf.dtypes.as_dtype(one.dtype))
        if one.multivalued or one.optional
        else tf.io.FixedLenFeature([], one.dtype)
        for one in table.features
    }
    return schema_utils.schema_from_feature_spec(spec)


def analyze(paths, target, table=raw.MOVIELENS):
    """Runs TensorFlow Transform's analysis in this process; returns the graph's folder."""
    schema = schema_of(table)
    source = tfxio.TFExampleRecord(paths, schema=schema, telemetry_descriptors=["test"])
    with (
        tempfile.TemporaryDirectory() as scratch,
        beam.Pipeline() as pipeline,
        tft_beam.Context(temp_dir=scratch),
    ):
        rows = pipeline | source.BeamSource()
        graph = (rows, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            preprocessing_of(table)
        )
        _ = graph | tft_beam.WriteTransformFn(str(target))
    return str(target)


def read_examples(paths):
    for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        yield tf.train.Example.FromString(record)


def value(example, feature):
    """The single value of a feature of a tf.Example, as Python sees it; None if missing."""
    held = example.features.feature.get(feature.name)
    if held is None:
        return None
    values = getattr(held, held.WhichOneof("kind")).value
    return values[0] if values else None


def as_text(held):
    return held.decode() if isinstance(held, bytes) else held


def to_example(**columns):
    """Builds a tf.Example; text, whole and other numbers find their kind."""
    example = tf.train.Example()
    for name, column in columns.items():
        values = column if isinstance(column, list) else [column]
        feature = example.features.feature[name]
        if isinstance(values[0], str | bytes):
            encoded = [v.encode() if isinstance(v, str) else v for v in values]
            feature.bytes_list.value.extend(encoded)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example


def write_examples(path, examples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    return str(path)


def write_events(folder, rows, table=raw.MOVIELENS):
    """Ratings that are given as tf.Examples, as an event file and the users' Examples."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = (table.user_id, table.item_id)
    columns = {}
    given = (raw.Kind.RATING, raw.Kind.TIME, raw.Kind.POSITION)
    for feature in (*ids, *(one for kind in given for one in table.of_kind(kind))):
        values = pa.array([value(row, feature) for row in rows], ARROW[feature.dtype])
        columns[feature.name] = values
        if feature in ids:
            known = sorted(values.unique().to_pylist())
            codes = [known.index(held) for held in values.to_pylist()]
            columns[feature.name] = pa.DictionaryArray.from_arrays(
                pa.array(codes, pa.int32()), pa.array(known, pa.binary())
            )
    path = str(folder / "0.arrow")
    events.write_events(path, columns)
    users = {value(row, table.user_id): row for row in rows}
    return path, write_examples(folder / "users.gz", users.values())


ARROW = {"string": pa.binary(), "int64": pa.int64(), "float32": pa.float32()}


# --- training


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that `run_fn` trained and exported, with the objects it was exported from.

    `path` and `serving` are the model that is evaluated, which knows what it was fitted to;
    `served_path` and `served` the one that is served, which knows every split.
    """

    path: Path
    served_path: Path
    run_dir: Path
    serving: ServingModel
    served: ServingModel
    evaluation: Evaluation
    catalogue: training_data.Catalogue
    users: training_data.Users
    interactions: training_data.Interactions
    transform: tft.TFTransformOutput
    progress_lines: list[str]
    config: TrainerConfig


def train(
    world,
    folder,
    monkeypatch,
    config=SMALL,
    rating_files=None,
    hyperparameters=None,
    table=raw.MOVIELENS,
    exports=("export", "export_evaluation"),
):
    """Calls `run_fn` as the Trainer component does; keeps a hold of what it exported.

    Functions of `trainer.export` that are not among `exports` do nothing, which saves seconds.
    """
    arguments = fn_args_utils.FnArgs(
        transform_graph_path=world.transform_graph,
        serving_model_dir=str(folder / "served"),
        eval_model_dir=str(folder / "evaluated"),
        model_run_dir=str(folder / "run"),
        custom_config={**config.to_json(), raw.FEATURES_KEY: table.to_json()},
        hyperparameters=hyperparameters,
    )
    arguments.event_files, arguments.user_files = world.event_files, world.user_files
    if rating_files:
        written = {
            split: write_events(folder / split, list(read_examples(paths)), table)
            for split, paths in rating_files.items()
        }
        arguments.event_files = {split: [path] for split, (path, _) in written.items()}
        arguments.user_files = [path for _, path in written.values()]
    arguments.movie_files = world.movie_files
    arguments.dataset = {"title": "Novels", "item_noun": "book"}
    (folder / "run").mkdir(parents=True)
    kept = {"progress_lines": []}

    train_everything = run.train

    def recorded_train(config, data, *rest):
        trained = train_everything(config, data, *rest)
        kept.update(
            serving=trained.evaluation.serving,
            served=trained.serving,
            evaluation=trained.evaluation,
            catalogue=data.catalogue,
            users=data.users,
            interactions=data.interactions,
            transform=data.transform_output,
        )
        return trained

    with monkeypatch.context() as patch, progress.sink(kept["progress_lines"].append):
        patch.setattr(run, "train", recorded_train)
        for name in {"export", "export_evaluation"} - set(exports):
            patch.setattr(run.export, name, lambda *arguments: None)  # type: ignore[attr-defined]
        run.run_fn(arguments)
    return Trained(
        path=folder / "evaluated",
        served_path=folder / "served",
        run_dir=folder / "run",
        config=config,
        **kept,
    )


def left_out_of(path):
    """Returns the parts that an exported model lacks, and why, by name."""
    return json.loads((path / "assets.extra" / LEFT_OUT_FILE).read_text())


def copy_of(path, target):
    shutil.copytree(path, target)
    return target


# --- requests


def user_inputs(*profiles, timestamp=0):
    """Inputs of `recommend` and `rank` for profiles given by column name, else empty."""
    columns = {
        feature.name: tf.constant(
            [profile.get(feature.name, feature.missing) for profile in profiles],
            feature.dtype,
            [len(profiles)],
        )
        for feature in USER_FIELDS
    }
    times = timestamp if isinstance(timestamp, list) else [timestamp] * len(profiles)
    return columns | {raw.TIMESTAMP.name: tf.constant(times, tf.int64, [len(profiles)])}


def recent_inputs(recent, count):
    """Inputs for lists of (time, id) or (time, id, stars) events, one list for each profile."""
    recent = recent or [[] for _ in range(count)]
    width = max((len(events) for events in recent), default=0)
    full = [[(*event, 0.0)[:3] for event in events] for events in recent]
    padded = [[*events, *[(0, "", 0.0)] * (width - len(events))] for events in full]
    columns = {
        "recent_movie_ids": (1, tf.string),
        "recent_timestamps": (0, tf.int64),
        "recent_ratings": (2, tf.float32),
    }
    return {
        name: tf.constant(
            [[event[place] for event in row] for row in padded], dtype, [len(recent), width]
        )
        for name, (place, dtype) in columns.items()
    }


def recommend(model, *profiles, k=10, exclude=None, exclude_seen=True, timestamp=0, recent=None):
    exclude = exclude or [[] for _ in profiles]
    width = max((len(ids) for ids in exclude), default=0)
    padded = [[*ids, *[""] * (width - len(ids))] for ids in exclude]
    answer = model.signatures["recommend"](
        **user_inputs(*profiles, timestamp=timestamp),
        **recent_inputs(recent, len(profiles)),
        k=tf.constant(k, tf.int32),
        exclude_movie_ids=tf.constant(padded, tf.string, [len(exclude), width]),
        exclude_seen=tf.constant(exclude_seen),
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


def rank(model, *profiles, movies, timestamp=0, recent=None):
    answer = model.signatures["rank"](
        **user_inputs(*profiles, timestamp=timestamp),
        **recent_inputs(recent, len(profiles)),
        movie_ids=tf.constant(movies, tf.string, [len(movies), len(movies[0]) if movies else 0]),
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


def similar(model, *movies, k=5):
    answer = model.signatures["similar"](
        movie_id=tf.constant(movies, tf.string, [len(movies)]), k=tf.constant(k, tf.int32)
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


def explain(model, *profiles, movies, k=3, timestamp=0, recent=None):
    answer = model.signatures["explain"](
        **user_inputs(*profiles, timestamp=timestamp),
        **recent_inputs(recent, len(profiles)),
        movie_ids=tf.constant(movies, tf.string, [len(movies), len(movies[0])]),
        k=tf.constant(k, tf.int32),
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


def predict(model, *examples):
    serialized = [example.SerializeToString() for example in examples]
    answer = model.signatures["evaluate"](
        examples=tf.constant(serialized, tf.string, [len(examples)])
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


# --- the oracle


class Oracle:
    """Scores and stars from the trained variables, one pair at a time, in plain Python."""

    def __init__(self, trained):
        self.trained = trained
        self.retrieval = trained.serving.retrieval
        self.tower = self.retrieval._query_tower
        self.config = SMALL.model
        self.catalogue = trained.catalogue
        blocks = [self.retrieval.candidates.numpy(), self.retrieval.towers.numpy()]
        self.candidates = np.concatenate(blocks, axis=1).astype(np.float64)
        self.movies = {movie: row for row, movie in enumerate(trained.catalogue.ids.tolist())}
        self.known_users = {user: row for row, user in enumerate(trained.users.ids.tolist())}
        self.vocabulary = np.asarray(trained.catalogue.features["movie_id_index"])

    def history(self, user):
        """(time, movie row) of each training rating of a user, by time."""
        row = self.known_users.get(user)
        held = self.trained.interactions
        return sorted(
            (int(time), int(movie))
            for time, movie, owner in zip(
                held.timestamp, held.movie_row, held.user_row, strict=True
            )
            if owner == row
        )

    def profile(self, profile, timestamp):
        """Transformed features of user and context, by the transform graph, run eagerly."""
        inputs = {
            feature.name: tf.constant([profile.get(feature.name, feature.missing)], feature.dtype)
            for feature in USER_FIELDS
        }
        age = inputs[raw.AGE.name]
        inputs[raw.AGE.name] = tf.sparse.from_dense(age[:, tf.newaxis])
        inputs[raw.TIMESTAMP.name] = tf.constant([timestamp], tf.int64)
        layer = self.trained.transform.transform_features_layer()
        indices = {name: int(tensor[0]) for name, tensor in layer(inputs).items()}
        if timestamp > max(self.trained.interactions.timestamp):
            indices["time_bucket"] = UNKNOWN_TIME
        return indices

    def rating_residual(self, user, row):
        """How many stars a training rating is above its user's mean."""
        held = self.trained.interactions
        own = held.user_row == self.known_users[user]
        rating = held.rating[own & (held.movie_row == row)]
        return float(rating[0]) - float(held.rating[own].astype(np.float64).mean())

    def mean_rating(self, user):
        """The user's mean rating, of an unknown one that of all, in stars."""
        held = self.trained.interactions
        own = held.user_row == self.known_users.get(user, -1)
        return float((held.rating[own] if own.any() else held.rating).astype(np.float64).mean())

    def listed(self, user, recent):
        """The request's events that count for the list: of somebody new, no dislikes."""
        known = user in self.known_users
        return [event for event in last_of_each(recent) if known or not 0 < event[2] < 3]

    def residuals(self, user, recent=()):
        """Residuals by row, of the history's movies and of the new ones of `recent`."""
        found = {row: self.rating_residual(user, row) for _, row in self.history(user)}
        for _, row, stars in self.listed(user, recent):
            found.setdefault(row, stars - self.mean_rating(user) if stars else 0.0)
        return found

    def autoencoder(self, profile, timestamp, residuals):
        """The autoencoder's scores of all movies."""
        model = self.retrieval._autoencoder
        inputs, weights = model.input_table.numpy(), model.rating_weights.numpy()
        total = np.zeros(inputs.shape[1])
        for row, residual in residuals.items():
            total += inputs[row] + residual * weights[row]
        query = total / math.sqrt(len(residuals) + 1) + model.start.numpy()
        for name, index in self.profile(profile, timestamp).items():
            if name in model.profile.tables:
                query = query + model.profile.tables[name].numpy()[index]
        width = inputs.shape[1]
        return self.candidates[:, :width] @ np.tanh(query) + self.candidates[:, width]

    def ease(self, residuals):
        """EASE's scores of all movies, as they count in a session."""
        config, scores = self.trained.config.long_term, np.zeros(len(self.candidates))
        for row, residual in residuals.items():
            weight = config.ease_weight * (1.0 + config.ease_rating_weight * residual)
            scores += weight * self.retrieval.ease.weights.numpy()[row]
        return scores

    def ials_matrix(self, events):
        """The matrix of the normal equations of a user's vector of iALS."""
        config = self.trained.config.long_term
        vectors = self.retrieval.ials.movies.numpy().astype(np.float64)
        scaled = len(events) + config.ials_unobserved * len(vectors)
        weights = np.full(len(vectors), config.ials_unobserved)
        weights[list(events)] += 1.0
        ridge = config.ials_penalty * scaled**config.ials_exponent
        return (vectors.T * weights) @ vectors + ridge * np.eye(vectors.shape[1])

    def ials(self, events):
        """Scores of all movies by iALS."""
        vectors = self.retrieval.ials.movies.numpy().astype(np.float64)
        right = vectors[list(events)].sum(axis=0)
        return vectors @ np.linalg.solve(self.ials_matrix(events), right)

    def kernel_of(self, residuals):
        """1 - angle / π between a history and that of each user with fitted ratings."""
        weight = self.trained.config.long_term.kernel_rating_weight
        held, own = self.trained.interactions, np.zeros(len(self.candidates))
        for row, residual in residuals.items():
            own[row] = 1.0 + weight * residual
        found, histories = [], []
        for user in np.unique(held.user_row):
            rows, stars = (part[held.user_row == user] for part in (held.movie_row, held.rating))
            other = np.zeros(len(own))
            other[rows] = 1.0 + weight * (stars - stars.astype(np.float64).mean())
            histories.append(other)
            lengths = np.linalg.norm(own) * np.linalg.norm(other)
            cosine = np.clip(own @ other / lengths, -1.0, 1.0) if residuals else 0.0
            found.append(1.0 - np.arccos(cosine) / math.pi)
        return np.array(found) * bool(residuals), np.array(histories)

    def kernel(self, residuals):
        """Scores of all movies by kernel regression, 0 where there is none."""
        if self.retrieval.kernel is None:
            return np.zeros(len(self.candidates))
        kernel, _ = self.kernel_of(residuals)
        return kernel @ self.retrieval.kernel.weights.numpy().astype(np.float64)

    def standalone(self, user, profile, timestamp, recent=()):
        """Scores of all movies by each standalone model."""
        residuals = self.residuals(user, recent)
        return [
            self.autoencoder(profile, timestamp, residuals),
            self.ease(residuals),
            self.ials(residuals),
            self.kernel(residuals),
        ]

    def blend_weights(self, length):
        """Weights of autoencoder, EASE, iALS and kernel, given the number of known events."""
        config = self.trained.config.long_term
        of_autoencoder, of_kernel = (
            np.interp(length, config.blend_lengths, values)
            for values in (config.autoencoder_weights, config.kernel_shares)
        )
        of_kernel *= self.retrieval.kernel is not None
        return of_autoencoder, 1.0 - of_kernel, config.ials_share, of_kernel

    def long_term(self, user, profile, timestamp, recent=()):
        """Scores of the next visit, whatever the time; `recent` are (time, row, stars)."""
        config = self.trained.config.long_term
        length = len(self.residuals(user, recent))
        counts = np.bincount(self.trained.interactions.movie_row, minlength=len(self.candidates))
        prior = np.interp(length, config.blend_lengths, config.popularity_weights)
        total = prior * scipy.stats.zscore(np.log1p(counts))
        found = self.standalone(user, profile, timestamp, recent)
        for weight, scores in zip(self.blend_weights(length), found, strict=True):
            total = total + weight * (scores - scores.mean()) / max(scores.std(), 1e-6)
        return total

    def latest(self, user, timestamp, recent):
        """(seconds, row) of the latest events of the query's session.

        Walks back from the query, event by event, until a gap is longer than a session's.
        """
        given = [(time, row) for time, row, _ in last_of_each(recent) if 0 < time <= timestamp]
        rows = {row for _, row in given}
        known = [
            event for event in self.history(user) if event[0] < timestamp and event[1] not in rows
        ]
        # In one second, those of the request are the later ones.
        ordered = sorted(known + given, key=lambda event: event[0])
        session, after = [], timestamp
        for time, row in ordered[::-1][: self.config.recency_events]:
            if after - time > 30 * 60:
                break
            session.append((timestamp - time, row))
            after = time
        return session

    def query(self, user, profile, timestamp, recent=()):
        history = self.history(user)
        rows = list(self.residuals(user, recent))
        table = self.tower.history.numpy().astype(np.float64)
        liked = sum((table[self.vocabulary[row]] for row in rows), np.zeros(table.shape[1]))
        liked = liked / math.sqrt(len(rows) + 1)
        for name, index in self.profile(profile, timestamp).items():
            if name in self.tower.profile.tables:
                liked = liked + self.tower.profile.tables[name].numpy()[index]
        latest = self.latest(user, timestamp, self.listed(user, recent))
        if latest:
            # Buckets end at powers of two: 2 seconds, 4, 8, ...
            bucket = int(math.log2(max(min(seconds for seconds, _ in latest), 1)))
            liked = liked + self.tower.seconds_table.numpy()[min(bucket, 30)]
            # So many events in all, distinguished at 1, 2, 3, 4, 6, 8, 12, 16, ...
            number = sum(time < timestamp for time, _ in history)
            times = {row: time for time, row, _ in last_of_each(recent)}
            number += sum(times[row] <= timestamp for row in rows[len(history) :])
            limits = [1] + [k << power for power in range(17) for k in (2, 3)]
            bucket = sum(number >= limit for limit in limits)
            liked = liked + self.tower.lengths_table.numpy()[bucket]
        recency = slow_recency(
            [(seconds, self.vocabulary[row]) for seconds, row in latest],
            self.tower.recency.numpy(),
            self.tower.mixture.numpy(),
            self.config.recency_seconds,
        )
        return np.concatenate([liked, recency, [1.0]])

    def scores(self, user, profile, timestamp, recent=()):
        latest = self.latest(user, timestamp, self.listed(user, recent))
        if not latest:
            return self.long_term(user, profile, timestamp, recent)
        query = self.query(user, profile, timestamp, recent)
        towers = self.candidates[:, -len(query) :] @ query
        autoencoder, ease, *_ = self.standalone(user, profile, timestamp, recent)
        return towers + self.trained.config.long_term.session_weight * (autoencoder + ease)

    def stars(self, profile, timestamp, row, recent=()):
        """The rating model's answer for a movie of the catalogue, called for one pair."""
        features = {
            name: tf.constant([index], tf.int64)
            for name, index in self.profile(profile, timestamp).items()
        }
        movie = {
            name: (
                tf.ragged.constant([values[row].tolist()], dtype=tf.int64)
                if isinstance(values, list)
                else tf.constant([values[row]], tf.int64)
            )
            for name, values in self.catalogue.features.items()
        }
        rating, weight = self.trained.serving.rating, self.trained.config.bpmf.weight
        network = float(rating.network(features, movie, training=False)[0])
        predicted = self.posterior_stars(profile, timestamp, recent)
        user = fixture_bytes(profile.get("user_id", ""))
        stars = weight * predicted[row] + (1 - weight) * network
        stars += self.session_residual(user, timestamp, recent, predicted)
        return min(max(stars, 1.0), 5.0)

    def session_residual(self, user, timestamp, recent, predicted):
        """The mean residual of the session's ratings: the later, the more it weighs."""
        config, held = self.trained.config.bpmf, self.trained.interactions
        own = held.user_row == self.known_users.get(user, -1)
        stars = dict(zip(held.movie_row[own].tolist(), held.rating[own].tolist(), strict=True))
        stars |= {row: given for time, row, given in last_of_each(recent) if 0 < time <= timestamp}
        total = weights = 0.0
        for seconds, row in self.latest(user, timestamp, recent):
            if stars[row]:
                weight = math.exp(-seconds / config.session_seconds)
                total += weight * (stars[row] - predicted[row])
                weights += weight
        return total / (weights + config.session_shrinkage)

    def posterior_stars(self, profile, timestamp, recent=()):
        """The factorisation's ratings of all movies: a Bayesian regression for each draw."""
        user = fixture_bytes(profile.get("user_id", ""))
        held, user_row = self.trained.interactions, self.known_users.get(user, -1)
        before = {row for _, row in self.history(user)}
        events = {
            int(movie): float(stars)
            for movie, stars, owner in zip(held.movie_row, held.rating, held.user_row, strict=True)
            if owner == user_row and movie in before
        }
        for _, movie, stars in last_of_each(recent):
            events.setdefault(movie, stars or None)
        bpmf = self.trained.serving.rating.bpmf
        fitted, indices = bpmf.fitted, self.profile(profile, timestamp)
        features = fitted.history_features
        parts = features.event_weights[list(events)].sum(axis=0) / math.sqrt(max(len(events), 1))
        scale = features.count_scale
        length = min(max(math.log(1 + len(events)), scale.lowest), scale.highest)
        known = [1.0, *parts, (length - scale.mean) / scale.spread]
        for name, table in bpmf.profile_weights.items():
            marks = np.zeros(table.shape[0])
            marks[indices[name]] = 1.0
            known.extend(marks)
        rated = [movie for movie, stars in events.items() if stars is not None]
        total = 0.0
        for draw, movies in enumerate(fitted.draws.movies.astype(np.float64)):
            inputs = movies.copy()
            inputs[:, 0] = 1.0
            targets = [events[movie] - fitted.mean - movies[movie, 0] for movie in rated]
            prior = fitted.draws.user_precision[draw].astype(np.float64)
            weighted = inputs[rated].T * fitted.draws.noise_precision[draw, rated]
            state = np.linalg.solve(
                weighted @ inputs[rated] + prior,
                weighted @ np.array(targets).reshape(-1)
                + prior @ (np.array(known) @ fitted.draws.user_weights[draw]),
            )
            total = total + fitted.mean + movies[:, 0] + inputs @ state
        return total / len(fitted.draws.movies)


class OracleBefore(Oracle):
    """The same before a time: later events and their stars are not known.

    The time itself counts as one after the training.
    """

    def __init__(self, oracle, timestamp):
        self.__dict__.update(oracle.__dict__)
        self.timestamp = timestamp

    def history(self, user):
        return [event for event in super().history(user) if event[0] < self.timestamp]

    def profile(self, profile, timestamp):
        return super().profile(profile, timestamp) | {"time_bucket": UNKNOWN_TIME}

    def rating_residual(self, user, row):
        held = self.trained.interactions
        known = (held.user_row == self.known_users[user]) & (held.timestamp < self.timestamp)
        rating = held.rating[known & (held.movie_row == row)]
        return float(rating[0]) - float(held.rating[known].astype(np.float64).mean())


def last_of_each(recent):
    """(time, row, stars) of the last event of each movie, in event order."""
    full = [(*event, 0.0)[:3] for event in recent]
    ordered = sorted(full, key=lambda event: event[0])
    last = {row: place for place, (_, row, _) in enumerate(ordered)}
    return [ordered[place] for place in sorted(last.values())]


def fixture_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def slow_recency(events, table, mixture, decays):
    """Session component of (seconds before the query, table index) events, by its formula."""
    total = np.zeros(table.shape[1])
    for number, decay in enumerate(decays):
        weights = [math.exp(-seconds / decay) for seconds, _ in events]
        norm = math.sqrt(sum(weights) + 0.5)
        for weight, (_, index) in zip(weights, events, strict=True):
            total += weight / norm * table[index].astype(np.float64) * mixture[number]
    return total
