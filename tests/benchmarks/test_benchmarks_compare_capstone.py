"""The capstone's models as they are compared, the leaking one before all."""

import pytest

from benchmarks.compare import capstone, protocols
from benchmarks.compare.data import Task
from benchmarks.compare.methods import measure

pytestmark = pytest.mark.xdist_group("trainer")


@pytest.fixture
def figures(bench):
    """Returns the figures of a model by its name, trained long on little data."""

    def figures_of(name, *, ask=None):
        (method,) = (method for method in capstone.METHODS if method.name == name)
        main = bench.splits.main
        task = Task(bench.loaded, main, main.train, main.test if ask is None else ask)
        return measure(task, method.run(task, {**method.grid[0], "epochs": 60})).metrics

    return figures_of


def test_a_query_with_the_features_of_the_movie_to_be_found_beats_the_ceiling(bench, figures):
    ceiling = protocols.user_only_ceiling(bench.loaded.users[bench.splits.main.test])
    leaking, honest = figures("tutorial_leak"), figures("tutorial_retrieval")
    assert honest["next_visit_recall_at_10"] <= ceiling < 0.95
    assert leaking["unfiltered_recall_at_10"] > 0.95
    # Each row has a list of its own: there is no list of a user to average over.
    assert "next_visit_user_ndcg_at_10" not in leaking


def test_retrieval_is_learned_where_its_loss_counts(bench, figures):
    learned = bench.splits.main.train
    with_loss = figures("tutorial_retrieval", ask=learned)
    without = figures("tutorial_rating", ask=learned)
    # What is learned by heart fills each user's list; at random it would be 0.73 of that.
    full = protocols.user_only_ceiling(bench.loaded.users[learned])
    assert without["unfiltered_recall_at_10"] < 0.85 * full
    assert 0.95 * full < with_loss["unfiltered_recall_at_10"] <= full
    assert without["next_visit_rating_rmse"] < with_loss["raw_rmse"] - 1


def test_the_loss_weights_make_the_capstones_models():
    weights = {
        method.name: (method.grid[0]["rating_weight"], method.grid[0]["retrieval_weight"])
        for method in capstone.METHODS
    }
    assert weights == {
        "tutorial_rating": (1.0, 0.0),
        "tutorial_retrieval": (0.0, 1.0),
        "tutorial_joint": (1.0, 1.0),
        "tutorial_leak": (1.0, 1.0),
    }
    assert all(method.only_main for method in capstone.METHODS)
