"""A model with a sequence block: what it answers in a session, and that nothing else changes."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import sequence_oracle
import tensorflow as tf
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from schema import features as raw
from schema.features import FeatureTable
from schema.predictions import PREDICTED_RATING
from trainer import run
from trainer.config import SequenceConfig
from trainer.evaluation.signature import Evaluation
from trainer.retrieval.sequence import SequenceBlock
from trainer.serving.queries import Excluded, QueryContext

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 4_000_000_000
STRANGER = {"user_id": "nobody"}
# More events than the towers look at, fewer than most users have; the weight is nearly 0.4.
CONFIG = SequenceConfig(
    weight=0.4, half_weight_ratings=1, width=8, hidden_units=6, recency_events=20
)


def model_with(trained, config):
    """The trained model with a block of random values; it shares everything else."""
    counts = np.bincount(trained.interactions.movie_row, minlength=len(trained.catalogue.ids))
    block = sequence_oracle.random_block(SequenceBlock(config, counts, seed=3))
    serving, retrieval = copy.copy(trained.serving), copy.copy(trained.serving.retrieval)
    # Not by assignment: TensorFlow would track the block in the original as well.
    retrieval.__dict__["sequence"] = block
    serving.__dict__ |= {"retrieval": retrieval, "_recency_events": config.recency_events}
    return serving, Evaluation(serving, counts)


@pytest.fixture(scope="module")
def with_block(trained):
    return model_with(trained, CONFIG)


def evaluated(evaluation, rows):
    serialized = tf.constant([row.SerializeToString() for row in rows])
    return {name: values.numpy() for name, values in evaluation.evaluate(serialized).items()}


def answer_of(serving, profile, timestamp, recent):
    """`[movies]` scores and stars of the whole catalogue for a request with some events."""
    inputs = fixtures.user_inputs(profile, timestamp=timestamp)
    events = fixtures.recent_inputs([recent], 1)
    answer = serving.recommend(
        {one.name: inputs[one.name] for one in fixtures.USER_FIELDS},
        QueryContext(inputs[raw.TIMESTAMP.name], *events.values()),
        tf.constant(10**6),
        Excluded(tf.fill([1, 0], ""), tf.constant(False)),
    )
    order = np.argsort(serving.movies.rows(answer["movie_id"]).numpy()[0])
    return [answer[name].numpy()[0][order] for name in ("score", PREDICTED_RATING)]


def by_definition(block, oracle, user, profile, timestamp, recent=()):
    """The scores of a session: 1 - w of the towers', w of the block's, and the long-term ones."""
    without = oracle.scores(user, profile, timestamp, recent)
    if not oracle.latest(user, timestamp, recent):
        return without
    autoencoder, ease, *_ = oracle.standalone(user, profile, timestamp, recent)
    long_term = oracle.trained.config.long_term.session_weight * (autoencoder + ease)
    given = [(time, row) for time, row, _ in fixtures.last_of_each(recent) if time <= timestamp]
    timed = [(time, row) for time, row in given if time > 0]
    named = {row for _, row in timed}
    known = [event for event in oracle.history(user) if event[0] < timestamp]
    events = [event for event in known if event[1] not in named] + timed
    length = len({row for _, row in [*known, *given]})
    of_block = sequence_oracle.scores(
        block, sorted(events, key=lambda event: event[0]), timestamp, length
    )
    weight = 0.4 * (ratings := len(oracle.trained.interactions)) / (ratings + 1)
    return (1 - weight) * (without - long_term) + weight * of_block + long_term


@pytest.mark.slow
def test_a_session_is_answered_and_evaluated_by_the_definition(
    with_block, oracle, world, model, trained
):
    """Evaluated rows have no events but those of the history, before the row's own time."""
    serving, evaluation = with_block
    rows = list(fixtures.read_examples(world.rating_files["test"]))[::100]
    found, without = evaluated(evaluation, rows), fixtures.predict(model, *rows)
    for name in found:
        if not name.startswith("in_session") or "rating" in name:
            np.testing.assert_array_equal(found[name], without[name], err_msg=name)
    assert (found["in_session_items"] != without["in_session_items"]).any()
    for number, example in enumerate(rows):
        user, time = (fixtures.value(example, one) for one in (raw.USER_ID, raw.TIMESTAMP))
        profile = {
            one.name: fixtures.as_text(fixtures.value(example, one)) for one in fixtures.USER_FIELDS
        }
        earlier = fixtures.OracleBefore(oracle, time)
        scores = by_definition(serving.retrieval.sequence, earlier, user, profile, time)
        seen = [row for _, row in earlier.history(user)]
        scores[seen] = -np.inf
        items = found["in_session_items"][number]
        np.testing.assert_allclose(scores[items], np.sort(scores)[::-1][:10], atol=1e-3)


AGO = st.sampled_from([-60, 0, 1, 40, 1_800, 1_801, 10**6, None])
EVENTS = st.lists(st.tuples(AGO, st.integers(0, 59)), max_size=24)


@pytest.mark.slow
@examples(15)
@given(events=EVENTS, number=st.sampled_from([None, 2, 6]), in_history=st.booleans())
def test_requests_are_answered_by_the_definition(
    with_block, oracle, trained, profiles, events, number, in_history
):
    """Of users who are known or not, after their history or in the middle of it."""
    user = b"nobody" if number is None else trained.users.ids[number]
    profile = STRANGER if number is None else {"user_id": user.decode()}
    history = oracle.history(user)
    at = history[len(history) // 2][0] + 30 if history and in_history else NOW
    recent = [(0 if ago is None else at - ago, row) for ago, row in events]
    named = [(time, trained.catalogue.ids[row].decode()) for time, row in recent]
    found, _ = answer_of(with_block[0], profile, at, named)
    expected = by_definition(
        with_block[0].retrieval.sequence,
        oracle,
        user,
        profiles.get(user, profile),
        at,
        recent,
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_block_changes_no_stars_and_without_weight_nothing(trained, with_block):
    """Towers and stars look at their own number of events, however many the block looks at."""
    without_weight, _ = model_with(trained, dataclasses.replace(CONFIG, weight=0.0))
    ids = trained.catalogue.ids
    # The events that only the block looks at are rated otherwise than the latest.
    recent = [(NOW - 60 * n, ids[n].decode(), 5.0 if n < 16 else 1.0) for n in range(24)]
    scores, stars = answer_of(trained.serving, STRANGER, NOW, recent)
    found = answer_of(without_weight, STRANGER, NOW, recent)
    np.testing.assert_allclose(found, [scores, stars], atol=1e-5)
    changed, same = answer_of(with_block[0], STRANGER, NOW, recent)
    assert np.abs(changed - scores).max() > 1e-2
    np.testing.assert_array_equal(same, stars)


def test_the_sessions_events_are_among_the_reasons(with_block, trained):
    """Of somebody new, the session is all there is."""
    serving, ids = with_block[0], trained.catalogue.ids
    inputs = fixtures.user_inputs(STRANGER, timestamp=NOW)
    recent = [(NOW - 90, 3), (NOW - 20, 17), (NOW, 11)]
    events = fixtures.recent_inputs([[(time, ids[row].decode()) for time, row in recent]], 1)
    answer = serving.explain(
        {one.name: inputs[one.name] for one in fixtures.USER_FIELDS},
        QueryContext(inputs[raw.TIMESTAMP.name], *events.values()),
        tf.constant([[each.decode() for each in ids[20:40]]]),
        tf.constant(3),
    )
    named = set(answer["because_movie_id"].numpy().reshape(-1).tolist()) - {b""}
    assert named
    assert named <= {ids[row] for _, row in recent}


def test_a_block_that_cannot_be_trained_is_left_out_and_the_reason_given(trained):
    data = dataclasses.make_dataclass("Data", ["features", "catalogue"])(
        raw.MOVIELENS, dataclasses.make_dataclass("Catalogue", ["ids"])(range(30_000))
    )
    config = dataclasses.replace(fixtures.SMALL, sequence=CONFIG)
    assert "30,000 movies" in run._no_sequence(config, data)["the sequence block"]
    data.features = FeatureTable((raw.USER_ID, raw.MOVIE_ID))
    assert run._no_sequence(config, data) == {"the sequence block": "this data has no times"}
    assert not run._no_sequence(fixtures.SMALL, data)


@pytest.mark.exhaustive
def test_a_run_exports_the_block_and_changes_nothing_but_the_session(
    world, model, tmp_path, monkeypatch
):
    sequence = dataclasses.replace(CONFIG, epochs=2, batch_rows=300, softmax_rows=150)
    config = dataclasses.replace(fixtures.SMALL, sequence=sequence)
    found = fixtures.train(world, tmp_path, monkeypatch, config)
    assert len(json.loads((found.run_dir / "history.json").read_text())["sequence_loss"]) == 2
    rows = list(fixtures.read_examples(world.rating_files["test"]))[:200]
    answers = fixtures.predict(tf.saved_model.load(str(found.path)), *rows)
    without = fixtures.predict(model, *rows)
    for name in without:
        if not name.startswith("in_session") or "rating" in name:
            np.testing.assert_array_equal(answers[name], without[name], err_msg=name)
    assert (answers["in_session_rank"] != without["in_session_rank"]).any()
    served = tf.saved_model.load(str(found.served_path))
    recent = [[(NOW - 60, "3"), (NOW - 5, "17")]]
    profile = {"user_id": found.users.ids[4].decode()}
    in_session = fixtures.recommend(served, profile, timestamp=NOW, recent=recent)
    later = fixtures.recommend(served, profile, timestamp=NOW)
    assert in_session["movie_id"].tolist() != later["movie_id"].tolist()
