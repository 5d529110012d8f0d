"""Which model a new one is compared with."""

import pytest
from tfx.types import standard_artifacts

from components.resolvers import (
    BLESSING,
    CANDIDATE,
    MODEL,
    STATISTICS,
    LatestOtherBlessedModel,
    LatestOtherStatistics,
)


def model(number, folder, *, files=True):
    artifact = standard_artifacts.Model()
    artifact.id = number
    artifact.uri = str(folder / str(number))
    if files:
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
    return artifact


def blessing(number, of, blessed=True):
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = number
    artifact.set_int_custom_property("current_model_id", of)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


@pytest.mark.parametrize(
    ("blessings", "candidate", "expected"),
    [
        pytest.param([], 3, None, id="nothing was ever blessed"),
        pytest.param([(11, 1, True), (12, 2, True)], 3, 2, id="the latest blessed one"),
        pytest.param([(12, 2, True), (11, 1, True)], 3, 2, id="in whatever order they come"),
        pytest.param([(11, 1, True), (12, 2, False)], 3, 1, id="not one that was not blessed"),
        pytest.param([(11, 1, False), (12, 2, False)], 3, None, id="none was blessed"),
        pytest.param([(11, 1, True), (12, 3, True)], 3, 1, id="not the candidate itself"),
        pytest.param([(12, 3, True)], 3, None, id="nothing but the candidate"),
        pytest.param([(11, 2, True), (12, 1, True)], 3, 1, id="the blessing's age counts"),
        pytest.param([(11, 1, True), (12, 9, True)], 3, 1, id="not one the store has lost"),
        pytest.param([(11, 1, True), (12, 4, True)], 3, 1, id="not one whose files are gone"),
        pytest.param([(11, 1, True), (12, 2, True)], None, 2, id="without a candidate"),
    ],
)
def test_baseline_is_the_latest_blessed_model_but_the_candidate(
    tmp_path, blessings, candidate, expected
):
    models = {number: model(number, tmp_path, files=number != 4) for number in (1, 2, 3, 4)}
    found = LatestOtherBlessedModel().resolve_artifacts(
        None,
        {
            MODEL: list(models.values()),
            BLESSING: [blessing(*values) for values in blessings],
            CANDIDATE: [] if candidate is None else [models[candidate]],
        },
    )
    assert [artifact.id for artifact in found[MODEL]] == ([] if expected is None else [expected])
    assert found[BLESSING] == []
    assert found[CANDIDATE] == []


def test_a_model_of_another_split_is_no_baseline_since_it_has_seen_what_is_test_now(tmp_path):
    models = [model(number, tmp_path) for number in (1, 2, 3)]
    for artifact, kind in zip(models, ("random", "temporal", "random"), strict=True):
        artifact.set_string_custom_property("kind", kind)
    found = LatestOtherBlessedModel().resolve_artifacts(
        None,
        {MODEL: models, BLESSING: [blessing(11, 1), blessing(12, 2)], CANDIDATE: [models[2]]},
    )
    assert [artifact.id for artifact in found[MODEL]] == [1]


def test_a_model_of_another_evaluation_is_no_baseline_but_is_named(tmp_path):
    """Its signature lacks outputs that the Evaluator reads: it would stop the run."""
    models = [model(number, tmp_path) for number in (1, 2, 3)]
    for artifact in (models[0], models[2]):
        artifact.set_int_custom_property("evaluation_version", 2)
    blessings = [blessing(11, 1), blessing(12, 2)]
    found = LatestOtherBlessedModel().resolve_artifacts(
        None, {MODEL: models, BLESSING: blessings, CANDIDATE: [models[2]]}
    )
    assert found[MODEL] == []
    assert [artifact.id for artifact in found[BLESSING]] == [12]


def test_no_input_at_all_is_no_baseline():
    assert LatestOtherBlessedModel().resolve_artifacts(None, {}) in ({}, {MODEL: []})


def statistics(number, folder, *, files=True):
    artifact = standard_artifacts.ExampleStatistics()
    artifact.id = number
    artifact.uri = str(folder / str(number))
    if files:
        (folder / str(number)).mkdir(parents=True)
    return artifact


def test_statistics_are_compared_with_the_latest_that_are_not_their_own(tmp_path):
    first, second, gone = (statistics(n, tmp_path, files=n != 3) for n in (1, 2, 3))
    for candidate, expected in ((second, [1]), (first, [2])):
        found = LatestOtherStatistics().resolve_artifacts(
            None, {STATISTICS: [second, gone, first], CANDIDATE: [candidate]}
        )
        assert [artifact.id for artifact in found[STATISTICS]] == expected


def test_the_first_statistics_have_nothing_to_be_compared_with(tmp_path):
    own = statistics(1, tmp_path)
    found = LatestOtherStatistics().resolve_artifacts(None, {STATISTICS: [own], CANDIDATE: [own]})
    assert found[STATISTICS] == []
