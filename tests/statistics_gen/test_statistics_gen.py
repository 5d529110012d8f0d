"""What our executor counts in this process, against TFX's own on Beam and a count by hand."""

import collections
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from example_artifacts import BEAM_ARGS
from tfx.components.statistics_gen import executor as stock
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils

from components.statistics_gen import executor

# TFX's own executor on Beam takes seconds: one worker runs it, once.
pytestmark = pytest.mark.xdist_group("statistics_gen")

MANY = 3_000
SPLITS = ("train", "test")


def feature(*values):
    if isinstance(values[0], str):
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[text.encode() for text in values])
        )
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def rows(seed, size):
    """Ids of a long tail, several genres a row, a director that is often missing, odd text."""
    rng = np.random.default_rng(seed)
    movies = np.minimum(rng.zipf(1.2, size), MANY)
    for n, movie in enumerate(movies.tolist()):
        row = {
            "movie_id": feature(str(movie)),
            "title": feature(f"Amélie {movie % 7} <script>"),
            "genres": feature(*[f"g{k}" for k in range(1 + n % 3)]),
            "rating": feature(float(rng.integers(1, 6))),
            "timestamp": feature(int(874_724_710 + rng.integers(0, 20_000_000))),
        }
        if n % 3 == 0:
            row["director"] = feature("Jean-Pierre Jeunet")
        yield tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for number, split in enumerate(SPLITS):
        (folder / f"Split-{split}").mkdir()
        shards = 2 if split == "train" else 1
        for shard in range(shards):
            name = f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / name), "GZIP") as writer:
                for row in rows(10 * number + shard, 6_000 - 3_000 * number):
                    writer.write(row)
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.span = 3
    artifact.split_names = artifact_utils.encode_split_names(list(SPLITS))
    return artifact


def run(executor_class, examples, folder, **properties):
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(folder)
    context = executor_class.Context(beam_pipeline_args=list(BEAM_ARGS))
    executor_class(context).Do(
        {"examples": [examples]},
        {"statistics": [statistics]},
        {"exclude_splits": "[]", **properties},
    )
    return statistics


def read(statistics, split):
    return tfdv.load_stats_binary(str(Path(statistics.uri) / f"Split-{split}/FeatureStats.pb"))


@pytest.fixture(scope="module")
def expected(examples, tmp_path_factory):
    return run(stock.Executor, examples, tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def ours(examples, tmp_path_factory):
    return run(executor.Executor, examples, tmp_path_factory.mktemp("ours"))


@pytest.fixture
def no_beam(monkeypatch):
    def unexpected(_self):
        raise AssertionError("a Beam pipeline was made")

    monkeypatch.setattr(executor.Executor, "_make_beam_pipeline", unexpected)


def by_name(statistics):
    [dataset] = statistics.datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


@pytest.mark.parametrize("split", SPLITS)
def test_numbers_are_those_of_the_stock_executor(ours, expected, split):
    one, other = read(ours, split), read(expected, split)
    assert one.datasets[0].num_examples == other.datasets[0].num_examples > 0
    ours_by_name, theirs = by_name(one), by_name(other)
    assert list(ours_by_name) == list(theirs)
    for name, found in ours_by_name.items():
        assert found.type == theirs[name].type, name
        kind = found.WhichOneof("stats")
        assert kind == theirs[name].WhichOneof("stats"), name
        a, b = getattr(found, kind), getattr(theirs[name], kind)
        for count in ("num_non_missing", "min_num_values", "max_num_values", "tot_num_values"):
            assert getattr(a.common_stats, count) == getattr(b.common_stats, count), name
        if kind == "string_stats":
            assert (a.unique, a.avg_length) == (b.unique, pytest.approx(b.avg_length)), name
            assert ranked(a) == ranked(b), name
        else:
            for number in ("mean", "std_dev", "num_zeros", "min", "median", "max"):
                assert getattr(a, number) == pytest.approx(getattr(b, number), rel=1e-3), name
            for x, y in zip(a.histograms, b.histograms, strict=True):
                assert (x.type, len(x.buckets)) == (y.type, len(y.buckets)), name
                for u, v in zip(x.buckets, y.buckets, strict=True):
                    assert u.low_value == pytest.approx(v.low_value, rel=1e-3), name
                    assert u.sample_count == pytest.approx(v.sample_count, rel=0.02, abs=2), name


def ranked(stats):
    """Counts by rank: which of equally frequent values comes first is nobody's promise."""
    counts = [bucket.sample_count for bucket in stats.rank_histogram.buckets]
    last = counts[-1]
    return counts, {b.label for b in stats.rank_histogram.buckets if b.sample_count > last}


def test_values_are_counted_exactly_though_there_are_thousands_of_them(examples, ours):
    shards = sorted((Path(examples.uri) / "Split-train").glob("*.gz"))
    counted = collections.Counter(
        tf.train.Example.FromString(record).features.feature["movie_id"].bytes_list.value[0]
        for record in tf.data.TFRecordDataset([str(s) for s in shards], "GZIP").as_numpy_iterator()
    )
    assert len(counted) > 1_024
    stats = by_name(read(ours, "train"))["movie_id"].string_stats
    assert stats.unique == len(counted)
    assert len(stats.rank_histogram.buckets) == 1_000
    for bucket in stats.rank_histogram.buckets:
        assert bucket.sample_count == counted[bucket.label.encode()], bucket.label


def test_artifact_is_described_like_the_stock_one(ours, expected):
    assert ours.split_names == expected.split_names
    assert ours.span == expected.span == 3


def test_small_data_needs_no_beam_pipeline(examples, tmp_path, no_beam):
    run(executor.Executor, examples, tmp_path)


@pytest.mark.parametrize(
    "properties",
    [
        {"stats_options_json": tfdv.StatsOptions(num_top_values=3).to_json()},
        {"sample_rate_by_split": json_utils.dumps({"train": 0.5})},
        {"exclude_splits": json_utils.dumps(["train"])},
    ],
)
def test_options_of_the_stock_component_are_left_to_its_executor(
    examples, tmp_path, no_beam, properties
):
    with pytest.raises(AssertionError, match="a Beam pipeline was made"):
        run(executor.Executor, examples, tmp_path, **properties)


def test_large_data_goes_to_beam(examples, tmp_path, no_beam, monkeypatch):
    monkeypatch.setattr(executor, "MAX_BYTES", 1_000)
    with pytest.raises(AssertionError, match="a Beam pipeline was made"):
        run(executor.Executor, examples, tmp_path)


@pytest.mark.parametrize(
    "executor_class",
    [pytest.param(stock.Executor, marks=pytest.mark.exhaustive), executor.Executor],
)
def test_split_without_rows_has_statistics_without_features(executor_class, tmp_path):
    folder = tmp_path / "examples" / "Split-test"
    folder.mkdir(parents=True)
    tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP").close()
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder.parent)
    artifact.split_names = artifact_utils.encode_split_names(["test"])
    [dataset] = read(run(executor_class, artifact, tmp_path / "statistics"), "test").datasets
    assert dataset.num_examples == 0
    assert not dataset.features
