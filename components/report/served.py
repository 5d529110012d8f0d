"""Questions to the exported model, asked through its signatures as any client would."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from components.examples.reading import files_of_split, parse, serialized_batches
from components.report.counts import BATCH
from schema import features as raw
from schema.export_contract import EVALUATION_SIGNATURE
from schema.predictions import rating_of
from schema.scenarios import NEXT_VISIT

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Files and variables of the exported model; `trainer.export` writes them.
_CATALOGUE_FILE = Path("assets.extra") / "catalogue.json"
_CROSS_FILE = Path("assets.extra") / "cross_weights.json"
# Scores of all movies for so many ratings at once: 1,024 take 50 MB more and are 5 % faster.
_ROWS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the model says of known ratings.

    Attributes:
      user: ids, `[rows]`.
      rating: true stars, `[rows]`.
      predicted: predicted stars at the next visit, `[rows]`.
      share: share of the split's users that were asked about, 0 to 1.
    """

    user: IntArray
    rating: FloatArray
    predicted: FloatArray
    share: float


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """The best movies for some users, `[users, k]` each; id -1 where there are fewer.

    Attributes:
      users: ids.
      movie_id: ids of the movies, best first.
      stars: predicted stars.
    """

    users: tuple[int, ...]
    movie_id: IntArray
    stars: FloatArray


@dataclasses.dataclass(frozen=True)
class Similar:
    """The movies most like some given ones, `[movies, k]` each; id -1 where there are fewer.

    Attributes:
      movie_id: ids, nearest first.
      similarity: cosine, -1 to 1.
    """

    movie_id: IntArray
    similarity: FloatArray


class ServedModel:
    """A loaded SavedModel.

    Args:
      folder: the SavedModel.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = tf.saved_model.load(str(folder))

    @property
    def signatures(self) -> tuple[str, ...]:
        """Names of the signatures."""
        return tuple(sorted(self._model.signatures))

    @functools.cached_property
    def cross_weights(self) -> tuple[tuple[str, ...], FloatArray] | None:
        """Names of the feature blocks and `[blocks, blocks]` norms; None if not exported."""
        path = self._folder / _CROSS_FILE
        if not path.is_file():
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
        return tuple(value["blocks"]), np.array(value["norms"], np.float64)

    def catalogue_ids(self, catalogue: pd.DataFrame) -> IntArray:
        """Returns the movie id of each row of the candidates.

        Args:
          catalogue: the movies, in whose order a model without a list of its own has them.

        Raises:
          ValueError: the model has another number of movies than the catalogue.
        """
        path = self._folder / _CATALOGUE_FILE
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            return np.array([int(movie["movie_id"]) for movie in found], np.int64)
        if len(catalogue) != self._model.candidates.shape[0]:
            raise ValueError(
                f"expected {len(catalogue)} candidates, received {self._model.candidates.shape[0]}"
            )
        return catalogue.index.to_numpy(np.int64)

    @functools.cached_property
    def similarity_vectors(self) -> FloatArray:
        """Unit vectors `[movies, dims]` whose dot products are the movies' similarities.

        The model's own have one row more, the last, which stands for "no movie".
        """
        vectors: FloatArray = self._model.similarity_vectors.numpy()[:-1].astype(np.float64)
        return vectors

    def recommend(self, users: Sequence[int], k: int) -> Recommendations:
        """Returns the k best movies that each user has not rated in training."""
        found = self._call(
            "recommend",
            len(users),
            **{raw.USER_ID.name: tf.constant([str(user) for user in users])},
            k=tf.constant(k),
            exclude_seen=tf.constant(True),
        )
        ids = tf.strings.regex_replace(found["movie_id"], "^$", "-1")
        return Recommendations(
            users=tuple(users),
            movie_id=tf.strings.to_number(ids, tf.int64).numpy(),
            stars=found["predicted_rating"].numpy().astype(np.float64),
        )

    def similar(self, movies: Sequence[int], k: int) -> Similar:
        """Returns the k movies most like each given one."""
        found = self._call(
            "similar",
            len(movies),
            movie_id=tf.constant([str(movie) for movie in movies]),
            k=tf.constant(k),
        )
        ids = tf.strings.regex_replace(found["movie_id"], "^$", "-1")
        return Similar(
            movie_id=tf.strings.to_number(ids, tf.int64).numpy(),
            similarity=found["similarity"].numpy().astype(np.float64),
        )

    def because(self, found: Recommendations) -> IntArray:
        """Returns, per recommendation, the rated movie that speaks most for it; -1 if none."""
        answer = self._call(
            "explain",
            len(found.users),
            **{raw.USER_ID.name: tf.constant([str(user) for user in found.users])},
            movie_ids=tf.as_string(found.movie_id),
            k=tf.constant(1),
        )
        first = answer["because_movie_id"]
        if first.shape[2] == 0:
            return np.full(found.movie_id.shape, -1, np.int64)
        ids = tf.strings.regex_replace(first[:, :, 0], "^$", "-1")
        known: IntArray = tf.strings.to_number(ids, tf.int64).numpy()
        return known

    def predict(self, split: Path, every: int) -> Predictions:
        """Returns what the model says of a split's ratings.

        Args:
          split: the split's folder.
          every: ask about the users whose id is a multiple of this.
        """
        serve = self._model.signatures[EVALUATION_SIGNATURE]
        columns: list[tuple[Any, ...]] = []
        for shard in files_of_split(split):
            for records in serialized_batches([shard], BATCH):
                parsed = parse(records, (raw.USER_ID, raw.RATING))
                user = tf.strings.to_number(parsed[raw.USER_ID.name], tf.int64)
                kept = tf.where(user % every == 0)[:, 0]
                for start in range(0, len(kept), _ROWS_AT_ONCE):
                    rows = kept[start : start + _ROWS_AT_ONCE]
                    found = serve(examples=tf.gather(records, rows))
                    columns.append(
                        (
                            tf.gather(user, rows).numpy(),
                            tf.gather(parsed[raw.RATING.name], rows).numpy(),
                            found[rating_of(NEXT_VISIT)].numpy().reshape(-1),
                        )
                    )
        empty = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        user, rating, predicted = map(np.concatenate, zip(*(columns or [empty]), strict=True))
        return Predictions(
            user, rating.astype(np.float64), predicted.astype(np.float64), 1.0 / every
        )

    def _call(self, name: str, batch: int, **given: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Calls a signature; what is not given is left empty or 0, which means not known."""
        signature = self._model.signatures[name]
        _, expected = signature.structured_input_signature
        inputs = {name: given.get(name, _nothing(spec, batch)) for name, spec in expected.items()}
        found: Mapping[str, tf.Tensor] = signature(**inputs)
        return found


def _nothing(spec: tf.TensorSpec, batch: int) -> tf.Tensor:
    """Returns the value of an input that is not known: empty texts and lists, zeros."""
    shape = [batch, *([0] * (len(spec.shape) - 1))] if len(spec.shape) else []
    return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
