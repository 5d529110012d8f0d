"""The numbers that stand for ids, and batches of interactions."""

import hashlib

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sources.interactions import INTERACTIONS, batch_of, chunk_of, id_keys, text_key
from sources.ratings import RatingsChunk


def keys(*ids):
    return id_keys(pa.array(ids, pa.string())).tolist()


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_stand_for_themselves(numbers):
    assert keys(*map(str, numbers)) == numbers


def test_other_text_is_hashed_as_stated():
    for text in ("007", "-0", "7.0", " 7", "", "käse", str(2**63), "٣"):
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        assert keys(text) == [int(np.frombuffer(digest, "<i8")[0])] == [text_key(text)]


@given(st.lists(st.text() | st.integers(-99, 99).map(str), max_size=20))
def test_the_number_of_an_id_does_not_depend_on_the_ids_beside_it(ids):
    assert keys(*ids) == [keys(one)[0] for one in ids]


def test_equal_numbers_mean_equal_ids():
    ids = [str(number) for number in range(1000)] + [f"{number:05}" for number in range(1000)]
    assert len(set(keys(*ids))) == 2000


@given(st.booleans(), st.lists(st.tuples(st.integers(-5, 10**18), st.integers(0, 9)), max_size=9))
def test_a_chunk_comes_back_from_its_batch(with_position, rows):
    users, movies = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    chunk = RatingsChunk(
        users,
        movies,
        movies.astype(np.float32),
        movies + 1,
        np.arange(len(rows)) if with_position else None,
    )
    back = chunk_of(batch_of(chunk))
    for one, other in zip(chunk[:4], back[:4], strict=True):
        np.testing.assert_array_equal(one, other)
    if rows:
        assert (back.position is not None) == with_position


def test_ratings_and_times_that_the_data_lacks_are_zeros():
    ids, nothing = pa.array(["7", "8"]), [pa.nulls(2, field.type) for field in INTERACTIONS][2:]
    back = chunk_of(pa.RecordBatch.from_arrays([ids, ids, *nothing], schema=INTERACTIONS))
    assert (back.user_rating.tolist(), back.timestamp.tolist()) == ([0.0, 0.0], [0, 0])
    assert back.position is None
