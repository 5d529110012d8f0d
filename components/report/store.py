"""What the ML Metadata store knows of the latest run, as plain data."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from ml_metadata import MetadataStore, errors
from ml_metadata.proto import metadata_store_pb2 as mlmd

from sources.errors import InputError

State: TypeAlias = Literal["ran", "failed", "not finished"]

# Names of TFX's contexts: one per run, and one per component named "<pipeline>.<component>".
_RUN, _NODE = "pipeline_run", "node"
_QUERY = "Error when executing query: "
_STATES: Mapping[int, State] = {
    mlmd.Execution.COMPLETE: "ran",
    mlmd.Execution.CACHED: "ran",
    mlmd.Execution.FAILED: "failed",
    mlmd.Execution.CANCELED: "failed",
}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Something that a component made.

    Attributes:
      id: in the store.
      type: its type's name.
      uri: its folder.
      properties: what TFX and the component wrote on it.
    """

    id: int
    type: str
    uri: str
    properties: Mapping[str, str | int | float]


@dataclasses.dataclass(frozen=True)
class Execution:
    """One component at work. Of a cached one, this is the execution whose results it took.

    Attributes:
      id: in the store.
      component: the component's id in the pipeline.
      state: what became of it.
      started: when, in UTC.
      seconds: wall time.
      inputs: ids of artifacts by input.
      outputs: ids of artifacts by output.
      source_digest: hash of the code it ran, where that is ours.
      cached: whether the run took these results instead of making them anew.
      settings: what else it was told, by name.
    """

    id: int
    component: str
    state: State
    started: datetime.datetime
    seconds: float
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    source_digest: str
    cached: bool = False
    settings: Mapping[str, str | int | float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The executions that a run's results stand on.

    Attributes:
      run: TFX's name of the run.
      executions: one per component, in the order they ran in.
      artifacts: everything they took or made, by id.
    """

    run: str
    executions: tuple[Execution, ...]
    artifacts: Mapping[int, Artifact]

    def output(self, component: str, key: str) -> Artifact | None:
        """Returns the artifact of a component's output; None if it has none."""
        return self._first(component, "outputs", key)

    def input(self, component: str, key: str) -> Artifact | None:
        """Returns the artifact that a component was given; None if there was none."""
        return self._first(component, "inputs", key)

    def maker(self, artifact: int) -> Execution | None:
        """Returns the execution that made an artifact; None if it is one of an earlier run."""
        for execution in self.executions:
            if any(artifact in made for made in execution.outputs.values()):
                return execution
        return None

    def behind(self, artifact: int) -> tuple[set[int], set[int]]:
        """Returns ids of the executions and artifacts behind an artifact, with itself."""
        executions: set[int] = set()
        artifacts: set[int] = set()
        waiting = [artifact]
        while waiting:
            found = waiting.pop()
            if found in artifacts:
                continue
            artifacts.add(found)
            maker = self.maker(found)
            if maker is not None:
                executions.add(maker.id)
                waiting.extend(id for ids in maker.inputs.values() for id in ids)
        return executions, artifacts

    def _first(self, component: str, side: str, key: str) -> Artifact | None:
        for execution in self.executions:
            ids = getattr(execution, side).get(key)
            if execution.component == component and ids:
                return self.artifacts.get(ids[0])
        return None


def read_latest_run(metadata: Path) -> Lineage | None:
    """Returns the latest run in a store; None where there is no store or no run in it.

    Args:
      metadata: the store's SQLite file.

    Raises:
      InputError: it is damaged, another program's file, or cannot be read.
    """
    if not metadata.is_file():
        return None
    try:
        return _latest_run(metadata)
    except (errors.StatusError, RuntimeError) as error:
        raise InputError(
            "the metadata store cannot be read",
            file=str(metadata.absolute()),
            # Without the query, which says nothing to those who did not write it.
            found=str(error).removeprefix(_QUERY).partition(" query: ")[0].strip()[:200],
            action="a run with --reset-cache starts it anew, if it is damaged; that costs only the "
            "cache: everything is run once more, and what is served stays",
        ) from error


def _latest_run(metadata: Path) -> Lineage | None:
    store = _open(metadata)
    runs = store.get_contexts_by_type(_RUN)
    if not runs:
        return None
    run = max(runs, key=lambda context: context.id)
    found = _lineage(store, run.name, store.get_executions_by_context(run.id))
    return dataclasses.replace(
        found,
        artifacts={
            # The runner's are relative to the output directory.
            id: dataclasses.replace(artifact, uri=str(metadata.parent / artifact.uri))
            for id, artifact in found.artifacts.items()
        },
    )


def _open(metadata: Path) -> MetadataStore:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    return MetadataStore(config)


def _lineage(store: MetadataStore, run: str, executions: Sequence[mlmd.Execution]) -> Lineage:
    latest = {
        _component(store, execution): execution
        for execution in sorted(executions, key=lambda execution: execution.id)
    }
    found = [
        _execution(store, name, execution, _worked(store, execution))
        for name, execution in latest.items()
    ]
    ids = {
        artifact
        for execution in found
        for keyed in (execution.inputs, execution.outputs)
        for artifacts in keyed.values()
        for artifact in artifacts
    }
    artifacts = store.get_artifacts_by_id(sorted(ids)) if ids else []
    return Lineage(
        run,
        tuple(sorted(found, key=lambda execution: _place(latest[execution.component]))),
        {artifact.id: _artifact(artifact) for artifact in artifacts},
    )


def _place(execution: mlmd.Execution) -> int:
    return int(execution.id)


def _component(store: MetadataStore, execution: mlmd.Execution) -> str:
    for context in store.get_contexts_by_execution(execution.id):
        if context.type == _NODE:
            return str(context.name).rpartition(".")[2]
    return str(execution.type).rpartition(".")[2]


def _worked(store: MetadataStore, execution: mlmd.Execution) -> mlmd.Execution:
    """Returns the execution that made what a cached one gave out."""
    if execution.last_known_state != mlmd.Execution.CACHED:
        return execution
    outputs = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type == mlmd.Event.OUTPUT
    ]
    makers = {
        event.execution_id
        for event in (store.get_events_by_artifact_ids(outputs) if outputs else ())
        if event.type == mlmd.Event.OUTPUT and event.execution_id != execution.id
    }
    complete = [
        maker
        for maker in store.get_executions_by_id(sorted(makers))
        if maker.last_known_state == mlmd.Execution.COMPLETE
    ]
    return min(complete, key=_place, default=execution)


def _execution(
    store: MetadataStore, component: str, asked: mlmd.Execution, execution: mlmd.Execution
) -> Execution:
    events = store.get_events_by_execution_ids([execution.id])
    started = execution.create_time_since_epoch / 1000
    settings = _values(execution.custom_properties)
    return Execution(
        id=execution.id,
        component=component,
        state=_STATES.get(execution.last_known_state, "not finished"),
        started=datetime.datetime.fromtimestamp(started, datetime.timezone.utc),
        seconds=execution.last_update_time_since_epoch / 1000 - started,
        inputs=_by_key(event for event in events if event.type == mlmd.Event.INPUT),
        outputs=_by_key(event for event in events if event.type == mlmd.Event.OUTPUT),
        source_digest=str(settings.pop("source_digest", "")),
        cached=asked.last_known_state == mlmd.Execution.CACHED,
        settings=settings,
    )


def _by_key(events: Iterable[mlmd.Event]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for event in events:
        key = event.path.steps[0].key if event.path.steps else ""
        found[key] = (*found.get(key, ()), event.artifact_id)
    return found


def _artifact(artifact: mlmd.Artifact) -> Artifact:
    properties = {**_values(artifact.properties), **_values(artifact.custom_properties)}
    return Artifact(artifact.id, artifact.type, artifact.uri, properties)


def _values(properties: Mapping[str, mlmd.Value]) -> dict[str, str | int | float]:
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in properties.items()
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }
