"""Micro-batching: a call's outputs do not depend on the calls it is merged with."""

import asyncio
import random

import numpy as np
import pytest

from schema.events import Event
from serving.batching import Batcher, BatchingOptions
from serving.errors import InvalidInput, Overloaded
from serving.recommender import UserProfile
from serving.signatures import Call, run_together

pytestmark = pytest.mark.xdist_group("serving")


@pytest.fixture
def people(user_ids, catalogue):
    chance = random.Random(3)
    films = [movie["movie_id"] for movie in catalogue]

    def person():
        liked = tuple(
            Event(film, chance.choice([None, 900_000_000 - 60]), chance.choice([None, 1.0, 5.0]))
            for film in chance.sample(films, chance.randrange(4))
        )
        return UserProfile(
            user_id=chance.choice([*user_ids[:20], "", "nobody"]),
            features={"raw_user_age": chance.choice([0.0, 25.0])},
            timestamp=900_000_000,
            events=liked,
        )

    return [person() for _ in range(24)]


def calls_of(recommender, people, catalogue, kind):
    chance = random.Random(5)
    films = [movie["movie_id"] for movie in catalogue]

    def some():
        return chance.sample(films, chance.randint(1, 6))

    make = {
        "recommend": lambda one: recommender.recommend(
            [one], chance.randint(1, 30), [some()], seen=False
        ),
        "rank": lambda one: recommender.rank([one], [some()]),
        "explain": lambda one: recommender.explain([one], [some()], chance.randint(1, 4)),
        "similar": lambda one: recommender.similar([chance.choice(films)], chance.randint(1, 9)),
    }[kind]
    return [make(one) for one in people]


@pytest.mark.parametrize("kind", ["recommend", "rank", "explain", "similar"])
def test_merged_and_single_calls_have_the_same_outputs(recommender, people, catalogue, kind):
    calls = calls_of(recommender, people, catalogue, kind)
    assert len({call.group() for call in calls}) == 1
    for call, together in zip(calls, run_together(calls), strict=True):
        (alone,) = run_together([call])
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            assert together[name].shape == value.shape, name
            if value.dtype == object:
                assert together[name].tolist() == value.tolist(), name
            else:
                np.testing.assert_allclose(together[name], value, rtol=1e-3, atol=1e-4)


def test_calls_of_different_groups_are_not_merged(recommender):
    person = UserProfile()
    calls = [
        recommender.recommend([person], 3, [()], seen=False),
        recommender.recommend([person], 3, [()], seen=True),
        recommender.rank([person], [["1"]]),
    ]
    assert len({call.group() for call in calls}) == 3


def test_many_callers_share_few_calls_of_the_model(recommender, people, catalogue):
    rows = []
    calls = calls_of(recommender, people, catalogue, "recommend")

    async def call_all():
        batcher = Batcher(BatchingOptions(), lambda count, seconds: rows.append(count))
        answers = await asyncio.gather(*(batcher.run(call) for call in calls))
        batcher.close()
        return answers

    assert len(asyncio.run(call_all())) == len(calls)
    assert sum(rows) == len(calls)
    assert len(rows) <= 2


def test_one_bad_call_spoils_no_other(recommender):
    good = recommender.rank([UserProfile()], [["1"]])
    bad = Call(good.model, "rank", {**good.inputs, "movie_ids": np.array(["1"], object)})

    async def call_all():
        batcher = Batcher(BatchingOptions())
        answers = await asyncio.gather(
            *(batcher.run(call) for call in (good, bad, good)), return_exceptions=True
        )
        batcher.close()
        return answers

    first, second, third = asyncio.run(call_all())
    assert first["predicted_rating"] == third["predicted_rating"]
    assert isinstance(second, InvalidInput)


def test_a_full_queue_refuses_at_once(recommender):
    call = recommender.rank([UserProfile()], [["1"]])

    async def call_all():
        batcher = Batcher(BatchingOptions(max_rows=1, queue_size=2))
        answers = await asyncio.gather(
            *(batcher.run(call) for _ in range(6)), return_exceptions=True
        )
        batcher.close()
        return answers

    answers = asyncio.run(call_all())
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 4
