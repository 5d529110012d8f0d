"""The curated schema of a run: the committed one, the user's own, or one made from the data."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

from pipeline.config import OutputPaths
from pipeline.pipeline import SCHEMA_FILE
from schema.features import MOVIELENS, FeatureTable
from schema.generate import schema_of
from sources.errors import InputError
from sources.files import open_regular
from storage import paths as storage

_MOST_BYTES = 1 << 24
_MADE = "# Made from the features of the data, with hash "
_HEADER = """\
# proto-file: tensorflow_metadata/proto/v0/schema.proto
# proto-message: Schema
#
# What the ratings must look like for a model to be trained on them. Edit it by hand: add domains,
# bounds and drift comparators, as in schema/schema.pbtxt. Later runs use it as it is then.
"""


@dataclasses.dataclass(frozen=True)
class CuratedSchema:
    """The schema that the data is validated against.

    Attributes:
      path: the file that the pipeline imports. Another content has another path, since TFX takes
        the path for the content.
      shown: the file that people edit.
      features: how many features it has.
      made: whether this run has made it.
    """

    path: Path
    shown: Path
    features: int
    made: bool = False

    def describe(self) -> str:
        """Returns which schema it is, in words."""
        if self.made:
            return (
                f"made from the {self.features} features of the data, {self.shown}; you may edit it"
            )
        return f"{self.shown}, {self.features} features"


def curated_schema(features: FeatureTable, given: Path | None, paths: OutputPaths) -> CuratedSchema:
    """Returns the schema of a run.

    It is `given`, if that is given; the committed one for data with the features of
    MovieLens-100K; else `data.schema.pbtxt` of the output folder, which is made on the first run
    and stays as it is once it has been edited.

    Raises:
      InputError: a schema cannot be read, or is not one of data with these features.
    """
    if given is not None:
        return _copied(features, given, paths)
    if features == MOVIELENS:
        return CuratedSchema(SCHEMA_FILE, SCHEMA_FILE, len(features.features))
    body = schema_of(features, SCHEMA_FILE.read_text(encoding="utf-8"))
    text = f"{_HEADER}{_MADE}{_digest(body)}\n\n{body}"
    target = paths.schema
    made = not target.exists() or (_is_untouched(target) and _read(target) != text)
    if made:
        storage.write_text(target, text)
    return dataclasses.replace(_copied(features, target, paths), made=made)


def check_schema(path: Path, features: FeatureTable) -> str:
    """Returns the text of a schema of data with these features; changes nothing.

    Raises:
      InputError: it cannot be read, or is not one of such data.
    """
    text = _read(path)
    _check(text, features, path)
    return text


def _copied(features: FeatureTable, shown: Path, paths: OutputPaths) -> CuratedSchema:
    """Returns a schema after a check, copied to a file that is named by its content."""
    text = check_schema(shown, features)
    path = paths.root / "data" / f"schema-{_digest(text)}.pbtxt"
    path.parent.mkdir(exist_ok=True)
    storage.write_text(path, text)
    return CuratedSchema(path, shown, len(features.features))


def _is_untouched(path: Path) -> bool:
    """Whether the file is as a run has made it."""
    before, found, after = _read(path).partition(_MADE)
    digest, _, body = after.partition("\n\n")
    return bool(found) and before == _HEADER and digest == _digest(body)


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read(_MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(path, "the schema cannot be read", "a schema as text", reason) from error


def _check(text: str, features: FeatureTable, shown: Path) -> None:
    """Refuses a schema by which the records could not be read."""
    try:
        schema = text_format.Parse(text, schema_pb2.Schema())
        found = schema_utils.schema_as_feature_spec(schema).feature_spec
    except (text_format.ParseError, ValueError) as error:
        expected = "a schema as text (tensorflow_metadata's Schema)"
        raise _refused(shown, "the schema cannot be read", expected, str(error)) from error
    made = text_format.Parse(
        schema_of(features, SCHEMA_FILE.read_text(encoding="utf-8")), schema_pb2.Schema()
    )
    expected_spec = schema_utils.schema_as_feature_spec(made).feature_spec
    for problem, names in (
        ("the schema lacks features of this data", expected_spec.keys() - found.keys()),
        ("the schema has features that this data lacks", found.keys() - expected_spec.keys()),
        (
            "the schema reads features in another form",
            {name for name in found if found[name] != expected_spec.get(name)},
        ),
    ):
        if names:
            entries = {entry.name: entry for entry in made.feature}
            shape = "; ".join(
                text_format.MessageToString(entries[name], as_one_line=True)
                for name in sorted(names & entries.keys())[:2]
            )
            raise _refused(
                shown,
                problem,
                shape or f"features {', '.join(features.names)}",
                ", ".join(sorted(names)),
            )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=4).hexdigest()


def _refused(path: Path, problem: str, expected: str, found: str | None) -> InputError:
    return InputError(
        problem,
        file=str(path),
        expected=expected[:600],
        found=(found or "")[:200],
        action="correct it; or remove it (without --schema) to have it made from the data again",
    )
