"""Which SavedModel of a Model artifact the Evaluator calls."""

import evaluation_fixtures as fixtures
import pytest
import tensorflow_model_analysis as tfma

from components.evaluation.extractors import custom_eval_shared_model

CONFIG = tfma.EvalConfig(model_specs=[tfma.ModelSpec(name="candidate", signature_name="evaluate")])


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("Format-Serving", "Format-TFMA"), "Format-TFMA"),
        # A baseline of an earlier release.
        (("Format-Serving",), "Format-Serving"),
    ],
)
def test_the_model_that_does_not_know_the_answers_is_evaluated(tmp_path, folders, expected):
    for folder in folders:
        fixtures.export_model(tmp_path, folder=folder)
    found = custom_eval_shared_model(str(tmp_path / "Format-Serving"), "candidate", CONFIG)
    assert found.model_path == str(tmp_path / expected)
    assert found.model_name == "candidate"
