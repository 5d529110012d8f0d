"""The stock Evaluator on a small model: metrics per slice, blessing, verdict."""

import dataclasses
import functools
import json
import math

import evaluation_fixtures as fixtures
import numpy as np
import pytest

from components.evaluation import metrics
from components.evaluation.config import Thresholds, build_eval_config
from components.evaluation.verdict import NO_BASELINE, read_verdict
from schema.features import MOVIELENS

ROWS = [
    *fixtures.random_rows(60, seed=1, movies=30),
    fixtures.Row(4.0, 4.5, 1, age=None),
    fixtures.Row(2.0, 8.0, -1, gender="Female", occupation="doctor"),
]

OF_NEW_USERS = [fixtures.Row(1.0, 5.0, 1, user=user, known=False) for user in (1000, 1000, 1001)]
"""Rows of users without training ratings: they are in no metric and in no count."""

OFF = Thresholds(
    rating_rmse_worsening=None,
    recall_at_10_worsening=None,
    recall_at_100_worsening=None,
    max_leaking_rows=None,
)
LENIENT = dataclasses.replace(OFF, max_rating_rmse=4.0)
CHANGES = dataclasses.replace(LENIENT, rating_rmse_worsening=0.01, recall_at_10_worsening=0.01)
RMSE, RECALL = "next_visit_rating_rmse", "next_visit_recall_at_10"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    fixtures.write_examples(folder / "examples", [*OF_NEW_USERS, *ROWS])
    fixtures.export_model(folder / "model")
    fixtures.export_model(folder / "hopeless", rank_shift=1000)
    fixtures.export_model(folder / "worse", rating_shift=1.5, rank_shift=3)
    return folder


@pytest.fixture(scope="module")
def evaluate(workspace, tmp_path_factory):
    """Runs the Evaluator, once for all tests that give the same arguments."""

    @functools.cache
    def run(thresholds, model="model", baseline=None, examples="examples", **options):
        return fixtures.run_evaluator(
            tmp_path_factory.mktemp("evaluated"),
            build_eval_config(thresholds, MOVIELENS),
            workspace / examples,
            workspace / model,
            workspace / baseline if baseline else None,
            **options,
        )

    return run


def expected_metrics(rows, rating_shift=0.0, rank_shift=0):
    """Some metrics of the stand-in model from the rows themselves, in plain numpy.

    Every metric's definition is checked where they are computed (test_evaluation_metrics.py).
    """
    rating = np.array([row.rating for row in rows])
    users = np.array([row.user for row in rows])
    found = {"example_count": len(rows), "user_count": len(set(users.tolist()))}

    def of(ranks, shift):
        ranks = np.array(ranks, dtype=np.float64)
        ranks = np.where(ranks == -1, np.inf, ranks + shift)
        recalls = [
            np.sum(ranks[users == user] <= 10) / min(10, np.sum(users == user))
            for user in set(users.tolist())
        ]
        return {
            "recall_at_10": np.mean(ranks <= 10),
            "recall_at_100": np.mean(ranks <= 100),
            "mrr": np.mean(1 / ranks),
            "user_recall_at_10": np.mean(recalls),
        }

    def of_stars(predicted):
        stars = np.float32(predicted) + np.float32(rating_shift)
        errors = np.clip(stars.astype(np.float64), 1, 5) - rating
        return {"rating_rmse": np.sqrt(np.mean(errors**2)), "rating_bias": np.mean(errors)}

    next_visit = {
        **of([row.rank for row in rows], rank_shift),
        **of_stars([row.predicted for row in rows]),
    }
    in_session = {
        **of([row.in_session_rank for row in rows], rank_shift),
        **of_stars([row.in_session_predicted for row in rows]),
    }
    popular = of([row.popularity_rank for row in rows], 0)
    next_visit["popularity_recall_at_100"] = popular["recall_at_100"]
    next_visit["recall_at_100_over_popularity"] = (
        next_visit["recall_at_100"] - popular["recall_at_100"]
    )
    del in_session["user_recall_at_10"]
    found |= {f"next_visit_{name}": value for name, value in next_visit.items()}
    return found | {f"in_session_{name}": value for name, value in in_session.items()}


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
        known = {name: found[key][name] for name in values}
        assert known == pytest.approx(values, abs=1e-6, nan_ok=True), key


# Of every sort that a schema makes: one value, perhaps one, any number.
SCHEMA = """
    feature { name: "user_rating" type: FLOAT presence { min_fraction: 1.0 } shape { } }
    feature { name: "user_gender" type: BYTES presence { min_fraction: 1.0 } shape { } }
    feature { name: "bucketized_user_age" type: INT value_count { min: 1 max: 1 } }
    feature { name: "user_occupation_text" type: BYTES presence { min_fraction: 1.0 } shape {
      dim { size: 1 } } }
    feature { name: "movie_genres" type: BYTES value_count { min: 0 } }
"""

AT_THE_BOUNDS = dataclasses.replace(
    CHANGES,
    max_rating_rmse=float(np.nextafter(expected_metrics(ROWS)[RMSE], 0)),
    min_recall_at_10=float(np.nextafter(expected_metrics(ROWS)[RECALL], 1)),
)


@pytest.fixture(scope="module")
def first(evaluate):
    """The evaluation of a first model whose metrics equal their bounds, as in the pipeline."""
    return evaluate(AT_THE_BOUNDS, schema=SCHEMA)


def assert_metrics_are_the_oracles(evaluated):
    expected = {key: expected_metrics(rows) for key, rows in rows_by_slice(ROWS).items()}
    assert_metrics_equal(fixtures.load_metrics(evaluated.evaluation), expected)


def test_metrics_of_every_slice_equal_the_oracle(first):
    assert_metrics_are_the_oracles(first)


@pytest.mark.exhaustive
def test_metrics_are_the_same_under_tfmas_own_extractors_and_without_a_schema(evaluate):
    assert_metrics_are_the_oracles(evaluate(LENIENT, module_path=None))


def test_a_first_model_is_blessed_on_value_thresholds_alone(first):
    verdict = read_verdict(first.evaluation, first.blessing)
    assert first.blessed == 1
    assert verdict.blessed
    assert not verdict.has_baseline
    assert [(t.metric, t.kind, t.passed) for t in verdict.thresholds] == [
        (RECALL, "value", True),
        (RMSE, "value", True),
    ]
    assert verdict.thresholds[1].value == pytest.approx(expected_metrics(ROWS)[RMSE])
    assert verdict.reasons() == (NO_BASELINE,)


def test_a_metric_of_exactly_its_bound_passes(first):
    """Quotients and decimals are rounded differently."""
    thresholds = read_verdict(first.evaluation, first.blessing).thresholds
    assert all("is at the allowed" in each.describe() for each in thresholds)


def test_a_bad_small_slice_does_not_withhold_the_blessing(first):
    rmse = [expected_metrics(rows)[RMSE] for rows in rows_by_slice(ROWS).values()]
    assert max(rmse) > AT_THE_BOUNDS.max_rating_rmse + 0.01
    assert first.blessed == 1


def test_a_model_that_misses_a_value_threshold_is_not_blessed_with_the_reason(evaluate):
    thresholds = dataclasses.replace(LENIENT, max_rating_rmse=0.5, min_recall_at_10=0.999)
    evaluated = evaluate(thresholds)
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    expected = expected_metrics(ROWS)
    assert evaluated.blessed == 0
    assert not verdict.blessed
    assert [t.passed for t in verdict.thresholds] == [False, False]
    assert verdict.reasons() == (
        f"{RECALL} {expected[RECALL]:.4f} is below the allowed 0.9990",
        f"{RMSE} {expected[RMSE]:.4f} is above the allowed 0.5000",
        NO_BASELINE,
    )


def test_zero_keeps_to_a_bound_of_zero_and_what_is_undefined_misses_its_bound(evaluate, workspace):
    """TFMA is given almost 0 for 0. Where all ratings are the same r_squared is undefined."""
    rows = [
        fixtures.Row(4.0, 4.5 if user else 4.0, 3, popularity_rank=3, user=user)
        for user in range(6)
    ]
    fixtures.write_examples(workspace / "perfect", rows)
    thresholds = dataclasses.replace(
        OFF, min_recall_at_100_over_popularity=0.0, min_rating_r_squared=0.0
    )
    evaluated = evaluate(thresholds, examples="perfect")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    over, explained = (
        "next_visit_recall_at_100_over_popularity_high",
        "next_visit_rating_r_squared",
    )
    assert verdict.metrics[over] == 0.0
    assert {each.metric: each.passed for each in verdict.thresholds} == {
        over: True,
        explained: False,
    }
    assert verdict.reasons()[0].startswith(
        f"{explained} is undefined: all test ratings are the same"
    )
    assert verdict.to_json()["metrics"][explained] is None


def test_a_worse_model_is_not_blessed_over_the_blessed_one(evaluate):
    evaluated = evaluate(CHANGES, model="worse", baseline="model")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    blessed, candidate = expected_metrics(ROWS), expected_metrics(ROWS, 1.5, 3)
    assert not verdict.blessed
    assert verdict.has_baseline
    assert_metrics_equal({(): verdict.metrics}, {(): candidate})
    assert_metrics_equal({(): verdict.baseline_metrics}, {(): blessed})
    by_threshold = {(t.metric, t.kind): t for t in verdict.thresholds}
    assert {key: t.passed for key, t in by_threshold.items()} == {
        (RMSE, "value"): True,
        (RMSE, "change"): False,
        (RECALL, "change"): False,
    }
    change = by_threshold[RMSE, "change"]
    assert change.value == pytest.approx(candidate[RMSE])
    assert change.baseline == pytest.approx(blessed[RMSE])
    assert change.low < candidate[RMSE] - blessed[RMSE] < change.high
    assert change.low > 0.01
    assert verdict.reasons()[1] == (
        f"{RMSE} {candidate[RMSE]:.4f} is worse beside the blessed model's {blessed[RMSE]:.4f}: "
        f"changed by {candidate[RMSE] - blessed[RMSE]:+.4f}, 95 % interval {change.low:+.4f} to "
        f"{change.high:+.4f}, beyond the allowed +0.01"
    )
    assert verdict.reasons()[0].startswith(f"{RECALL} ")
    assert "is worse beside" in verdict.reasons()[0]
    words = {change.metric: change.word for change in verdict.changes}
    assert (words[RMSE], words[RECALL]) == ("worse", "worse")


def test_a_model_that_is_worse_within_noise_or_within_what_is_allowed_is_blessed(
    evaluate, workspace
):
    """Ratings are off by half a star, some up, some down; ranks are certainly worse."""
    random = np.random.default_rng(3)
    rows = [
        dataclasses.replace(
            row, user=n, rating=3.0, predicted=3.0 + 0.6 * random.choice([-1.0, 1.0])
        )
        for n, row in enumerate(fixtures.random_rows(60, seed=4, movies=30))
    ]
    fixtures.write_examples(workspace / "noisy", rows)
    fixtures.export_model(workspace / "shifted", rating_shift=0.02, rank_shift=3)
    allowed = dataclasses.replace(CHANGES, recall_at_10_worsening=1.0)
    evaluated = evaluate(allowed, model="shifted", baseline="model", examples="noisy")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.blessed, verdict.reasons()
    words = {each.metric: each.word for each in verdict.changes}
    assert (words[RMSE], words[RECALL]) == ("within noise", "worse")
    [change] = [each for each in verdict.changes if each.metric == RMSE]
    assert change.low < change.change < change.high
    assert change.change != 0.0


def test_a_better_model_is_blessed_over_one_that_ranks_nothing_well(evaluate):
    evaluated = evaluate(CHANGES, model="model", baseline="hopeless")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    assert verdict.blessed
    assert verdict.has_baseline
    assert verdict.baseline_metrics[RECALL] == 0.0
    assert all(t.passed for t in verdict.thresholds)
    assert verdict.reasons() == ()


def test_an_equal_model_passes_even_without_any_allowed_worsening(evaluate):
    """Also where TFMA would divide by the baseline's 0."""
    strict = dataclasses.replace(CHANGES, rating_rmse_worsening=0.0, recall_at_10_worsening=0.0)
    evaluated = evaluate(strict, model="hopeless", baseline="hopeless")
    assert read_verdict(evaluated.evaluation, evaluated.blessing).blessed


def test_slices_with_a_baseline_are_those_of_the_candidate(evaluate):
    evaluated = evaluate(CHANGES, model="worse", baseline="model")
    verdict = read_verdict(evaluated.evaluation, evaluated.blessing)
    expected = {
        (feature, str(value)): expected_metrics(rows, 1.5, 3)
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
    assert verdict.reasons()[0] == f"{RMSE} could not be computed"
    assert verdict.to_json()["metrics"][RMSE] is None


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
    assert document["metrics"] == {
        name: None if math.isnan(value) else value for name, value in verdict.metrics.items()
    }
    assert len(document["slices"]) == len(verdict.slices)
    assert document["reasons"] == list(verdict.reasons())
    assert set(document["metrics"]) == set(metrics.METRIC_NAMES)


def test_a_folder_without_a_result_is_named_in_the_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="has not finished there"):
        read_verdict(tmp_path, tmp_path)
