"""The joint TFRS model: retrieval within sessions and rating, trained together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema.features import Owner
from trainer.config import ModelConfig, TrainConfig
from trainer.data.training_data import TrainingData
from trainer.epochs import RatingRmse
from trainer.rating.rating_dcn import RatingModel
from trainer.retrieval.history import events_before, pooled_history, rows_before, truncated_history
from trainer.retrieval.task import CatalogueRetrieval
from trainer.retrieval.two_towers import (
    FEATURE_KINDS,
    CandidateTower,
    QueryTower,
    catalogue_tensors,
)
from transform import outputs as out


class MovieRecommender(tfrs.Model):
    """Two towers for retrieval within sessions and a deep & cross network for predicted ratings.

    Without decay times in `model_config` there are no towers, and without ratings no network.

    Args:
      data: what it will be fitted to.
      model_config: shape and regularisation.
      train_config: loss weights.
    """

    def __init__(
        self,
        data: TrainingData,
        model_config: ModelConfig,
        train_config: TrainConfig,
    ) -> None:
        super().__init__()
        catalogue, interactions = data.catalogue, data.interactions
        sizes, counts = data.feature_sizes, data.ratings_per_movie
        movie_ids = np.asarray(catalogue.features[out.ITEM_ID_INDEX])
        self.model_config = model_config
        self.train_config = train_config
        self._unknown_context = {
            one.name: index for one, (index, _) in data.unknown_context.items()
        }
        of_users = data.outputs.of_kinds(Owner.USER, FEATURE_KINDS)
        of_movies = data.outputs.of_kinds(Owner.MOVIE, FEATURE_KINDS)
        self.towers: tuple[QueryTower, CandidateTower] | None = None
        if model_config.recency_seconds:
            self.towers = (
                QueryTower(of_users, tuple(data.unknown_context), sizes, model_config),
                CandidateTower(catalogue, of_movies, sizes, counts, model_config),
            )
            self.retrieval_task = CatalogueRetrieval(
                tf.constant(counts / counts.sum(), tf.float32), model_config.full_softmax_limit
            )
            self.retrieval_loss = tf.keras.metrics.Mean("retrieval_loss")
        self.movie_features = (
            self.towers[1].features if self.towers else catalogue_tensors(catalogue)
        )
        self.rating_model: RatingModel | None = None
        if data.features.has_rating:
            self.rating_model = RatingModel(
                data.outputs,
                sizes,
                interactions,
                data.users.features[out.USER_ID_INDEX][interactions.user_row],
                movie_ids[interactions.movie_row],
                model_config,
            )
            self.rating_task = tfrs.tasks.Ranking(
                loss=tf.keras.losses.MeanSquaredError(),
                metrics=[RatingRmse(data.features.scale.units_per_star)],
            )

    # No Python control flow depends on a tensor: AutoGraph would translate it all for nothing.
    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the weighted sum of the losses that there are, and the penalties.

        Args:
          inputs: a batch as `trainer.data.batches.batch_tensors` makes it: `movie_row`, `rating`,
            `timestamp`, `segment`, `place`, `ties` and the transformed features of user and
            context, all `[batch]`, sorted by segment and time.
          training: whether dropout applies.
        """
        if training:
            inputs = {**inputs, **self._context_left_out(inputs)}
        parts = []
        if self.towers is not None:
            parts.append(self._retrieval_loss(*self.towers, inputs, training=training))
        if self.rating_model is not None:
            parts.append(self._rating_loss(self.rating_model, inputs, training=training))
        losses, penalties = zip(*parts, strict=True)
        return tf.add_n(losses) + tf.add_n(penalties)

    def _retrieval_loss(
        self,
        query_tower: QueryTower,
        candidate_tower: CandidateTower,
        inputs: Mapping[str, tf.Tensor],
        *,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the weighted loss of retrieval, and the towers' penalty."""
        movie_row = inputs["movie_row"]
        movie_id = tf.gather(self.movie_features[out.ITEM_ID_INDEX], movie_row)
        queries = self._queries(query_tower, inputs, movie_id, training=training)
        loss = self.retrieval_task(queries, candidate_tower(), movie_row, inputs["segment"])
        self.retrieval_loss.update_state(loss)
        penalty = self.model_config.l2_retrieval * (query_tower.l2() + candidate_tower.l2())
        return self.train_config.retrieval_weight * loss, penalty

    def _rating_loss(
        self, model: RatingModel, inputs: Mapping[str, tf.Tensor], *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the weighted loss of the predicted ratings, and the network's penalty."""
        if training and out.TIME_BUCKET in inputs:
            inputs = {**inputs, out.TIME_BUCKET: self._time_left_out(inputs)}
        movie_features = {
            name: tf.gather(values, inputs["movie_row"])
            for name, values in self.movie_features.items()
        }
        predicted = model(inputs, movie_features, training=training)
        loss = self.rating_task(labels=inputs["rating"], predictions=predicted)
        return self.train_config.rating_weight * loss, self.model_config.l2_rating * model.l2()

    def _queries(
        self,
        query_tower: QueryTower,
        inputs: Mapping[str, tf.Tensor],
        movie_id: tf.Tensor,
        *,
        training: bool,
    ) -> tf.Tensor:
        segments = inputs["segment"]
        kept = tf.ones_like(inputs["rating"])
        if training:
            pieces = tf.reduce_max(segments) + 1
            share = tf.random.uniform([pieces], 0.0, self.model_config.history_dropout)
            drawn = tf.random.uniform(tf.shape(segments))
            kept = tf.cast(drawn >= tf.gather(share, segments), tf.float32)
        table = query_tower.history
        history = pooled_history(movie_id, segments, kept, table)
        hidden = tf.zeros_like(segments, tf.int32)
        if training and self.model_config.truncated_share:
            truncated, hidden = draw_truncations(segments, self.model_config)
            shorter = truncated_history(movie_id, segments, kept, hidden, table)
            history = tf.where(truncated[:, tf.newaxis], shorter, history)
        history_length = events_before(inputs["place"], inputs["ties"], hidden)
        recency = query_tower.recency_of_batch(
            movie_id, segments, inputs["timestamp"], inputs["ties"], hidden, history_length
        )
        return query_tower(inputs, history, recency, training=training)

    def _context_left_out(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the context features `[batch]`, a share of each replaced by the unknown value.

        So that value says what holds on average of the user, whatever the context: at the next
        visit, and in every request that does not give it.
        """
        found = {}
        for name, unknown in self._unknown_context.items():
            kept = tf.random.uniform(tf.shape(inputs[name])) >= self.model_config.time_dropout
            found[name] = tf.where(kept, inputs[name], tf.constant(unknown, tf.int64))
        return found

    def _time_left_out(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the time buckets `[batch]`, a share of them replaced by the unknown one."""
        buckets = inputs[out.TIME_BUCKET]
        kept = tf.random.uniform(tf.shape(buckets)) >= self.model_config.time_dropout
        return tf.where(kept, buckets, out.UNKNOWN_TIME)


def draw_truncations(segments: tf.Tensor, config: ModelConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws which rows have a truncated history, and how many ratings are hidden from them.

    Args:
      segments: `[batch]` ascending number of each row's user, by time within.
      config: `truncated_share`, `truncation_share` and `max_truncation`.

    Returns:
      `[batch]` bool, and `[batch]` int32, 0 where not.
    """
    batch = tf.shape(segments)
    truncated = tf.random.uniform(batch) < config.truncated_share
    share = tf.random.uniform(batch, 0.0, config.truncation_share)
    ratings = tf.round(share * tf.cast(rows_before(segments), tf.float32))
    hidden = tf.minimum(tf.cast(ratings, tf.int32), config.max_truncation)
    return truncated, tf.where(truncated, hidden, 0)
