import numpy as np
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_model_analysis.slicer import slicer_lib

from components.evaluation import extractors

SPECS = [
    tfma.SlicingSpec(),
    tfma.SlicingSpec(feature_keys=["gender"]),
    tfma.SlicingSpec(feature_keys=["age"]),
    tfma.SlicingSpec(feature_keys=["age", "gender"]),
    tfma.SlicingSpec(feature_keys=["gender"], feature_values={"age": "25"}),
    tfma.SlicingSpec(feature_keys=["absent"]),
]


@pytest.mark.parametrize("rows", [0, 1, extractors.MAX_ROWS, extractors.MAX_ROWS + 1, 3_000])
def test_large_batches_are_divided_and_no_row_is_lost(rows):
    batch = pa.RecordBatch.from_pydict({"row": range(rows)})
    key = tfma.ARROW_RECORD_BATCH_KEY
    found = [one[key].to_pydict()["row"] for one in extractors.small_batches({key: batch})]
    assert [row for part in found for row in part] == list(range(rows))
    assert all(0 < len(part) <= extractors.MAX_ROWS for part in found)


def cut(specs, features, rows):
    slices = extractors.slices_of(specs, features, rows)
    return {key: members.tolist() for key, members in slices.items()}


@given(
    st.lists(
        st.tuples(st.sampled_from(["Male", "Female", "señor"]), st.sampled_from([1, 18, 25])),
        min_size=1,
        max_size=20,
    )
)
def test_batches_are_cut_as_tfma_slices_row_by_row(people):
    expected = {}
    for number, (gender, age) in enumerate(people):
        row = {"gender": np.array([gender.encode()]), "age": np.array([age])}
        specs = [slicer_lib.SingleSliceSpec(spec=spec) for spec in SPECS]
        for key in set(slicer_lib.get_slices_for_features_dicts([], row, specs)):
            expected.setdefault(key, []).append(number)
    features = {
        "gender": np.array([[gender.encode()] for gender, _ in people], dtype=object),
        "age": np.array([[age] for _, age in people]),
    }
    assert cut(SPECS, features, len(people)) == expected


def test_slice_values_are_plain_python_types():
    features = {"age": np.array([25, 18]), "gender": np.array([b"Male", b"Male"], dtype=object)}
    for key in cut(SPECS[1:3], features, 2):
        assert all(type(value) in (str, int) for _, value in key)


def test_a_row_with_several_values_is_in_several_slices_and_one_without_in_none():
    sparse = tfma.types.VarLenTensorValue(
        values=np.array([b"a", b"b", b"b"], dtype=object),
        indices=np.array([[0, 0], [0, 1], [2, 0]]),
        dense_shape=np.array([3, 2]),
    )
    spec = [tfma.SlicingSpec(feature_keys=["genre"])]
    assert cut(spec, {"genre": sparse}, 3) == {(("genre", "a"),): [0], (("genre", "b"),): [0, 2]}


def test_a_column_with_missing_rows_slices_the_others():
    column = np.array([np.array([25]), None, np.array([18])], dtype=object)
    spec = [tfma.SlicingSpec(feature_keys=["age"])]
    assert cut(spec, {"age": column}, 3) == {(("age", 18),): [2], (("age", 25),): [0]}


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="expected a column of 3 rows"):
        extractors.rows_by_value(np.array([1, 2]), 3)
