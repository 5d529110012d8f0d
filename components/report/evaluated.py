"""The evaluated model's answers, through its signatures as any client gets them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.evaluation.graph_optimizer import without_graph_optimizer
from components.examples.reading import files_of_split, parse, serialized_batches
from components.report.sources import read_json
from schema.export_contract import EVALUATION_SIGNATURE
from schema.features import FeatureTable
from schema.predictions import rating_of
from schema.scenarios import NEXT_VISIT

FloatArray = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
"""Ids: text, empty where there is none."""

# Files and variables of the exported model; `trainer.export` writes them.
_ASSETS = "assets.extra"
_CATALOGUE_FILE, _CROSS_FILE = "catalogue.json", "cross_weights.json"
_LEFT_OUT_FILE = "left_out.json"
# Scores of all movies for so many ratings at once: 1,024 take 50 MB more and are 5 % faster.
_ROWS_AT_ONCE = 256
_RECORDS = 32_768


class EvaluatedModel:
    """The SavedModel in a folder, loaded."""

    def __init__(self, folder: Path) -> None:
        self._assets = folder / _ASSETS
        self._model = tf.saved_model.load(str(folder))

    @functools.cached_property
    def cross_weights(self) -> tuple[tuple[str, ...], FloatArray] | None:
        """Names of the feature blocks and `[blocks, blocks]` norms; None if not exported."""
        value = read_json(self._assets / _CROSS_FILE)
        return (tuple(value["blocks"]), np.array(value["norms"], np.float64)) if value else None

    @property
    def left_out(self) -> Mapping[str, str]:
        """Parts of the model that the data left out, and why."""
        return read_json(self._assets / _LEFT_OUT_FILE)

    def movie_ids(self) -> list[str]:
        """Returns the movie id of each row of `similarity_vectors`."""
        found = json.loads((self._assets / _CATALOGUE_FILE).read_text(encoding="utf-8"))
        return [str(movie["movie_id"]) for movie in found]

    def similarity_vectors(self) -> FloatArray:
        """Returns unit vectors `[movies, dim]` whose dot products are the movies' similarities."""
        # The last row stands for "no movie".
        return np.asarray(self._model.similarity_vectors.numpy()[:-1], np.float64)

    def recommend(self, users: Sequence[str], k: int) -> tuple[Texts, FloatArray | None]:
        """Returns the k best movies that each user has not rated in training, best first.

        Returns:
          Movie ids `[users, k]`, "" where there are fewer; their predicted ratings, None of a
          model that predicts none.
        """
        unseen = tf.constant(True)
        found = self._call("recommend", user_id=_ids(users), k=tf.constant(k), exclude_seen=unseen)
        predicted = found.get("predicted_rating")
        return _texts(found["movie_id"]), None if predicted is None else _floats(predicted)

    def because(self, users: Sequence[str], movies: Texts) -> Texts:
        """Returns the rated movie that raised the score of each of `movies`, `[users, k]`, most."""
        one = tf.constant(1)
        found = self._call("explain", user_id=_ids(users), movie_ids=_ids(movies), k=one)
        because = found["because_movie_id"]
        return _texts(because[:, :, 0]) if because.shape[2] else np.full(movies.shape, "", object)

    def similar(self, movies: Sequence[str], k: int) -> tuple[Texts, FloatArray]:
        """Returns ids of the k movies most like each given one, and the cosines, `[movies, k]`."""
        found = self._call("similar", movie_id=_ids(movies), k=tf.constant(k))
        return _texts(found["movie_id"]), _floats(found["similarity"])

    def predict(
        self, split: Path, every: int, table: FeatureTable
    ) -> tuple[FloatArray, FloatArray]:
        """Returns ratings in a split's folder, `[rows]`, and those predicted at the next visit.

        They are those of about one in `every` so many users, chosen by a hash of their id.
        """
        serve = self._model.signatures[EVALUATION_SIGNATURE]
        rating, predicted = [np.zeros(0)], [np.zeros(0)]
        for records in serialized_batches(files_of_split(split), _RECORDS):
            parsed = parse(records, (table.user_id, table.rating))
            bucket = tf.strings.to_hash_bucket_fast(parsed[table.user_id.name], every)
            kept = tf.where(bucket == 0)[:, 0]
            for start in range(0, len(kept), _ROWS_AT_ONCE):
                rows = kept[start : start + _ROWS_AT_ONCE]
                with without_graph_optimizer():
                    found = serve(examples=tf.gather(records, rows))
                rating.append(tf.gather(parsed[table.rating.name], rows).numpy())
                predicted.append(found[rating_of(NEXT_VISIT)].numpy().reshape(-1))
        return _floats(np.concatenate(rating)), _floats(np.concatenate(predicted))

    def _call(self, name: str, **given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Calls a signature; inputs that are not given are empty or 0, which means not known."""
        signature = self._model.signatures[name]
        _, expected = signature.structured_input_signature
        batch = len(next(iter(given.values())))
        inputs = {name: given.get(name, _nothing(spec, batch)) for name, spec in expected.items()}
        with without_graph_optimizer():
            found: Mapping[str, tf.Tensor] = signature(**inputs)
        return found


def _ids(ids: Sequence[str] | Texts) -> tf.Tensor:
    return tf.constant(np.asarray(ids, object), tf.string)


def _texts(values: tf.Tensor) -> Texts:
    decoded: Texts = np.char.decode(values.numpy().astype(bytes), "utf-8").astype(object)
    return decoded


def _floats(values: tf.Tensor) -> FloatArray:
    return np.asarray(values, np.float64)


def _nothing(spec: tf.TensorSpec, batch: int) -> tf.Tensor:
    """Returns the value of an input that is not known: empty texts and lists, NaN, zeros."""
    shape = [batch, *([0] * (len(spec.shape) - 1))] if len(spec.shape) else []
    if spec.dtype == tf.float32:
        return tf.fill(shape, math.nan)  # of a number, 0 is one
    return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
