"""Predicted ratings of the Bayesian factorisation by its definition, in NumPy."""

import numpy as np


def predict(fit, states, user, movie):
    """Stars `[n]`, not clipped: means over draws of mean + biases + product of the vectors."""
    draws = fit.draws
    found = np.full(len(user), fit.mean)
    for number, movies in enumerate(draws.movies):
        own = states[user, number]
        products = np.einsum("nk,nk->n", own[:, 1:], movies[movie][:, 1:])
        found += (own[:, 0] + movies[movie, 0] + products) / len(draws.movies)
    return found
