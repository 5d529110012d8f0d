"""StatisticsGen, with an executor that computes small data without Beam."""

from __future__ import annotations

from tfx.components.statistics_gen import component
from tfx.dsl.components.base import executor_spec

from components.statistics_gen import executor


class StatisticsGen(component.StatisticsGen):
    """TFX's StatisticsGen: the same arguments and the same statistics.

    Output `statistics`: an ExampleStatistics artifact.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
