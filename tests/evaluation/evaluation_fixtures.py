"""A stand-in for the exported model, test rows on disk, and the stock Evaluator around them."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from schema import features

# Without a named setup file TFX packs its own sources for remote workers: 1.5 CPU s a run.
BEAM_ARGS = [
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--setup_file=./setup.py",
]

GENDERS = ("Female", "Male")
OCCUPATIONS = ("artist", "doctor", "student")


@dataclasses.dataclass(frozen=True)
class Row:
    """One test row: the truth, the slices it is in, and what the model will answer."""

    rating: float
    predicted: float
    rank: int
    in_session_predicted: float = 3.0
    in_session_rank: int = 40
    popularity_rank: int = 20
    popularity: int = 10
    item: int = 0
    movie: int = 0
    user: int = 1
    known: bool = True
    gender: str = "Male"
    age: int | None = 25
    occupation: str = "student"


def random_rows(count, seed=0, movies=300):
    random = np.random.default_rng(seed)

    def rank():
        return int(random.integers(1, movies)) if random.random() > 0.05 else -1

    return [
        Row(
            rating=float(rating),
            predicted=float(rating + random.uniform(-1.0, 1.0)),
            rank=rank(),
            in_session_predicted=float(rating + random.uniform(-1.5, 1.5)),
            in_session_rank=rank(),
            popularity_rank=rank(),
            popularity=int(random.integers(1, 100)),
            user=(user := int(random.integers(1, 30))),
            item=user % 7,
            movie=number,
            gender=str(random.choice(GENDERS)),
            age=int(random.choice(features.AGE_BUCKETS)),
            occupation=str(random.choice(OCCUPATIONS)),
        )
        for number, rating in enumerate(random.integers(1, 6, count))
    ]


def items_of_list(item, in_session=False):
    """The ten rows of the catalogue that the stand-in recommends; the last is missing."""
    start = item + (50 if in_session else 0)
    return [*range(start, start + 9), -1]


def items_popularity(item, in_session=False):
    """The mean popularity that the stand-in says of its list."""
    return 20.0 + 5 * item + (1 if in_session else 0)


CATALOGUE_SIZE = 300


def to_example(row):
    def int64s(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def texts(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))

    def floats(*values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    columns = {
        features.RATING.name: floats(row.rating),
        features.GENDER.name: texts(row.gender),
        features.AGE_BUCKET.name: int64s(*([] if row.age is None else [row.age])),
        features.OCCUPATION.name: texts(row.occupation),
        features.GENRES.name: texts(*OCCUPATIONS[: row.movie % 3]),
        features.USER_ID.name: texts(str(row.user)),
        features.MOVIE_ID.name: texts(str(row.movie)),
        features.TITLE.name: texts(f"Title {row.movie}"),
        "answer_predicted": floats(row.predicted, row.in_session_predicted),
        "answer_ranks": int64s(row.rank, row.in_session_rank, row.popularity_rank),
        "answer_counts": int64s(row.popularity, row.user, row.item, int(row.known)),
    }
    return tf.train.Example(features=tf.train.Features(feature=columns))


class AnswerModel(tf.Module):
    """Returns the answers written in each Example, shifted by weights of its own."""

    def __init__(self, rating_shift=0.0, rank_shift=0):
        super().__init__()
        self.rating_shift = tf.Variable(rating_shift, dtype=tf.float32)
        self.rank_shift = tf.Variable(rank_shift, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        parsed = tf.io.parse_example(
            examples,
            {
                "answer_predicted": tf.io.FixedLenFeature([2], tf.float32),
                "answer_ranks": tf.io.FixedLenFeature([3], tf.int64),
                "answer_counts": tf.io.FixedLenFeature([4], tf.int64),
            },
        )
        ranks, counts = parsed["answer_ranks"], parsed["answer_counts"]
        shifted = tf.where(ranks > 0, ranks + self.rank_shift, ranks)
        stars = parsed["answer_predicted"] + self.rating_shift
        popularity, user, item, known = tf.unstack(counts, axis=1)
        places = item[:, tf.newaxis] + tf.range(10, dtype=tf.int64)
        items = tf.where(tf.range(10) < 9, places, -1)
        mean = 20.0 + 5.0 * tf.cast(item, tf.float32)
        return {
            "user_key": user,
            "known_user": known > 0,
            "next_visit_rank": shifted[:, 0],
            "next_visit_rating": stars[:, 0],
            "next_visit_items": items,
            "next_visit_items_popularity": mean,
            "in_session_rank": shifted[:, 1],
            "in_session_rating": stars[:, 1],
            "in_session_items": tf.where(items >= 0, items + 50, items),
            "in_session_items_popularity": mean + 1.0,
            "next_visit_popularity_rank": ranks[:, 2],
            "movie_popularity": popularity,
            "catalogue_size": tf.fill(tf.shape(user), tf.constant(CATALOGUE_SIZE, tf.int64)),
        }


def export_model(uri, rating_shift=0.0, rank_shift=0, folder="Format-Serving"):
    """Writes an AnswerModel where TFX expects a Model artifact to hold its SavedModel."""
    model = AnswerModel(rating_shift, rank_shift)
    path = Path(uri) / folder
    tf.saved_model.save(model, str(path), signatures={"evaluate": model.serve})
    return path


def write_examples(uri, rows, split="test"):
    folder = Path(uri) / f"Split-{split}"
    folder.mkdir(parents=True)
    path = str(folder / "data_tfrecord-00000-of-00001.gz")
    with tf.io.TFRecordWriter(path, options="GZIP") as writer:
        for row in rows:
            writer.write(to_example(row).SerializeToString())


def examples_artifact(uri, splits=("test",)):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(uri)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    return artifact


def model_artifact(uri):
    artifact = standard_artifacts.Model()
    artifact.uri = str(uri)
    return artifact


def schema_artifact(uri, text):
    Path(uri).mkdir(parents=True)
    (Path(uri) / "schema.pbtxt").write_text(text)
    artifact = standard_artifacts.Schema()
    artifact.uri = str(uri)
    return artifact


@dataclasses.dataclass(frozen=True)
class Evaluated:
    evaluation: Path
    blessing: Path
    blessed: int


def run_evaluator(
    folder,
    config,
    examples,
    model,
    baseline=None,
    module_path="components.evaluation.extractors",
    schema=None,
):
    """Runs the stock Evaluator's executor and returns where its outputs are."""
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = str(Path(folder) / "evaluation")
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(Path(folder) / "blessing")
    inputs = {"examples": [examples_artifact(examples)], "model": [model_artifact(model)]}
    if baseline is not None:
        inputs["baseline_model"] = [model_artifact(baseline)]
    if schema is not None:
        inputs["schema"] = [schema_artifact(Path(folder) / "schema", schema)]
    context = executor.Executor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(Path(folder) / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json_utils.dumps(["test"]),
            "fairness_indicator_thresholds": "null",
            "module_path": module_path,
        },
    )
    return Evaluated(
        evaluation=Path(evaluation.uri),
        blessing=Path(blessing.uri),
        blessed=blessing.get_int_custom_property("blessed"),
    )


def load_metrics(evaluation, model_name=""):
    """Returns {slice key: {metric: value}} as TFMA's own loader reads them."""
    result = tfma.load_eval_result(str(evaluation), model_name=model_name)
    return {
        key: {name: value["doubleValue"] for name, value in by_sub_key[""][""].items()}
        for key, by_sub_key in result.slicing_metrics
    }
