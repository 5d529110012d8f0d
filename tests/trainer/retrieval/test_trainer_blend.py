"""The next visit's list from scores of several models, and the prior's weight."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis_profiles import examples

from trainer.config import LongTermConfig
from trainer.retrieval import blend

LENGTHS, PRIOR, AUTOENCODER = (0.0, 1.0, 4.0, 10.0), (3.0, 8.0, 2.0, 0.5), (2.0, 0.5, 1.0, 3.0)
KERNEL = (0.0, 0.0, 0.5, 1.0)
CONFIG = LongTermConfig(
    blend_lengths=LENGTHS,
    popularity_weights=PRIOR,
    autoencoder_weights=AUTOENCODER,
    kernel_shares=KERNEL,
    ials_share=0.5,
)
COUNTS = np.array([5, 0, 2, 30, 7])

scores = arrays.arrays(np.float32, (3, 5), elements=st.floats(-50, 50, width=16), unique=True)


@pytest.fixture(scope="module")
def model():
    return blend.Blend(CONFIG, COUNTS)


def z(values):
    return scipy.stats.zscore(np.asarray(values, np.float64), axis=1)


@examples(25)
@given(scores, scores, scores)
def test_the_list_is_the_weighted_sum_of_z_scores_and_the_prior(model, one, two, three):
    lengths = np.array([0, 2, 100], np.float32)
    found = model({blend.AUTOENCODER: one, blend.EASE: two, blend.IALS: three}, lengths)
    of_one = np.interp(lengths, LENGTHS, AUTOENCODER)[:, np.newaxis]
    expected = of_one * z(one) + z(two) + 0.5 * z(three)
    prior = z(np.log1p(COUNTS)[np.newaxis])
    expected += np.interp(lengths, LENGTHS, PRIOR)[:, np.newaxis] * prior
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_kernel_regression_takes_eases_place_from_some_length_on(model):
    one, two = np.random.default_rng(2).normal(size=(2, 3, 5)).astype(np.float32)
    lengths = np.array([0, 7, 100], np.float32)
    found = model({blend.EASE: one, blend.KERNEL: two}, lengths)
    share = np.array([[0.0], [0.75], [1.0]])
    expected = (1 - share) * z(one) + share * z(two)
    prior = z(np.log1p(COUNTS)[np.newaxis])
    expected += np.interp(lengths, LENGTHS, PRIOR)[:, np.newaxis] * prior
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_strong_ease_and_popularity_take_the_place_of_everything_from_some_length_on():
    one, two, three = np.random.default_rng(2).normal(size=(3, 3, 5)).astype(np.float32)
    lengths = np.array([0, 7, 100], np.float32)
    scores = {blend.EASE: one, blend.IALS: two, blend.STRONG_EASE: three}
    found = blend.Blend(CONFIG, COUNTS, strong_popularity=0.25)(scores, lengths)
    share = np.array([[0.0], [0.75], [1.0]])
    prior = z(np.log1p(COUNTS)[np.newaxis])
    usual = z(one) + 0.5 * z(two)
    usual += np.interp(lengths, LENGTHS, PRIOR)[:, np.newaxis] * prior
    expected = (1 - share) * usual + share * (z(three) + 0.25 * prior)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@examples(25)
@given(arrays.arrays(np.float32, 7, elements=st.floats(0, 10_000, width=32)))
def test_the_autoencoders_weight_is_linear_between_the_given_lengths(model, lengths):
    found = model.weights(tf.constant(lengths), ())[blend.AUTOENCODER][:, 0]
    np.testing.assert_allclose(found, np.interp(lengths, LENGTHS, AUTOENCODER), atol=1e-3)


def test_a_model_that_was_left_out_has_no_part(model):
    one = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)
    lengths = tf.constant([10.0, 10.0])
    found = model({blend.AUTOENCODER: one}, lengths)
    np.testing.assert_allclose(
        found, 3.0 * z(one) + 0.5 * z(np.log1p(COUNTS)[np.newaxis]), atol=1e-4
    )


def test_scores_that_say_nothing_count_for_nothing():
    """Those of an empty history are all the same."""
    assert not blend.standardised(tf.fill([2, 5], 0.25)).numpy().any()


@examples(25)
@given(scores, st.floats(0.1, 100), st.floats(-100, 100))
def test_neither_scale_nor_offset_of_a_models_scores_matter(one, scale, offset):
    changed = blend.standardised(tf.constant(one * np.float32(scale) + np.float32(offset)))
    np.testing.assert_allclose(changed, blend.standardised(tf.constant(one)), atol=2e-2)
