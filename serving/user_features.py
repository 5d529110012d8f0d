"""User and context features of the served model, from the feature table that travels with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from schema.export_contract import CHOICES_FILE, FEATURES_FILE
from schema.features import MOVIELENS, UNKNOWN, Feature, FeatureTable, Kind, Owner
from serving.errors import ModelError, shorten
from serving.version_folder import read_as, read_limited

Value = str | float
Values = Mapping[str, Value]

NOTHING: Values = MappingProxyType({})

_MOST_BYTES = 1 << 24
_MOST_CHOICES = 1_000
_NO_VALUE = "49d0cd50-04bb-48c0-bc6f-5b575dce351a"
"""The only line that TensorFlow Transform writes to a vocabulary without a value."""


def features_of(table: FeatureTable) -> tuple[Feature, ...]:
    """Returns the user features of a model without the id, in table order."""
    return tuple(one for one in table.model_inputs(Owner.USER) if one != table.user_id)


def read_table(version_dir: Path) -> FeatureTable:
    """Reads the feature table of a version; MovieLens's where there is none.

    Raises:
      ModelError: if the file is not a feature table.
    """
    return read_as(
        version_dir / FEATURES_FILE,
        _MOST_BYTES,
        lambda document: FeatureTable.from_json(json.dumps(document)),
        MOVIELENS,
    )


def read_choices(version_dir: Path, table: FeatureTable) -> dict[str, tuple[str, ...]]:
    """Returns the values of each categorical feature with a short vocabulary, by name.

    They are spelled as in the data; of a version without spellings, as in the vocabulary, in lower
    case, without the value that stands for "not known". A feature whose values cannot be read is
    left out.
    """
    spelled = _spellings(version_dir)
    found = {}
    for feature in (*features_of(table), *table.context):
        if feature.kind is Kind.CATEGORY:
            values = spelled.get(feature.name) or _vocabulary(
                version_dir / "assets" / f"{feature.stem or feature.name}_index"
            )
            known = tuple(one for one in values if one.casefold() != UNKNOWN)
            if 0 < len(known) <= _MOST_CHOICES:
                found[feature.name] = known
    return found


def _spellings(version_dir: Path) -> dict[str, tuple[str, ...]]:
    try:
        return read_as(
            version_dir / CHOICES_FILE,
            _MOST_BYTES,
            lambda document: {
                str(name): tuple(sorted(map(str, values), key=str.casefold))
                for name, values in document.items()
            },
            {},
        )
    except ModelError:
        return {}


def _vocabulary(path: Path) -> tuple[str, ...]:
    try:
        text = read_limited(path, _MOST_BYTES).decode("utf-8")
        return tuple(sorted(one for one in text.split("\n")[:-1] if one != _NO_VALUE))
    except (OSError, ModelError, UnicodeDecodeError):
        return ()


def problems_of(values: Values, features: Iterable[Feature]) -> Iterator[str]:
    """Yields a message for each value that is of none of the features, or of another type."""
    known = {feature.name: feature for feature in features}
    for name, value in values.items():
        feature = known.get(name)
        if feature is None:
            meant = [full for full, one in known.items() if one.called == name.replace("_", " ")]
            advice = f"did you mean {meant[0]}" if meant else f"it has {', '.join(known) or 'none'}"
            yield f"{name}: not a feature of this model; {advice}"
        elif (feature.dtype == "string") is not isinstance(value, str):
            expected = "text" if feature.dtype == "string" else "a number"
            yield f"{name}: expected {expected}, found {shorten(value)}"
