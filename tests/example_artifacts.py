"""Raw files, the ExampleGens' executors on them, and reading what they wrote."""

import dataclasses
import json
import os
import uuid
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tfx.types import artifact_utils, standard_artifacts

from components.example_gen.executor import MoviesExecutor, RatingsExecutor
from components.example_gen.options import ExampleGenOptions
from schema import features as raw

BEAM_ARGS = (
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    # Else TFX packs its own sources in a child process for every executor, which takes longest.
    f"--setup_file={Path(__file__).resolve().parent.parent / 'setup.py'}",
)
GENRES = ("unknown", "Action", "Comedy")

needs_real_data = pytest.mark.skipif(
    "MOVIELENS_DIR" not in os.environ, reason="MOVIELENS_DIR does not say where MovieLens-100K is"
)


def real_dirs():
    """Returns the folders of the real ratings and, if there is one, of their metadata."""
    return Path(os.environ["MOVIELENS_DIR"]), os.environ.get("MOVIES_METADATA_DIR")


def options(**changes):
    """Returns options; files of the same name are never taken from the cache of a test before."""
    defaults = {
        "metadata_dir": None,
        "split": "random",
        "split_seed": 42,
        "invalid_zip": "keep",
        "content_digest": uuid.uuid4().hex,
    }
    return ExampleGenOptions(**{**defaults, **changes})


@dataclasses.dataclass(frozen=True)
class Written:
    """An Examples artifact."""

    artifact: standard_artifacts.Examples

    @property
    def folder(self):
        return Path(self.artifact.uri)

    @property
    def report(self):
        return json.loads((self.folder / "wrangling.json").read_text(encoding="utf-8"))

    @property
    def splits(self):
        return artifact_utils.decode_split_names(self.artifact.split_names)

    def serialized(self, split):
        files = sorted(str(path) for path in (self.folder / f"Split-{split}").glob("*.gz"))
        batches = tf.data.TFRecordDataset(files, "GZIP").batch(8192)
        return [record for batch in batches.as_numpy_iterator() for record in batch.tolist()]

    def rows(self, split):
        """Returns {feature: list of values} of each record, features that are there only."""
        return [parse(record) for record in self.serialized(split)]

    def pairs(self, split):
        """Returns the (user, movie) of each record, as numbers."""
        if not any((self.folder / f"Split-{split}").glob("*.gz")):
            return []
        spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_id")}
        parsed = tf.io.parse_example(self.serialized(split), spec)
        ids = (parsed[name].numpy().astype("int64").tolist() for name in spec)
        return list(zip(*ids, strict=True))

    def frame(self):
        """Returns all splits as a table of values (lists for genres), with a column `split`."""
        rows = []
        for split in self.splits:
            for row in self.rows(split):
                values = {k: v if k == raw.GENRES.name else v[0] for k, v in row.items()}
                rows.append({**values, "split": split})
        return pd.DataFrame(rows)


def parse(record):
    """Returns {feature: values} of a serialized tf.Example, text decoded as UTF-8."""
    found = {}
    for name, feature in tf.train.Example.FromString(record).features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is None:
            continue  # an entry without values: for every reader the feature is missing
        values = list(getattr(feature, kind).value)
        found[name] = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]
    return found


def run_executor(executor_class, data_dir, output, **changes):
    """Runs an ExampleGen's executor as TFX does, on `data_dir`, into the folder `output`."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(output)
    context = executor_class.Context(beam_pipeline_args=list(BEAM_ARGS))
    executor_class(context).Do(
        {},
        {"examples": [artifact]},
        {
            "input_base": str(data_dir),
            "custom_config": json_format.MessageToJson(options(**changes).to_proto()),
        },
    )
    return Written(artifact)


def run_ratings(data_dir, output, **changes):
    return run_executor(RatingsExecutor, data_dir, output, **changes)


def run_movies(data_dir, output, **changes):
    return run_executor(MoviesExecutor, data_dir, output, **changes)


USERS = [f"{user}|24|M|student|12345" for user in range(1, 41)]
RATINGS = [f"{user}\t1\t{user % 5 + 1}\t{880_000_000 + user}" for user in range(1, 41)]


def write_raw(
    directory,
    *,
    users=USERS,
    movies=("1|Toy Story (1995)|01-Jan-1995||http://x|0|1|1",),
    ratings=RATINGS,
    occupations=("student", "writer"),
):
    """Writes the five raw files in Latin-1 and returns their folder; no split is empty."""
    directory.mkdir(exist_ok=True)
    for name, lines in (
        ("u.user", users),
        ("u.item", movies),
        ("u.data", ratings),
        ("u.genre", [f"{genre}|{number}" for number, genre in enumerate(GENRES)]),
        ("u.occupation", occupations),
    ):
        text = "".join(f"{line}\n" for line in lines)
        (directory / name).write_bytes(text.encode("latin-1"))
    return directory
