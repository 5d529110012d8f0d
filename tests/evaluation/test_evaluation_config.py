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


def test_thresholds_bind_the_overall_slice_only():
    eval_config = config.build_eval_config(config.Thresholds(), MOVIELENS)
    assert set(overall_thresholds(eval_config)) == {
        "rmse",
        "unseen_top_10_accuracy",
        "unseen_top_100_accuracy",
        "unseen_top_10_above_ceiling",
    }


def test_bounds_and_changes_point_in_the_direction_of_the_metric():
    found = overall_thresholds(
        config.build_eval_config(
            config.Thresholds(
                max_rmse=0.9,
                min_unseen_top_10_accuracy=0.2,
                rmse_worsening=0.01,
                unseen_top_10_worsening=0.02,
            ),
            MOVIELENS,
        )
    )
    rmse, top_10 = found["rmse"], found["unseen_top_10_accuracy"]
    assert rmse.value_threshold.upper_bound.value == pytest.approx(0.9)
    assert not rmse.value_threshold.HasField("lower_bound")
    assert rmse.change_threshold.absolute.value == pytest.approx(0.01)
    assert rmse.change_threshold.direction == tfma.MetricDirection.LOWER_IS_BETTER
    assert top_10.value_threshold.lower_bound.value == pytest.approx(0.2)
    assert not top_10.value_threshold.HasField("upper_bound")
    assert top_10.change_threshold.absolute.value == pytest.approx(-0.02)
    assert top_10.change_threshold.direction == tfma.MetricDirection.HIGHER_IS_BETTER


@pytest.mark.parametrize("bound", [0.0, 0.1, 0.17, 0.25, 0.62, 0.73, 0.88, 1.0, 1 / 3, 0.12345678])
@pytest.mark.parametrize("metric", ["rmse", "unseen_top_10_accuracy"])
def test_a_bound_is_read_back_as_it_was_given_and_allows_for_rounding_alone(metric, bound):
    found = config._metric_threshold(metric, bound, bound)
    side = "upper_bound" if metric == "rmse" else "lower_bound"
    applied = getattr(found.value_threshold, side).value
    assert abs(applied - bound) == pytest.approx(metrics.ROUNDING, rel=1e-6)
    assert (applied > bound) == (metric == "rmse")
    assert config.stated_bound(metric, applied) == pytest.approx(bound, abs=1e-9)
    change = config.stated_bound(metric, found.change_threshold.absolute.value)
    assert change == pytest.approx(bound if metric == "rmse" else -bound, abs=1e-9)


def test_a_threshold_that_is_off_leaves_no_trace():
    found = overall_thresholds(
        config.build_eval_config(
            config.Thresholds(max_rmse=None, unseen_top_10_worsening=None), MOVIELENS
        )
    )
    assert not found["rmse"].HasField("value_threshold")
    assert not found["unseen_top_10_accuracy"].HasField("change_threshold")


def test_a_configuration_without_thresholds_is_refused():
    off = config.Thresholds(*[None] * len(dataclasses.fields(config.Thresholds)))
    with pytest.raises(ValueError, match="at least one threshold"):
        config.build_eval_config(off, MOVIELENS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_rmse", 0.0),
        ("max_rmse", float("nan")),
        ("min_unseen_top_10_accuracy", 17.0),
        ("min_unseen_top_100_accuracy", -0.1),
        ("min_untimed_top_10_accuracy", 17.0),
        ("min_untimed_top_100_accuracy", -0.1),
        ("min_r_squared", 1.0),
        ("min_unseen_top_100_lift", -0.1),
        ("rmse_worsening", -0.1),
        ("unseen_top_10_worsening", -0.1),
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
