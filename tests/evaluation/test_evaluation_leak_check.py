"""The leak check: what must not move an answer, and models in which it does."""

import dataclasses

import evaluation_fixtures as fixtures
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare.capstone import LeakingModel
from benchmarks.compare.data import Data
from components.evaluation import leak_check
from components.evaluation.config import Thresholds, build_eval_config, swapped_features
from components.evaluation.verdict import read_verdict
from schema.features import MOVIELENS, Owner
from schema.predictions import OUTPUTS
from trainer.config import TutorialConfig

SWAPPED = leak_check.Swapped.of(MOVIELENS)
ONLY_LEAKS = Thresholds(
    rating_rmse_worsening=None, recall_at_10_worsening=None, recall_at_100_worsening=None
)


def example(**columns):
    made = tf.train.Example()
    for name, value in columns.items():
        feature = made.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return made.SerializeToString()


def columns_of(serialized):
    found = {}
    for name, feature in tf.train.Example.FromString(serialized).features.feature.items():
        [value] = getattr(feature, feature.WhichOneof("kind")).value
        found[name] = value.decode() if isinstance(value, bytes) else value
    return found


def test_what_is_swapped_is_everything_that_is_the_movies_or_the_ratings():
    owned = {feature.name for feature in MOVIELENS.owned_by(Owner.MOVIE, Owner.LABEL)}
    assert {*SWAPPED.movie, SWAPPED.item_id} == owned
    assert {"movie_title", "movie_genres", "user_rating"} <= set(SWAPPED.movie)
    found = swapped_features(build_eval_config(ONLY_LEAKS, MOVIELENS))
    assert found == SWAPPED


def test_copies_have_the_features_of_the_row_before_and_the_users_own():
    rows = [
        {"user_id": "1", "movie_id": "7", "movie_title": "A", "user_rating": 4.0, "timestamp": 5},
        {"user_id": "2", "movie_id": "8", "movie_title": "B", "user_rating": 2.0, "timestamp": 6},
        {"user_id": "3", "movie_id": "9", "user_rating": 1.0, "timestamp": 7},
    ]
    made = [
        columns_of(copy) for copy in leak_check.copies([example(**row) for row in rows], SWAPPED)
    ]
    own, with_features, with_movie, with_time = np.split(np.array(made), leak_check.COPIES)
    assert own.tolist() == rows
    assert with_features.tolist() == [
        {"user_id": "1", "movie_id": "7", "user_rating": 1.0, "timestamp": 5},
        {"user_id": "2", "movie_id": "8", "movie_title": "A", "user_rating": 4.0, "timestamp": 6},
        {"user_id": "3", "movie_id": "9", "movie_title": "B", "user_rating": 2.0, "timestamp": 7},
    ]
    assert [row["movie_id"] for row in with_movie] == ["9", "7", "8"]
    assert [row["timestamp"] for row in with_movie] == [5, 6, 7]
    assert [row["timestamp"] for row in with_time] == [7, 5, 6]
    assert [row["user_id"] for row in with_time] == ["1", "2", "3"]


@given(st.integers(0, 5000))
def test_the_sample_is_bounded_and_has_each_row_once(rows):
    found = leak_check.sample(rows).tolist()
    assert len(found) == min(rows, max(10, rows // 100))
    assert len(set(found)) == len(found)
    assert all(0 <= row < rows for row in found)


def answers(rows=1):
    """Of rows and their copies, none of which moved."""
    many = rows * leak_check.COPIES
    items = np.tile(np.arange(10), (many, 1))
    one = {"rank": np.full(many, 300), "rating": np.full(many, 3.5), "items": items}
    return {
        f"{scenario}_{name}": np.array(values)
        for scenario in ("next_visit", "in_session")
        for name, values in one.items()
    }


@pytest.mark.parametrize("scenario", ["next_visit", "in_session"])
@pytest.mark.parametrize("copy", [1, 2, 3])
@pytest.mark.parametrize("name", ["rank", "rating", "items"])
def test_what_must_not_move_is_found_and_what_may_is_not(scenario, copy, name):
    found = answers()
    assert not leak_check.moved(found).any()
    found[f"{scenario}_{name}"][copy] = found[f"{scenario}_{name}"][copy] + 50
    must_not = {
        "rank": copy == 1,
        "rating": copy == 1,
        # In a session another time has another list.
        "items": copy < 3 or scenario == "next_visit",
    }
    assert leak_check.moved(found).tolist() == [must_not[name]]


def test_nearly_equal_scores_may_swap_their_places():
    found = answers()
    found["next_visit_rank"][1] += 2
    found["next_visit_rating"][1] += 1e-4
    found["next_visit_items"][1, 9] = 77
    found["in_session_items"][2] = found["in_session_items"][2][::-1]
    assert not leak_check.moved(found).any()
    found["next_visit_items"][1, 8] = 78
    assert leak_check.moved(found).all()


# --- models before the Evaluator


class Reads(tf.Module):
    """Answers with the values in the examples, but lets a feature of the row into one answer."""

    def __init__(self, feature, output):
        super().__init__()
        self.honest, self.feature, self.output = fixtures.AnswerModel(), feature, output

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        found = dict(self.honest.serve(examples))
        parsed = tf.io.parse_example(examples, {self.feature: tf.io.VarLenFeature(tf.string)})
        text = tf.strings.reduce_join(tf.sparse.to_dense(parsed[self.feature]), axis=1)
        place = tf.strings.to_hash_bucket_fast(text, 80)
        if self.output:
            own = found[self.output]
            shape = tf.concat([tf.shape(place), tf.ones(tf.rank(own) - 1, tf.int32)], axis=0)
            found[self.output] = own + tf.cast(tf.reshape(place, shape), own.dtype)
        return found


ROWS = [
    dataclasses.replace(row, user=n % 5, item=n % 5, movie=n)
    for n, row in enumerate(fixtures.random_rows(40, seed=7))
]


def judge(folder, module, rows=ROWS):
    tf.saved_model.save(
        module, str(folder / "model" / "Format-Serving"), signatures={"evaluate": module.serve}
    )
    fixtures.write_examples(folder / "examples", rows)
    evaluated = fixtures.run_evaluator(
        folder, build_eval_config(ONLY_LEAKS, MOVIELENS), folder / "examples", folder / "model"
    )
    return read_verdict(evaluated.evaluation, evaluated.blessing)


def share_of_moved_rows(feature, output):
    """The share of rows with an answer that moved, of a model that reads a feature of the row."""
    examples = [fixtures.to_example(row).SerializeToString() for row in ROWS]
    copies = tf.constant(leak_check.copies(examples, SWAPPED))
    model = Reads(feature, output)
    found = model.serve(copies)
    return leak_check.moved({name: values.numpy() for name, values in found.items()}).mean()


@pytest.mark.parametrize(
    ("feature", "output"),
    [
        ("movie_genres", "next_visit_rating"),
        ("movie_title", "next_visit_rank"),
        ("movie_title", "in_session_rank"),
        ("movie_id", "next_visit_items"),
        ("movie_id", "in_session_items"),
    ],
)
def test_a_model_that_reads_the_movie_to_be_found_moves_its_answers(feature, output):
    assert share_of_moved_rows(feature, output) > 0.5


@pytest.mark.parametrize("output", ["next_visit_rank", "next_visit_rating"])
def test_rank_and_rating_of_a_movie_may_depend_on_which_movie_it_is(output):
    assert share_of_moved_rows("movie_id", output) == 0.0


class Capstone(tf.Module):
    """The capstone's leaking tower as a signature for the evaluation."""

    def __init__(self, data):
        super().__init__()
        self.model = LeakingModel(data, TutorialConfig())
        self.movies = data.shape[1]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        ids = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_id")}
        parsed = tf.io.parse_example(examples, ids)
        user, movie = (
            tf.strings.to_number(parsed[name], tf.int64) for name in ("user_id", "movie_id")
        )
        scores = tf.matmul(
            self.model.query(user, movie), self.model.movies[: self.movies], transpose_b=True
        )
        own = tf.gather(scores, movie, batch_dims=1)[:, tf.newaxis]
        rank = tf.reduce_sum(tf.cast(scores >= own, tf.int64), axis=1)
        zeros = tf.zeros_like(own[:, 0])
        answer = {
            "user_key": user,
            "known_user": tf.ones_like(user, tf.bool),
            "next_visit_popularity_rank": tf.ones_like(rank),
            "movie_popularity": tf.ones_like(rank),
            "catalogue_size": tf.ones_like(rank) * self.movies,
        }
        for scenario in ("next_visit", "in_session"):
            answer[f"{scenario}_rank"] = rank
            answer[f"{scenario}_rating"] = self.model.stars(user, movie)
            answer[f"{scenario}_items"] = tf.cast(tf.math.top_k(scores, 10).indices, tf.int64)
            answer[f"{scenario}_items_popularity"] = zeros
        assert set(answer) == set(OUTPUTS) - {"movies_left"}
        return answer


def test_the_capstones_leaking_tower_is_caught(tmp_path):
    """It looks genres and date up by the movie's id: what gives it away is the user's list."""
    random = np.random.default_rng(0)
    users, movies = 8, 60
    data = Data(
        **{
            **{field.name: None for field in dataclasses.fields(Data)},
            "user_labels": (("",) * 3,) * users,
            "movie_titles": ("",) * movies,
            "movie_released": random.integers(0, 30, movies),
            "movie_genres": random.integers(0, 2, [movies, 19]),
        }
    )
    tf.keras.utils.set_random_seed(1)
    rows = [fixtures.Row(3.0, 3.0, 1, user=n % users, movie=n % movies) for n in range(60)]
    verdict = judge(tmp_path, Capstone(data), rows)
    assert not verdict.blessed
    assert verdict.metrics["leaking_rows"] >= 5
    assert "reads the movie to be predicted" in verdict.reasons()[0]
