"""Data without ratings, without times and without both, from the records to a signature."""

import dataclasses
from typing import Any

import evaluation_fixtures
import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from components.evaluation.config import build_eval_config
from components.evaluation.verdict import read_verdict
from pipeline.thresholds import thresholds_for
from schema import features as raw
from schema.features import MOVIELENS, FeatureTable
from schema.predictions import outputs_in
from schema.scenarios import NEXT_VISIT, SCENARIOS, scenarios_of
from sources.sample import generate_sample
from trainer import new_users
from trainer.config import BpmfConfig
from trainer.data import reading

# The group's worker has traced the graphs before.
pytestmark = pytest.mark.xdist_group("trainer")

IDS_ALONE = FeatureTable((raw.USER_ID, raw.MOVIE_ID))
TABLES = {
    "ids alone": IDS_ALONE,
    "no ratings": FeatureTable(tuple(f for f in MOVIELENS.features if f is not raw.RATING)),
    "no times": FeatureTable(tuple(f for f in MOVIELENS.features if f is not raw.TIMESTAMP)),
}
SHORT = dataclasses.replace(
    fixtures.SMALL,
    long_term=dataclasses.replace(fixtures.SMALL.long_term, epochs=1),
    bpmf=BpmfConfig(rank=2, burn_in=1, draws=1, thinning=1, components=2),
    train=dataclasses.replace(fixtures.SMALL.train, epochs=1, batch_size=1024),
)


@dataclasses.dataclass(frozen=True)
class State:
    table: FeatureTable
    world: fixtures.World
    trained: fixtures.Trained
    model: Any

    def inputs(self, name):
        return set(self.model.signatures[name].structured_input_signature[1])


@pytest.fixture(
    scope="module",
    params=[
        "ids alone",
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in TABLES if one != "ids alone"),
    ],
)
def state(request, tmp_path_factory):
    table = TABLES[request.param]
    folder = tmp_path_factory.mktemp("absent")
    generate_sample(folder / "raw", ratings=1_000, seed=5)
    world = fixtures.world_of(folder / "raw", None, folder, table)
    with pytest.MonkeyPatch.context() as patch:
        trained = fixtures.train(
            world, folder / "trained", patch, SHORT, table=table, exports=["export_evaluation"]
        )
    return State(table, world, trained, tf.saved_model.load(str(trained.path)))


def test_records_lack_what_the_table_lacks(state):
    for example in fixtures.read_examples(state.world.rating_files["test"]):
        assert set(example.features.feature) <= set(state.table.names)
        assert (fixtures.value(example, raw.RATING) is not None) == state.table.has_rating
        assert (fixtures.value(example, raw.TIMESTAMP) is not None) == state.table.has_time


def test_signatures_have_no_input_and_no_output_of_what_the_data_lacks(state):
    of_ratings = {"rank", "serving_default"} if state.table.has_rating else set()
    assert set(state.model.signatures) == {
        *of_ratings,
        "recommend",
        "similar",
        "explain",
        "evaluate",
        "export_contract",
    }
    absent = set() if state.table.has_time else {"timestamp", "recent_timestamps"}
    absent |= set() if state.table.has_rating else {"recent_ratings"}
    for name in ("recommend", "explain", *({"rank"} & of_ratings)):
        assert not state.inputs(name) & absent
        everything = {"timestamp", "recent_movie_ids", "recent_timestamps", "recent_ratings"}
        assert state.inputs(name) >= everything - absent
    outputs = state.model.signatures["recommend"].structured_outputs
    assert ("predicted_rating" in outputs) == state.table.has_rating
    expected = outputs_in(scenarios_of(state.table), with_ratings=state.table.has_rating)
    assert set(state.model.signatures["evaluate"].structured_outputs) == set(expected)


def answer_of(state, signature, user, recent, **more):
    """Answers a query with what of its inputs the signature takes."""
    inputs = {
        **fixtures.user_inputs({raw.USER_ID.name: user}),
        **fixtures.recent_inputs([[(0, movie) for movie in recent]], 1),
        **more,
    }
    taken = {name: value for name, value in inputs.items() if name in state.inputs(signature)}
    return {name: v.numpy() for name, v in state.model.signatures[signature](**taken).items()}


def recommended(state, user, recent=()):
    return answer_of(
        state,
        "recommend",
        user,
        recent,
        k=tf.constant(10),
        exclude_movie_ids=tf.constant([[]], tf.string, [1, 0]),
        exclude_seen=tf.constant(True),
    )


def test_known_and_new_users_get_lists_without_what_they_have(state):
    data = state.trained
    known = data.users.ids[0].decode()
    history = set(data.catalogue.ids[data.interactions.movie_row[data.interactions.user_row == 0]])
    named = [movie.decode() for movie in data.catalogue.ids[:3]]
    for user, recent, seen in (
        (known, (), history),
        ("nobody", named, set(data.catalogue.ids[:3])),
    ):
        answer = recommended(state, user, recent)
        assert answer["count"][0] == 10
        assert not set(answer["movie_id"][0]) & seen
        assert np.isfinite(answer["score"]).all()
    first, other = (recommended(state, "nobody", [one])["movie_id"] for one in named[:2])
    assert not np.array_equal(first, other), "what a new user names counts for nothing"


def test_named_movies_explain_a_new_users_list(state):
    named = [movie.decode() for movie in state.trained.catalogue.ids[:5]]
    movies = tf.constant(recommended(state, "nobody", named)["movie_id"])
    answer = answer_of(state, "explain", "nobody", named, movie_ids=movies, k=tf.constant(3))
    assert set(answer["because_movie_id"].ravel()) - {b""} <= {movie.encode() for movie in named}
    assert (answer["contribution"] > 0).any()


def test_test_rows_are_ranked(state):
    rows = [
        row.SerializeToString() for row in fixtures.read_examples(state.world.rating_files["test"])
    ]
    answer = state.model.signatures["evaluate"](tf.constant(rows))
    movies = len(state.trained.catalogue.ids)
    for scenario in SCENARIOS:
        if scenario is NEXT_VISIT or state.table.has_time:
            ranks = answer[f"{scenario.name}_rank"].numpy()
            assert ((ranks >= 1) & (ranks <= movies)).all()
    left = answer["movies_left"].numpy()
    assert (answer["next_visit_rank"].numpy() <= left).all()
    assert (left > 0).all()
    assert (left < movies).any()


def test_what_is_left_out_is_named(state):
    found = state.trained.serving
    left_out = fixtures.left_out_of(state.trained.path)
    assert ("predicted ratings" in left_out) != state.table.has_rating
    assert ("recommendations within a session" in left_out) != state.table.has_time
    assert (found.rating is None) != state.table.has_rating


def test_without_ratings_every_event_counts_alike(state):
    if not state.table.has_rating:
        assert not state.trained.serving.history.residuals.numpy().any()


def test_lists_of_new_users_are_measured(state):
    transform = state.trained.transform
    data = reading.load_training_data(
        [*state.world.event_files["train"], *state.world.event_files["validation"]],
        state.world.user_files,
        state.world.movie_files,
        transform,
        state.table,
    )
    found = new_users.measure(SHORT.long_term, data, 2, 7, lambda line: None)
    assert 0 <= found["new_user_3_user_ndcg_at_10"] <= 1


def test_the_evaluator_judges_by_what_there_is(state, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "Format-Serving").symlink_to(state.trained.path)
    thresholds = thresholds_for("custom", "random", state.table)
    evaluated = evaluation_fixtures.run_evaluator(
        tmp_path,
        build_eval_config(thresholds, state.table),
        state.world.folder / "ratings",
        tmp_path / "artifact",
    )
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    names = set(verdict.metrics)
    assert any("_rating_" in name for name in names) == state.table.has_rating
    assert any(name.startswith("in_session") for name in names) == state.table.has_time
    reasons = " ".join(verdict.reasons())
    assert ("this data has no ratings" in reasons) != state.table.has_rating
    assert ("this data has no times" in reasons) != state.table.has_time
    judged = {threshold.metric for threshold in verdict.thresholds}
    assert judged >= {"next_visit_recall_at_10_over_popularity_high", "leaking_rows"}
    assert verdict.metrics["leaking_rows"] == 0
    assert verdict.metrics["leak_checked_rows"] > 0
