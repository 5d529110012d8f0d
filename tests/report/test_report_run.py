"""The verdict at the head of the page, and what the page says of the cleanup."""

import dataclasses
import datetime
import types

import pytest

from components.evaluation.verdict import ThresholdResult, Verdict
from components.report.context import Context
from components.report.page import Note, Table
from components.report.sections.run import _cleanup, verdict
from components.report.sources import Sources
from components.report.store import Execution, Lineage


def blocks(**files):
    return list(_cleanup(types.SimpleNamespace(wrangling={"files": files, "metadata": {}})))


def test_a_cleanup_that_changed_nothing_says_so():
    (note,) = blocks(**{"u.user": {"rows": 65, "dropped": {}, "repaired": {}}})
    assert isinstance(note, Note)
    assert "dropped and repaired nothing" in note.text


def test_missing_values_are_named_and_lost_ones_are_not_called_repaired():
    users = {
        "rows": 68,
        "dropped": {"invalid zip code": 3},
        "repaired": {"control characters removed": 2},
        "values_lost": {"age out of range": 1},
        "missing": {"gender": 58},
        "examples": {},
    }
    note, table = blocks(**{"u.user": users})
    assert "58 of 65 users have no gender" in note.text
    assert isinstance(table, Table)
    assert [(row["What"], row["Why"], row["Rows"]) for row in table.rows] == [
        ("dropped", "invalid zip code (asked for: --invalid-zip drop)", 3),
        ("value lost", "age out of range", 1),
        ("repaired", "control characters removed", 2),
    ]


# --- the verdict

MET = ThresholdResult("next_visit_recall_at_10", "value", 0.1, 0.2, None, passed=True)
BLESSED = Verdict(True, False, {"example_count": 9.0}, {}, (), (MET,))


def lineage(**outputs):
    """A run whose search for a blessed model found these artifacts."""
    execution = Execution(
        id=1,
        component="LatestBlessedModel",
        state="ran",
        started=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        seconds=0.0,
        inputs={},
        outputs={key: (n,) for n, key in enumerate(outputs, 1)},
    )
    return Lineage("run", (execution,), {})


def of(found, **sources):
    context = Context(Sources(**sources))
    context.verdict = found
    return verdict(context)


def test_the_verdict_counts_its_thresholds_as_people_do():
    for count, words in ((1, "its threshold was met"), (2, "both thresholds"), (3, "all 3 thr")):
        found = dataclasses.replace(BLESSED, thresholds=(MET,) * count)
        assert words in of(found, lineage=lineage()).text


def test_a_baseline_of_another_evaluation_is_called_not_comparable():
    assert "is not comparable" in of(BLESSED, lineage=lineage(model_blessing=True)).text
    for found in (lineage(), lineage(model=True), None):
        assert "not comparable" not in of(BLESSED, lineage=found).text
    assert "There is no earlier model to compare with" in of(BLESSED, lineage=lineage()).text


@pytest.mark.parametrize(
    ("changes", "tone", "text"),
    [
        ({}, "good", "its threshold was met"),
        ({"blessed": False}, "bad", "Not blessed, so it is not pushed"),
    ],
)
def test_the_verdict_says_what_follows_from_it(changes, tone, text):
    found = of(dataclasses.replace(BLESSED, **changes))
    assert found.tone == tone
    assert text in found.text


def test_without_a_verdict_the_reason_is_given():
    assert "did not get as far as the Evaluator" in of(None).text
    assert of(None, error="2 anomalies").text == "Stopped before training: 2 anomalies"
    assert of(None, error="disk full").text == "Did not finish: disk full"
