"""The latest run in the ML Metadata store, as plain data."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from ml_metadata import MetadataStore, errors
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable.mlmd import event_lib

from sources.errors import InputError

State: TypeAlias = Literal["ran", "cached", "failed", "not finished"]

# Names of TFX's contexts: one per run, and one per component named "<pipeline>.<component>".
_RUN, _NODE = "pipeline_run", "node"
_QUERY = "Error when executing query: "
_STATES: Mapping[int, State] = {
    mlmd.Execution.COMPLETE: "ran",
    mlmd.Execution.CACHED: "cached",
    mlmd.Execution.FAILED: "failed",
    mlmd.Execution.CANCELED: "failed",
}


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of a component; of a cached one, the execution that made its results.

    Attributes:
      started: when, in UTC.
      seconds: wall time.
      inputs: ids of artifacts by input.
      outputs: ids of artifacts by output.
      settings: by name; `source_digest` is the hash of the code it ran, where that is ours.
    """

    id: int
    component: str
    state: State
    started: datetime.datetime
    seconds: float
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    settings: Mapping[str, str | int | float] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it ran to its end, in this run or in an earlier one."""
        return self.state in ("ran", "cached")

    @property
    def used(self) -> frozenset[int]:
        """The ids of its inputs."""
        return frozenset(itertools.chain(*self.inputs.values()))

    @property
    def made(self) -> frozenset[int]:
        """The ids of its outputs."""
        return frozenset(itertools.chain(*self.outputs.values()))


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The executions whose results a run used or made, in the order they ran in.

    There is one per component. `run` is TFX's name of the run; the artifacts, by id, are the
    executions' inputs and outputs.
    """

    run: str
    executions: tuple[Execution, ...]
    artifacts: Mapping[int, mlmd.Artifact]

    @property
    def started(self) -> datetime.datetime:
        """When the first execution started, in UTC."""
        return min(execution.started for execution in self.executions)

    def of(self, component: str) -> Execution | None:
        """Returns the execution of a component; None if it did not start."""
        return next((e for e in self.executions if e.component == component), None)

    def output(self, component: str, key: str) -> mlmd.Artifact | None:
        """Returns the artifact of a component's output; None if it has none."""
        return self._first(component, "outputs", key)

    def input(self, component: str, key: str) -> mlmd.Artifact | None:
        """Returns the artifact of a component's input; None if it has none."""
        return self._first(component, "inputs", key)

    def maker(self, artifact: int) -> Execution | None:
        """Returns the execution that made an artifact; None if it is one of an earlier run."""
        return next((e for e in self.executions if artifact in e.made), None)

    def _first(self, component: str, side: str, key: str) -> mlmd.Artifact | None:
        ids = getattr(self.of(component), side, {}).get(key)
        return self.artifacts.get(ids[0]) if ids else None


def read_latest_run(metadata: Path) -> Lineage | None:
    """Returns the latest run in a store's SQLite file; None where there is no store or no run.

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
    ids = frozenset[int]().union(*(execution.used | execution.made for execution in executions))
    artifacts = {found.id: found for found in store.get_artifacts_by_id(sorted(ids))}
    for artifact in artifacts.values():
        # The runner's are relative to the output directory.
        artifact.uri = str(metadata.parent / artifact.uri)
    return Lineage(run.name, executions, artifacts)


def _original(store: MetadataStore, execution: mlmd.Execution) -> mlmd.Execution:
    """Returns the execution that made the outputs of a cached one."""
    if execution.last_known_state != mlmd.Execution.CACHED:
        return execution
    own = store.get_events_by_execution_ids([execution.id])
    outputs = [event.artifact_id for event in own if event.type == mlmd.Event.OUTPUT]
    events = store.get_events_by_artifact_ids(outputs) if outputs else ()
    makers = {event.execution_id for event in events if event.type == mlmd.Event.OUTPUT}
    found = store.get_executions_by_id(makers)
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
    values = data_types_utils.build_value_dict(execution.custom_properties)
    return Execution(
        id=execution.id,
        component=component,
        state=_STATES.get(own.last_known_state, "not finished"),
        started=datetime.datetime.fromtimestamp(started, datetime.timezone.utc),
        seconds=execution.last_update_time_since_epoch / 1000 - started,
        inputs=inputs,
        outputs=outputs,
        settings={name: v for name, v in values.items() if isinstance(v, str | int | float)},
    )
