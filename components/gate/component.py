"""The AnomalyGate component: it passes, or it stops the run.

By default TFX logs anomalies and trains on the data all the same. This component has
nothing to hand on but its word, so what must wait for it is told so by
`transform.add_upstream_node(gate)`: local and remote orchestrators alike then start
it only after the gate has passed. A failed execution is never cached, so the gate is
asked again next time; a passed one is cached for as long as the anomalies stay the same.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts

from components.gate import executor


class GatePass(artifact.Artifact):
    """Says that the gate let the data pass; `anomalies.json` in it lists the warnings."""

    TYPE_NAME = "GatePass"
    PROPERTIES = {  # noqa: RUF012 - TFX reads a plain dict
        executor.ERRORS_KEY: artifact.Property(type=artifact.PropertyType.INT),
        executor.WARNINGS_KEY: artifact.Property(type=artifact.PropertyType.INT),
    }


class AnomalyGateSpec(component_spec.ComponentSpec):
    """What goes into the gate and comes out of it."""

    PARAMETERS = {  # noqa: RUF012
        executor.STRICT_KEY: component_spec.ExecutionParameter(type=int),
        executor.REPORT_PATH_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        executor.ANOMALIES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies
        ),
        executor.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        ),
        executor.PREVIOUS_STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
        executor.SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.GATE_PASS_KEY: component_spec.ChannelParameter(type=GatePass),
    }


class AnomalyGate(base_component.BaseComponent):
    """Stops the run on anomalies of severity ERROR.

    `outputs["gate_pass"]` is a `GatePass` that holds `anomalies.json`.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        anomalies: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        previous_statistics: types.BaseChannel | None = None,
        strict: bool = True,
        report_path: str | None = None,
    ) -> None:
        """Builds the component.

        Args:
          anomalies: `ExampleAnomalies` of ExampleValidator.
          statistics: the `ExampleStatistics` they were found in, for example values.
          schema: the `Schema` they were found against, for advice.
          previous_statistics: the `ExampleStatistics` of the run before, to find drift.
          strict: False reports anomalies of severity ERROR and lets them pass.
          report_path: a file for a copy of `anomalies.json`. TFX removes the outputs of
            an execution that fails, so without it a failed gate leaves its message only.
        """
        super().__init__(
            spec=AnomalyGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                previous_statistics=previous_statistics,
                schema=schema,
                strict=int(strict),
                report_path=report_path,
                gate_pass=types.Channel(type=GatePass),
            )
        )
