"""Metadata of the exported model, for applications and reports that do not run it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schema.export_contract import CHOICES_FILE, FEATURES_FILE
from schema.features import Kind, Owner
from trainer.data.training_data import TrainingData
from trainer.rating.rating_bpmf import known_features
from trainer.rating.rating_dcn import Part, RatingModel
from trainer.retrieval.long_term import LongTermModels

CATALOGUE_FILE, USERS_FILE = "catalogue.json", "users.json"
CROSS_WEIGHTS_FILE = "cross_weights.json"

_SAMPLE = 10_000
"""Training ratings that strengths are measured on."""

_YEAR = re.compile(r"\((\d{4})\)\s*$")


def catalogue_and_users(data: TrainingData) -> dict[str, Any]:
    """Returns JSON values by file name.

    `catalogue.json`: the movies in the order of the candidate vectors; `users.json`: the ids
    of users who are known; `choices.json`: the values of their categories, as people spell them;
    `features.json`: the feature table.
    """
    users = data.users
    return {
        PurePosixPath(FEATURES_FILE).name: json.loads(data.features.to_json()),
        CATALOGUE_FILE: _movies(data),
        PurePosixPath(CHOICES_FILE).name: users.spellings,
        USERS_FILE: {"count": len(users.ids), "ids": [user.decode() for user in users.ids]},
    }


def left_out(models: LongTermModels, data: TrainingData) -> dict[str, str]:
    """Returns which parts of the model this data leaves out, and why, by the name of the part."""
    found = {**left_out_movies(data), **models.left_out}
    if not data.features.has_time:
        found["recommendations within a session"] = "this data has no times"
    if data.features.context and not (data.features.has_time or data.features.has_rating):
        found["context features"] = "this data has neither ratings nor sessions, which they move"
    if not data.features.has_rating:
        return {**found, "predicted ratings": "this data has no ratings: every event counts alike"}
    for owner, entities in ((Owner.USER, "users"), (Owner.MOVIE, "movies")):
        if not known_features(data, owner):
            found[f"side information of {entities} in predicted ratings"] = "the data has none"
    return found


def left_out_movies(data: TrainingData) -> dict[str, str]:
    """Returns how many movies are left out of the model and why; nothing where none is."""
    catalogue = data.catalogue
    if not catalogue.left_out:
        return {}
    movies = catalogue.left_out + len(catalogue.ids)
    ratings = catalogue.left_out_ratings + len(data.interactions)
    return {
        f"{catalogue.left_out:,} of {movies:,} movies": (
            "those with the fewest events, which are not recommended "
            f"({catalogue.left_out_ratings:,} of {ratings:,} training events; "
            "trainer.catalogue_limit)"
        )
    }


def cross_strengths(
    model: RatingModel,
    movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
    data: TrainingData,
) -> dict[str, Any]:
    """Returns how strongly the cross layer couples each pair of features.

    The layer adds x ∘ (W x + b) to its input x (Wang et al., DCN V2, 2021), where each block of
    x (user, movie, their product, context) is a sum of features' embeddings. What feature g says
    about feature f is e_f ∘ W_fg e_g; its strength is that vector's length, as the root of the
    mean square over a sample of training ratings.

    Args:
      model: the trained network.
      movie_features: the catalogue's features as tensors.
      data: the training data.

    Returns:
      `blocks`: names of the features; `norms`: rows are f, columns g.
    """
    users, interactions = data.users, data.interactions
    number = min(len(interactions), _SAMPLE)
    rows = np.random.default_rng(0).choice(len(interactions), number, replace=False)
    user_row, movie_row = interactions.user_row[rows], interactions.movie_row[rows]
    user = {name: tf.constant(values[user_row]) for name, values in users.features.items()}
    context = {
        name: tf.constant(values[rows], tf.int64) for name, values in interactions.context.items()
    }
    movie = {name: tf.gather(values, movie_row) for name, values in movie_features.items()}
    parts = model.parts({**user, **context}, movie)
    kernel = model.cross_kernel().numpy()
    norms = [
        [
            _coupling(one, other, kernel[one.start : one.end, other.start : other.end])
            for other in parts
        ]
        for one in parts
    ]
    return {"blocks": [part.name for part in parts], "norms": norms}


def _coupling(one: Part, other: Part, kernel: npt.NDArray[np.float32]) -> float:
    added = one.values.numpy() * (other.values.numpy() @ kernel.T)
    return float(np.sqrt(np.mean(np.sum(added**2, axis=1))))


def _movies(data: TrainingData) -> list[Mapping[str, Any]]:
    catalogue = data.catalogue
    genres = next(iter(data.outputs.of_kinds(Owner.MOVIE, (Kind.TAGS,))), None)
    vocabulary: list[str] = []
    listed: Any = [()] * len(catalogue.ids)
    if genres is not None:
        names = data.transform_output.vocabulary_by_name(genres.vocabulary)
        vocabulary = [name.decode() for name in names]
        listed = catalogue.features[genres.name]
    rows = zip(
        catalogue.ids.tolist(),
        catalogue.titles.tolist(),
        listed,
        catalogue.years.tolist(),
        data.ratings_per_movie.tolist(),
        strict=True,
    )
    return [
        {
            "movie_id": movie_id.decode(),
            "title": title.decode(),
            "year": _year(title.decode(), year),
            "genres": [vocabulary[genre] for genre in genres if genre < len(vocabulary)],
            "ratings": ratings,
        }
        for movie_id, title, genres, year, ratings in rows
    ]


def _year(title: str, year: int) -> int | None:
    """Returns the year at the title's end or else that of the data, if it is known."""
    found = _YEAR.search(title)
    return int(found[1]) if found else year if year > 0 else None
