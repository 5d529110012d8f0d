"""The OpenAPI document of the served model: what its training data lacks is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from schema.dataset import in_words_of
from schema.features import Feature, FeatureTable, Kind
from serving.schemas import CONTEXT, FIELDS, NEEDS, RATINGS, TIMES, USER_FEATURES
from serving.user_features import features_of

Json = dict[str, Any]


def lacking(table: FeatureTable) -> frozenset[str]:
    """Returns which of the needs of fields (`serving/schemas.py`) a model's data does not meet."""
    names = [feature.name for feature in features_of(table)]
    met = {RATINGS: table.has_rating, TIMES: table.has_time, USER_FEATURES: bool(names)}
    met[CONTEXT] = bool(table.context)
    met |= {column: column in names for column in FIELDS.values()}
    return frozenset(need for need, is_met in met.items() if not is_met)


def document_of(
    whole: Json,
    table: FeatureTable,
    item_noun: str,
    choices: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Json:
    """Returns the OpenAPI document for a model.

    Args:
      whole: the document with every path and field; it stays as it is.
      table: the feature table of the model.
      item_noun: what people call an item of its data; names that programs use stay.
      choices: the values of categories of few values, by the feature's name.

    Returns:
      The document without the paths and fields that the model's data does not have, and with its
      user and context features by name.
    """
    lacks = lacking(table)
    document: Json = _in_words_of(whole, item_noun, lacks)
    document["paths"] = {
        path: operations
        for path, operations in document["paths"].items()
        if not any(_is_lacking(one, lacks) for one in operations.values())
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            if "parameters" in operation:
                operation["parameters"] = [
                    one for one in operation["parameters"] if not _is_lacking(one["schema"], lacks)
                ]
    schemas = document["components"]["schemas"]
    if table.has_rating:
        scale, rating = table.scale, schemas["LikedMovie"]["properties"]["rating"]
        rating |= {"minimum": min(0.0, scale.low), "maximum": max(0.0, scale.high)}
        if scale.low > 0:  # 0 is no rating
            rating["not"] = {"exclusiveMinimum": 0, "exclusiveMaximum": scale.low}
    dropped = {name for schema in schemas.values() for name in _drop_fields(schema, lacks)}
    for schema in schemas.values():
        if "example" in schema:
            schema["example"] = _without(schema["example"], dropped)
        fields = schema.get("properties", {})
        for name, features in (("features", features_of(table)), ("context", table.context)):
            if name in fields:
                _name_features(fields[name], features, choices)
    used = _used(document["paths"], schemas)
    document["components"]["schemas"] = {name: schemas[name] for name in schemas if name in used}
    return document


def _in_words_of(part: Any, item_noun: str, lacks: Collection[str]) -> Any:
    """Returns a copy of a part of the document with what people read in the words of the data."""
    if isinstance(part, list):
        return [_in_words_of(one, item_noun, lacks) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: in_words_of(_met(one, lacks), item_noun)
        if key in _READ and isinstance(one, str)
        else _in_words_of(one, item_noun, lacks)
        for key, one in part.items()
    }


def _met(text: str, lacks: Collection[str]) -> str:
    """Returns a description without what needs what the data lacks (`serving/schemas.py`)."""
    return _PARTS.sub(lambda part: "" if part[1] in lacks else part[2], text).strip()


def _is_lacking(described: Json, lacks: Collection[str]) -> bool:
    return described.pop(NEEDS, None) in lacks


def _drop_fields(schema: Json, lacks: Collection[str]) -> list[str]:
    """Removes the fields that need what is lacking; returns their names."""
    fields = schema.get("properties", {})
    dropped = [name for name in fields if _is_lacking(fields[name], lacks)]
    for name in dropped:
        del fields[name]
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name not in dropped]
    return dropped


def _without(example: Any, names: Collection[str]) -> Any:
    """Returns an example without the fields of these names, at any depth."""
    if isinstance(example, dict):
        return {key: _without(one, names) for key, one in example.items() if key not in names}
    return [_without(one, names) for one in example] if isinstance(example, list) else example


def _name_features(
    field: Json, features: Sequence[Feature], choices: Mapping[str, Sequence[str]]
) -> None:
    """Replaces the type of any feature by the model's features with their types and examples."""
    of_type = {one["type"]: one for one in field["additionalProperties"]["anyOf"]}
    examples = {
        one.name: [*choices.get(one.name, (_EXAMPLES.get(one.kind, "text"),))][:_MOST_EXAMPLES]
        for one in features
    }
    field["properties"] = {
        one.name: {
            "anyOf": [of_type["string" if one.dtype == "string" else "number"], of_type["null"]],
            "examples": examples[one.name],
        }
        for one in features
    }
    field["examples"] = [{name: values[0] for name, values in examples.items()}]
    field["additionalProperties"] = False
    field.pop("propertyNames", None)


def _used(part: Json, schemas: Json) -> frozenset[str]:
    """Returns the names of the schemas that a part of the document uses, at any depth."""
    names = frozenset(_REFERENCE.findall(json.dumps(part)))
    found: frozenset[str] = frozenset()
    while names - found:
        found |= names
        names = frozenset(_REFERENCE.findall(json.dumps([schemas[name] for name in names])))
    return found


_EXAMPLES: Mapping[Kind, str | int] = MappingProxyType(
    {Kind.AGE: 30, Kind.GENDER: "Female", Kind.ZIP_CODE: "94110", Kind.NUMBER: 1}
)
_MOST_EXAMPLES = 50

_READ = frozenset({"description", "summary"})
_PARTS = re.compile(rf"\{{({RATINGS}|{TIMES}): (.*?)\}}", re.DOTALL)
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
