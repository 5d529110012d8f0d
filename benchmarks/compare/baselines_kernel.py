"""Kernel ridge regression over users, a baseline of retrieval."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse

from benchmarks.compare.data import Task, interactions
from benchmarks.compare.methods import Answer, Method, Params, answer_of_histories, grid
from benchmarks.compare.protocols import FloatArray


def kernel_regression(task: Task, params: Params) -> Answer:
    """Scores K(K + λI)⁻¹X, where X holds the histories and K compares them.

    K is the arc-cosine kernel of order 0 or 1 (Cho and Saul: Kernel methods for deep learning,
    2009), that of one infinitely wide layer of step functions or of rectified linear units, on
    histories of length 1. Sachdeva et al. (Infinite recommendation networks, 2022) use the
    regression for recommendations.
    """
    held = interactions(task)
    learned = held[np.flatnonzero(held.getnnz(axis=1))]
    order = int(params["order"])
    kernel = arc_cosine(learned, learned, order)
    kernel[np.diag_indices_from(kernel)] += float(params["penalty"])
    weights = scipy.linalg.solve(kernel, learned.toarray(), assume_a="pos", overwrite_a=True)
    return answer_of_histories(
        task, lambda histories: arc_cosine(histories, learned, order) @ weights
    )


def arc_cosine(
    one: scipy.sparse.csr_matrix, other: scipy.sparse.csr_matrix, order: int
) -> FloatArray:
    """Returns the kernel `[rows of one, rows of other]` between rows scaled to length 1.

    With θ the angle between two rows it is 1 - θ/π for order 0 and (sin θ + (π - θ) cos θ) / π
    for order 1. A row without entries is at a right angle to every other.
    """
    cosine = (_unit_rows(one) @ _unit_rows(other).T).toarray().clip(0.0, 1.0)
    angle = np.arccos(cosine)
    if order == 0:
        return np.asarray(1.0 - angle / np.pi)
    return np.asarray((np.sin(angle) + (np.pi - angle) * cosine) / np.pi)


def _unit_rows(rows: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    lengths = np.sqrt(np.maximum(1.0, rows.getnnz(axis=1)))
    return scipy.sparse.diags(1.0 / lengths) @ rows.astype(np.float64)


METHODS: tuple[Method, ...] = (
    Method(
        "kernel",
        "Kernel regression over users",
        "retrieval",
        kernel_regression,
        grid(order=(0, 1), penalty=(0.3, 1.0, 2.0, 3.0, 5.0, 10.0)),
        {"order": 1, "penalty": 10.0},
        grid_1m=grid(order=(0, 1), penalty=(1.0, 3.0, 10.0, 30.0)),
        new_users=True,
    ),
)
