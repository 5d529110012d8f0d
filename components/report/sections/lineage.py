"""Which executions and artifacts made the model, with versions and the hash of the code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from components import names
from components.report.context import Context
from components.report.page import Block, Link, Note, Table, Text
from components.report.store import Execution, Lineage

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
_DIGEST, _HASH = "source_digest", 12
"""The setting with the hash of the code that ran, and characters of it that are shown."""


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    lineage = context.sources.lineage
    if lineage is None or not lineage.executions:
        yield Note("No lineage: there is no metadata store, or no run in it.", "warn")
        yield _packages()
        return
    if lineage.output(names.TRAINER, "model") is None:
        last = next((e for e in lineage.executions if not e.finished), lineage.executions[-1])
        end = f"it ended at {last.component}. Below is how far it got."
        yield Note(f"This run made no model: {end}", "warn")
    leads = "each row leads to the components whose results it used and to the artifacts it made"
    yield Text("Executions and artifacts", f"In the order of the data flow: {leads}.")
    yield _executions(lineage)
    yield _artifacts(lineage)
    yield Text("Settings and versions")
    yield _settings(lineage)
    yield _packages()


def _executions(lineage: Lineage) -> Table:
    rows = [
        {
            "Component": e.component,
            "State": e.state,
            "Uses results of": _components(map(lineage.maker, itertools.chain(*e.inputs.values()))),
            "Made": tuple(
                Link(f"{key} {id}", f"artifacts-{id}")
                for key, ids in sorted(e.outputs.items())
                for id in ids
            ),
            "Started, UTC": f"{e.started:%d %b %H:%M:%S}".replace(" ", "\u00a0"),
            "Seconds": e.seconds if e.state != "not finished" else None,
            "Id": e.id,
            "Hash of its code": str(e.settings.get(_DIGEST, ""))[:_HASH] or None,
        }
        for e in lineage.executions
    ]
    caption = "Executions; of a cached component, the execution that made its results"
    return Table("executions", caption, rows, searchable=True, anchored="Component")


def _components(found: Iterable[Execution | None]) -> tuple[Link, ...]:
    """Returns links to executions, each once; without those of earlier runs."""
    components = dict.fromkeys(e.component for e in found if e is not None)
    return tuple(Link(name, f"executions-{name}") for name in components)


def _artifacts(lineage: Lineage) -> Table:
    # A store may hold both kinds: earlier releases wrote whole paths.
    places = {id: os.path.abspath(one.uri) for id, one in lineage.artifacts.items()}  # noqa: PTH100 - links stay
    root = os.path.commonpath(places.values() or [""])
    rows = [
        {
            "Id": artifact.id,
            "Type": artifact.type,
            "Made by": _components([lineage.maker(artifact.id)]) or "an earlier run",
            "Used by": _components(e for e in lineage.executions if artifact.id in e.used),
            "Path": os.path.relpath(places[artifact.id], root) if root else artifact.uri,
        }
        for artifact in sorted(lineage.artifacts.values(), key=lambda artifact: artifact.id)
    ]
    caption = f"Artifacts, below {root}" if root else "Artifacts"
    return Table("artifacts", caption, rows, searchable=True, anchored="Id")


def _settings(lineage: Lineage) -> Table:
    rows = [
        {"Component": execution.component, "Setting": name, "Value": str(value)}
        for execution in lineage.executions
        for name, value in flat(execution.settings).items()
        if name != _DIGEST and value not in (None, "null", "", [])
    ]
    return Table("settings", "Settings of the executions", rows, searchable=True)


def flat(settings: Mapping[str, str | int | float]) -> dict[str, Any]:
    """Returns settings by name; those that TFX keeps as JSON by their paths in it."""
    values: dict[str, Any] = dict(sorted(settings.items()))
    for name, value in values.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                values[name] = json.loads(value)
    return pd.json_normalize(values).iloc[0].to_dict() if values else {}


def _packages() -> Table:
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    versions = {"python": platform.python_version(), **installed}
    rows = [{"Package": name, "Version": version} for name, version in versions.items()]
    return Table("packages", "Packages installed where this page was made", rows)
