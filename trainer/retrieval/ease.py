"""EASE: the best linear item-to-item model, in closed form.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019, with the penalty of EDLAE
(Steck, Autoencoders that don't overfit towards the Identity, 2020).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from trainer.data.training_data import Floats, Interactions


def ease_weights(
    interactions: Interactions, movies: int, penalty: float, popularity_penalty: float
) -> Floats:
    """Returns EASE's item-to-item weights `[movies, movies]`, with a zero diagonal.

    B = I - P · diag(1 / diag(P)) with P = (G + Λ)⁻¹ (Steck 2019, equation 8): a user's score of
    movie j is the sum of B[i, j] over the movies i of the history. G = XᵀX, and
    Λ = λ + c · diag(G) grows with a movie's ratings as dropout on the histories would have it
    (Steck 2020: c is p / (1 - p) for a dropout of p).

    Args:
      interactions: the training ratings; their stars do not count.
      movies: number of movies in the catalogue.
      penalty: λ, above 0.
      popularity_penalty: c, at least 0.
    """
    seen = scipy.sparse.csr_matrix(
        (np.ones(len(interactions)), interactions.movie_row, interactions.offsets),
        shape=(len(interactions.offsets) - 1, movies),
    )
    gram = (seen.T @ seen).toarray()
    gram[np.diag_indices(movies)] += penalty + popularity_penalty * np.diag(gram)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)[np.newaxis, :]
    weights[np.diag_indices(movies)] = 0.0
    return weights.astype(np.float32)
