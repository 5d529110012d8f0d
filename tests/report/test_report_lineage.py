"""Lineage equals what SQLite holds of the run, and is complete for cached executions."""

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.names import METADATA_FILE
from components.report.context import Context
from components.report.page import Facts, Figure, Note, Page, Table, render
from components.report.sections import lineage as module
from components.report.sections.lineage import direct, layout
from components.report.sources import Sources, find_sources
from components.report.store import read_latest_run

pytestmark = pytest.mark.xdist_group("report")

MADE_THE_MODEL = {"ImportSchemaGen", "MoviesGen", "RatingsGen", "Transform", "Trainer"}


@pytest.fixture(scope="module")
def sources(run_output):
    return find_sources(run_output)


@pytest.fixture(scope="module")
def section(sources):
    return module.build(Context(sources))


def block(section, key):
    (found,) = (b for b in section.blocks if getattr(b, "key", None) == key)
    return found


def notes(section):
    return " ".join(b.text for b in section.blocks if isinstance(b, Note))


def rows(section, key):
    """Returns {first text cell: {column: value}} of a table."""
    table = block(section, key)
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


# --- a real run


def test_model_stands_on_what_its_training_took_and_on_nothing_else(sources):
    lineage = sources.lineage
    executions, artifacts = lineage.behind(lineage.output("Trainer", "model").id)
    assert {e.component for e in lineage.executions if e.id in executions} == MADE_THE_MODEL
    types = sorted(lineage.artifacts[id].type for id in artifacts)
    assert types == ["Examples", "Examples", "Model", "Schema", "TransformGraph"]


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
    assert hashes
    assert {row["Id"]: row["Hash of its code"] for row in found if row["Hash of its code"]} == {
        id: digest[:12] for id, digest in hashes.items()
    }
    for row in found:
        for column, kind in (("Took", mlmd.Event.INPUT), ("Made", mlmd.Event.OUTPUT)):
            ids = {int(word) for word in row[column].replace(",", "").split() if word.isdigit()}
            assert ids == {a for e, a, t in events if e == row["Id"] and t == kind}
    paths = {row["Id"]: row["Path"] for row in rows(section, "artifacts")}
    assert paths.keys() == artifacts.keys()
    assert all(artifacts[id].endswith(path) for id, path in paths.items())


def test_graph_draws_every_component_that_made_something_and_tells_the_models_apart(section):
    figure = block(section, "lineage-graph")
    kinds = {node["name"]: node["kind"] for node in figure.spec["data"]["values"]}
    made = {row["Component"] for row in rows(section, "executions") if row["Made"]}
    assert kinds.keys() == made
    assert {name for name, kind in kinds.items() if kind == "the model stands on it"} == (
        MADE_THE_MODEL
    )
    for name in MADE_THE_MODEL:
        assert name in figure.reading


def test_settings_and_versions_are_there(section, sources):
    settings = {(r["Component"], r["Setting"]): r["Value"] for r in rows(section, "settings")}
    assert settings["Trainer", "run_fn"] == "trainer.run.run_fn"
    assert settings["RatingsGen", "custom_config.split"] == "random"
    packages = {row["Package"]: row["Version"] for row in rows(section, "packages")}
    (facts,) = (b for b in section.blocks if isinstance(b, Facts))
    assert dict(facts.items)["TFX that wrote it"] == packages["tfx"]
    assert dict(facts.items)["Run this page was made in"] == sources.lineage.run


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


def section_of(tmp_path):
    return module.build(Context(find_sources(tmp_path)))


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
    assert [(e.id, e.component, e.cached, e.source_digest) for e in lineage.executions] == [
        (first, "RatingsGen", True, "aRatingsGen"),
        (last, "Trainer", False, "bTrainer"),
    ]
    assert lineage.behind(model) == ({first, last}, {examples, model})
    states = {row["Component"]: row["State"] for row in rows(section_of(tmp_path), "executions")}
    assert states == {"RatingsGen": "cached", "Trainer": "ran"}


def test_artifact_of_an_earlier_run_is_said_to_be_one(store, tmp_path):
    old, new = store.artifact("Model", "/x/old"), store.artifact("Model", "/x/new")
    store.execute("a", "Trainer", mlmd.Execution.COMPLETE, {}, {"model": old})
    store.execute("b", "Trainer", mlmd.Execution.COMPLETE, {}, {"model": new})
    store.execute("b", "Evaluator", mlmd.Execution.COMPLETE, {"model": new, "baseline_model": old})
    section = section_of(tmp_path)
    makers = {row["Id"]: row["Made by"] for row in rows(section, "artifacts")}
    assert makers == {old: "an earlier run", new: "Trainer"}
    (facts,) = (b for b in section.blocks if isinstance(b, Facts))
    assert dict(facts.items)["Baseline"] == f"artifact {old}"


def test_run_that_made_no_model_says_where_it_ended(store, tmp_path):
    examples = store.artifact("Examples", "/x/examples/1")
    store.execute("a", "RatingsGen", mlmd.Execution.COMPLETE, {}, {"examples": examples})
    store.execute("a", "AnomalyGate", mlmd.Execution.FAILED, {"examples": examples})
    section = section_of(tmp_path)
    assert "made no model: it ended at AnomalyGate" in notes(section)
    nodes = block(section, "lineage-graph").spec["data"]["values"]
    assert {n["name"]: n["kind"] for n in nodes}["AnomalyGate"] == "did not finish"
    render(Page("t", "s", Note("v"), (section,)))


def test_without_a_store_it_says_so(tmp_path):
    section = module.build(Context(Sources()))
    assert "no metadata store" in notes(section)
    assert not any(isinstance(b, Figure) for b in section.blocks)
    assert [b.key for b in section.blocks if isinstance(b, Table)] == ["packages"]
    assert find_sources(tmp_path).lineage is None


# --- the graph


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 9))
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    return list(range(size)), draw(
        st.lists(st.sampled_from(pairs), unique=True) if pairs else st.just([])
    )


def reachable(nodes, edges):
    """Returns all pairs that a path connects (Warshall's algorithm)."""
    found = set(edges)
    for middle in nodes:
        found |= {(a, b) for a in nodes for b in nodes if {(a, middle), (middle, b)} <= found}
    return found


@given(graphs())
def test_lines_left_out_follow_from_the_others_and_none_more_could_be(graph):
    nodes, edges = graph
    kept = direct(edges)
    assert reachable(nodes, kept) == reachable(nodes, edges)
    for edge in kept:
        assert edge not in reachable(nodes, [other for other in kept if other != edge])


@given(graphs())
def test_lines_run_down_from_node_to_node_and_nodes_do_not_share_a_place(graph):
    nodes, edges = graph
    places, lines = layout(nodes, edges)
    assert len(set(places.values())) == len(nodes)
    for x, _ in places.values():
        assert 0 < x < 1
    for one, other in edges:
        assert places[one][1] < places[other][1]
    for (_, above), (_, below) in lines:
        assert below == above + 1
    starts = {one for one, _ in lines}
    ends = {other for _, other in lines}
    assert {places[one] for one, _ in edges} <= starts
    assert {places[other] for _, other in edges} <= ends
