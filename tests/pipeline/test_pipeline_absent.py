"""A run on clicks: text ids alone, no ratings, no times, no titles, and under a hundred items."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipeline.thresholds import thresholds_for
from schema.features import MOVIE_ID, USER_ID, FeatureTable

USERS, ITEMS = 150, 90
PUSHED, REFUSED = 0, 2


def clicks():
    """Everybody clicks items of one of three groups; every tenth user clicks once."""
    rng = np.random.default_rng(3)
    yield "user_id,item_id"
    for user in range(USERS):
        group = np.arange(user % 3, ITEMS, 3)
        count = 1 if user % 10 == 0 else int(rng.integers(8, 16))
        for item in rng.choice(group, count, replace=False):
            yield f"käufer-{user},sku/{item}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    (folder / "interactions.csv").write_text("".join(f"{line}\n" for line in clicks()))
    return folder


@pytest.mark.exhaustive
def test_clicks_without_times_end_in_a_pushed_model_of_lists_alone(project, data, tmp_path):
    bounds = thresholds_for("custom", "random", FeatureTable((USER_ID, MOVIE_ID)))
    result = project.run(
        "--data", data, "--epochs", 1, output=tmp_path, thresholds=dataclasses.asdict(bounds)
    )
    assert result.code == PUSHED, result.out + result.err
    summary = result.summary
    assert not [name for name in summary["metrics"] if "rating" in name or "in_session" in name]
    assert "next_visit_recall_at_100" not in summary["metrics"]
    assert {threshold["metric"] for threshold in summary["thresholds"]} == {
        "next_visit_recall_at_10_over_popularity_high",
        "leaking_rows",
    }
    assert set(summary["left_out"]) >= {"predicted ratings", "recommendations within a session"}
    assert "this data has none: every event counts as positive" in result.out
    message = " ".join(summary["reasons"])
    for words in ("no ratings", "no times", "list can be longer than"):
        assert words in message
    [version] = (tmp_path / "serving_model").glob("[0-9]*")
    model = tf.saved_model.load(str(version))
    assert not {"rank", "serving_default"} & set(model.signatures)
    answer = model.signatures["recommend"](
        user_id=tf.constant(["käufer-1", "nobody"]),
        recent_movie_ids=tf.constant([[""], ["sku/3"]]),
        k=tf.constant(5),
        exclude_movie_ids=tf.constant([[""], [""]]),
        exclude_seen=tf.constant(True),
    )
    assert answer["count"].numpy().tolist() == [5, 5]
    assert (tmp_path / "report" / "index.html").exists()
    assert "of the report failed" not in result.log


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--split", "temporal", "but this data has no times"),
        ("--model", "joint", "this data has none"),
    ],
)
def test_what_needs_ratings_or_times_is_refused(project, data, tmp_path, option, value, words):
    result = project.run("--data", data, option, value, output=tmp_path)
    assert result.code == REFUSED
    assert words in result.err
    assert "  what to do: leave" in result.err
    assert result.summary is None
