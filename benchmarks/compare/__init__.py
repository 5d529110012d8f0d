"""Compares the recommender with its peers, one protocol at a time: `make compare`."""
