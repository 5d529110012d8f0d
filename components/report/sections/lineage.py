"""Which executions and artifacts made the model, with versions and the hash of the code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from components import names
from components.report.context import Context
from components.report.page import Block, Facts, Link, Note, Section, Table, Text
from components.report.sections import sources_of
from components.report.store import Artifact, Lineage

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
_HASH = 12
"""Characters of a hash that are shown."""


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="lineage",
        title="Lineage",
        lead="What this run's model was made from, as recorded in the ML Metadata store: every "
        "execution of a component and every artifact, with a hash of the code that ran.",
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
    executions, artifacts = lineage.behind(model.id) if model else (set(), set())
    yield from _model(lineage, model, executions)
    yield Text(
        "Executions and artifacts",
        "In the order of the data flow: each row leads to the components whose results it used "
        "and to the artifacts it made.",
    )
    yield _executions(lineage, executions)
    yield _artifacts(lineage, artifacts)
    yield Text("Settings and versions")
    yield _settings(lineage)
    yield _packages()


# --- the model


def _model(lineage: Lineage, model: Artifact | None, behind: set[int]) -> Iterator[Block]:
    if model is None:
        last = next((e for e in lineage.executions if e.state != "ran"), lineage.executions[-1])
        yield Note(
            f"This run made no model: it ended at {last.component}. Below is how far it got.",
            "warn",
        )
        yield Facts((("Run", lineage.run),))
        return
    trainer = lineage.maker(model.id)
    made = [e.component for e in lineage.executions if e.id in behind]
    facts = [
        ("Run this page was made in", lineage.run),
        ("Model", f"artifact {model.id}"),
        ("Made from", f"the results of {', '.join(made)}"),
    ]
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


# --- executions and artifacts


def _executions(lineage: Lineage, behind: set[int]) -> Table:
    return Table(
        "executions",
        "Executions; of a cached component, the execution that made its results",
        [
            {
                "Component": e.component,
                "State": "cached" if e.cached else e.state,
                "Uses results of": _components(
                    maker.component
                    for id in _ids(e.inputs)
                    if (maker := lineage.maker(id)) is not None
                ),
                "Made": tuple(
                    Link(f"{key} {id}", f"artifacts-{id}")
                    for key, ids in sorted(e.outputs.items())
                    for id in ids
                ),
                "For the model": e.id in behind,
                "Started, UTC": f"{e.started:%d %b %H:%M:%S}".replace(" ", "\u00a0"),
                "Seconds": e.seconds if e.state != "not finished" else None,
                "Id": e.id,
                "Hash of its code": e.source_digest[:_HASH] or None,
            }
            for e in lineage.executions
        ],
        {"Seconds": ",.1f"},
        searchable=True,
        anchored="Component",
    )


def _ids(keyed: Mapping[str, tuple[int, ...]]) -> Iterator[int]:
    yield from (id for ids in keyed.values() for id in ids)


def _components(found: Iterable[str]) -> tuple[Link, ...]:
    return tuple(Link(name, f"executions-{name}") for name in dict.fromkeys(found))


def _artifacts(lineage: Lineage, behind: set[int]) -> Table:
    # A store may hold both kinds: earlier releases wrote whole paths.
    places = {
        artifact.id: os.path.abspath(artifact.uri)  # noqa: PTH100 - links stay
        for artifact in lineage.artifacts.values()
    }
    root = os.path.commonpath(places.values() or [""])
    rows = []
    for artifact in sorted(lineage.artifacts.values(), key=lambda artifact: artifact.id):
        maker = lineage.maker(artifact.id)
        users = (e.component for e in lineage.executions if artifact.id in _ids(e.inputs))
        rows.append(
            {
                "Id": artifact.id,
                "Type": artifact.type,
                "Made by": _components([maker.component]) if maker else "an earlier run",
                "Used by": _components(users),
                "For the model": artifact.id in behind,
                "Path": os.path.relpath(places[artifact.id], root) if root else artifact.uri,
            }
        )
    caption = f"Artifacts, below {root}" if root else "Artifacts"
    return Table("artifacts", caption, rows, searchable=True, anchored="Id")


# --- settings and versions


def _settings(lineage: Lineage) -> Table:
    rows = [
        {"Component": execution.component, "Setting": name, "Value": value}
        for execution in lineage.executions
        for setting, given in sorted(execution.settings.items())
        for name, value in _flat(setting, _parsed(given))
    ]
    return Table("settings", "Settings of the executions", rows, searchable=True)


def _parsed(value: object) -> object:
    """Returns what JSON in a text says; TFX keeps nested settings so."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
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
        whole = isinstance(value, float) and value.is_integer()
        single = str(int(value) if whole else value)
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else single


def _packages() -> Table:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    rows = [{"Package": name, "Version": version} for name, version in versions.items()]
    return Table("packages", "Packages installed where this page was made", rows)
