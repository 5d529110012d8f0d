"""The evaluated model's signatures, called without what is not known."""

import numpy as np
import tensorflow as tf

from components.report import evaluated


def test_a_number_that_is_not_given_is_not_0():
    found = evaluated._nothing(tf.TensorSpec([None], tf.float32), 2).numpy()
    assert np.isnan(found).all()
    assert found.shape == (2,)
    for dtype in (tf.int64, tf.float32, tf.string):
        none = evaluated._nothing(tf.TensorSpec([None, None], dtype), 2)
        assert none.shape == (2, 0)
        assert none.dtype == dtype
    assert not evaluated._nothing(tf.TensorSpec([], tf.bool), 1).numpy()
