"""Lookups in the exported model's tables."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.lookups import in_pieces

SIZE = 4


@pytest.mark.parametrize("count", [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 1])
def test_pieces_together_are_what_the_function_returns_for_all_rows(count):
    longest = []

    def function(rows):
        longest.append(rows.shape[0])
        return tf.cast(rows[:, 0] * 10 + rows[:, 1], tf.float32)

    rows = np.arange(2 * count, dtype=np.int32).reshape(count, 2)
    found = in_pieces(function, tf.constant(rows), SIZE)
    np.testing.assert_array_equal(found, rows @ [10, 1])
    assert all(rows <= SIZE for rows in longest)
