"""The evaluation's section against TFMA's own reading of its artifacts, and the intervals."""

import dataclasses
import json

import pytest
import tensorflow_model_analysis as tfma

from components.evaluation.directions import LOWER_IS_BETTER
from components.evaluation.verdict import Change, ThresholdResult
from components.report.context import Context
from components.report.page import Figure, Note, Table, Tiles
from components.report.sections import evaluation as section
from components.report.sources import Sources, find_sources

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]

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
def context(run_output):
    return Context(find_sources(run_output))


@pytest.fixture(scope="module")
def blocks(context):
    return section.build(context).blocks


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


def block(blocks, key):
    [found] = [b for b in blocks if isinstance(b, Figure | Table) and b.key == key]
    return found


def test_metrics_are_those_of_tfma(blocks, tfma_slices):
    overall = tfma_slices[()]
    rows = {row[0]: row[1] for row in block(blocks, "metrics").rows}
    assert set(rows) == {name for name in overall if not name.endswith(("_low", "_high"))}
    for name, value in rows.items():
        assert value == pytest.approx(overall[name], abs=1e-9), name


def test_every_slice_of_tfma_is_there_with_its_metrics_and_count(blocks, tfma_slices):
    rows = {(row[0], row[1]): row for row in block(blocks, "slices").rows}
    expected = {
        (FEATURES[key[0][0]], value_of(key)): value for key, value in tfma_slices.items() if key
    }
    assert set(rows) == set(expected)
    for key, row in rows.items():
        found = expected[key]
        assert row[2] == found["example_count"]
        assert row[3] == pytest.approx(found[RMSE])
        assert row[6] == pytest.approx(found["next_visit_rating_mae"])
        assert row[7] == pytest.approx(found[RECALL], abs=1e-9)
        assert row[10] == pytest.approx(found["next_visit_recall_at_100"], abs=1e-9)


def test_slice_figures_draw_the_same_numbers(blocks, tfma_slices):
    for feature in FEATURES:
        for metric in (RMSE, RECALL):
            drawn = block(blocks, f"slice-{feature}-{metric}").spec["data"]["values"]
            for row in drawn:
                [found] = [
                    value
                    for key, value in tfma_slices.items()
                    if key and key[0][0] == feature and value_of(key) == row["value"]
                ]
                assert row["metric"] == pytest.approx(found[metric], abs=1e-9)
                if row["low"] is not None:
                    assert row["low"] - 1e-9 <= row["metric"] <= row["high"] + 1e-9


def test_intervals_are_those_of_the_evaluator(blocks, tfma_slices):
    rows = {row[0]: row for row in block(blocks, "metrics").rows}
    overall = tfma_slices[()]
    for metric in (RMSE, RECALL):
        assert rows[metric][2] == pytest.approx(overall[f"{metric}_low"], abs=1e-9)
        assert rows[metric][3] == pytest.approx(overall[f"{metric}_high"], abs=1e-9)


def test_thresholds_say_which_side_is_right_and_whether_they_were_met(context, blocks):
    table = block(blocks, "thresholds")
    assert len(table.rows) == len(context.verdict.thresholds)
    for row in table.rows:
        assert row[1].startswith(
            ("at most" if row[0] in LOWER_IS_BETTER else "at least", "not beyond")
        )
        assert row[4] == "yes"


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
        thresholds=(missed, worse),
        baseline_metrics={RMSE: 0.8, RECALL: 0.01},
        changes=(Change(RMSE, 0.025, 0.02, 0.03, "worse"),),
    )
    return section.build(other).blocks


def test_missed_threshold_stands_out_with_its_reason(refused):
    note = refused[0]
    assert isinstance(note, Note)
    assert note.tone == "bad"
    assert note.text.startswith("Not blessed.")
    assert "0.01" in note.text
    assert [row[4] for row in block(refused, "thresholds").rows] == ["NO", "NO"]


def test_baseline_stands_beside_the_model_and_says_which_is_better(context, refused):
    rows = {row[0]: row for row in block(refused, "metrics").rows}
    own = context.verdict.metrics
    assert rows[RMSE][4:9] == (0.8, own[RMSE] - 0.8, 0.02, 0.03, "worse")
    assert rows[RECALL][6:9] == (None, None, "")
    assert rows["next_visit_rating_mae"][4] is None
    limits = [row[1] for row in block(refused, "thresholds").rows]
    assert limits[1] == "not beyond 0.8050 (the baseline +0.005) by the whole interval"


def test_every_metric_is_explained(blocks):
    for row in block(blocks, "metrics").rows:
        assert row[9], row[0]


def test_worst_slice_is_named(blocks, tfma_slices):
    [note] = [b.text for b in blocks if isinstance(b, Note) and b.text.startswith("Rated worst")]
    enough = {
        value_of(key): value[RMSE]
        for key, value in tfma_slices.items()
        if key and value["example_count"] >= 30
    }
    worst = max(enough, key=enough.get)
    assert note.index(f" {worst} (") < 100


def test_coverage_counts_the_films_in_somebodys_top_10(context, blocks):
    [tiles] = [b for b in blocks if isinstance(b, Tiles)]
    found = context.recommendations
    films = {movie for row in found.movie_id.tolist() for movie in row if movie >= 0}
    assert tiles.items[0][2].startswith(f"{len(films):,} of {len(context.catalogue):,} films")
    shares = block(blocks, "popularity").spec["data"]["values"]
    for of in ("recommendations", "ratings"):
        assert sum(row["share"] for row in shares if row["of"] == of) == pytest.approx(1.0)


def test_comparison_of_models_is_shown_in_reports_of_the_data_it_was_measured_on(tmp_path):
    path = tmp_path / "results.json"
    table = {
        "title": "Retrieval",
        "protocol": "random split",
        "columns": ["method", "top-10"],
        "rows": [["ours", 0.27], ["popular <b>", None]],
        "dataset": "ml-100k",
    }
    other = {**table, "title": "Larger", "dataset": "ml-1m"}
    path.write_text(json.dumps({"tables": [other, table]}), encoding="utf-8")
    sources = Sources(results=path, dataset={"name": "ml-100k"})
    shown = block(section.build(Context(sources)).blocks, "results-0")
    assert shown.caption == "Retrieval: random split"
    assert shown.rows == (("ours", 0.27), ("popular <b>", None))
    of_sample = Context(dataclasses.replace(sources, dataset={"name": "sample"}))
    told = [b.text for b in section.build(of_sample).blocks if isinstance(b, Note)]
    assert any("it was not measured on sample" in text for text in told)
    told = [b.text for b in section.build(Context(Sources())).blocks if isinstance(b, Note)]
    assert any("no docs/results.json" in text for text in told)
    assert any("did not get as far as the Evaluator" in text for text in told)
