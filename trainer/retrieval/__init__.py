"""Retrieval of movies: the autoencoder, EASE, the two towers, and their combination."""
