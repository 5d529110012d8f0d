"""The evaluation's section against TFMA's own reading of its artifacts, and the intervals."""

import dataclasses
import json

import pytest
import tensorflow_model_analysis as tfma
from report_blocks import (
    assert_reads_well,
    block,
    charts,
    column,
    drawn,
    notes,
    rows,
    section_of,
    tables,
)

from components.evaluation.directions import HIGH, LOW, LOWER_IS_BETTER
from components.evaluation.metrics import METRIC_NAMES
from components.evaluation.verdict import Change, SliceMetrics, ThresholdResult, Verdict
from components.report.context import Context
from components.report.page import Note
from components.report.sections import evaluation as section
from components.report.sources import Sources
from schema.dataset import DatasetLabel
from schema.features import (
    GENDER,
    MOVIE_ID,
    RATING,
    TIMESTAMP,
    USER_ID,
    Feature,
    FeatureTable,
    Kind,
    Owner,
)
from schema.scenarios import SCENARIOS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]

DEVICE = Feature("context_device", Owner.CONTEXT, Kind.CATEGORY, "string", label="device")
FEATURES = {
    "user_gender": "gender",
    "bucketized_user_age": "age",
    "user_occupation_text": "occupation",
}
RMSE, RECALL = "next_visit_rating_rmse", "next_visit_recall_at_10"
AGES = {"1": "under 18", "18": "18–24", "25": "25–34", "35": "35–44", "45": "45–49", "50": "50–55"}
AGES["56"] = "56 and over"


def value_of(key):
    """A slice's value in the page's words."""
    [(feature, value)] = key
    return AGES[str(value)] if feature == "bucketized_user_age" else str(value)


@pytest.fixture(scope="module")
def found(context):
    return section_of("Evaluation", context)


@pytest.fixture(scope="module")
def tfma_slices(context):
    """Metric to value by slice, as TFMA reads its own results."""
    result = tfma.load_eval_result(str(context.sources.evaluation))
    return {
        key: {
            name: value.get("doubleValue")
            for name, value in metrics[""][""].items()
            if not name.endswith("_diff")
        }
        for key, metrics in result.slicing_metrics
    }


def metrics(found):
    """Rows of both scenarios' metrics by the metric's whole name."""
    return {
        f"{scenario.name}_{row['Metric']}": row
        for scenario in SCENARIOS
        for row in rows(found, f"metrics-{scenario.name.replace('_', '-')}")
    }


def test_metrics_and_intervals_are_those_of_tfma(found, tfma_slices):
    overall = tfma_slices[()]
    shown = metrics(found)
    named = {name for name in overall if not name.endswith(("_low", "_high"))}
    counts = {name for name in named if not name.startswith(("next_visit", "in_session"))}
    assert shown.keys() == named - counts
    for name, row in shown.items():
        assert row["This model"] == pytest.approx(overall[name], abs=1e-9), name
        assert row["What it is"], name
        if f"{name}_low" in overall:
            ends = [float(end) for end in row["95 % interval"].split(" to ")]
            assert ends == pytest.approx(
                [overall[f"{name}_low"], overall[f"{name}_high"]], abs=1e-4
            )
    expected = [round(overall[name]) for name in overall if name in counts]
    assert column(found, "counts", "Count") == expected
    assert all(column(found, "counts", "What it counts"))


def test_every_metric_of_the_evaluator_is_explained():
    named = [name for name in METRIC_NAMES if not name.endswith((LOW, HIGH))]
    assert [name for name in named if not section.meaning(name)] == []


def test_every_slice_of_tfma_is_there_with_its_metrics_and_count(found, tfma_slices):
    shown = {(row["Feature"], row["Value"]): row for row in rows(found, "slice-metrics")}
    expected = {
        (FEATURES[key[0][0]], value_of(key)): value for key, value in tfma_slices.items() if key
    }
    assert shown.keys() == expected.keys()
    for key, row in shown.items():
        of = expected[key]
        assert row["Ratings"] == of["example_count"]
        assert row["RMSE"] == pytest.approx(of[RMSE])
        assert row["MAE"] == pytest.approx(of["next_visit_rating_mae"])
        assert row["Recall@10"] == pytest.approx(of[RECALL], abs=1e-9)
        assert row["Recall@100"] == pytest.approx(of["next_visit_recall_at_100"], abs=1e-9)
        if row["RMSE from"] is not None:
            assert row["RMSE from"] - 1e-9 <= row["RMSE"] <= row["RMSE to"] + 1e-9
    for name in FEATURES.values():
        for metric in ("rmse", "recall-10"):
            values = {row["Value"] for row in drawn(found, f"slice-{name}-{metric}")}
            assert values == {value for of, value in shown if of == name}


def test_thresholds_say_which_side_is_right_and_whether_they_were_met(context, found):
    shown = rows(found, "threshold-results")
    assert len(shown) == len(context.verdict.thresholds)
    for row in shown:
        side = "at most" if row["Metric"] in LOWER_IS_BETTER else "at least"
        assert row["Must be"].startswith((side, "not beyond"))
        assert row["Met"] == "yes"


@pytest.fixture(scope="module")
def refused(context):
    """The same evaluation with a bound it misses and one set by a baseline."""
    missed = ThresholdResult(RMSE, "value", bound=0.01, value=0.9, baseline=None, passed=False)
    worse = ThresholdResult(
        RMSE, "change", bound=0.005, value=0.9, baseline=0.8, passed=False, low=0.02, high=0.03
    )
    other = Context(context.sources)
    other.verdict = dataclasses.replace(
        context.verdict,
        blessed=False,
        has_baseline=True,
        thresholds=(missed, worse),
        baseline_metrics={RMSE: 0.8, RECALL: 0.01},
        changes=(Change(RMSE, 0.025, 0.02, 0.03, "worse"),),
    )
    return section_of("Evaluation", other)


def test_missed_threshold_stands_out_with_its_reason(refused):
    note = next(b for b in refused.blocks if isinstance(b, Note))
    assert note.tone == "bad"
    assert note.text.startswith("Not blessed")
    assert "0.01" in note.text
    assert column(refused, "threshold-results", "Met") == ["NO", "NO"]


def test_each_difference_from_the_baseline_has_its_interval_and_a_word(context, found, refused):
    shown = metrics(refused)
    own = context.verdict.metrics
    columns = ("Baseline", "Difference", "Its 95 % interval", "Verdict")
    assert [shown[RMSE][name] for name in columns] == [
        0.8, own[RMSE] - 0.8, "+0.0200 to +0.0300", "worse",
    ]  # fmt: skip
    assert [shown[RECALL][name] for name in columns[2:]] == [None, None]
    assert shown["next_visit_rating_mae"]["Baseline"] is None
    limits = column(refused, "threshold-results", "Must be")
    assert limits[1] == "not beyond 0.8050 (the baseline +0.005) by the whole interval"
    assert "Baseline" not in metrics(found)[RMSE]


def test_slices_of_the_largest_error_are_named(found, tfma_slices):
    [note] = [n for n in notes_of(found) if n.startswith("Largest RMSE")]
    enough = {
        value_of(key): value[RMSE]
        for key, value in tfma_slices.items()
        if key and value["example_count"] >= 30
    }
    worst = max(enough, key=enough.get)
    assert note.index(f" {worst} (") < 100


def notes_of(found):
    return [b.text for b in found.blocks if isinstance(b, Note)]


def test_without_an_evaluation_it_says_so():
    assert "did not get as far as the Evaluator" in notes(
        section_of("Evaluation", Context(Sources()))
    )


def test_comparison_of_models_is_shown_in_reports_of_the_data_it_was_measured_on(tmp_path):
    path = tmp_path / "results.json"
    table = {
        "title": "Retrieval",
        "protocol": "random split",
        "columns": ["method", "top-10"],
        "rows": [["ours", 0.27], ["popular <b>", None]],
        "dataset": "ml-100k",
    }
    larger = {**table, "title": "Larger", "dataset": "ml-1m"}
    path.write_text(json.dumps({"tables": [larger, table]}), encoding="utf-8")
    sources = Sources(results=path, dataset={"name": "ml-100k"})
    shown = section_of("Evaluation", Context(sources))
    assert block(shown, "results-0").caption == "Retrieval: random split"
    assert rows(shown, "results-0") == [
        {"method": "ours", "top-10": 0.27}, {"method": "popular <b>", "top-10": None},
    ]  # fmt: skip
    for other in (dataclasses.replace(sources, dataset={"name": "sample"}), Sources()):
        shown = section_of("Evaluation", Context(other))
        assert tables(shown) == []
        assert "Comparison with other methods" not in [text.heading for text in shown.headings]
    assert "did not get as far as the Evaluator" in notes_of(shown)[0]


def test_age_buckets_of_any_feature_table_are_named_by_their_ages():
    feature = Feature("member_age", Owner.USER, Kind.AGE_BUCKET, "int64", label="age of members")
    words = Context(Sources()).words
    row = section._slice_row(SliceMetrics("member_age", "25", {}), feature, words)
    assert (row["Feature"], row["Value"]) == ("age of members", "25–34")


@pytest.mark.parametrize(
    ("features", "names", "says"),
    [
        ((RATING, TIMESTAMP, DEVICE), (RECALL, "in_session_recall_at_10"),
         "Here the test rating's own context features (device) are known."),
        ((RATING, DEVICE), (RECALL,), "No metric measures the context features (device)"),
        ((RATING, TIMESTAMP), (RECALL, "in_session_recall_at_10"), ""),
        ((RATING,), (RECALL,), ""),
    ],
)  # fmt: skip
def test_it_is_said_where_context_features_are_known(features, names, says):
    shown = Context(Sources(features=FeatureTable((USER_ID, MOVIE_ID, *features))))
    shown.verdict = Verdict(True, False, dict.fromkeys(names, 0.3), {}, (), ())
    found = section_of("Evaluation", shown)
    text = " ".join([*notes_of(found), *(one.text for one in found.headings)])
    assert says in text
    assert says or "context" not in text


def test_without_ratings_and_times_there_is_no_word_of_predicted_ratings_or_sessions(context):
    """The keys that a model without a rating part has, and a catalogue of 60 books."""
    other = Context(Sources(features=FeatureTable((USER_ID, MOVIE_ID, GENDER))))
    other.label = DatasetLabel(item_noun="book")
    of_slice = {"example_count": 9.0, RECALL: 0.2}
    other.verdict = dataclasses.replace(
        context.verdict,
        metrics={RECALL: 0.3, "next_visit_recall_at_50": 0.6, "example_count": 18.0},
        slices=tuple(SliceMetrics("user_gender", value, of_slice) for value in "ab"),
        thresholds=(ThresholdResult(RECALL, "value", 0.1, 0.2, None, passed=True),),
    )
    found = section_of("Evaluation", other)
    assert {*charts(found)} == {"top-k", "slice-gender-recall-10"}
    assert "In session" not in [heading.heading for heading in found.headings]
    assert [row["k"] for row in drawn(found, "top-k")] == ["10", "50"]
    assert (
        "whose book is in the list of length 10"
        in column(found, "metrics-next-visit", "What it is")[0]
    )
    assert block(found, "slice-metrics").columns == ("Feature", "Value", "Events", "Recall@10")
    assert "Baseline" not in block(found, "threshold-results").columns
    assert_reads_well(found)
