"""The pipeline as TFX compiles it, and what it is built from."""

import dataclasses
import re
from pathlib import Path

import pytest
from pipeline_fixtures import COMPONENTS
from tfx.dsl.compiler import compiler

from components.evaluation.config import Thresholds
from components.example_gen.options import ExampleGenOptions
from components.pusher.kind import Kind
from pipeline.config import OutputPaths
from pipeline.pipeline import SCHEMA_FILE, PipelineConfig, create_pipeline
from schema.features import MOVIELENS, OCCUPATION, FeatureTable
from trainer.config import TrainConfig, TrainerConfig, TunerConfig

GOLDEN = Path(__file__).parent / "golden"


def configuration(**changes):
    """What a run is built from, under paths that are the same on every machine."""
    config = PipelineConfig(
        data_dir=Path("/data/raw"),
        example_gen=ExampleGenOptions(
            metadata_dir=None,
            split="random",
            split_seed=42,
            invalid_zip="keep",
            content_digest="0",
        ),
        trainer=TrainerConfig(train=TrainConfig(seed=42)),
        kind=Kind("sample", "random", 42),
        thresholds=Thresholds(),
        paths=OutputPaths(Path("/data/output")),
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def nodes():
    """Nodes of the compiled pipeline in the order they run in."""
    ir = compiler.Compiler().compile(create_pipeline(configuration()))
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def describe(node):
    """What a node takes from whom, and what it makes."""
    lines = [f"{node.node_info.id} ({node.node_info.type.name})"]
    lines += [f"  after    {name}" for name in sorted(node.upstream_nodes)]
    for key, value in sorted(node.inputs.inputs.items()):
        # TFX numbers the inputs that it names itself.
        key = re.sub(r"_\d+$", "", key)
        for channel in value.channels:
            producer = channel.producer_node_query.id or "any run before"
            output = channel.output_key or "any"
            kind = channel.artifact_query.type.name
            lines.append(f"  input    {key}: {kind} {output!r} of {producer}")
    for key, value in sorted(node.outputs.outputs.items()):
        lines.append(f"  output   {key}: {value.artifact_spec.type.name}")
    lines += [f"  option   {key}" for key in sorted(node.parameters.parameters)]
    lines += [f"  before   {name}" for name in sorted(node.downstream_nodes)]
    return "\n".join(lines)


def test_graph_is_the_one_that_was_agreed_on(golden, nodes):
    golden(GOLDEN / "graph.txt", "\n\n".join(map(describe, nodes.values())) + "\n")


def test_components_run_in_this_order(nodes):
    assert tuple(nodes) == COMPONENTS


def ancestors(nodes, name):
    found = set()
    waiting = [name]
    while waiting:
        for upstream in nodes[waiting.pop()].upstream_nodes:
            if upstream not in found:
                found.add(upstream)
                waiting.append(upstream)
    return found


@pytest.mark.parametrize("name", ["Transform", "Trainer", "Evaluator", "Pusher"])
def test_nothing_is_learnt_from_data_that_has_not_passed_the_gate(nodes, name):
    assert "AnomalyGate" in ancestors(nodes, name)


@pytest.mark.parametrize(
    "name",
    [
        "ImportSchemaGen",
        "MoviesGen",
        "RatingsGen",
        "AnomalyGate",
        "Transform",
        "Trainer",
        "Evaluator",
        "Pusher",
        "ReportGen",
    ],
)
def test_component_with_code_of_ours_has_its_hash_in_the_cache_key(nodes, name):
    value = nodes[name].parameters.parameters["source_digest"].field_value.string_value
    assert len(value) == 32


def compiled(**changes):
    ir = compiler.Compiler().compile(create_pipeline(configuration(**changes)))
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def test_a_tuner_feeds_the_trainer_and_changes_nothing_else(nodes):
    tuned = compiled(tuner=TunerConfig(trials=3))
    assert set(tuned) - set(nodes) == {"Tuner"}
    [channel] = tuned["Trainer"].inputs.inputs["hyperparameters"].channels
    assert channel.producer_node_query.id == "Tuner"
    assert channel.artifact_query.type.name == "HyperParameters"
    assert "AnomalyGate" in ancestors(tuned, "Tuner")
    for name in set(nodes) - {"Trainer"}:
        assert tuned[name].parameters == nodes[name].parameters


def test_the_tuners_cache_key_holds_its_code_and_how_much_is_searched():
    one, other = (compiled(tuner=TunerConfig(trials=n))["Tuner"].parameters for n in (3, 4))
    assert one != other
    assert len(one.parameters["source_digest"].field_value.string_value) == 32


def test_new_users_are_measured_by_a_component_that_changes_no_other(nodes):
    measured = compiled(new_user_folds=3)
    assert set(measured) - set(nodes) == {"NewUserEvaluator"}
    assert "AnomalyGate" in ancestors(measured, "NewUserEvaluator")
    for name in nodes:
        assert measured[name].parameters == nodes[name].parameters
        assert "NewUserEvaluator" not in ancestors(measured, name)
    other = compiled(new_user_folds=4)["NewUserEvaluator"].parameters
    assert other != measured["NewUserEvaluator"].parameters
    assert len(other.parameters["source_digest"].field_value.string_value) == 32


def test_a_model_is_pushed_whatever_becomes_of_its_report(nodes):
    for name in nodes:
        assert "ReportGen" not in ancestors(nodes, name), name


def test_every_node_may_be_cached(nodes):
    for name, node in nodes.items():
        assert node.execution_options.caching_options.enable_cache, name


def test_no_cache_reaches_every_node():
    ir = compiler.Compiler().compile(create_pipeline(configuration(cache=False)))
    for node in ir.nodes:
        assert not node.pipeline_node.execution_options.caching_options.enable_cache


def test_beam_runs_in_this_process_with_the_package_for_its_workers():
    arguments = create_pipeline(configuration()).beam_pipeline_args
    assert "--direct_running_mode=in_memory" in arguments
    assert f"--setup_file={SCHEMA_FILE.parent.parent / 'setup.py'}" in arguments


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"trainer": TrainerConfig(train=TrainConfig(seed=43))}, "Trainer"),
        ({"thresholds": Thresholds(max_rating_rmse=0.5)}, "Evaluator"),
        ({"data_dir": Path("/data/other")}, "RatingsGen"),
        ({"dataset": {"notice": "a sample"}}, "ReportGen"),
        (
            {"example_gen": dataclasses.replace(configuration().example_gen, content_digest="1")},
            "RatingsGen",
        ),
        (
            {"example_gen": dataclasses.replace(configuration().example_gen, split_seed=1)},
            "RatingsGen",
        ),
    ],
    ids=[
        "trainer",
        "thresholds",
        "folder",
        "data set",
        "content of the files",
        "seed of the splits",
    ],
)
def test_changed_setting_changes_the_components_parameters(nodes, change, name):
    ir = compiler.Compiler().compile(create_pipeline(configuration(**change)))
    [changed] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == name]
    assert changed.parameters != nodes[name].parameters


def test_another_feature_table_reaches_every_component_that_works_by_features(nodes):
    table = FeatureTable(tuple(f for f in MOVIELENS.features if f != OCCUPATION))
    given = dataclasses.replace(configuration().example_gen, features=table)
    ir = compiler.Compiler().compile(create_pipeline(configuration(example_gen=given)))
    changed = {
        node.pipeline_node.node_info.id
        for node in ir.nodes
        if node.pipeline_node.parameters != nodes[node.pipeline_node.node_info.id].parameters
    }
    by_features = {"RatingsGen", "MoviesGen", "Transform", "Trainer", "Evaluator", "ReportGen"}
    assert changed == by_features
