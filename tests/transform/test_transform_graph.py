"""The preprocessing graph: learnt from a small data set, saved, loaded, and called in parts."""

import collections
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from schema import features as raw
from schema.features import Owner
from transform import outputs as out
from transform import preprocessing

# One worker learns the graph, once: it takes seconds.
pytestmark = pytest.mark.xdist_group("transform_graph")

HERE = Path(__file__).parent
SCHEMA = text_format.Parse(
    (HERE.parents[1] / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema()
)
SPEC = schema_utils.schema_as_feature_spec(SCHEMA).feature_spec
TABLE = raw.MOVIELENS
OUTPUTS = out.outputs_of(TABLE)
BY_NAME = {output.name: output for output in OUTPUTS.outputs}
MOVIE = raw.names(TABLE.model_inputs(Owner.MOVIE))
QUERY = raw.names(TABLE.model_inputs(Owner.USER, Owner.CONTEXT))


def row(number):
    """One rating, every value a function of its number."""
    movie = min(number % 16, 8)  # movie 8 is half of the ratings, the other ones equal
    return {
        "user_id": str(1 + number % 7),
        "movie_id": str(100 + movie),
        "user_rating": float(1 + number % 5),
        "timestamp": 880_000_000 + 3_607 * number,
        "user_gender": ("Male", "Female")[number % 2],
        "raw_user_age": [float(7 + number % 7 * 9)],
        "bucketized_user_age": [18],
        "user_occupation_text": ("student", "writer", "none")[number % 7 % 3],
        "user_occupation_label": [17],
        "user_zip_code": ("55105", "94043", "T8H1N", "55123", "10001", "", "00501")[number % 7],
        "movie_title": f"Heat and Film{movie} ({1960 + 4 * movie})",
        "movie_genres": ["Action", "Comedy", "Drama"][: movie % 4],
        "release_date": [],
        "movie_year_release": [1960 + 4 * movie] if movie else [],
        "director": "Some One" if movie == 8 else f"Rare Person {movie}",
        "star": "unknown",
    }


ROWS = [row(number) for number in range(160)]
UNKNOWN = {
    "user_id": "999",
    "movie_id": "no such movie",
    "timestamp": -1,
    "user_gender": "",
    "raw_user_age": [],
    "user_occupation_text": "astronaut",
    "user_zip_code": "?",
    "movie_title": "",
    "movie_genres": [],
    "movie_year_release": [],
    "director": "",
    "star": "",
}


def analyze(folder, preprocessing_fn, rows, spec=SPEC):
    """Learns a graph in memory from rows and returns it, saved and loaded."""
    schema = SCHEMA if spec is SPEC else schema_utils.schema_from_feature_spec(spec)
    with (
        tft_beam.Context(temp_dir=str(folder / "temp"), force_tf_compat_v1=False),
        beam.Pipeline(argv=["--direct_running_mode=in_memory"]) as pipeline,
    ):
        data = (pipeline | beam.Create(rows), dataset_metadata.DatasetMetadata(schema))
        transform = data | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = transform | tft_beam.WriteTransformFn(str(folder / "graph"))
    return tft.TFTransformOutput(str(folder / "graph"))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return analyze(
        tmp_path_factory.mktemp("transform"), preprocessing.preprocessing_of(TABLE), ROWS
    )


@pytest.fixture(scope="module")
def layer(output):
    return output.transform_features_layer()


def tensors(rows, names):
    """Returns raw features as the schema has them, dense or sparse."""
    found = {}
    for name in names:
        values = [row[name] for row in rows]
        if isinstance(SPEC[name], tf.io.VarLenFeature):
            ragged = tf.RaggedTensor.from_row_lengths(
                tf.constant([v for listed in values for v in listed], SPEC[name].dtype),
                [len(listed) for listed in values],
            )
            found[name] = ragged.to_sparse()
        else:
            found[name] = tf.constant(values, SPEC[name].dtype)
    return found


def call(layer, rows, names=MOVIE + QUERY):
    """Returns {output: one value, or list of values, for each row}."""
    found = {}
    for name, values in layer(tensors(rows, names)).items():
        if isinstance(values, tf.SparseTensor):
            found[name] = tf.RaggedTensor.from_sparse(values).to_list()
        else:
            found[name] = values.numpy().tolist()
    return found


def test_the_outputs_are_those_of_the_golden_file(layer, output, golden):
    spec = output.transformed_feature_spec()
    called = layer(tensors(ROWS[:2], MOVIE + QUERY))
    lines = []
    for name in sorted(spec):
        tensor = called[name]
        kind = "sparse" if isinstance(tensor, tf.SparseTensor) else "dense"
        shape = "[batch, n]" if kind == "sparse" else f"[batch{tensor.shape.as_list()[1:] or ''}]"
        lines.append(f"{name}: {kind} {tensor.dtype.name} {shape}; in records {spec[name]}\n")
    golden(HERE / "output_specs.golden.txt", "".join(lines))


def test_the_graph_makes_what_the_table_of_outputs_says(output):
    spec = output.transformed_feature_spec()
    assert set(spec) == {o.name for o in OUTPUTS.outputs}
    for o in OUTPUTS.outputs:
        assert isinstance(spec[o.name], tf.io.VarLenFeature) == o.multivalued, o.name
        assert spec[o.name].dtype == tf.int64


def test_movie_features_alone_give_the_movie_outputs_alone(layer):
    assert set(call(layer, ROWS[:3], MOVIE)) == {o.name for o in OUTPUTS.owned_by(Owner.MOVIE)}


def test_user_and_time_alone_give_the_query_outputs_alone(layer):
    expected = {o.name for o in OUTPUTS.owned_by(Owner.USER, Owner.CONTEXT)}
    assert set(call(layer, ROWS[:3], QUERY)) == expected


def test_a_row_is_transformed_alike_alone_in_a_batch_and_in_any_subset_of_features(layer):
    rows = [*ROWS[:20], {**ROWS[0], **UNKNOWN}]
    whole = call(layer, rows)
    assert {**call(layer, rows, MOVIE), **call(layer, rows, QUERY)} == whole
    for number in (0, 9, 20):
        alone = call(layer, rows[number : number + 1])
        assert alone == {name: [values[number]] for name, values in whole.items()}


def test_vocabularies_hold_every_value_of_the_data_by_frequency(output):
    def words(name):
        return [word.decode() for word in output.vocabulary_by_name(name)]

    assert sorted(words("user_id_index")) == [str(number) for number in range(1, 8)]
    assert words("movie_id_index")[0] == "108"
    assert len(words("movie_id_index")) == 9
    assert sorted(words("occupation_index")) == ["none", "student", "writer"]
    assert set(words("zip_prefix_index")) == {"551", "940", "100", "005", "unknown"}
    assert set(words("genre_indices")) == {"Action", "Comedy", "Drama"}


def test_words_and_people_need_twenty_ratings_for_a_vector_of_their_own(output):
    def words(name):
        return {word.decode() for word in output.vocabulary_by_name(name)}

    assert words("title_word_indices") == {"heat", "and", "film8"}
    assert words("director_index") == {"some one"}
    assert words("star_index") == {"unknown"}


def test_known_values_get_the_place_in_their_vocabulary(layer, output):
    found = call(layer, ROWS)
    for o in (BY_NAME[out.USER_ID_INDEX], BY_NAME[out.ITEM_ID_INDEX]):
        words = [word.decode() for word in output.vocabulary_by_name(o.vocabulary)]
        assert found[o.name] == [words.index(r[o.source.name]) for r in ROWS]
    genres = [word.decode() for word in output.vocabulary_by_name("genre_indices")]
    named = [[genres[index] for index in indices] for indices in found["genre_indices"]]
    assert named == [r["movie_genres"] for r in ROWS]


def test_what_is_not_known_gets_the_index_after_the_vocabulary_or_zero(layer, output):
    found = {name: values[0] for name, values in call(layer, [{**ROWS[0], **UNKNOWN}]).items()}
    for name in (out.USER_ID_INDEX, out.ITEM_ID_INDEX, "occupation_index", "director_index"):
        o = BY_NAME[name]
        assert found[o.name] == output.vocabulary_size_by_name(o.vocabulary), o.name
    unknown_prefix = [w.decode() for w in output.vocabulary_by_name("zip_prefix_index")]
    assert found["zip_prefix_index"] == unknown_prefix.index("unknown")
    zero = ("gender_index", "age_bucket_index", "state_index", "time_bucket", "release_year_bucket")
    assert {name: found[name] for name in zero} == dict.fromkeys(zero, 0)
    assert found["genre_indices"] == []
    assert found["title_word_indices"] == []


def test_an_unknown_person_is_the_person_called_unknown_where_data_has_it(layer, output):
    words = [word.decode() for word in output.vocabulary_by_name("star_index")]
    found = call(layer, [{**ROWS[0], "star": star} for star in ("", "unknown", '"Unknown"')])
    assert found["star_index"] == [words.index("unknown")] * 3


def test_later_years_are_in_later_buckets_and_a_missing_year_in_none(layer):
    years = [[], [1800], *([year] for year in range(1958, 1996)), [2100]]
    buckets = call(layer, [{**ROWS[0], "movie_year_release": y} for y in years], MOVIE)
    found = buckets["release_year_bucket"]
    assert found[0] == 0
    assert found[1] == 1
    assert found[1:] == sorted(found[1:])
    assert found[-1] <= out.YEAR_BUCKETS
    assert len(set(found)) >= 9  # eight years in the data, and none


def test_later_times_are_in_later_buckets(layer):
    seconds = [-1, 0, *(r["timestamp"] for r in ROWS), 2**40]
    found = call(layer, [{**ROWS[0], "timestamp": s} for s in seconds], QUERY)["time_bucket"]
    assert found == sorted(found)
    assert len(set(found)) > 100
    assert found[-1] < out.TIME_BUCKETS


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
ANYTHING = st.fixed_dictionaries(
    {
        name: {
            tf.string: TEXT,
            tf.int64: st.integers(-(2**62), 2**62),
            tf.float32: st.floats(width=32),
        }[SPEC[name].dtype]
        for name in MOVIE + QUERY
        if not isinstance(SPEC[name], tf.io.VarLenFeature)
    }
    | {
        "raw_user_age": st.lists(st.floats(width=32), max_size=1),
        "movie_genres": st.lists(TEXT, max_size=4),
        "movie_year_release": st.lists(st.integers(-(2**62), 2**62), max_size=1),
    }
)


@given(st.lists(ANYTHING, min_size=1, max_size=8))
@examples(40)
def test_no_value_fails_and_every_index_is_within_its_size(layer, output, rows):
    found = call(layer, rows)
    for o in OUTPUTS.outputs:
        values = np.concatenate([np.atleast_1d(value) for value in found[o.name]])
        assert ((values >= 0) & (values < o.size(output))).all(), o.name


def test_data_without_years_genres_or_frequent_words_is_learnt_all_the_same(tmp_path):
    """A user's own data may lack whole columns: vocabularies and quantiles of nothing."""

    def movie_part(inputs):
        found = {}
        for name, values in inputs.items():
            outputs = out.made_from(TABLE[name])
            columns = preprocessing._TRANSFORMS[TABLE[name].kind](values, outputs)
            found |= {o.name: column for o, column in zip(outputs, columns, strict=True)}
        return found

    names = ("movie_year_release", "movie_genres", "movie_title", "timestamp")
    bare = {"movie_year_release": [], "movie_genres": [], "movie_title": "Heat", "timestamp": 5}
    found = analyze(tmp_path, movie_part, [bare] * 3, {name: SPEC[name] for name in names})
    layer = found.transform_features_layer()
    later = {**bare, "movie_year_release": [1995], "movie_genres": ["Drama"], "timestamp": 9}
    values = call(layer, [bare, later], names)
    assert values["release_year_bucket"][0] == 0
    assert 0 < values["release_year_bucket"][1] <= out.YEAR_BUCKETS
    assert values["genre_indices"] == [[], [found.vocabulary_size_by_name("genre_indices")]]
    assert (
        values["title_word_indices"] == [[found.vocabulary_size_by_name("title_word_indices")]] * 2
    )
    assert all(0 <= value < out.TIME_BUCKETS for value in values["time_bucket"])


def test_counts_of_the_small_data_set_are_what_these_tests_take_them_for():
    movies = collections.Counter(r["movie_id"] for r in ROWS)
    assert movies["108"] == 80
    assert all(count < raw.WORD_MIN_RATINGS for movie, count in movies.items() if movie != "108")
