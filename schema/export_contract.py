"""The contract of the pipeline and the model server on a pushed version.

The SavedModel itself says that it is ours, by a signature that the server finds in
`saved_model.pb` without running anything. Such a version is complete once every file of its
manifest is there; a SavedModel without the signature is anybody's and has no manifest.

Only the standard library is imported here.
"""

from __future__ import annotations

SIGNATURE = "export_contract"
"""Takes nothing; returns `name` and `version`, both scalars."""

EVALUATION_SIGNATURE = "evaluate"
"""For the Evaluator: serialized tf.Examples to everything in `schema.predictions`.

Only the model that is evaluated has it; versions of earlier releases do as well. Not served.
"""

EVALUATION_VERSION = 4
"""Raised when that signature's outputs change or change their meaning: models of two versions
cannot be evaluated side by side. Models that the Trainer gave no version are of version 0."""

NAME = "movielens-recommender"
VERSION = 2
"""Raised when signatures change so that an older server cannot serve the model.

2: `recent_ratings` beside `recent_movie_ids` and `recent_timestamps`.
"""

FEATURES_FILE = "assets.extra/features.json"
"""The feature table of the data that a version was trained on (`schema.features`)."""

CHOICES_FILE = "assets.extra/choices.json"
"""The values of the categories of users, by the feature's name, as the data spells them."""

DATASET_FILE = "assets.extra/dataset.json"
"""The data set that a version was trained on: name, terms, features, what an item is called
(`schema.dataset`)."""

RUN_RECORD = "assets.extra/run.json"
"""The run that made a pushed version: its kind, its metrics and the verdict."""

MANIFEST = "assets.extra/manifest.json"
"""Size and SHA-256 of every other file of a pushed version; written last."""
