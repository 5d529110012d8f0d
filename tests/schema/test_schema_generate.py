"""The schema of data with other features: the curated entries, and the scale of the data."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schema import features as raw
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner
from schema.generate import schema_of
from sources import movielens_csv, movielens_dat

CURATED = (Path(__file__).parents[2] / "schema" / "schema.pbtxt").read_text(encoding="utf-8")


def parsed(text):
    return text_format.Parse(text, schema_pb2.Schema())


def test_the_schema_of_movielens_100k_is_the_curated_one():
    found, curated = parsed(schema_of(MOVIELENS, CURATED)), parsed(CURATED)
    by_name = {feature.name: feature for feature in curated.feature}
    assert [feature.name for feature in found.feature] == list(MOVIELENS.names)
    assert all(feature == by_name[feature.name] for feature in found.feature)
    assert found.string_domain == curated.string_domain
    assert found.default_environment == curated.default_environment


@pytest.mark.parametrize(
    ("spec", "ends"), [(movielens_csv.SPEC, (0.5, 5.0)), (movielens_dat.ML_1M, (1.0, 5.0))]
)
def test_it_has_the_features_and_the_scale_of_the_data_and_no_others(spec, ends):
    schema = parsed(schema_of(spec.features, CURATED))
    assert tuple(feature.name for feature in schema.feature) == spec.features.names
    rating = next(f for f in schema.feature if f.name == "user_rating")
    assert (rating.float_domain.min, rating.float_domain.max) == ends
    assert [domain.name for domain in schema.string_domain] == (
        ["gender"] if raw.GENDER in spec.features.features else []
    )


def test_a_feature_that_the_curated_schema_lacks_gets_its_type_presence_and_number_of_values():
    runtime = Feature("runtime", Owner.MOVIE, Kind.REPORT_ONLY, "int64", optional=True)
    words = Feature("keywords", Owner.MOVIE, Kind.TAGS, "string", multivalued=True)
    table = FeatureTable((*MOVIELENS.features, raw.POSITION, runtime, words))
    entries = {f.name: f for f in parsed(schema_of(table, CURATED)).feature}
    assert entries["position"].type == schema_pb2.FeatureType.INT
    assert entries["position"].presence.min_fraction == 1.0
    assert entries["position"].HasField("shape")
    assert entries["runtime"].presence.min_fraction == 0.0
    assert (entries["runtime"].value_count.min, entries["runtime"].value_count.max) == (1, 1)
    assert entries["keywords"].type == schema_pb2.FeatureType.BYTES
    assert not entries["keywords"].HasField("shape")


def test_a_feature_of_another_kind_has_no_domain_of_its_namesake():
    own = Feature("user_gender", Owner.USER, Kind.CATEGORY, "string")
    features = tuple(own if one == raw.GENDER else one for one in MOVIELENS.features)
    schema = parsed(schema_of(FeatureTable(features), CURATED))
    (entry,) = (one for one in schema.feature if one.name == "user_gender")
    assert (entry.type, entry.domain) == (schema_pb2.FeatureType.BYTES, "")
    assert not schema.string_domain
