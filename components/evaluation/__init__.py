"""Evaluation: the metrics, the thresholds, a fast extractor chain and the verdict in words."""
