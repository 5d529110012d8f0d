"""Kernel ridge regression over users, against its definition."""

import math

import numpy as np
import pytest
import scipy.sparse

from benchmarks.compare import baselines_kernel
from benchmarks.compare.data import Task, interactions


def relu_or_step(order):
    return (lambda z: (z > 0).astype(float)) if order == 0 else (lambda z: np.maximum(z, 0.0))


@pytest.mark.parametrize("order", [0, 1])
def test_the_kernel_is_that_of_a_wide_layer_with_random_weights(order):
    # Cho and Saul (2009): twice the mean over w ~ N(0, I) of h(w·x) h(w·y).
    rows = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]], float)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    hidden = relu_or_step(order)(np.random.default_rng(1).normal(size=(400_000, 4)) @ unit.T)
    expected = 2.0 * hidden.T @ hidden / len(hidden)
    sparse = scipy.sparse.csr_matrix(rows)
    found = baselines_kernel.arc_cosine(sparse, sparse, order)
    np.testing.assert_allclose(found, expected, atol=0.01)
    np.testing.assert_allclose(np.diag(found), 1.0)


def test_a_row_without_entries_is_at_a_right_angle_to_all():
    none, one = (scipy.sparse.csr_matrix(np.array([row])) for row in ([0.0, 0.0], [1.0, 0.0]))
    assert baselines_kernel.arc_cosine(none, one, 0)[0, 0] == pytest.approx(0.5)
    assert baselines_kernel.arc_cosine(none, one, 1)[0, 0] == pytest.approx(1.0 / math.pi)


def test_scores_are_those_of_ridge_regression_in_its_dual_form(bench):
    main = bench.splits.main
    task = Task(bench.loaded, main, main.train, main.test)
    method = baselines_kernel.METHODS[0]
    found = method.run(task, {"order": 1, "penalty": 2.0}).next_visit.scores
    held = interactions(task)
    kernel = baselines_kernel.arc_cosine(held, held, 1)
    # X - λ(K + λI)⁻¹X, the fitted values of ridge regression.
    rest = np.linalg.solve(kernel + 2.0 * np.eye(len(kernel)), held.toarray())
    np.testing.assert_allclose(found, held.toarray() - 2.0 * rest, atol=1e-5)
