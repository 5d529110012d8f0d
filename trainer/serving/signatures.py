"""The signatures of the exported model.

- `serving_default`: serialized tf.Examples to predicted ratings, for batch jobs; of data with
  ratings alone;
- `recommend`: a user (and movies to leave out) to the best movies;
- `rank`: a user and movies to predicted ratings; of data with ratings alone;
- `similar`: a movie to others that the same users like;
- `explain`: a user and movies to the liked movies that add most to each one's score;
- `export_contract`: nothing to the name and version of this list, so that `saved_model.pb`
  alone shows which project exported it.

The events beside the known history, `recent_*`, have a movie, a time and a rating. A time of 0
is none, and such an event is history. One with a time that is not after the query's belongs to
the session where a chain of gaps of at most 30 minutes leads to it from the query; else it is
history as well. A rating of NaN is none, and one of 0 where 0 is not on the scale.

Context features of the query, such as the device, are inputs beside those of the user; one that is
empty, or NaN, is not known. They move predicted ratings and, in a session, the list.

Of data without ratings there is no input `recent_ratings` and no output `predicted_rating`; of data
without times there are no inputs of the query's time and `recent_timestamps`, and every event is
history.

The evaluation is a signature of its own, `trainer.evaluation.signature`.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from schema import export_contract
from schema.features import Kind, Owner, names
from trainer.serving.interfaces import Features
from trainer.serving.module import Answer, ServingModel
from trainer.serving.queries import Excluded, QueryContext

EXAMPLES = tf.TensorSpec([None], tf.string, "examples")
_RECENT_MOVIES = {"recent_movie_ids": tf.TensorSpec([None, None], tf.string, "recent_movie_ids")}
_RECENT_TIMES = {"recent_timestamps": tf.TensorSpec([None, None], tf.int64, "recent_timestamps")}
_RECENT_RATINGS = {"recent_ratings": tf.TensorSpec([None, None], tf.float32, "recent_ratings")}
_MOVIES = {"movie_ids": tf.TensorSpec([None, None], tf.string, "movie_ids")}
_K = {"k": tf.TensorSpec([], tf.int32, "k")}
_EXCLUDED = {
    "exclude_movie_ids": tf.TensorSpec([None, None], tf.string, "exclude_movie_ids"),
    "exclude_seen": tf.TensorSpec([], tf.bool, "exclude_seen"),
}


def signatures(serving: ServingModel) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Traces and returns the signatures by name."""
    table = serving.features
    user = {
        one.name: tf.TensorSpec([None], one.dtype, one.name)
        for one in (*table.model_inputs(Owner.USER), *table.context)
    }
    time = next(iter(names(table.of_kind(Kind.TIME))), "")
    context = {
        **({time: tf.TensorSpec([None], tf.int64, time)} if time else {}),
        **_RECENT_MOVIES,
        **(_RECENT_TIMES if time else {}),
        **(_RECENT_RATINGS if table.has_rating else {}),
    }

    def user_and_context(inputs: Features) -> tuple[Features, QueryContext]:
        values = {name: inputs[name] for name in user}
        given = (time, *_RECENT_MOVIES, *_RECENT_TIMES, *_RECENT_RATINGS)
        return values, QueryContext(*(inputs.get(name) for name in given))

    def recommend(**inputs: tf.Tensor) -> Answer:
        excluded = Excluded(inputs["exclude_movie_ids"], inputs["exclude_seen"])
        return serving.recommend(*user_and_context(inputs), inputs["k"], excluded)

    def rank(**inputs: tf.Tensor) -> Answer:
        return serving.rank(*user_and_context(inputs), inputs["movie_ids"])

    def explain(**inputs: tf.Tensor) -> Answer:
        return serving.explain(*user_and_context(inputs), inputs["movie_ids"], inputs["k"])

    of_ratings = {}
    if table.has_rating:
        of_ratings = {
            "serving_default": traced(serving.predict_ratings, examples=EXAMPLES),
            "rank": traced(rank, **user, **context, **_MOVIES),
        }
    return {
        **of_ratings,
        "recommend": traced(recommend, **user, **context, **_K, **_EXCLUDED),
        "similar": traced(
            serving.similar, movie_id=tf.TensorSpec([None], tf.string, "movie_id"), **_K
        ),
        "explain": traced(explain, **user, **context, **_MOVIES, **_K),
        export_contract.SIGNATURE: traced(_export_contract),
    }


def traced(
    function: Callable[..., Answer], **inputs: tf.TensorSpec
) -> tf.types.experimental.ConcreteFunction:
    """Returns the graph of a function that holds no Python control flow on tensors."""
    return tf.function(function, autograph=False).get_concrete_function(**inputs)


def _export_contract() -> Answer:
    return {
        "name": tf.constant(export_contract.NAME),
        "version": tf.constant(export_contract.VERSION, tf.int64),
    }
