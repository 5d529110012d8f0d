"""The latest run in the ML Metadata store, as plain data."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from ml_metadata import MetadataStore, errors
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable.mlmd import event_lib

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
    """An artifact, the output of a component.

    Attributes:
      id: in the store.
      type: its type's name.
      uri: its folder.
      properties: those that TFX and the component set.
    """

    id: int
    type: str
    uri: str
    properties: Mapping[str, str | int | float]


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of a component; of a cached one, the execution that made its results.

    Attributes:
      id: in the store.
      component: the component's id in the pipeline.
      state: whether it ran, failed or did not finish.
      started: when, in UTC.
      seconds: wall time.
      inputs: ids of artifacts by input.
      outputs: ids of artifacts by output.
      source_digest: hash of the code it ran, where that is ours.
      cached: whether the run used these results of an earlier one.
      settings: its other settings, by name.
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
    """The executions whose results a run used or made.

    Attributes:
      run: TFX's name of the run.
      executions: one per component, in the order they ran in.
      artifacts: their inputs and outputs, by id.
    """

    run: str
    executions: tuple[Execution, ...]
    artifacts: Mapping[int, Artifact]

    def output(self, component: str, key: str) -> Artifact | None:
        """Returns the artifact of a component's output; None if it has none."""
        return self._first(component, "outputs", key)

    def input(self, component: str, key: str) -> Artifact | None:
        """Returns the artifact of a component's input; None if it has none."""
        return self._first(component, "inputs", key)

    def maker(self, artifact: int) -> Execution | None:
        """Returns the execution that made an artifact; None if it is one of an earlier run."""
        made = (e for e in self.executions if any(artifact in ids for ids in e.outputs.values()))
        return next(made, None)

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
            # Without the query, which is no help to a user.
            found=str(error).removeprefix(_QUERY).partition(" query: ")[0].strip()[:200],
            action="if it is damaged, a run with --reset-cache creates a new one; that costs only "
            "the cache: everything is run once more, and what is served stays",
        ) from error


def _latest_run(metadata: Path) -> Lineage | None:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    store = MetadataStore(config)
    run = max(store.get_contexts_by_type(_RUN), key=lambda context: context.id, default=None)
    if run is None:
        return None
    # Of a component that was tried again, the latest; in the order they ran in.
    latest: dict[str, mlmd.Execution] = {}
    for execution in sorted(store.get_executions_by_context(run.id), key=lambda found: found.id):
        contexts = store.get_contexts_by_execution(execution.id)
        node = next(context.name for context in contexts if context.type == _NODE)
        component = node.rpartition(".")[2]
        latest.pop(component, None)
        latest[component] = execution
    executions = tuple(_execution(store, name, found) for name, found in latest.items())
    keyed = (ids for e in executions for side in (e.inputs, e.outputs) for ids in side.values())
    ids = sorted({artifact for group in keyed for artifact in group})
    artifacts = {
        found.id: Artifact(
            found.id,
            found.type,
            # The runner's are relative to the output directory.
            str(metadata.parent / found.uri),
            {**_values(found.properties), **_values(found.custom_properties)},
        )
        for found in (store.get_artifacts_by_id(ids) if ids else ())
    }
    return Lineage(run.name, executions, artifacts)


def _original(store: MetadataStore, execution: mlmd.Execution) -> mlmd.Execution:
    """Returns the execution that made the outputs of a cached one."""
    if execution.last_known_state != mlmd.Execution.CACHED:
        return execution
    own = store.get_events_by_execution_ids([execution.id])
    outputs = [event.artifact_id for event in own if event.type == mlmd.Event.OUTPUT]
    events = store.get_events_by_artifact_ids(outputs) if outputs else ()
    makers = {event.execution_id for event in events if event.type == mlmd.Event.OUTPUT}
    found = store.get_executions_by_id(sorted(makers))
    complete = [maker for maker in found if maker.last_known_state == mlmd.Execution.COMPLETE]
    return min(complete, key=lambda maker: int(maker.id), default=execution)


def _execution(store: MetadataStore, component: str, own: mlmd.Execution) -> Execution:
    execution = _original(store, own)
    events = store.get_events_by_execution_ids([execution.id])
    inputs, outputs = (
        event_lib.reconstruct_artifact_id_multimap([e for e in events if e.type == kind])
        for kind in (mlmd.Event.INPUT, mlmd.Event.OUTPUT)
    )
    started = execution.create_time_since_epoch / 1000
    settings = _values(execution.custom_properties)
    return Execution(
        id=execution.id,
        component=component,
        state=_STATES.get(execution.last_known_state, "not finished"),
        started=datetime.datetime.fromtimestamp(started, datetime.timezone.utc),
        seconds=execution.last_update_time_since_epoch / 1000 - started,
        inputs=inputs,
        outputs=outputs,
        source_digest=str(settings.pop("source_digest", "")),
        cached=own.last_known_state == mlmd.Execution.CACHED,
        settings=settings,
    )


def _values(properties: Mapping[str, mlmd.Value]) -> dict[str, str | int | float]:
    found = data_types_utils.build_value_dict(properties)
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}
