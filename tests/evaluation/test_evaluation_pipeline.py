"""The Evaluator and the Pusher as components of TFX's own local runner, with its cache.

In the standard tier a whole run shows the same (tests/pipeline/test_pipeline_end_to_end.py).
"""

import json

import evaluation_fixtures as fixtures
import pytest
from tfx.components import Evaluator
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

from components.evaluation.config import Thresholds, build_eval_config
from components.evaluation.verdict import read_verdict
from components.pusher.component import Pusher, push_options
from schema.features import MOVIELENS

EASY = Thresholds(max_rating_rmse=4.0, min_recall_at_10=0.0, min_recall_at_100=0.0)
HARD = Thresholds(max_rating_rmse=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pipeline")
    fixtures.write_examples(made / "examples", fixtures.random_rows(40))
    fixtures.export_model(made / "model")
    return made


def run(folder, thresholds):
    examples = Importer(
        source_uri=str(folder / "examples"),
        artifact_type=standard_artifacts.Examples,
        properties={"split_names": json.dumps(["test"])},
    ).with_id("examples")
    model = Importer(
        source_uri=str(folder / "model"), artifact_type=standard_artifacts.Model
    ).with_id("model")
    evaluator = Evaluator(
        examples=examples.outputs["result"],
        model=model.outputs["result"],
        example_splits=["test"],
        eval_config=build_eval_config(thresholds, MOVIELENS),
        module_path="components.evaluation.extractors",
    )
    pusher = Pusher(
        model=model.outputs["result"],
        model_blessing=evaluator.outputs["blessing"],
        **push_options(str(folder / "serving")),
    )
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="evaluation",
            pipeline_root=str(folder / "root"),
            metadata_connection_config=_connection(folder),
            components=[examples, model, evaluator, pusher],
            enable_cache=True,
            beam_pipeline_args=fixtures.BEAM_ARGS,
        )
    )
    return last_executions(folder)


def _connection(folder):
    return metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))


def last_executions(folder):
    """Returns {component: (state, {output type: artifact})} of the latest executions."""
    with metadata.Metadata(_connection(folder)) as opened:
        store = opened.store
        kinds = {kind.id: kind.name for kind in store.get_execution_types()}
        found = {}
        for execution in store.get_executions():
            events = store.get_events_by_execution_ids([execution.id])
            made = [event.artifact_id for event in events if event.type in (4, 6)]
            outputs = {artifact.type: artifact for artifact in store.get_artifacts_by_id(made)}
            name = kinds[execution.type_id].rsplit(".", 1)[-1]
            found[name] = (execution.last_known_state, outputs)
    return found


COMPLETE, CACHED = 3, 5


@pytest.mark.exhaustive
def test_a_pipeline_evaluates_pushes_caches_and_obeys_its_thresholds(folder):
    first = run(folder, EASY)
    assert {name: first[name][0] for name in ("Evaluator", "Pusher")} == {
        "Evaluator": COMPLETE,
        "Pusher": COMPLETE,
    }
    outputs = first["Evaluator"][1]
    verdict = read_verdict(outputs["ModelEvaluation"].uri, outputs["ModelBlessing"].uri)
    assert verdict.blessed
    assert verdict.metrics["example_count"] == 40
    versions = [child.name for child in (folder / "serving").iterdir()]
    pushed = first["Pusher"][1]["PushedModel"].custom_properties
    assert versions == [pushed["pushed_version"].string_value]

    # The Pusher looks every time: somebody may have changed what is served.
    second = run(folder, EASY)
    assert {name: second[name][0] for name in ("Evaluator", "Pusher")} == {
        "Evaluator": CACHED,
        "Pusher": COMPLETE,
    }

    pushed = second["Pusher"][1]["PushedModel"].custom_properties
    assert pushed["reason"].string_value == "up_to_date"

    unblessed = run(folder, HARD)
    pushed = unblessed["Pusher"][1]["PushedModel"].custom_properties
    assert pushed["reason"].string_value == "not_blessed"
    assert [child.name for child in (folder / "serving").iterdir()] == versions
