"""Context features of events, such as the device, from own tables to the exported model."""

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from components.evaluation.leak_check import Swapped, copies
from schema.features import MOVIE_ID, USER_ID, Feature, FeatureTable, Kind, Owner
from schema.predictions import items_of, rank_of, rating_of
from schema.scenarios import IN_SESSION, NEXT_VISIT
from sources.detect import detect
from trainer.config import BpmfConfig
from trainer.data import reading
from trainer.data.training_data import TrainingData
from trainer.serving.module import USUAL_SHRINKAGE, usual_effects
from trainer.serving.queries import Excluded, QueryContext
from trainer.serving.signatures import EXAMPLES, traced

# The group's worker has traced the graphs before.
pytestmark = pytest.mark.xdist_group("trainer")

USERS, ITEMS, EVENTS = 120, 60, 30
DEVICES = ("tv", "Phone", "")
TV = 1.0
"""Stars that a tv adds to a rating."""
CONFIG = dataclasses.replace(
    fixtures.SMALL,
    long_term=dataclasses.replace(fixtures.SMALL.long_term, epochs=1),
    bpmf=BpmfConfig(rank=2, burn_in=3, draws=3, thinning=1, components=2),
    train=dataclasses.replace(fixtures.SMALL.train, epochs=3, batch_size=512),
)


def events(seed=0):
    """Events in sessions of five, of one device each; a device that is not known is empty.

    The first test event of a user is the last of a session.
    """
    rng = np.random.default_rng(seed)
    yield "user_id,item_id,stars,when,device,price"
    likes, good = rng.normal(0, 0.4, USERS), rng.normal(0, 0.4, ITEMS)
    for user in range(USERS):
        time = 1_600_000_000 + 1_000 * user
        for place, item in enumerate(rng.permutation(ITEMS)[:EVENTS]):
            if place % 5 == 0:
                time, device = time + 86_400, DEVICES[rng.choice(3, p=(0.45, 0.45, 0.1))]
            time += 60
            stars = (
                3 + likes[user] + good[item] + rng.normal(0, 0.3) + TV * ((device == "tv") - 0.5)
            )
            price = "" if rng.random() < 0.2 else f"{rng.exponential(10):.2f}"
            stars = float(np.clip(np.rint(stars * 2) / 2, 0.5, 5))
            yield f"u{user},i{item},{stars},{time},{device},{price}"


@dataclasses.dataclass(frozen=True)
class State:
    table: object
    world: fixtures.World
    trained: fixtures.Trained
    rows: list
    evaluate: Callable

    def evaluated(self, rows):
        answer = self.evaluate(examples=tf.constant(rows))
        return {name: values.numpy() for name, values in answer.items()}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    (folder / "raw").mkdir()
    (folder / "raw" / "interactions.csv").write_text("".join(f"{line}\n" for line in events()))
    (folder / "raw" / "data.toml").write_text('[context]\ndevice = "category"\nprice = "number"\n')
    adapter = detect(folder / "raw", folder)
    table = adapter.spec.features
    world = fixtures.world_of(
        folder / "raw", None, folder, table,
        format="table", layout=adapter.layout_text, split="temporal",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        trained = fixtures.train(world, folder / "trained", patch, CONFIG, table=table, exports=[])
    rows = [one.SerializeToString() for one in fixtures.read_examples(world.rating_files["test"])]
    return State(
        table, world, trained, rows, traced(trained.evaluation.evaluate, examples=EXAMPLES)
    )


def without_context(table, rows):
    """The rows as of a request that does not give the context."""
    found = [tf.train.Example.FromString(row) for row in rows]
    for row in found:
        for feature in table.context:
            row.features.feature.pop(feature.name, None)
    return [row.SerializeToString() for row in found]


def column(rows, feature):
    return [fixtures.value(tf.train.Example.FromString(row), feature) for row in rows]


def rmse(found, state):
    rated = np.array(column(state.rows, state.table.rating), np.float64)
    return float(np.sqrt(np.mean((found - rated) ** 2)))


def test_the_unknown_index_is_what_the_graph_makes_of_nothing(state):
    layer = state.trained.transform.transform_features_layer()
    nothing = {
        one.name: reading.as_read(tf.constant([one.missing], one.dtype), one)
        for one in state.table.context
    }
    made = layer(nothing)
    outputs = [one for one in state.trained.serving._context if one.source.kind is not Kind.TIME]
    assert [one.name for one in outputs] == ["context_device_index", "context_price_bucket"]
    for one in outputs:
        assert one.unknown(state.trained.transform).value == made[one.name].numpy()[0]


def test_each_training_rating_has_the_context_of_its_event(state):
    held, catalogue = state.trained.interactions, state.trained.catalogue
    by_pair = {}
    for split in ("train", "validation"):
        for row in fixtures.read_examples(state.world.rating_files[split]):
            pair = (
                fixtures.value(row, state.table.user_id),
                fixtures.value(row, state.table.item_id),
            )
            by_pair[pair] = fixtures.value(row, state.table["context_device"])
    vocabulary = state.trained.transform.vocabulary_by_name("context_device_index")
    found = held.context["context_device_index"]
    for place in range(0, len(held), 97):
        user = state.trained.users.ids[held.user_row[place]]
        device = by_pair[user, catalogue.ids[held.movie_row[place]]]
        assert vocabulary[found[place]] == device.lower()
    missing = (held.context["context_price_bucket"] == 0).mean()
    assert missing == pytest.approx(0.2, abs=0.04)


def test_a_device_that_matters_lowers_the_error_in_a_session(state):
    name = rating_of(IN_SESSION)
    own = rmse(state.evaluated(state.rows)[name], state)
    hidden = rmse(state.evaluated(without_context(state.table, state.rows))[name], state)
    assert own < hidden - 0.03


def test_no_answer_of_the_next_visit_depends_on_the_context(state):
    names = [rank_of(NEXT_VISIT), rating_of(NEXT_VISIT), items_of(NEXT_VISIT)]
    own, hidden = (
        state.evaluated(r) for r in (state.rows, without_context(state.table, state.rows))
    )
    for name in names:
        np.testing.assert_array_equal(own[name], hidden[name], err_msg=name)
    assert (own[rank_of(IN_SESSION)] != hidden[rank_of(IN_SESSION)]).any(), "sessions ignore it"


def test_the_leak_check_changes_the_context_of_the_last_copies(state):
    made = copies(state.rows[:3], Swapped.of(state.table))
    device = state.table["context_device"]
    groups = np.split(np.array(column(made, device)), 4)
    assert [list(one) == list(groups[0]) for one in groups] == [True, True, True, False]


def test_what_is_usual_of_a_user_is_a_shrunk_mean(state):
    held, serving = state.trained.interactions, state.trained.serving
    found = usual_effects(serving.rating, held)
    bias = serving.rating.network.context_bias["context_device_index"].numpy()[:, 0]
    effects = CONFIG.bpmf.weight * bias[held.context["context_device_index"]]
    for user in (0, 5):
        own = effects[held.user_row == user]
        expected = (own.sum() + USUAL_SHRINKAGE * effects.mean()) / (len(own) + USUAL_SHRINKAGE)
        assert found[user, 0] == pytest.approx(expected, abs=1e-5)
    assert found[-1, 0] == pytest.approx(effects.mean(), abs=1e-5)


def request(state, signature, recent=("", 0), now=0, **given):
    """Answers a query of one user; features that are not given are not known."""
    features = (*state.table.model_inputs(Owner.USER), *state.table.context)
    values = {
        one.name: tf.constant([given.get(one.name, one.missing)], one.dtype) for one in features
    }
    movie, time = recent
    context = QueryContext(
        tf.constant([now], tf.int64),
        tf.constant([[movie]]),
        tf.constant([[time]], tf.int64),
        tf.constant([[0.0]]),
    )
    serving = state.trained.served
    if signature == "rank":
        answer = serving.rank(values, context, tf.constant([["i1", "i2", "i3"]]))
    else:
        none = Excluded(tf.constant([[""]]), tf.constant(True))
        answer = serving.recommend(values, context, tf.constant(10), none)
    return {name: value.numpy() for name, value in answer.items()}


@pytest.mark.parametrize("user", ["u7", "somebody new"])
def test_a_request_with_a_device_has_its_stars_and_without_times_the_same_list(state, user):
    tv, phone, unknown = (
        request(state, "rank", user_id=user, context_device=device)["predicted_rating"]
        for device in ("TV", "phone", "a device that nobody has")
    )
    nothing = request(state, "rank", user_id=user)["predicted_rating"]
    assert ((phone < nothing) & (nothing < tv)).all()
    assert np.mean(tv - phone) == pytest.approx(TV, abs=0.35)
    np.testing.assert_array_equal(unknown, nothing)
    lists = [
        request(state, "recommend", user_id=user, context_device=device)
        for device in ("tv", "phone", "")
    ]
    for name in ("movie_id", "score"):
        np.testing.assert_array_equal(lists[0][name], lists[2][name])
        np.testing.assert_array_equal(lists[1][name], lists[2][name])


def test_in_a_session_the_list_follows_the_context(state):
    now = 1_700_000_000
    tv, phone = (
        request(state, "recommend", ("i1", now - 60), now, user_id="u7", context_device=device)
        for device in ("tv", "phone")
    )
    assert not np.array_equal(tv["score"], phone["score"])


def test_a_number_without_a_training_value_is_never_known():
    price = Feature("context_price", Owner.CONTEXT, Kind.NUMBER, "float32", optional=True)
    table = FeatureTable((USER_ID, MOVIE_ID, price))
    for seen, end in ((0, 1), (3, 17)):
        interactions = SimpleNamespace(context={"context_price_bucket": np.array([0, seen])})
        data = TrainingData(None, None, interactions, None, table)
        assert list(data.unknown_context.values()) == [(0, end)]
