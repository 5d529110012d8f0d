"""Metrics of new users: who is held out of what, which movies are named, and how lists count."""

import dataclasses
import json
import math
import types

import numpy as np
import pytest
import trainer_fixtures as fixtures
from tfx.types import artifact_utils, standard_artifacts

from schema.features import MOVIELENS
from schema.scenarios import NAMED_MOVIES
from trainer import new_user_evaluator, new_users
from trainer.config import LongTermConfig
from trainer.data.training_data import Interactions, TrainingData, Users
from trainer.retrieval.long_term import LongTermModels
from trainer.retrieval.user_autoencoder import UserAutoencoder

pytestmark = pytest.mark.xdist_group("trainer")

USERS, MOVIES, FOLDS = 12, 30, 3


def data_of(movies, seed=2):
    """Ratings of the given movies of each user in event order."""
    rng = np.random.default_rng(seed)
    user_row = np.repeat(np.arange(len(movies)), [len(own) for own in movies])
    ids = np.array([str(100 + user).encode() for user in range(len(movies))])
    catalogue = types.SimpleNamespace(
        ids=np.array([str(1 + movie).encode() for movie in range(MOVIES)])
    )
    interactions = Interactions(
        user_row=user_row,
        movie_row=np.concatenate(movies),
        rating=rng.integers(1, 6, len(user_row)).astype(np.float32),
        timestamp=np.arange(len(user_row)),
        context={"hour": np.arange(len(user_row)) % 24},
        offsets=np.searchsorted(user_row, np.arange(len(movies) + 1)),
    )
    users = Users(ids, {"age": np.arange(len(movies))})
    return TrainingData(catalogue, users, interactions, None, MOVIELENS)


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return data_of([rng.permutation(MOVIES)[: 2 + 2 * user] for user in range(USERS)])


def history(data, user):
    """(movie row, stars) of a user's ratings in event order."""
    held = data.interactions
    own = slice(held.offsets[user], held.offsets[user + 1])
    return list(zip(held.movie_row[own].tolist(), held.rating[own].tolist(), strict=True))


def named_and_wanted(data, user, count):
    """What a user names and what is to be found, by the words; None if they are left out."""
    own = history(data, user)
    mean = sum(stars for _, stars in own) / len(own)
    named = [movie for movie, stars in own if stars >= mean][:count]
    wanted = {movie for movie, _ in own} - set(named)
    return (named, wanted) if len(named) == count and wanted else None


@pytest.fixture
def fits(monkeypatch):
    """The data of every fit, in place of fits; lists are ordered by a user's random scores."""
    found = []

    def fit(config, fitted, seed, on_progress):
        found.append(fitted)

    def scores_of(models, blend, query, features):
        return np.stack([random_scores(user) for user in query.users])

    monkeypatch.setattr(new_users, "fit_long_term", fit)
    monkeypatch.setattr(new_users, "scores_of", scores_of)
    return found


def random_scores(user):
    return np.random.default_rng(int(user)).random(MOVIES)


def measure(data, folds=FOLDS):
    return new_users.measure(LongTermConfig(), data, folds, 7, lambda line: None)


def ids_of(fitted):
    return set(fitted.users.ids.tolist())


def test_every_user_is_held_out_of_one_fit_with_all_their_ratings(data, fits):
    measure(data)
    everybody = ids_of(data)
    left_out = [everybody - ids_of(fitted) for fitted in fits]
    assert len(fits) == FOLDS
    assert sorted(user for users in left_out for user in users) == sorted(everybody)
    for fitted in fits:
        places = [data.users.ids.tolist().index(user) for user in fitted.users.ids.tolist()]
        assert [history(fitted, row) for row in range(len(places))] == [
            history(data, user) for user in places
        ]
        assert fitted.users.features["age"].tolist() == places
        rows = np.isin(data.interactions.user_row, places)
        for one in ("timestamp", "position"):
            values = getattr(fitted.interactions, one)
            assert values.tolist() == getattr(data.interactions, one)[rows].tolist()
        hours = data.interactions.context["hour"][rows]
        assert fitted.interactions.context["hour"].tolist() == hours.tolist()


def test_ratings_of_held_out_users_change_no_fit(data, fits):
    measure(data)
    (first, *_) = fits
    held_out = ~np.isin(data.users.ids, first.users.ids)
    rows = held_out[data.interactions.user_row]
    other = dataclasses.replace(
        data.interactions,
        movie_row=np.where(
            rows, MOVIES - 1 - data.interactions.movie_row, data.interactions.movie_row
        ),
        rating=np.where(rows, 6 - data.interactions.rating, data.interactions.rating),
    )
    fits.clear()
    measure(dataclasses.replace(data, interactions=other))
    for name in ("user_row", "movie_row", "rating", "timestamp"):
        again, before = (getattr(one.interactions, name) for one in (fits[0], first))
        np.testing.assert_array_equal(again, before)


def slow_ndcg(scores, named, wanted):
    """NDCG@10 by its definition, of one list without the named movies; ties count against it."""
    listed = [movie for movie in range(MOVIES) if movie not in named]
    ranks = [
        1 + sum(scores[other] >= scores[movie] for other in listed if other != movie)
        for movie in wanted
    ]
    gains = sum(1 / math.log2(1 + rank) for rank in ranks if rank <= 10)
    return gains / sum(1 / math.log2(2 + place) for place in range(min(10, len(wanted))))


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
def test_metrics_are_means_over_the_users_who_can_name_as_many(data, fits, monkeypatch, at_once):
    monkeypatch.setattr(new_users, "_CELLS_AT_ONCE", at_once)
    metrics = measure(data)
    fold_of = {
        user: fitted
        for fitted in fits
        for user in range(USERS)
        if data.users.ids[user] not in fitted.users.ids
    }
    for count in NAMED_MOVIES:
        name = f"new_user_{count}_" if count else "profile_only_"
        found = {user: named_and_wanted(data, user, count) for user in range(USERS)}
        pairs = [
            (
                slow_ndcg(random_scores(user), *queries),
                slow_ndcg(fold_of[user].ratings_per_movie, *queries),
            )
            for user, queries in found.items()
            if queries
        ]
        ours, popular = np.array(pairs).T
        assert metrics[f"{name}user_ndcg_at_10"] == pytest.approx(ours.mean())
        assert metrics[f"{name}popularity_user_ndcg_at_10"] == pytest.approx(popular.mean())
        over = f"{name}user_ndcg_at_10_over_popularity"
        assert metrics[over] == pytest.approx((ours - popular).mean())
        assert metrics[f"{over}_low"] <= metrics[over] <= metrics[f"{over}_high"]


def test_what_nobody_can_name_has_no_metric(fits):
    metrics = measure(data_of([np.arange(4)] * 6))
    assert "new_user_1_user_ndcg_at_10" in metrics
    assert not [name for name in metrics if name.startswith(("new_user_5_", "new_user_10_"))]


def test_a_fold_without_users_or_with_all_of_them_is_left_out(fits):
    assert measure(data_of([np.arange(4)]), folds=5) == {}
    assert fits == []


def test_scores_are_those_of_the_served_next_visit(trained, oracle, profiles):
    """Somebody unknown with a known user's profile, who names three of that user's movies."""
    data = TrainingData(
        trained.catalogue, trained.users, trained.interactions, trained.transform, MOVIELENS
    )
    retrieval = trained.serving.retrieval
    autoencoder = UserAutoencoder(retrieval._long_term_config, 0)
    autoencoder.network = retrieval._autoencoder
    models = LongTermModels(autoencoder, retrieval.ease, retrieval.ials, retrieval.kernel, {}, {})
    everybody, mean = np.ones(len(data.users.ids), bool), float(data.interactions.rating.mean())
    query = new_users.query_of(data, everybody, 3, mean)
    scores = new_users.scores_of(models, retrieval._blend, query, data.users.features)
    for place in (0, len(query.users) - 1):
        user = query.users[place]
        stars = dict(history(data, user))
        named = query.named[query.named[:, 0] == place, 1].tolist()
        recent = [(0, row, stars[row]) for row in named]
        expected = oracle.long_term(b"nobody", profiles[data.users.ids[user]], 0, recent)
        np.testing.assert_allclose(scores[place], expected, rtol=1e-3, atol=1e-3)


def test_the_component_writes_the_metrics_of_the_fitted_splits(world, tmp_path):
    ratings, movies = (examples_of(world.folder / name) for name in ("ratings", "catalogue"))
    graph, evaluation = standard_artifacts.TransformGraph(), standard_artifacts.ModelEvaluation()
    graph.uri, evaluation.uri = world.transform_graph, str(tmp_path)
    new_user_evaluator.NewUserEvaluator.test_call(
        examples=ratings,
        movies=movies,
        transform_graph=graph,
        evaluation=evaluation,
        custom_config=new_user_evaluator.config_of(fixtures.SMALL, MOVIELENS),
        folds=2,
    )
    found = json.loads((tmp_path / "new_users.json").read_text())
    assert found["folds"] == 2
    for scenario in ("profile_only", "new_user_1", "new_user_10"):
        low, value, high = (
            found["metrics"][f"{scenario}_user_ndcg_at_10{end}"] for end in ("_low", "", "_high")
        )
        assert 0.0 < low < value < high < 1.0


def examples_of(folder):
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    names = [path.name.removeprefix("Split-") for path in sorted(folder.glob("Split-*"))]
    examples.split_names = artifact_utils.encode_split_names(names)
    return examples
