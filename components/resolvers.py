"""Resolvers of what an artifact is compared with: the latest other one of the same kind.

For models the stock strategy takes the latest blessed model, which after a run is the very model
that was just blessed: a second, identical run would compare it with itself, find the
comparison new, and evaluate and push again.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio

from components.names import EVALUATION_VERSION, MODEL_KIND

STATISTICS = "statistics"
MODEL, BLESSING, CANDIDATE = "model", "model_blessing", "candidate"
"""Names of the Resolver's channels: all models, all blessings, the model being judged."""

_MODEL_ID, _BLESSED = "current_model_id", "blessed"


class LatestOtherBlessedModel(resolver.ResolverStrategy):
    """Resolves to the latest other blessed model of the candidate's kind, if any.

    A model that was fitted on another split has seen rows that are test now: compared
    with it, an honest model would look worse than it is. One whose signature for the
    evaluation is of another version cannot be evaluated beside the candidate at all.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the baseline under "model".

        The other channels are empty, but for this: where the model that would be the baseline
        is not comparable, as its evaluation has another version, "model" is empty and
        "model_blessing" has its blessing.

        Args:
          store: the ML Metadata store; not needed.
          input_dict: artifacts by the names above.
        """
        nothing: dict[str, list[types.Artifact]] = {key: [] for key in input_dict}
        candidates = {artifact.id for artifact in input_dict.get(CANDIDATE, ())}
        kinds = {_kind(artifact) for artifact in input_dict.get(CANDIDATE, ())}
        versions = {_evaluation_version(artifact) for artifact in input_dict.get(CANDIDATE, ())}
        models = {artifact.id: artifact for artifact in input_dict.get(MODEL, ())}
        blessings = sorted(input_dict.get(BLESSING, ()), key=lambda artifact: -artifact.id)
        for blessing in blessings:
            model = models.get(blessing.get_int_custom_property(_MODEL_ID))
            if blessing.get_int_custom_property(_BLESSED) != 1 or model is None:
                continue
            if candidates and (model.id in candidates or _kind(model) not in kinds):
                continue
            if not fileio.exists(model.uri):
                continue
            if candidates and _evaluation_version(model) not in versions:
                return {**nothing, BLESSING: [blessing]}
            return {**nothing, MODEL: [model]}
        return nothing


def _evaluation_version(model: types.Artifact) -> int:
    return int(model.get_int_custom_property(EVALUATION_VERSION))


def _kind(model: types.Artifact) -> str:
    return str(model.get_string_custom_property(MODEL_KIND))


class LatestOtherStatistics(resolver.ResolverStrategy):
    """Resolves to the latest statistics of an earlier run, if there was one."""

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the latest statistics but the candidate's under "statistics".

        Args:
          store: the ML Metadata store; not needed.
          input_dict: all statistics under "statistics", this run's under "candidate".
        """
        own = {artifact.id for artifact in input_dict.get(CANDIDATE, ())}
        others = [
            artifact
            for artifact in input_dict.get(STATISTICS, ())
            if artifact.id not in own and fileio.exists(artifact.uri)
        ]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {**{key: [] for key in input_dict}, STATISTICS: latest}
