"""The user's own blessing thresholds: what a file can say, and what the Evaluator makes of it."""

import re
from pathlib import Path

import pytest

from components.evaluation.config import Thresholds, build_eval_config, own_thresholds
from components.evaluation.metrics import METRIC_NAMES
from components.evaluation.verdict import ThresholdResult
from pipeline import run, summary, threshold_file
from pipeline.config import RunConfig
from schema.features import MOVIELENS, RATING, FeatureTable
from sources.errors import InputError
from sources.sample import generate_sample

SHIPPED = Thresholds(max_rating_rmse=0.9, min_recall_at_10=0.1)
CLICKS = FeatureTable(tuple(one for one in MOVIELENS.features if one != RATING))


def read(folder, text, split="random", features=MOVIELENS):
    path = folder / "thresholds.toml"
    path.write_text(text)
    return threshold_file.own_thresholds(path, SHIPPED, split, features)


def test_own_bounds_stand_in_place_of_the_shipped_ones_and_beside_them(tmp_path):
    found = read(
        tmp_path,
        "next_visit_rating_rmse = 1\nnext_visit_recall_at_10 = false\nnext_visit_mrr = 0.05\n"
        "[change]\nnext_visit_rating_rmse = 0.5\nnext_visit_recall_at_10 = false\n",
    )
    assert found.value_bounds() == {
        "next_visit_rating_rmse": 1.0,
        "next_visit_mrr": 0.05,
        "leaking_rows": 0.0,
    }
    assert found.allowed_worsening() == {
        "next_visit_rating_rmse": 0.5,
        "next_visit_recall_at_100": SHIPPED.recall_at_100_worsening,
    }
    assert threshold_file.describe(found) == (
        "next_visit_mrr at least 0.05, next_visit_rating_rmse at most 1, "
        "next_visit_recall_at_10 off, change of next_visit_rating_rmse up to 0.5 worse, "
        "change of next_visit_recall_at_10 off"
    )


def test_the_file_in_the_guide_can_be_read(tmp_path):
    text = (Path(__file__).parents[2] / "docs/guides/own-data.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n([^`]*\[change\].*?)```", text, re.DOTALL)
    found = read(tmp_path, example)
    assert found.value_bounds()["next_visit_recall_at_10"] == 0.05
    assert found.allowed_worsening()["next_visit_recall_at_10"] == 0.01


def test_own_thresholds_are_in_the_configuration_of_the_evaluator_which_is_its_cache_key(tmp_path):
    own = read(tmp_path, "next_visit_mrr = 0.05\n[change]\nnext_visit_rating_mae = 0.1\n")
    built, shipped = (build_eval_config(one, MOVIELENS) for one in (own, SHIPPED))
    assert built.SerializeToString() != shipped.SerializeToString()
    assert own_thresholds(built) == {"next_visit_mrr", "next_visit_rating_mae_change"}
    assert own_thresholds(shipped) == frozenset()
    bounds = built.metrics_specs[0].per_slice_thresholds
    assert bounds["next_visit_mrr"].thresholds[0].threshold.value_threshold.lower_bound.value == (
        pytest.approx(0.05)
    )
    assert "next_visit_rating_mae_change_low" in bounds


def test_a_number_that_is_the_shipped_one_is_the_users_own_all_the_same(tmp_path):
    own = build_eval_config(read(tmp_path, "next_visit_rating_rmse = 0.9"), MOVIELENS)
    assert own_thresholds(own) == {"next_visit_rating_rmse"}


def test_every_metric_that_can_have_a_bound_is_one_of_summary_json():
    found = threshold_file.bounded_metrics()
    assert set(found) < set(METRIC_NAMES)
    assert {"next_visit_recall_at_100_over_popularity_high", "in_session_rating_rmse"} <= set(found)
    for name in ("example_count", "leaking_rows", "next_visit_rating_rmse_high"):
        assert name not in found
    for name in ("next_visit_popularity_recall_at_10", "next_visit_rating_bias"):
        assert name not in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recall_at_10 = 0.1", "(?s)no metric recall_at_10 .*expected: next_visit_recall_at_10"),
        ("next_visit_recal_at_10 = 0.1", "(?s)expected: next_visit_recall_at_10"),
        ("next_visit_recall_at_10 = 10", "(?s)recall_at_10 cannot be 10.*a share from 0 to 1"),
        ("next_visit_recall_at_10 = true", "recall_at_10 cannot be True"),
        ("next_visit_recall_at_10 = nan", "recall_at_10 cannot be nan"),
        ("next_visit_recall_at_10 = '0.1'", "recall_at_10 cannot be '0.1'"),
        ("next_visit_rating_rmse = -1", "(?s)rating_rmse cannot be -1.*0 or more, or false"),
        ("next_visit_rating_r_squared = 1", "(?s)r_squared cannot be 1.*below 1"),
        ("next_visit_recall_at_10_over_popularity = 2", "(?s)cannot be 2.*from -1 to 1"),
        ("[next_visit]\nmrr = 0.1", r"(?s)no table \[next_visit\].*expected: \[change\]"),
        ("[chnge]\nmrr = 0.1", r"(?s)expected: \[change\]\n.*found: \[chnge\]"),
        ("zzz = 0.1", "(?s)expected: a metric of summary.json, such as next_visit_.*found: zzz"),
        ("change = 1", "change is no table"),
        ("[change]\nnext_visit_mrr = 0.1", "(?s)no metric .change. next_visit_mrr"),
        ("[change]\nnext_visit_rating_rmse = -0.1", "cannot be -0.1"),
        ("in_session_recall_at_10 = 0.1", "(?s)cannot have a bound on --split random.*temporal"),
        ("[oops", "this file cannot be read"),
    ],
)
def test_what_no_threshold_can_be_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, text)
    assert "thresholds.toml" in str(error.value)
    assert error.value.exit_code == 2


def test_ratings_have_no_bound_where_there_are_none(tmp_path):
    read(tmp_path, "next_visit_recall_at_10 = 0.1", features=CLICKS)
    with pytest.raises(InputError, match="next_visit_rating_rmse is not measured"):
        read(tmp_path, "next_visit_rating_rmse = 1", features=CLICKS)


def test_the_session_can_have_a_bound_where_nothing_later_was_fitted(tmp_path):
    found = read(tmp_path, "in_session_mrr = 0.1", split="temporal")
    assert found.value_bounds()["in_session_mrr"] == 0.1


def test_the_verdict_says_which_thresholds_are_the_users_own():
    missed = ThresholdResult("next_visit_mrr", "value", 0.05, 0.01, None, passed=False, own=True)
    assert missed.describe() == (
        "next_visit_mrr 0.0100 is below the allowed 0.0500 (your own threshold)"
    )
    found = summary.Summary(
        metrics={"next_visit_mrr": 0.01}, thresholds=summary.thresholds_as_json([missed])
    )
    lines = {name: str(line) for name, line in summary._metric_lines(found)}
    assert lines == {"next_visit_mrr": "0.0100   at least 0.0500 (yours) ✗"}


@pytest.mark.parametrize("option", ["thresholds", "schema"])
def test_a_wrong_file_is_refused_before_anything_is_made(tmp_path, option):
    data, wrong, output = tmp_path / "data", tmp_path / "wrong", tmp_path / "output"
    generate_sample(data, ratings=1000, seed=1)
    wrong.write_text("[chnge]\n")
    with pytest.raises(InputError, match="wrong"):
        run.run(RunConfig(data=data, output_dir=output, **{option: wrong}))
    assert not output.exists()


def test_the_terminal_shows_every_threshold_that_the_report_counts():
    met = [
        ThresholdResult(name, "value", 0.0, value, None, passed=True)
        for name, value in (
            ("next_visit_recall_at_10_over_popularity_high", 0.1),
            ("leaking_rows", 0.0),
        )
    ]
    found = summary.Summary(
        metrics={one.metric: one.value for one in met}, thresholds=summary.thresholds_as_json(met)
    )
    lines = {name: str(line) for name, line in summary._metric_lines(found)}
    assert lines.keys() >= {one.metric for one in met}
    assert "".join(lines.values()).count("✓") == len(met)
