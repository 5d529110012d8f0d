"""The rating model: biases, and a deep & cross network for what they do not explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema.features import CONTEXT_KINDS, Kind, Owner
from trainer.config import ModelConfig
from trainer.data.training_data import Interactions
from trainer.rating.principal_components import principal_components
from trainer.retrieval.two_towers import FeatureSum, embedding_table
from transform import outputs as out

USER_SHRINKAGE, MOVIE_SHRINKAGE, CONTEXT_SHRINKAGE = 10.0, 5.0, 20.0
"""Shrinkage of the biases of users, movies, and times and contexts, in pseudo-ratings at the mean.
"""

FEATURE_KINDS: tuple[Kind, ...] = (
    *(Kind.AGE, Kind.GENDER, Kind.TAGS, Kind.YEAR, Kind.CATEGORY),
    Kind.NUMBER,
)
"""Kinds of features that are embedded beside ids, in the order in which initial values are drawn.

Zip codes and title words are left out: each has too few ratings for a reliable effect.
"""


_WITHOUT_BIAS = (out.HOUR_OF_DAY, out.DAY_OF_WEEK)


def baseline_biases(
    indices: Sequence[npt.NDArray[np.int64]],
    rating: npt.NDArray[np.float32],
    sizes: Sequence[int],
    shrinkage: Sequence[float],
    sweeps: int = 10,
) -> tuple[float, list[npt.NDArray[np.float32]]]:
    """Fits rating = mean + one bias per grouping, by alternating least squares.

    Koren, Bell: Advances in Collaborative Filtering (2015), section 3.2.1.

    Args:
      indices: for each grouping (by user, by movie, ...) `[ratings]` indices.
      rating: `[ratings]` stars.
      sizes: for each grouping the number of indices; those without ratings get 0.
      shrinkage: for each grouping the number of pseudo-ratings at the mean.
      sweeps: alternations.

    Returns:
      The mean and, for each grouping, its biases `[size]`, in stars.
    """
    mean = float(rating.mean())
    biases = [np.zeros(size) for size in sizes]
    counts = [
        np.bincount(index, minlength=size) + pseudo_ratings
        for index, size, pseudo_ratings in zip(indices, sizes, shrinkage, strict=True)
    ]
    rest = rating.astype(np.float64) - mean
    for _ in range(sweeps):
        for position, index in enumerate(indices):
            rest += biases[position][index]
            biases[position] = np.bincount(index, rest, sizes[position]) / counts[position]
            rest -= biases[position][index]
    return mean, [bias.astype(np.float32) for bias in biases]


class Part(NamedTuple):
    """One feature's part in the cross layer's input.

    Attributes:
      name: the feature.
      start: first column of the block that it is added to.
      end: the column after the block's last.
      values: `[batch, end - start]`.
    """

    name: str
    start: int
    end: int
    values: tf.Tensor


class TowerOutput(NamedTuple):
    """The output of one tower: of the user, the movie or the context.

    Attributes:
      vectors: `[batch, width]`.
      bias: `[batch, 1]` stars.
    """

    vectors: tf.Tensor
    bias: tf.Tensor


class RatingModel(tf.Module):
    """Stars = mean + biases of user, movie and context + range x tanh(deep & cross network).

    The context is the time and the context features. What the data has none of has no part, neither
    in the biases nor in the network.

    A user's vector is the sum of the embeddings of the id and the profile and of a
    projection of the principal components; a movie's likewise. The network's input are
    both, their product and the context; `tfrs.layers.dcn.Cross` learns what matters together.

    Args:
      outputs: the transformed features.
      sizes: number of indices of each feature, by name.
      interactions: the training ratings, to fit the initial biases.
      user_index: `[ratings]` transformed user id of each.
      movie_index: `[ratings]` transformed movie id of each.
      config: widths and dropout.
    """

    def __init__(
        self,
        outputs: out.OutputTable,
        sizes: Mapping[str, int],
        interactions: Interactions,
        user_index: npt.NDArray[np.int64],
        movie_index: npt.NDArray[np.int64],
        config: ModelConfig,
    ) -> None:
        super().__init__(name="rating_model")
        users, movies = sizes[out.USER_ID_INDEX], sizes[out.ITEM_ID_INDEX]
        of_context = outputs.of_kinds(Owner.CONTEXT, (Kind.TIME, *CONTEXT_KINDS))
        groupings = [(user_index, users, USER_SHRINKAGE), (movie_index, movies, MOVIE_SHRINKAGE)]
        # Hour and weekday have no bias: it would be that of who rates then.
        with_bias = [one.name for one in of_context if one.name not in _WITHOUT_BIAS]
        for name in with_bias:
            groupings.append((interactions.context[name], sizes[name], CONTEXT_SHRINKAGE))
        indices, rows, shrinkage = zip(*groupings, strict=True)
        mean, biases = baseline_biases(indices, interactions.rating, rows, shrinkage)
        user_parts, movie_parts = principal_components(
            user_index, movie_index, users, movies, config.components
        )
        width = config.rating_dim
        self.config = config
        self.mean = tf.constant(mean, tf.float32)
        names = ("user_bias", "movie_bias", *(f"{name}_bias" for name in with_bias))
        self.user_bias, self.movie_bias, *of_contexts = (
            tf.Variable(bias[:, np.newaxis], name=name)
            for bias, name in zip(biases, names, strict=True)
        )
        self.context_bias: dict[str, tf.Variable] = dict(zip(with_bias, of_contexts, strict=True))
        self.users = _ids_without_history("rating_user", user_index, users, width)
        self.movies = _ids_without_history("rating_movie", movie_index, movies, width)
        of_users = outputs.of_kinds(Owner.USER, FEATURE_KINDS)
        of_movies = outputs.of_kinds(Owner.MOVIE, FEATURE_KINDS)
        self.profile = FeatureSum(of_users, sizes, width, "rating_profile")
        self.movie_profile = FeatureSum(of_movies, sizes, width, "rating_movie_profile")
        self._context_width = config.time_dim if of_context else 0
        self.context = FeatureSum(of_context, sizes, self._context_width, "rating_context")
        self.user_components = tf.Variable(user_parts, trainable=False, name="user_components")
        self.movie_components = tf.Variable(movie_parts, trainable=False, name="movie_components")
        self.user_projection = tf.keras.layers.Dense(width, use_bias=False)
        self.movie_projection = tf.keras.layers.Dense(width, use_bias=False)
        self.cross = tfrs.layers.dcn.Cross(projection_dim=config.cross_projection)
        self.hidden = tf.keras.layers.Dense(config.hidden_units, activation="relu")
        # Zeros: random weights would start further from the ratings than the biases alone.
        self.head = tf.keras.layers.Dense(1, kernel_initializer="zeros")

    def __call__(
        self,
        user_features: Mapping[str, tf.Tensor],
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
        *,
        training: bool,
    ) -> tf.Tensor:
        """Returns predicted stars `[batch]`, not clipped to the scale.

        Args:
          user_features: transformed features of user and context, `[batch]` each.
          movie_features: transformed features of the movie, `[batch]` or ragged.
          training: whether dropout applies.
        """
        return self.stars(
            self.user(user_features),
            self.movie(movie_features),
            self.context_output(user_features, tf.size(user_features[out.USER_ID_INDEX])),
            training=training,
        )

    def user(self, features: Mapping[str, tf.Tensor]) -> TowerOutput:
        """Returns what follows from a user alone, given transformed features `[batch]`."""
        user_id = features[out.USER_ID_INDEX]
        vectors = tf.gather(self.users, user_id) + self.profile(features)
        vectors += self.user_projection(tf.gather(self.user_components, user_id))
        return TowerOutput(vectors, tf.gather(self.user_bias, user_id))

    def movie(self, features: Mapping[str, tf.Tensor | tf.RaggedTensor]) -> TowerOutput:
        """Returns what follows from a movie alone, given transformed features."""
        movie_id = features[out.ITEM_ID_INDEX]
        vectors = tf.gather(self.movies, movie_id) + self.movie_profile(features)
        vectors += self.movie_projection(tf.gather(self.movie_components, movie_id))
        return TowerOutput(vectors, tf.gather(self.movie_bias, movie_id))

    def context_output(self, features: Mapping[str, tf.Tensor], batch: tf.Tensor) -> TowerOutput:
        """Returns what follows from the context alone: of data without one, nothing.

        Args:
          features: transformed features of the context, `[batch]` each.
          batch: scalar, how many rows there are.
        """
        if not self.context_bias:
            return TowerOutput(tf.zeros([batch, 0]), tf.zeros([batch, 1]))
        biases = [tf.gather(bias, features[name]) for name, bias in self.context_bias.items()]
        bias = tf.add_n(biases) if len(biases) > 1 else biases[0]
        return TowerOutput(self.context(features), bias)

    def context_effects(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the `[batch]` biases of the context features, in stars, without that of the time.

        Args:
          features: transformed features of the context, `[batch]` each.
        """
        return {
            name: tf.gather(bias, features[name])[:, 0]
            for name, bias in self.context_bias.items()
            if name != out.TIME_BUCKET
        }

    def stars(
        self, user: TowerOutput, movie: TowerOutput, context: TowerOutput, *, training: bool
    ) -> tf.Tensor:
        """Returns predicted stars `[batch]`, not clipped, of user, movie and context."""
        drop_user, drop_movie, drop_hidden = self.config.rating_dropout if training else (0, 0, 0)
        # No dropout on the product: with it, what a user likes is hardly learned.
        inputs = tf.concat(
            [
                tf.nn.dropout(user.vectors, drop_user),
                tf.nn.dropout(movie.vectors, drop_movie),
                user.vectors * movie.vectors,
                context.vectors,
            ],
            axis=1,
        )
        hidden = tf.nn.dropout(self.hidden(self.cross(inputs)), drop_hidden)
        bias = user.bias + movie.bias + context.bias
        correction = self.config.rating_range * tf.tanh(self.head(hidden))
        return tf.squeeze(self.mean + bias + correction, axis=1)

    def parts(
        self,
        user_features: Mapping[str, tf.Tensor],
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
    ) -> list[Part]:
        """Returns what each feature brings into the cross layer's input.

        Args:
          user_features: transformed features of user and context, `[batch]` each.
          movie_features: transformed features of the movie, `[batch]` or ragged.
        """
        user_id = user_features[out.USER_ID_INDEX]
        movie_id = movie_features[out.ITEM_ID_INDEX]
        user = {
            "user id": tf.gather(self.users, user_id),
            **self.profile.parts(user_features),
            "user's choices": self.user_projection(tf.gather(self.user_components, user_id)),
        }
        movie = {
            "movie id": tf.gather(self.movies, movie_id),
            **self.movie_profile.parts(movie_features),
            "movie's viewers": self.movie_projection(tf.gather(self.movie_components, movie_id)),
        }
        product = tf.add_n(list(user.values())) * tf.add_n(list(movie.values()))
        blocks = [user, movie, {"user x movie": product}, self.context.parts(user_features)]
        found, start = [], 0
        for block in filter(None, blocks):
            width = next(iter(block.values())).shape[1]
            found += [Part(name, start, start + width, part) for name, part in block.items()]
            start += width
        return found

    def cross_kernel(self) -> tf.Tensor:
        """Returns W of the cross layer, x0 ∘ (W x + b) + x, `[to, from]`."""
        width = 3 * self.config.rating_dim + self._context_width
        ones = tf.ones([width, width])
        identity = tf.eye(width)
        return tf.transpose(
            self.cross(ones, identity) - self.cross(ones, 0.0 * identity) - identity
        )

    def l2(self) -> tf.Tensor:
        """Returns half the sum of squares of the embedding tables."""
        tables = [self.users, self.movies]
        for features in (self.profile, self.movie_profile, self.context):
            tables.extend(features.tables.values())
        return tf.add_n([tf.nn.l2_loss(table) for table in tables])


def _ids_without_history(
    name: str, used: npt.NDArray[np.int64], rows: int, width: int
) -> tf.Variable:
    """An embedding table whose rows without a training rating are zero."""
    table = embedding_table(name, rows, width)
    seen = np.bincount(used, minlength=rows) > 0
    table.assign(table * seen[:, np.newaxis].astype(np.float32))
    return table
