"""Lineage equals what SQLite holds of the run, and is complete for cached executions."""

import contextlib
import importlib.metadata
import re
import sqlite3

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from report_blocks import notes, rows, section_of, tables

from components.names import METADATA_FILE
from components.report.context import Context
from components.report.page import Link, Note, render
from components.report.sources import Sources, find_sources
from components.report.store import read_latest_run

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def section(context):
    return section_of("Lineage", context)


# --- a real run


def test_executions_artifacts_and_hashes_are_those_in_the_store(section, run_output):
    with contextlib.closing(sqlite3.connect(run_output / METADATA_FILE)) as database:
        hashes = dict(
            database.execute(
                "SELECT execution_id, string_value FROM ExecutionProperty"
                " WHERE name = 'source_digest'"
            )
        )
        artifacts = dict(database.execute("SELECT id, uri FROM Artifact"))
        events = database.execute("SELECT execution_id, artifact_id, type FROM Event").fetchall()
    found = rows(section, "executions")
    components = {row["Id"]: row["Component"] for row in found}
    made_by = {a: components[e] for e, a, t in events if t == mlmd.Event.OUTPUT}
    assert hashes
    assert {row["Id"]: row["Hash of its code"] for row in found if row["Hash of its code"]} == {
        id: digest[:12] for id, digest in hashes.items()
    }
    for row in found:
        made = {int(link.text.split()[-1]) for link in row["Made"]}
        assert made == {a for e, a, t in events if e == row["Id"] and t == mlmd.Event.OUTPUT}
        used = {a for e, a, t in events if e == row["Id"] and t == mlmd.Event.INPUT}
        makers = {c for a in used for c in (made_by[a],)}
        assert {link.text for link in row["Uses results of"]} == makers
    paths = {row["Id"]: row["Path"] for row in rows(section, "artifacts")}
    assert paths.keys() == artifacts.keys()
    assert all(artifacts[id].endswith(path) for id, path in paths.items())


def test_rows_are_in_the_order_of_the_data_flow_and_lead_to_each_other(section):
    found = rows(section, "executions")
    before = set()
    for row in found:
        assert {link.text for link in row["Uses results of"]} <= before
        before.add(row["Component"])
    html = render("t", "s", Note("v"), (section,))
    links = set(re.findall(r'href="#([^"]+)"', html))
    anchors = set(re.findall(r' id="([^"]+)"', html))
    assert {"executions-Trainer", "artifacts-1"} <= links <= anchors


def test_settings_and_versions_are_there(section):
    settings = {(r["Component"], r["Setting"]): r["Value"] for r in rows(section, "settings")}
    assert settings["Trainer", "run_fn"] == "trainer.run.run_fn"
    assert settings["RatingsGen", "custom_config.custom_config.value.split"] == "random"
    packages = {row["Package"]: row["Version"] for row in rows(section, "packages")}
    assert packages["tfx"] == importlib.metadata.version("tfx")
    # Long values are whole.
    assert settings["RatingsGen", "custom_config.custom_config.value.content_digest"].isalnum()


# --- stores made by hand


class Store:
    """A store with TFX's types and contexts."""

    def __init__(self, path):
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        self.store = MetadataStore(config)
        put = self.store.put_artifact_type
        self.types = {name: put(mlmd.ArtifactType(name=name)) for name in ("Examples", "Model")}
        self.execution_type = self.store.put_execution_type(mlmd.ExecutionType(name="component"))
        contexts = {}
        for name in ("pipeline_run", "node"):
            contexts[name] = self.store.put_context_type(mlmd.ContextType(name=name))
        self.contexts = contexts

    def artifact(self, kind, uri):
        made = mlmd.Artifact(type_id=self.types[kind], uri=uri)
        return self.store.put_artifacts([made])[0]

    def context(self, kind, name):
        for context in self.store.get_contexts_by_type(kind):
            if context.name == name:
                return context.id
        made = mlmd.Context(type_id=self.contexts[kind], name=name)
        return self.store.put_contexts([made])[0]

    def execute(self, run, component, state, inputs=None, outputs=None):
        execution = mlmd.Execution(type_id=self.execution_type, last_known_state=state)
        execution.custom_properties["source_digest"].string_value = f"{run}{component}"
        (id,) = self.store.put_executions([execution])
        kinds = ((inputs, mlmd.Event.INPUT), (outputs, mlmd.Event.OUTPUT))
        for keyed, kind in kinds:
            for key, artifact in (keyed or {}).items():
                event = mlmd.Event(execution_id=id, artifact_id=artifact, type=kind)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                self.store.put_events([event])
        self.store.put_attributions_and_associations(
            [],
            [
                mlmd.Association(execution_id=id, context_id=self.context("pipeline_run", run)),
                mlmd.Association(
                    execution_id=id, context_id=self.context("node", f"movielens.{component}")
                ),
            ],
        )
        return id


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / METADATA_FILE)


def lineage_in(tmp_path):
    return section_of("Lineage", Context(find_sources(tmp_path)))


def test_of_a_cached_component_the_execution_that_made_its_results_is_shown(store, tmp_path):
    examples, model = store.artifact("Examples", "/x/examples/1"), store.artifact("Model", "/x/m/2")
    first = store.execute("a", "RatingsGen", mlmd.Execution.COMPLETE, {}, {"examples": examples})
    store.execute("a", "Trainer", mlmd.Execution.FAILED, {"examples": examples})
    store.execute("b", "RatingsGen", mlmd.Execution.CACHED, {}, {"examples": examples})
    last = store.execute(
        "b", "Trainer", mlmd.Execution.COMPLETE, {"examples": examples}, {"model": model}
    )
    lineage = read_latest_run(tmp_path / METADATA_FILE)
    assert lineage.run == "b"
    found = [(e.id, e.component, e.state, e.settings) for e in lineage.executions]
    assert found == [
        (first, "RatingsGen", "cached", {"source_digest": "aRatingsGen"}),
        (last, "Trainer", "ran", {"source_digest": "bTrainer"}),
    ]
    states = {row["Component"]: row["State"] for row in rows(lineage_in(tmp_path), "executions")}
    assert states == {"RatingsGen": "cached", "Trainer": "ran"}


def test_artifact_of_an_earlier_run_is_marked(store, tmp_path):
    old, new = store.artifact("Model", "/x/old"), store.artifact("Model", "/x/new")
    store.execute("a", "Trainer", mlmd.Execution.COMPLETE, {}, {"model": old})
    store.execute("b", "Trainer", mlmd.Execution.COMPLETE, {}, {"model": new})
    store.execute("b", "Evaluator", mlmd.Execution.COMPLETE, {"model": new, "baseline_model": old})
    section = lineage_in(tmp_path)
    makers = {row["Id"]: row["Made by"] for row in rows(section, "artifacts")}
    assert makers == {old: "an earlier run", new: (Link("Trainer", "executions-Trainer"),)}


def test_run_that_made_no_model_says_where_it_ended(store, tmp_path):
    examples = store.artifact("Examples", "/x/examples/1")
    store.execute("a", "RatingsGen", mlmd.Execution.COMPLETE, {}, {"examples": examples})
    store.execute("a", "AnomalyGate", mlmd.Execution.FAILED, {"examples": examples})
    section = lineage_in(tmp_path)
    assert "made no model: it ended at AnomalyGate" in notes(section)
    assert rows(section, "executions")[-1]["State"] == "failed"
    render("t", "s", Note("v"), (section,))


def test_without_a_store_it_says_so(tmp_path):
    section = section_of("Lineage", Context(Sources()))
    assert "no metadata store" in notes(section)
    assert tables(section) == ["packages"]
    assert find_sources(tmp_path).lineage is None
