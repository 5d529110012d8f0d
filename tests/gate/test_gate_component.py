import json
from pathlib import Path

import gate_fixtures as fixtures
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

from components.gate.component import AnomalyGate, GatePass
from sources.errors import AnomaliesError


def run_gate(folder, splits, **options):
    gate_pass = GatePass()
    gate_pass.uri = str(Path(folder) / "gate_pass")
    inputs = {name: one for name, [one] in fixtures.inputs(folder, splits).items()}
    AnomalyGate.test_call(**inputs, gate_pass=gate_pass, **options)
    return gate_pass


def read_report(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_clean_data_passes_and_leaves_an_empty_report(tmp_path):
    gate_pass = run_gate(tmp_path, {"train": fixtures.GOOD, "test": fixtures.GOOD})
    assert (gate_pass.errors, gate_pass.warnings) == (0, 0)
    assert read_report(Path(gate_pass.uri) / "anomalies.json") == {
        "errors": 0,
        "warnings": 0,
        "anomalies": [],
    }


def test_an_anomaly_in_any_split_stops_the_run_with_exit_code_3(tmp_path):
    report = tmp_path / "out" / "anomalies.json"
    with pytest.raises(AnomaliesError, match="test: user_gender: .*Diverse") as caught:
        run_gate(
            tmp_path,
            {"train": fixtures.GOOD, "test": fixtures.NEW_GENDER},
            anomalies_path=str(report),
            schema_file="/out/data.schema.pbtxt",
        )
    assert caught.value.exit_code == 3
    assert f"see {report}" in str(caught.value)
    (anomaly,) = read_report(report)["anomalies"]
    assert anomaly["split"] == "test"
    assert anomaly["severity"] == "error"
    for text in (anomaly["remedy"], str(caught.value)):
        assert "in /out/data.schema.pbtxt" in text


def test_drift_from_the_statistics_of_the_run_before_is_reported(tmp_path):
    men = {**fixtures.GOOD, "user_gender": ["Male"] * 20}
    inputs = fixtures.inputs(tmp_path / "now", {"train": men})
    before = fixtures.inputs(tmp_path / "before", {"train": fixtures.GOOD})
    gate_pass = GatePass()
    gate_pass.uri = str(tmp_path / "gate_pass")
    [previous] = before["statistics"]
    AnomalyGate.test_call(
        **{name: one for name, [one] in inputs.items()},
        gate_pass=gate_pass,
        previous_statistics=previous,
    )
    assert (gate_pass.errors, gate_pass.warnings) == (0, 1)
    [drift] = read_report(Path(gate_pass.uri) / "anomalies.json")["anomalies"]
    assert drift["split"] == "train since the last run"


@component
def Downstream(schema: InputArtifact[standard_artifacts.Schema], marker: Parameter[str]):
    Path(marker).write_text("ran")


def build_pipeline(folder):
    def imported(name, artifact_type, **properties):
        return Importer(
            source_uri=str(folder / name), artifact_type=artifact_type, properties=properties
        ).with_id(name)

    splits = json.dumps(["train"])
    statistics = imported("statistics", standard_artifacts.ExampleStatistics, split_names=splits)
    anomalies = imported("anomalies", standard_artifacts.ExampleAnomalies, split_names=splits)
    schema = imported("schema", standard_artifacts.Schema)
    gate = AnomalyGate(
        anomalies=anomalies.outputs["result"],
        statistics=statistics.outputs["result"],
        schema=schema.outputs["result"],
    )
    downstream = Downstream(schema=schema.outputs["result"], marker=str(folder / "marker"))
    downstream.add_upstream_node(gate)
    return pipeline.Pipeline(
        pipeline_name="gate",
        pipeline_root=str(folder / "root"),
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(folder / "metadata.sqlite")
        ),
        components=[downstream, gate, schema, anomalies, statistics],
        enable_cache=True,
    )


def gate_states(folder):
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    with metadata.Metadata(config) as store:
        executions = store.store.get_executions()
        types = {kind.id: kind.name for kind in store.store.get_execution_types()}
    state = metadata_store_pb2.Execution.State
    return [
        state.Name(execution.last_known_state)
        for execution in executions
        if "AnomalyGate" in types[execution.type_id]
    ]


def test_what_waits_for_the_gate_runs_only_after_it_passed_and_a_failed_gate_runs_again(tmp_path):
    fixtures.inputs(tmp_path, {"train": fixtures.HIGH_RATING})
    for _ in range(2):
        with pytest.raises(AnomaliesError, match="user_rating"):
            LocalDagRunner().run(build_pipeline(tmp_path))
    assert not (tmp_path / "marker").exists()
    assert gate_states(tmp_path) == ["FAILED", "FAILED"]

    good = tmp_path / "good"
    fixtures.inputs(good, {"train": fixtures.GOOD})
    for _ in range(2):
        LocalDagRunner().run(build_pipeline(good))
    assert (good / "marker").read_text() == "ran"
    assert gate_states(good) == ["COMPLETE", "CACHED"]
