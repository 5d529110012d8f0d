"""Runs the pipeline's components one after the other, as TFX's local runner does.

`LocalDagRunner` does not return which components were cached or how long they took.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.types import standard_artifacts

from components import progress
from components.pusher import component as pusher
from components.pusher.publish import Reason
from pipeline.runtime_patches import (
    keep_paths_relative,
    read_large_batches,
    release_memory,
)
from pipeline.terminal import CACHED, FAILED, RAN, Terminal

Outputs = Mapping[str, Sequence[types.Artifact]]

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ComponentRun:
    """The result of one component.

    Attributes:
      name: its id.
      state: "ran", "cached" or "failed".
      wall_seconds: time by the clock.
      cpu_seconds: processor time of this process, all threads.
      peak_memory_mb: the process's peak memory meanwhile, in MiB; None if the system does not
        report it.
      outputs: its artifacts by output name; empty if it failed.
      error: why it failed.
    """

    name: str
    state: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float | None
    outputs: Outputs
    error: Exception | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns name, state, times and peak memory as in `summary.json`."""
        return {
            "name": self.name,
            "state": self.state,
            "wall_seconds": round(self.wall_seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_memory_mb": self.peak_memory_mb and round(self.peak_memory_mb, 1),
        }


class DagRunner:
    """Runs a pipeline's components in order and prints a line about each.

    Args:
      pipeline: the pipeline.
      terminal: where to print.
      describe: returns a component's result in a few words.

    Attributes:
      run_id: the run's name in the metadata store.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        terminal: Terminal,
        describe: Callable[[ComponentRun], str],
    ) -> None:
        keep_paths_relative()
        read_large_batches()
        self._terminal = terminal
        self._describe = describe
        self.run_id = datetime.datetime.now().isoformat()
        self._ir = compiler.Compiler().compile(pipeline)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir,
            {
                "pipeline-root": pipeline.pipeline_info.pipeline_root,
                "pipeline-run-id": self.run_id,
            },
        )
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        connection = self._deployment.metadata_connection_config
        self._connection = getattr(connection, connection.WhichOneof("connection_config"))

    def run(self) -> Iterator[ComponentRun]:
        """Yields each component when it is done; a failed one is the last."""
        for node in self._ir.nodes:
            run = self._run_node(node.pipeline_node)
            self._terminal.component(run.name, run.state, run.wall_seconds, self._describe(run))
            yield run
            if run.error is not None:
                return

    def _run_node(self, node: Any) -> ComponentRun:  # noqa: ANN401 - a proto without types
        name = node.node_info.id
        release_memory()
        wall, cpu = time.monotonic(), time.process_time()
        _reset_peak_memory()
        _logger.info("Component %s started", name)

        def done(state: str, outputs: Outputs, error: Exception | None = None) -> ComponentRun:
            return ComponentRun(
                name,
                state,
                time.monotonic() - wall,
                time.process_time() - cpu,
                _peak_memory_mb(),
                outputs,
                error,
            )

        with self._terminal.working(name) as update, progress.sink(update):
            try:
                state, outputs = self._launch(node)
            except Exception as error:
                return done(FAILED, {}, error)
        return done(state, outputs)

    def _launch(self, node: Any) -> tuple[str, Outputs]:  # noqa: ANN401 - a proto without types
        name = node.node_info.id
        info = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(self._connection),
            pipeline_info=self._ir.pipeline_info,
            pipeline_runtime_spec=self._ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, name),
        ).launch()
        if info is None or info.execution_id is None:
            raise RuntimeError(f"{name} was not run: its inputs are missing; see the log")
        return self._published(info.execution_id, name)

    def _published(self, execution_id: int, name: str) -> tuple[str, Outputs]:
        """Returns state and artifacts of an execution from the metadata store."""
        with metadata.Metadata(self._connection) as handle:
            [execution] = handle.store.get_executions_by_id([execution_id])
            outputs = execution_lib.get_output_artifacts(handle, execution_id)
        if _found_up_to_date(outputs):
            return CACHED, outputs
        state = execution.last_known_state
        if state == metadata_store_pb2.Execution.CACHED:
            return CACHED, outputs
        if state == metadata_store_pb2.Execution.COMPLETE:
            return RAN, outputs
        raise RuntimeError(f"{name} ended in state {state}; see the log")


def _reset_peak_memory() -> None:
    """Resets the measurement of peak memory (Linux: proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory_mb() -> float | None:
    """Returns peak memory since the reset, from the kernel's VmHWM in KiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def _found_up_to_date(outputs: Outputs) -> bool:
    """Whether the component is a Pusher that found the model pushed already; shown as cached."""
    reasons = {
        artifact.get_string_custom_property(pusher.REASON)
        for artifacts in outputs.values()
        for artifact in artifacts
        if artifact.type_name == standard_artifacts.PushedModel.TYPE_NAME
    }
    return reasons == {Reason.UP_TO_DATE.value}
