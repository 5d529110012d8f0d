"""The evaluated model's answers, through its signatures as any client gets them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.examples.reading import files_of_split, parse, serialized_batches
from components.report.sources import read_json
from schema import features as raw
from schema.export_contract import EVALUATION_SIGNATURE
from schema.predictions import rating_of
from schema.scenarios import NEXT_VISIT

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Files and variables of the exported model; `trainer.export` writes them.
_ASSETS = "assets.extra"
_CATALOGUE_FILE, _CROSS_FILE = "catalogue.json", "cross_weights.json"
_LEFT_OUT_FILE = "left_out.json"
# Scores of all movies for so many ratings at once: 1,024 take 50 MB more and are 5 % faster.
_ROWS_AT_ONCE = 256
_RECORDS = 32_768


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Known ratings and what the model predicts for them.

    Attributes:
      rating: true ratings, `[rows]`.
      predicted: predicted ratings at the next visit, `[rows]`.
      share: share of the split's users whose ratings these are, 0 to 1.
    """

    rating: FloatArray
    predicted: FloatArray
    share: float


class EvaluatedModel:
    """A loaded SavedModel.

    Args:
      folder: the SavedModel.
    """

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

    def movie_ids(self) -> list[int]:
        """Returns the movie id of each row of `similarity_vectors`."""
        found = json.loads((self._assets / _CATALOGUE_FILE).read_text(encoding="utf-8"))
        return [int(movie["movie_id"]) for movie in found]

    def similarity_vectors(self) -> FloatArray:
        """Returns unit vectors `[movies, dim]` whose dot products are the movies' similarities."""
        # The last row stands for "no movie".
        return np.asarray(self._model.similarity_vectors.numpy()[:-1], np.float64)

    def recommend(self, users: Sequence[int], k: int) -> tuple[IntArray, FloatArray]:
        """Returns the k best movies that each user has not rated in training.

        Returns:
          Movie ids `[users, k]`, best first, -1 where there are fewer; their predicted ratings.
        """
        found = self._call(
            "recommend", user_id=_texts(users), k=tf.constant(k), exclude_seen=tf.constant(True)
        )
        return _ids(found["movie_id"]), found["predicted_rating"].numpy().astype(np.float64)

    def because(self, users: Sequence[int], movies: IntArray) -> IntArray:
        """Returns the rated movie that moved each recommendation's score most, -1 if none.

        Args:
          users: ids, `[users]`.
          movies: ids of the movies recommended to each, `[users, k]`.
        """
        found = self._call(
            "explain", user_id=_texts(users), movie_ids=tf.as_string(movies), k=tf.constant(1)
        )["because_movie_id"]
        return _ids(found[:, :, 0]) if found.shape[2] else np.full(movies.shape, -1, np.int64)

    def similar(self, movies: Sequence[int], k: int) -> tuple[IntArray, FloatArray]:
        """Returns ids of the k movies most like each given one, and the cosines, `[movies, k]`."""
        found = self._call("similar", movie_id=_texts(movies), k=tf.constant(k))
        return _ids(found["movie_id"]), found["similarity"].numpy().astype(np.float64)

    def predict(self, split: Path, every: int) -> Predictions:
        """Returns predictions of a split's ratings.

        Args:
          split: the split's folder.
          every: only those of the users whose id is a multiple of this.
        """
        serve = self._model.signatures[EVALUATION_SIGNATURE]
        rating, predicted = [np.zeros(0)], [np.zeros(0)]
        for records in serialized_batches(files_of_split(split), _RECORDS):
            parsed = parse(records, (raw.USER_ID, raw.RATING))
            user = tf.strings.to_number(parsed[raw.USER_ID.name], tf.int64)
            kept = tf.where(user % every == 0)[:, 0]
            for start in range(0, len(kept), _ROWS_AT_ONCE):
                rows = kept[start : start + _ROWS_AT_ONCE]
                found = serve(examples=tf.gather(records, rows))
                rating.append(tf.gather(parsed[raw.RATING.name], rows).numpy())
                predicted.append(found[rating_of(NEXT_VISIT)].numpy().reshape(-1))
        return Predictions(
            np.concatenate(rating).astype(np.float64),
            np.concatenate(predicted).astype(np.float64),
            share=1.0 / every,
        )

    def _call(self, name: str, **given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Calls a signature; inputs that are not given are empty or 0, which means not known."""
        signature = self._model.signatures[name]
        _, expected = signature.structured_input_signature
        batch = len(next(iter(given.values())))
        inputs = {name: given.get(name, _nothing(spec, batch)) for name, spec in expected.items()}
        found: Mapping[str, tf.Tensor] = signature(**inputs)
        return found


def _texts(ids: Sequence[int]) -> tf.Tensor:
    return tf.constant([str(number) for number in ids])


def _ids(texts: tf.Tensor) -> IntArray:
    numbers = tf.strings.to_number(tf.strings.regex_replace(texts, "^$", "-1"), tf.int64)
    return np.asarray(numbers.numpy())


def _nothing(spec: tf.TensorSpec, batch: int) -> tf.Tensor:
    """Returns the value of an input that is not known: empty texts and lists, zeros."""
    shape = [batch, *([0] * (len(spec.shape) - 1))] if len(spec.shape) else []
    return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
