"""The retrieval task over the whole catalogue, or over the batch with a correction."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs


class CatalogueRetrieval(tfrs.tasks.Retrieval):
    """`tfrs.tasks.Retrieval` whose negatives are all movies while there are few enough.

    A softmax over the catalogue needs no correction for popularity, no hard negatives and
    no removal of accidental hits. Above `full_softmax_limit` movies, the batch's other
    movies are the negatives; their scores are corrected by log-Q (Yi et al., Sampling-bias-
    corrected neural modeling, 2019) and accidental hits removed.

    Args:
      probabilities: `[movies]` probability of each movie to be in a batch row.
      full_softmax_limit: largest catalogue that is scored whole.
    """

    def __init__(self, probabilities: tf.Tensor, full_softmax_limit: int) -> None:
        self._full = int(probabilities.shape[0]) <= full_softmax_limit
        self._probabilities = tf.constant(probabilities, tf.float32)
        super().__init__(remove_accidental_hits=not self._full)

    def call(self, queries: tf.Tensor, candidates: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns the mean loss of a batch.

        Args:
          queries: `[batch, dim]` query vectors.
          candidates: `[movies, dim]` vectors of the whole catalogue.
          movie_row: `[batch]` the row of the movie to be found.
        """
        if self._full:
            logits = tf.matmul(queries, candidates, transpose_b=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(movie_row, logits)
            return tf.reduce_mean(losses)
        total = super().call(
            queries,
            tf.gather(candidates, movie_row),
            candidate_ids=movie_row,
            candidate_sampling_probability=tf.gather(self._probabilities, movie_row),
            compute_metrics=False,
            compute_batch_metrics=False,
        )
        # The base class sums over the batch.
        return total / tf.cast(tf.shape(queries)[0], tf.float32)
