"""Formulas of recommendation metrics on arrays: one definition each, used everywhere.

The Evaluator, the Tuner, the comparison with baselines and the HTML report all take their
numbers from here, so that one name means one number. Only NumPy is imported.
"""
