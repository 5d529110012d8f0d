"""Compares the recommender with other methods, scenario by scenario: `make compare`."""
