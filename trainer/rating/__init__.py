"""Predicted ratings: the deep & cross network, BPMF, and their blend."""
