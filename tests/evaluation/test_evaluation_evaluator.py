"""The stock Evaluator on a small model: metrics per slice, blessing, verdict."""

import dataclasses
import json
import math

import evaluation_fixtures as fixtures
import numpy as np
import pytest

from components.evaluation import metrics
from components.evaluation.config import Thresholds, build_eval_config
from components.evaluation.verdict import read_verdict
from schema.features import MOVIELENS

ROWS = [
    *fixtures.random_rows(60, seed=1, movies=30),
    fixtures.Row(4.0, 4.5, 1, 1, age=None),
    fixtures.Row(2.0, 8.0, -1, -1, gender="Female", occupation="doctor"),
]

OFF = Thresholds(None, None, None, None, None, None)
LENIENT = dataclasses.replace(OFF, max_rmse=4.0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    fixtures.write_examples(folder / "examples", ROWS)
    fixtures.export_model(folder / "model")
    fixtures.export_model(folder / "equal")
    fixtures.export_model(folder / "hopeless", rank_shift=1000)
    fixtures.export_model(folder / "worse", rating_shift=0.5, rank_shift=3)
    return folder


@pytest.fixture
def evaluate(workspace, tmp_path):
    def run(thresholds, model="model", baseline=None, examples="examples", **options):
        return fixtures.run_evaluator(
            tmp_path,
            build_eval_config(thresholds, MOVIELENS),
            workspace / examples,
            workspace / model,
            workspace / baseline if baseline else None,
            **options,
        )

    return run


def expected_metrics(rows, rating_shift=0.0, rank_shift=0):
    """The metrics of the stand-in model from the rows themselves, in plain numpy."""
    rating = np.array([row.rating for row in rows])
    predicted = np.float32([row.predicted for row in rows]) + np.float32(rating_shift)
    errors = np.clip(predicted.astype(np.float64), 1, 5) - rating
    found = {
        "example_count": len(rows),
        "rmse": np.sqrt(np.mean(errors**2)),
        "mae": np.mean(np.abs(errors)),
    }
    untimed = np.float32([row.untimed for row in rows]) + np.float32(rating_shift)
    untimed_errors = np.clip(untimed.astype(np.float64), 1, 5) - rating
    found["untimed_rmse"] = np.sqrt(np.mean(untimed_errors**2))
    users = np.array([row.user for row in rows])
    counts = {user: int((users == user).sum()) for user in users.tolist()}
    for prefix, name in (
        ("", "rank_all"),
        ("plain_", "rank_plain"),
        ("untimed_", "rank_untimed"),
        ("unseen_", "rank_unseen"),
        ("popularity_", "rank_popularity"),
    ):
        ranks = np.array([getattr(row, name) for row in rows], dtype=np.float64)
        shift = 0 if prefix == "popularity_" else rank_shift
        ranks = np.where(ranks == -1, np.inf, ranks + shift)
        for k in (1, 5, 10, 50, 100):
            found[f"{prefix}top_{k}_accuracy"] = np.mean(ranks <= k)
        found[f"{prefix}mrr"] = np.mean(1 / ranks)
        gains = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
        found[f"{prefix}ndcg_at_10"] = np.mean(gains)
        if prefix in ("unseen_", "untimed_"):
            recalls = [np.mean(ranks[users == user] <= 10) for user in counts]
            shares = [
                gains[users == user].sum() / sum(1 / np.log2(np.arange(2, 2 + min(10, count))))
                for user, count in counts.items()
            ]
            found[f"{prefix}user_recall_at_10"] = np.mean(recalls)
            found[f"{prefix}user_ndcg_at_10"] = np.mean(shares)
    found["r_squared"] = 1 - np.mean(errors**2) / np.var(rating) if np.var(rating) else np.nan
    for k in (10, 100):
        popular = max(found[f"popularity_top_{k}_accuracy"], 1 / len(rows))
        found[f"unseen_top_{k}_lift"] = found[f"unseen_top_{k}_accuracy"] / popular
    ceiling = sum(min(10, count) for count in counts.values()) / len(rows)
    found["user_only_top_10_ceiling"] = ceiling
    found["unseen_top_10_above_ceiling"] = found["unseen_top_10_accuracy"] - ceiling
    return found


def rows_by_slice(rows):
    groups = {(): list(rows)}
    for row in rows:
        groups.setdefault((("user_gender", row.gender),), []).append(row)
        groups.setdefault((("user_occupation_text", row.occupation),), []).append(row)
        if row.age is not None:
            groups.setdefault((("bucketized_user_age", row.age),), []).append(row)
    return groups


def assert_metrics_equal(found, expected):
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, abs=1e-6, nan_ok=True), key


def test_metrics_of_every_slice_equal_the_oracle(evaluate):
    evaluated = evaluate(LENIENT)
    expected = {key: expected_metrics(rows) for key, rows in rows_by_slice(ROWS).items()}
    assert_metrics_equal(fixtures.load_metrics(evaluated.evaluation), expected)


def test_metrics_are_the_same_under_tfmas_own_extractors(evaluate):
    evaluated = evaluate(LENIENT, module_path=None)
    expected = {key: expected_metrics(rows) for key, rows in rows_by_slice(ROWS).items()}
    assert_metrics_equal(fixtures.load_metrics(evaluated.evaluation), expected)


# Of every sort that a schema makes: one value, perhaps one, any number.
SCHEMA = """
    feature { name: "user_rating" type: FLOAT presence { min_fraction: 1.0 } shape { } }
    feature { name: "user_gender" type: BYTES presence { min_fraction: 1.0 } shape { } }
    feature { name: "bucketized_user_age" type: INT value_count { min: 1 max: 1 } }
    feature { name: "user_occupation_text" type: BYTES presence { min_fraction: 1.0 } shape {
      dim { size: 1 } } }
    feature { name: "movie_genres" type: BYTES value_count { min: 0 } }
"""


def test_metrics_are_the_same_when_features_are_read_by_a_schema(evaluate):
    evaluated = evaluate(LENIENT, schema=SCHEMA)
    expected = {key: expected_metrics(rows) for key, rows in rows_by_slice(ROWS).items()}
    assert_metrics_equal(fixtures.load_metrics(evaluated.evaluation), expected)


def test_a_first_model_is_blessed_on_value_thresholds_alone(evaluate):
    thresholds = dataclasses.replace(LENIENT, rmse_worsening=0.0, unseen_top_10_worsening=0.0)
    evaluated = evaluate(thresholds)
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert evaluated.blessed == 1
    assert verdict.blessed
    assert not verdict.has_baseline
    assert [(t.metric, t.kind, t.bound, t.passed) for t in verdict.thresholds] == [
        ("rmse", "value", 4.0, True)
    ]
    assert verdict.thresholds[0].value == pytest.approx(expected_metrics(ROWS)["rmse"])
    assert verdict.reasons() == ("no other model to compare with: change thresholds not applied",)


def test_a_model_that_misses_a_value_threshold_is_not_blessed_and_told_why(evaluate):
    thresholds = dataclasses.replace(LENIENT, max_rmse=0.5, min_unseen_top_10_accuracy=0.999)
    evaluated = evaluate(thresholds)
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    expected = expected_metrics(ROWS)
    assert evaluated.blessed == 0
    assert not verdict.blessed
    assert [t.passed for t in verdict.thresholds] == [False, False]
    assert verdict.reasons() == (
        f"rmse {expected['rmse']:.4f} is above the allowed 0.5000",
        f"unseen_top_10_accuracy {expected['unseen_top_10_accuracy']:.4f} is below the "
        "allowed 0.9990",
        "no other model to compare with: change thresholds not applied",
    )


def test_a_bad_small_slice_does_not_withhold_the_blessing(evaluate):
    overall = expected_metrics(ROWS)["rmse"]
    by_slice = {key: expected_metrics(rows)["rmse"] for key, rows in rows_by_slice(ROWS).items()}
    assert max(by_slice.values()) > overall + 0.01
    evaluated = evaluate(dataclasses.replace(LENIENT, max_rmse=overall + 0.01))
    assert read_verdict(evaluated.evaluation, evaluated.blessing).blessed


def test_a_metric_of_exactly_its_bound_passes(evaluate):
    """Quotients and decimals are rounded differently."""
    found = expected_metrics(ROWS)
    thresholds = dataclasses.replace(
        LENIENT,
        max_rmse=float(np.nextafter(found["rmse"], 0)),
        min_unseen_top_10_accuracy=float(np.nextafter(found["unseen_top_10_accuracy"], 1)),
    )
    evaluated = evaluate(thresholds)
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.blessed, verdict.reasons()
    assert all("is at the allowed" in each.describe() for each in verdict.thresholds)


def test_zero_keeps_to_a_bound_of_zero_and_what_is_undefined_misses_its_bound(evaluate, workspace):
    """TFMA is given almost 0 for 0. Where all ratings are the same r_squared is undefined."""
    rows = [fixtures.Row(4.0, 4.5, 1, 1), fixtures.Row(4.0, 4.0, 2, 2)]
    fixtures.write_examples(workspace / "perfect", rows)
    thresholds = dataclasses.replace(OFF, max_above_ceiling=0.0, min_r_squared=0.0)
    evaluated = evaluate(thresholds, examples="perfect")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.metrics["unseen_top_10_above_ceiling"] == 0.0
    assert {each.metric: each.passed for each in verdict.thresholds} == {
        "unseen_top_10_above_ceiling": True,
        "r_squared": False,
    }
    assert verdict.reasons()[0].startswith("r_squared is undefined: all test ratings are the same")
    assert verdict.to_json()["metrics"]["r_squared"] is None


CHANGES = Thresholds(
    max_rmse=4.0,
    min_unseen_top_10_accuracy=None,
    min_unseen_top_100_accuracy=None,
    rmse_worsening=0.01,
    unseen_top_10_worsening=0.01,
    unseen_top_100_worsening=None,
)


def test_a_worse_model_is_not_blessed_over_the_blessed_one(evaluate):
    evaluated = evaluate(CHANGES, model="worse", baseline="model")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    blessed, candidate = expected_metrics(ROWS), expected_metrics(ROWS, 0.5, 3)
    assert not verdict.blessed
    assert verdict.has_baseline
    assert verdict.metrics == pytest.approx(candidate, abs=1e-6)
    assert verdict.baseline_metrics == pytest.approx(blessed, abs=1e-6)
    by_threshold = {(t.metric, t.kind): t for t in verdict.thresholds}
    assert {key: t.passed for key, t in by_threshold.items()} == {
        ("rmse", "value"): True,
        ("rmse", "change"): False,
        ("unseen_top_10_accuracy", "change"): False,
        ("unseen_top_10_above_ceiling", "value"): True,
    }
    change = by_threshold["rmse", "change"]
    assert change.value == pytest.approx(candidate["rmse"])
    assert change.baseline == pytest.approx(blessed["rmse"])
    assert verdict.reasons()[0] == (
        f"rmse {candidate['rmse']:.4f} is above the allowed {blessed['rmse'] + 0.01:.4f} "
        f"(+0.01 from the blessed model's {blessed['rmse']:.4f})"
    )
    assert "unseen_top_10_accuracy" in verdict.reasons()[1]
    assert "is below the allowed" in verdict.reasons()[1]


def test_a_better_model_is_blessed_over_the_blessed_one(evaluate):
    evaluated = evaluate(CHANGES, model="model", baseline="worse")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.blessed
    assert verdict.has_baseline
    assert all(t.passed for t in verdict.thresholds)
    assert verdict.reasons() == ()


def test_a_slightly_worse_model_passes_within_the_allowed_worsening(evaluate):
    wide = dataclasses.replace(CHANGES, rmse_worsening=2.0, unseen_top_10_worsening=1.0)
    evaluated = evaluate(wide, model="worse", baseline="model")
    assert read_verdict(evaluated.evaluation, evaluated.blessing).blessed


def test_an_equal_model_passes_even_without_any_allowed_worsening(evaluate):
    strict = dataclasses.replace(CHANGES, rmse_worsening=0.0, unseen_top_10_worsening=0.0)
    evaluated = evaluate(strict, model="equal", baseline="model")
    assert read_verdict(evaluated.evaluation, evaluated.blessing).blessed


@pytest.mark.parametrize("model", ["model", "hopeless"])
def test_a_blessed_model_that_ranks_nothing_well_can_be_followed(evaluate, model):
    evaluated = evaluate(CHANGES, model=model, baseline="hopeless")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.blessed
    assert verdict.baseline_metrics["unseen_top_10_accuracy"] == 0.0


def test_slices_with_a_baseline_are_those_of_the_candidate(evaluate):
    evaluated = evaluate(CHANGES, model="worse", baseline="model")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    expected = {
        (feature, str(value)): expected_metrics(rows, 0.5, 3)
        for key, rows in rows_by_slice(ROWS).items()
        for feature, value in key
    }
    found = {(s.feature, s.value): s.metrics for s in verdict.slices}
    assert_metrics_equal(found, expected)


def test_a_model_that_predicts_no_numbers_is_not_blessed(evaluate, workspace):
    fixtures.export_model(workspace / "nan", rating_shift=math.nan)
    evaluated = evaluate(LENIENT, model="nan")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert not verdict.blessed
    assert verdict.reasons()[0] == "rmse could not be computed"
    assert verdict.to_json()["metrics"]["rmse"] is None


def test_no_test_rows_mean_no_blessing_and_a_reason(evaluate, workspace):
    fixtures.write_examples(workspace / "no_rows", [])
    evaluated = evaluate(LENIENT, examples="no_rows")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert not verdict.blessed
    assert verdict.reasons()[0] == "no test rows were evaluated"
    assert [(t.value, t.passed) for t in verdict.thresholds] == [(None, False)]


def test_the_verdict_survives_json(evaluate):
    evaluated = evaluate(CHANGES, model="worse", baseline="model")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["blessed"] is False
    assert document["metrics"] == verdict.metrics
    assert len(document["slices"]) == len(verdict.slices)
    assert document["reasons"] == list(verdict.reasons())
    assert set(document["metrics"]) == set(metrics.METRIC_NAMES)


def test_a_folder_without_a_result_is_named_in_the_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="has not finished there"):
        read_verdict(tmp_path, tmp_path)
