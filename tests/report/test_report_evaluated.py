"""The evaluated model's signatures, called without what is not known."""

import numpy as np
import tensorflow as tf

from components.report import evaluated


def test_a_number_that_is_not_given_is_not_0():
    found = evaluated._nothing(tf.TensorSpec([None], tf.float32), 2).numpy()
    assert np.isnan(found).all()
    assert found.shape == (2,)
    assert evaluated._nothing(tf.TensorSpec([None, None], tf.int64), 2).shape == (2, 0)
