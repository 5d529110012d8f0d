"""The schema of data with other features than MovieLens-100K: made from the curated one."""

from __future__ import annotations

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schema.features import MOVIELENS, Feature, FeatureTable, Kind

_TYPES = {
    "string": schema_pb2.FeatureType.BYTES,
    "int64": schema_pb2.FeatureType.INT,
    "float32": schema_pb2.FeatureType.FLOAT,
}


def schema_of(table: FeatureTable, curated: str) -> str:
    """Returns the schema of a feature table as text.

    A feature that the curated schema has keeps its entry if it is of the same kind, with the
    rating's domain that of the table's scale; any other gets one of its type, presence and number
    of values. Features that the table does not have are left out.

    Args:
      table: the features.
      curated: the hand-edited schema as text.
    """
    known = text_format.Parse(curated, schema_pb2.Schema())
    kinds = {feature.name: feature.kind for feature in MOVIELENS.features}
    entries = {(entry.name, kinds.get(entry.name)): entry for entry in known.feature}
    schema = schema_pb2.Schema(default_environment=known.default_environment)
    for feature in table.features:
        entry = schema.feature.add()
        entry.CopyFrom(entries.get((feature.name, feature.kind)) or _entry(feature))
        if feature.kind is Kind.RATING:
            scale = table.scale
            entry.float_domain.min, entry.float_domain.max = scale.low, scale.high
    used = {entry.domain for entry in schema.feature}
    schema.string_domain.extend(one for one in known.string_domain if one.name in used)
    return text_format.MessageToString(schema)


def _entry(feature: Feature) -> schema_pb2.Feature:
    entry = schema_pb2.Feature(name=feature.name, type=_TYPES[feature.dtype])
    if feature.multivalued:
        entry.value_count.min = 0
        entry.presence.min_fraction = 0.0
    elif feature.optional:
        entry.value_count.min = entry.value_count.max = 1
        entry.presence.min_fraction = 0.0
    else:
        entry.presence.min_fraction, entry.presence.min_count = 1.0, 1
        entry.shape.SetInParent()
    return entry
