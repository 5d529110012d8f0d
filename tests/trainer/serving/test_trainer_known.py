"""What is served knows every split; what is evaluated knows what was fitted."""

import json

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from schema import features as raw
from schema.predictions import PREDICTED_RATING
from trainer.data import reading
from trainer.evaluation.signature import Evaluation
from trainer.retrieval.two_towers import catalogue_tensors
from trainer.serving.module import ServingModel

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 4_000_000_000


@pytest.fixture(scope="module")
def rated(world):
    """Every movie that each user has rated, in any split, from the Examples."""
    found = {}
    for files in world.rating_files.values():
        for example in fixtures.read_examples(files):
            user, movie = (fixtures.value(example, f) for f in (raw.USER_ID, raw.MOVIE_ID))
            found.setdefault(user, set()).add(movie)
    return found


def requests_of(users):
    return [{"user_id": user.decode()} for user in users]


def test_no_user_is_recommended_a_movie_that_they_have_rated(served, trained, rated):
    users = sorted(rated)
    answer = fixtures.recommend(served, *requests_of(users), k=10**6)
    for row, user in enumerate(users):
        shown = set(answer["movie_id"][row]) - {b""}
        assert shown == set(trained.catalogue.ids.tolist()) - rated[user]


def test_the_evaluated_model_knows_the_fitted_splits_alone(model, trained, world, rated):
    tested = {}
    for example in fixtures.read_examples(world.rating_files["test"]):
        tested.setdefault(fixtures.value(example, raw.USER_ID), set()).add(
            fixtures.value(example, raw.MOVIE_ID)
        )
    users = sorted(tested)
    answer = fixtures.recommend(model, *requests_of(users), k=10**6)
    for row, user in enumerate(users):
        shown = set(answer["movie_id"][row]) - {b""}
        assert shown == set(trained.catalogue.ids.tolist()) - (rated[user] - tested[user])


def test_the_served_model_lists_every_user(trained, rated):
    described = json.loads((trained.served_path / "assets.extra" / "users.json").read_text())
    assert {user.encode() for user in described["ids"]} == set(rated)


def variables(path):
    """Values of a SavedModel's variables by name."""
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if "VARIABLE_VALUE" in name}


def test_the_served_graph_holds_no_evaluation(served, model, trained):
    assert "evaluate" in model.signatures
    assert "evaluate" not in served.signatures
    assert not hasattr(served, "evaluation")
    with_evaluation = variables(trained.path)
    assert [name for name in with_evaluation if name.startswith("evaluation/")]
    assert not [name for name in variables(trained.served_path) if "evaluation" in name]


KNOWN = ("serving/history/", "serving/users/", "serving/user_", "serving/rating_states")


def test_the_fitted_parts_of_both_are_the_same(trained):
    evaluated, served = variables(trained.path), variables(trained.served_path)
    fitted = {name for name in served if not name.startswith(KNOWN)}
    assert fitted == {name for name in evaluated if not name.startswith((*KNOWN, "evaluation/"))}
    assert len(fitted) > 10
    for name in fitted:
        np.testing.assert_array_equal(served[name], evaluated[name], err_msg=name)


def copied(example, **changes):
    """The same Example with other values of some features."""
    copy = fixtures.to_example()
    copy.CopyFrom(example)
    for name, value in changes.items():
        feature = copy.features.feature[name]
        getattr(feature, feature.WhichOneof("kind")).value[:] = [value]
    return copy


def test_a_changed_row_of_the_test_split_changes_what_is_served_alone(world, trained, tmp_path):
    """Its user, who has another movie now, is distinguished by the served model alone."""
    first = next(fixtures.read_examples(world.rating_files["test"]))
    user = fixtures.value(first, raw.USER_ID)
    other = next(
        movie
        for movie in trained.catalogue.ids.tolist()
        if movie != fixtures.value(first, raw.MOVIE_ID)
    )
    request = (requests_of([user]), {"k": 10**6, "timestamp": NOW, "exclude_seen": False})
    answers = []
    for movie in (fixtures.value(first, raw.MOVIE_ID), other):
        rows = [copied(first, movie_id=movie)]
        path, users = fixtures.write_events(tmp_path / movie.decode(), rows)
        data, known = reading.load_fitted_and_known(
            world.event_files["train"] + world.event_files["validation"],
            [path],
            [*world.user_files, users],
            world.movie_files,
            trained.transform,
            raw.MOVIELENS,
        )
        served, evaluated = (made_of(trained, data, one) for one in (known, data))
        answers.append(
            (
                recommended(served, *request),
                Evaluation(evaluated, data.ratings_per_movie).evaluate(
                    tf.constant([first.SerializeToString()])
                ),
            )
        )
    (one_served, one), (other_served, another) = answers
    assert np.abs(one_served - other_served).max() > 1e-3
    for name, values in one.items():
        np.testing.assert_array_equal(values, another[name], err_msg=name)


def made_of(trained, data, known):
    """A model of the fitted parts of `trained` that knows `known`."""
    parts = trained.serving
    return ServingModel(
        parts.retrieval,
        parts.rating,
        trained.config.model.recency_events,
        data,
        catalogue_tensors(data.catalogue),
        known,
    )


class Eager:
    """A model whose signatures are called without a graph."""

    def __init__(self, serving):
        from trainer.serving.signatures import signatures

        self.signatures = signatures(serving)


def recommended(serving, profiles, options):
    """Scores of the whole catalogue in the order of the movies' ids."""
    answer = fixtures.recommend(Eager(serving), *profiles, **options)
    return answer["score"][0][np.argsort(answer["movie_id"][0])]


def test_a_user_of_the_test_split_alone_is_answered_by_their_events(world, trained, tmp_path):
    """The answer is that for an unknown user whose request has the same events."""
    first = next(fixtures.read_examples(world.rating_files["test"]))
    movies = trained.catalogue.ids[[3, 9, 27]].tolist()
    given = (5.0, 4.0, 4.0)
    rows = [
        copied(first, user_id=b"newcomer", movie_id=movie, user_rating=stars)
        for movie, stars in zip(movies, given, strict=True)
    ]
    path, users = fixtures.write_events(tmp_path, rows)
    data, known = reading.load_fitted_and_known(
        world.event_files["train"] + world.event_files["validation"],
        [path],
        [*world.user_files, users],
        world.movie_files,
        trained.transform,
        raw.MOVIELENS,
    )
    assert len(known.users.ids) == len(data.users.ids) + 1
    eager = Eager(made_of(trained, data, known))
    everything = {"k": 10**6, "timestamp": NOW}
    answer = fixtures.recommend(eager, {"user_id": "newcomer"}, **everything)
    assert not set(answer["movie_id"][0]) & set(movies)
    profile = {
        feature.name: fixtures.as_text(fixtures.value(first, feature))
        for feature in fixtures.USER_FIELDS
    } | {"user_id": "nobody"}
    # Residuals of an unknown user are to the mean of all, the newcomer's to their own. Moved
    # by the difference all stay above the middle, below which an unknown user's are no likes.
    shift = float(known.interactions.rating.astype(np.float64).mean()) - np.mean(given)
    events = [(0, m.decode(), s + shift) for m, s in zip(movies, given, strict=True)]
    stranger = fixtures.recommend(eager, profile, recent=[events], **everything)
    np.testing.assert_allclose(answer["score"], stranger["score"], atol=1e-3)
    stars = [(0, movie.decode(), value) for movie, value in zip(movies, given, strict=True)]
    ratings = fixtures.rank(
        eager,
        {"user_id": "newcomer"},
        profile,
        movies=[["1"], ["1"]],
        recent=[[], stars],
    )
    np.testing.assert_allclose(*ratings[PREDICTED_RATING], atol=1e-3)  # type: ignore[call-overload]
