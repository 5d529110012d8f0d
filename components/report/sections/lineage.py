"""Which executions and artifacts made the model, with versions and the hash of the code."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from components import names
from components.report import charts
from components.report.context import Context
from components.report.page import Block, Column, Facts, Figure, Note, Section, Table
from components.report.sections import sources_of
from components.report.sections.figures import number_of, whole
from components.report.store import Artifact, Execution, Lineage

_PACKAGES = (
    "tfx",
    "ml-metadata",
    "apache-beam",
    "tensorflow",
    "tensorflow-recommenders",
    "tensorflow-transform",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "numpy",
    "pandas",
    "scipy",
)
_BEHIND, _BESIDE, _FAILED = "the model stands on it", "beside and after the model", "did not finish"
_LONGEST = 72
"""Characters of a setting that are shown."""
_HASH = 12
"""Characters of a hash that are shown."""

# Of the graph: how often its levels are put in order, and the room that a passing line takes
# of a node's.
_SWEEPS = 6
_LINE_WIDTH = 0.2

Place: TypeAlias = tuple[float, int]
"""x from 0 to 1, and level from the top."""

_Point: TypeAlias = tuple[int, int]
"""A node or a line that comes from it, and the level."""


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="lineage",
        title="Lineage",
        lead="What this run's model was made from, by the ML Metadata store: every execution and "
        "artifact, with the hash of the code that ran.",
        sources=sources_of(context.sources, "model", "model_run", "transform_graph", "blessing"),
        blocks=tuple(_blocks(context)),
    )


def _blocks(context: Context) -> Iterator[Block]:
    lineage = context.sources.lineage
    if lineage is None or not lineage.executions:
        yield Note("No lineage: there is no metadata store, or no run in it.", "warn")
        yield _packages()
        return
    model = lineage.output(names.TRAINER, "model")
    yield from _model(lineage, model)
    behind = lineage.behind(model.id) if model else (set(), set())
    yield _graph(lineage, behind[0], model)
    yield _executions(lineage)
    yield _artifacts(lineage, behind[1])
    yield _settings(lineage)
    yield _packages()


# --- the model


def _model(lineage: Lineage, model: Artifact | None) -> Iterator[Block]:
    if model is None:
        last = next((e for e in lineage.executions if e.state != "ran"), lineage.executions[-1])
        yield Note(
            f"This run made no model: it ended at {last.component}. Below is how far it got.",
            "warn",
        )
        yield Facts((("Run", lineage.run),))
        return
    trainer = lineage.maker(model.id)
    facts = [("Run this page was made in", lineage.run), ("Model", f"artifact {model.id}")]
    if trainer is not None:
        facts += [
            ("Trained", f"{trainer.started:%Y-%m-%d %H:%M} UTC, execution {trainer.id}"),
            ("Hash of the trainer's code", trainer.source_digest[:_HASH] or "not recorded"),
        ]
    facts.append(("TFX that wrote it", str(model.properties.get("tfx_version", "not recorded"))))
    if model.properties.get(names.MODEL_KIND):
        facts.append(("Kind", str(model.properties[names.MODEL_KIND])))
    baseline = lineage.input(names.EVALUATOR, "baseline_model")
    facts.append(("Baseline", f"artifact {baseline.id}" if baseline else "none"))
    # The page that the pipeline makes ends at the verdict: see `components.report.component`.
    if any(execution.component == names.PUSHER for execution in lineage.executions):
        facts.append(("Pushed", _pushed(lineage)))
    yield Facts(tuple(facts))


def _pushed(lineage: Lineage) -> str:
    pushed = lineage.output(names.PUSHER, "pushed_model")
    if pushed is None:
        return "the run did not get as far"
    if pushed.properties.get("pushed_version"):
        return f"version {pushed.properties['pushed_version']}"
    return f"no: {pushed.properties.get('reason') or 'not recorded why'}".replace("_", " ")


# --- the graph


def _graph(lineage: Lineage, behind: set[int], model: Artifact | None) -> Figure:
    # What only looked something up and found nothing is no part of it.
    drawn = [e for e in lineage.executions if e.inputs or e.outputs or e.state != "ran"]
    places, lines = layout([e.id for e in drawn], direct(_edges(drawn)))
    nodes = [
        {
            "name": e.component,
            "detail": ", ".join(e.outputs) or "nothing",
            "kind": _kind(e, behind, model),
            "x": places[e.id][0],
            "y": places[e.id][1],
        }
        for e in drawn
    ]
    names = [e.component for e in drawn if e.id in behind]
    reading = (
        f"The model stands on {number_of(len(names), 'execution')}: {', '.join(names)}."
        if names
        else f"{number_of(len(drawn), 'execution')}, none of which made a model."
    )
    kinds = [k for k in (_BEHIND, _BESIDE, _FAILED) if any(node["kind"] == k for node in nodes)]
    levels = 1 + max(level for _, level in places.values())
    return Figure(
        "lineage-graph",
        "Which component's results went into which; lines that follow from others are left out",
        reading,
        charts.graph(
            nodes,
            [dict(zip(("x", "y", "x2", "y2"), (*a, *b), strict=True)) for a, b in lines],
            kinds,
            levels=levels,
        ),
        wide=True,
    )


def _kind(execution: Execution, behind: set[int], model: Artifact | None) -> str:
    if execution.state != "ran":
        return _FAILED
    return _BEHIND if model is None or execution.id in behind else _BESIDE


def _edges(executions: Sequence[Execution]) -> list[tuple[int, int]]:
    makers = {id: e.id for e in executions for ids in e.outputs.values() for id in ids}
    found = {
        (makers[id], e.id): None
        for e in executions
        for ids in e.inputs.values()
        for id in ids
        if makers.get(id, e.id) != e.id
    }
    return list(found)


def direct(edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the edges of an acyclic graph that do not follow from others (its transitive
    reduction; Aho, Garey and Ullman, The transitive reduction of a directed graph, 1972).
    """
    after: dict[int, set[int]] = {}
    for one, other in edges:
        after.setdefault(one, set()).add(other)

    @functools.cache
    def reached(node: int) -> frozenset[int]:
        nexts = after.get(node, set())
        return frozenset(nexts).union(*(reached(next_node) for next_node in nexts))

    return [
        (one, other)
        for one, other in edges
        if not any(other in reached(between) for between in after[one])
    ]


def layout(
    nodes: Sequence[int], edges: Sequence[tuple[int, int]]
) -> tuple[dict[int, Place], list[tuple[Place, Place]]]:
    """Returns where to draw the nodes of an acyclic graph and the lines between them.

    A level is one below the lowest node that leads to it; nodes to which nothing leads stand
    just above the first that they lead to. A line that passes a level gets a place of its own
    there, so that it runs beside the nodes. Levels are ordered by the mean place of the
    neighbours, downwards and upwards in turn (Sugiyama, Tagawa and Toda, Methods for visual
    understanding of hierarchical system structures, 1981).

    Args:
      nodes: ids, in an order in which no edge leads back.
      edges: pairs of ids.

    Returns:
      x from 0 to 1 and level of each node; the ends of each piece of a line.
    """
    level = _levels(nodes, edges)
    pieces = {
        ((one, at), (one if at + 1 < level[other] else other, at + 1))
        for one, other in edges
        for at in range(level[one], level[other])
    }
    points = {(node, level[node]) for node in nodes} | {end for piece in pieces for end in piece}
    rows = [sorted(p for p in points if p[1] == n) for n in range(1 + max(level.values()))]
    x = _spread(rows, level)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        beside: dict[_Point, list[float]] = {}
        for one, other in pieces:
            beside.setdefault(other if down else one, []).append(x[one if down else other])
        for row in rows:
            row.sort(key=lambda p: _mean(beside[p]) if p in beside else x[p])
        x = _spread(rows, level)
    places = {point: (x[point], point[1]) for point in points}
    lines = [(places[one], places[other]) for one, other in sorted(pieces)]
    return {node: places[node, level[node]] for node in nodes}, lines


def _levels(nodes: Sequence[int], edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    before: dict[int, list[int]] = {node: [] for node in nodes}
    after: dict[int, list[int]] = {node: [] for node in nodes}
    for one, other in edges:
        before[other].append(one)
        after[one].append(other)
    level: dict[int, int] = {}
    for node in nodes:
        level[node] = 1 + max((level[b] for b in before[node]), default=-1)
    for node in nodes:
        if not before[node] and after[node]:
            level[node] = min(level[a] for a in after[node]) - 1
    return level


def _spread(rows: Sequence[Sequence[_Point]], level: Mapping[int, int]) -> dict[_Point, float]:
    """Returns x of each point: a node takes more room than a line that passes."""
    x: dict[_Point, float] = {}
    for row in rows:
        widths = [1.0 if level[node] == at else _LINE_WIDTH for node, at in row]
        right = 0.0
        for point, width in zip(row, widths, strict=True):
            right += width
            x[point] = (right - width / 2) / sum(widths)
    return x


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# --- tables


def _executions(lineage: Lineage) -> Table:
    return Table(
        "executions",
        "Executions; of a cached one, the execution whose results were taken",
        (
            Column("Id", "number", grouped=False),
            Column("Component"),
            Column("State"),
            Column("Started, UTC"),
            Column("Seconds", "number", 1),
            Column("Took"),
            Column("Made"),
            Column("Hash of its code"),
        ),
        tuple(
            (
                e.id,
                e.component,
                "cached" if e.cached else e.state,
                f"{e.started:%d %b %H:%M:%S}".replace(" ", "\u00a0"),
                e.seconds if e.state != "not finished" else None,
                _ids(e.inputs),
                _ids(e.outputs),
                e.source_digest[:_HASH] or None,
            )
            for e in lineage.executions
        ),
        searchable=True,
    )


def _ids(keyed: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {', '.join(map(str, ids))}" for key, ids in sorted(keyed.items()))


def _absolute(uri: str) -> str:
    return os.path.abspath(uri)  # noqa: PTH100 - links stay


def _artifacts(lineage: Lineage, behind: set[int]) -> Table:
    users: dict[int, list[str]] = {}
    for execution in lineage.executions:
        for ids in execution.inputs.values():
            for taken in ids:
                users.setdefault(taken, []).append(execution.component)
    rows = []
    # A store may hold both kinds: earlier releases wrote whole paths.
    places = {artifact.id: _absolute(artifact.uri) for artifact in lineage.artifacts.values()}
    root = os.path.commonpath(places.values() or [""])
    for artifact in sorted(lineage.artifacts.values(), key=lambda artifact: artifact.id):
        maker = lineage.maker(artifact.id)
        rows.append(
            (
                artifact.id,
                artifact.type,
                maker.component if maker else "an earlier run",
                ", ".join(users.get(artifact.id, ())),
                artifact.id in behind,
                os.path.relpath(places[artifact.id], root) if root else artifact.uri,
            )
        )
    return Table(
        "artifacts",
        f"Artifacts, below {root}" if root else "Artifacts",
        (
            Column("Id", "number", grouped=False),
            Column("Type"),
            Column("Made by"),
            Column("Used by"),
            Column("In the model"),
            Column("Path"),
        ),
        tuple(rows),
        searchable=True,
    )


def _settings(lineage: Lineage) -> Table:
    return Table(
        "settings",
        "Settings that the executions were given",
        (Column("Component"), Column("Setting"), Column("Value")),
        tuple(
            (execution.component, name, _shortened(value))
            for execution in lineage.executions
            for setting, given in sorted(execution.settings.items())
            for name, value in _flat(setting, _parsed(given))
        ),
        searchable=True,
    )


def _parsed(value: object) -> object:
    """Returns what JSON in a text says; TFX keeps nested settings so."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _flat(name: str, value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        if "@type" in value:  # a protocol buffer around what matters
            yield from _flat(name, value.get("value"))
            return
        for key, item in value.items():
            yield from _flat(name if key == name else f"{name}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for number, item in enumerate(value):
            yield from _flat(f"{name}.{number}", item)
    elif value not in (None, "null", "", []):
        yield name, whole(value) if isinstance(value, float) else value


def _shortened(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _packages() -> Table:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return Table(
        "packages",
        "Packages installed where this page was made",
        (Column("Package"), Column("Version")),
        tuple(versions.items()),
    )
