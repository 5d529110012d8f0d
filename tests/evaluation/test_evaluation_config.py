import dataclasses

import pytest
import tensorflow_model_analysis as tfma

from components.evaluation import config, metrics
from schema.features import MOVIELENS


def overall_thresholds(eval_config):
    (spec,) = eval_config.metrics_specs
    found = {}
    for metric, per_slice in spec.per_slice_thresholds.items():
        (entry,) = per_slice.thresholds
        assert list(entry.slicing_specs) == [tfma.SlicingSpec()]
        found[metric] = entry.threshold
    return found


RMSE, RECALL = "next_visit_rating_rmse", "next_visit_recall_at_10"


def test_thresholds_bind_the_overall_slice_only():
    thresholds = config.Thresholds(
        min_rating_r_squared=0.0,
        min_recall_at_100_over_popularity=0.0,
        min_in_session_recall_at_10=0.1,
    )
    eval_config = config.build_eval_config(thresholds, MOVIELENS)
    assert set(overall_thresholds(eval_config)) == {
        "next_visit_rating_r_squared",
        "next_visit_recall_at_100_over_popularity_high",
        "in_session_recall_at_10",
        # Where even the better end of a change's interval is beyond what is allowed.
        "next_visit_recall_at_10_change_high",
        "next_visit_recall_at_100_change_high",
        "next_visit_rating_rmse_change_low",
        "leaking_rows",
    }


def test_bounds_and_changes_point_in_the_direction_of_the_metric():
    found = overall_thresholds(
        config.build_eval_config(
            config.Thresholds(
                max_rating_rmse=0.9,
                min_recall_at_10=0.2,
                rating_rmse_worsening=0.01,
                recall_at_10_worsening=0.02,
            ),
            MOVIELENS,
        )
    )
    rmse, recall = found[RMSE], found[RECALL]
    rmse_change, recall_change = found[f"{RMSE}_change_low"], found[f"{RECALL}_change_high"]
    assert rmse.value_threshold.upper_bound.value == pytest.approx(0.9)
    assert not rmse.value_threshold.HasField("lower_bound")
    assert rmse_change.change_threshold.absolute.value == pytest.approx(0.01)
    assert rmse_change.change_threshold.direction == tfma.MetricDirection.LOWER_IS_BETTER
    assert recall.value_threshold.lower_bound.value == pytest.approx(0.2)
    assert not recall.value_threshold.HasField("upper_bound")
    assert recall_change.change_threshold.absolute.value == pytest.approx(-0.02)
    assert recall_change.change_threshold.direction == tfma.MetricDirection.HIGHER_IS_BETTER


@pytest.mark.parametrize("bound", [0.0, 0.1, 0.17, 0.25, 0.62, 0.73, 0.88, 1.0, 1 / 3, 0.12345678])
@pytest.mark.parametrize("metric", [RMSE, RECALL])
def test_a_bound_is_read_back_as_it_was_given_and_allows_for_rounding_alone(metric, bound):
    found = config._value_threshold(metric, bound)
    side = "upper_bound" if metric == RMSE else "lower_bound"
    applied = getattr(found.value_threshold, side).value
    assert abs(applied - bound) == pytest.approx(metrics.ROUNDING, rel=1e-6)
    assert (applied > bound) == (metric == RMSE)
    assert config.stated_bound(metric, applied) == pytest.approx(bound, abs=1e-9)
    found = config._change_threshold(metric, bound)
    change = config.stated_bound(metric, found.change_threshold.absolute.value)
    assert change == pytest.approx(bound if metric == RMSE else -bound, abs=1e-9)


def test_a_threshold_that_is_off_leaves_no_trace():
    found = overall_thresholds(
        config.build_eval_config(
            config.Thresholds(min_recall_at_10=0.1, recall_at_10_worsening=None), MOVIELENS
        )
    )
    assert RMSE not in found
    assert f"{RMSE}_change_low" in found
    assert not found[RECALL].HasField("change_threshold")
    assert f"{RECALL}_change_high" not in found


def test_a_configuration_without_thresholds_is_refused():
    bounds = [one.name for one in dataclasses.fields(config.Thresholds) if one.default != ()]
    off = config.Thresholds(**dict.fromkeys(bounds))
    with pytest.raises(ValueError, match="at least one threshold"):
        config.build_eval_config(off, MOVIELENS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_rating_rmse", 0.0),
        ("max_rating_rmse", float("nan")),
        ("min_recall_at_10", 17.0),
        ("min_recall_at_100", -0.1),
        ("min_in_session_recall_at_10", 17.0),
        ("min_rating_r_squared", 1.0),
        ("min_recall_at_100_over_popularity", -1.1),
        ("rating_rmse_worsening", -0.1),
        ("recall_at_10_worsening", -0.1),
        ("max_leaking_rows", -1.0),
    ],
)
def test_a_bound_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .* received"):
        config.Thresholds(**{name: value})


def test_results_are_sliced_by_gender_age_bucket_and_occupation_beside_overall():
    eval_config = config.build_eval_config(config.Thresholds(), MOVIELENS)
    assert [list(spec.feature_keys) for spec in eval_config.slicing_specs] == [
        [],
        ["user_gender"],
        ["bucketized_user_age"],
        ["user_occupation_text"],
    ]


def test_the_metric_is_found_by_class_name_and_module():
    eval_config = config.build_eval_config(config.Thresholds(), MOVIELENS)
    ((metric,),) = [spec.metrics for spec in eval_config.metrics_specs]
    assert (metric.module, metric.class_name) == (
        metrics.__name__,
        metrics.RecommenderMetrics.__name__,
    )


def test_every_thresholded_metric_exists():
    thresholds = config.Thresholds()
    names = {*thresholds.value_bounds(), *thresholds.allowed_worsening()}
    assert names <= set(metrics.METRIC_NAMES)
