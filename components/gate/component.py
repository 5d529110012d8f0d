"""The AnomalyGate component: stops the run if the data has anomalies of severity ERROR.

TFX itself logs anomalies and goes on to train. No component needs this one's output, so
`transform.add_upstream_node(gate)` makes every orchestrator start Transform after the gate. A
failed execution is never cached: the gate runs again in the next run. A passed one is cached for
as long as its inputs stay the same.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts

from components.gate import executor


class GatePass(artifact.Artifact):
    """The gate's result for data that passed; its `anomalies.json` lists the warnings."""

    TYPE_NAME = "GatePass"
    PROPERTIES = {  # noqa: RUF012 - TFX reads a plain dict
        executor.ERRORS_KEY: artifact.Property(type=artifact.PropertyType.INT),
        executor.WARNINGS_KEY: artifact.Property(type=artifact.PropertyType.INT),
    }


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and options of the gate."""

    PARAMETERS = {  # noqa: RUF012
        executor.ANOMALIES_PATH_KEY: component_spec.ExecutionParameter(type=str, optional=True),
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
        anomalies_path: str | None = None,
    ) -> None:
        """Builds the component.

        Args:
          anomalies: `ExampleAnomalies` of ExampleValidator.
          statistics: the `ExampleStatistics` they were found in, for example values.
          schema: the `Schema` they were found against, for advice.
          previous_statistics: the previous run's `ExampleStatistics`, to find drift.
          anomalies_path: file for a copy of `anomalies.json`. TFX removes the outputs of an
            execution that fails, so without the copy a failed gate leaves only its message.
        """
        super().__init__(
            spec=AnomalyGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                previous_statistics=previous_statistics,
                schema=schema,
                anomalies_path=anomalies_path,
                gate_pass=types.Channel(type=GatePass),
            )
        )
