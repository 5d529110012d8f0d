"""Small SavedModels that the server can serve, honest and otherwise."""

import tensorflow as tf

from components.pusher.manifest import write_manifest
from schema.features import Owner

MOVIES = 12
USER = {
    "user_id": tf.string,
    "raw_user_age": tf.float32,
    "user_gender": tf.string,
    "user_occupation_text": tf.string,
    "user_zip_code": tf.string,
    "timestamp": tf.int64,
}


def specs(of_user=None, **more):
    user = {name: tf.TensorSpec([None], kind, name) for name, kind in (of_user or USER).items()}
    return {
        **user,
        **{name: tf.TensorSpec(shape, kind, name) for name, (shape, kind) in more.items()},
    }


class Handmade(tf.Module):
    """Recommends movie 0 to 11 with falling scores; `trouble(user_id)` is added to the stars."""

    def __init__(self, trouble=None, users=()):
        super().__init__()
        self._trouble = trouble or (lambda user_id: tf.zeros(tf.shape(user_id)))
        ids = [str(movie) for movie in range(MOVIES)]
        self.stars = tf.Variable(tf.linspace(4.5, 1.5, MOVIES))
        self.rows = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(ids, list(range(MOVIES))), 0
        )
        self.ids = tf.constant(ids)

    def recommend(self, user_id, k, **_):
        count = tf.minimum(k, MOVIES)
        stars = self.stars[tf.newaxis, :count] + self._trouble(user_id)[:, tf.newaxis]
        ids = tf.repeat(self.ids[tf.newaxis, :count], tf.size(user_id), 0)
        return {
            "movie_id": ids,
            "movie_title": tf.strings.join(["Movie ", ids]),
            "score": stars,
            "predicted_rating": stars,
            "count": tf.fill(tf.shape(user_id), count),
        }

    def rank(self, user_id, movie_ids, **_):
        stars = tf.gather(self.stars, self.rows.lookup(movie_ids))
        return {
            "movie_id": movie_ids,
            "movie_title": tf.strings.join(["Movie ", movie_ids]),
            "predicted_rating": stars + self._trouble(user_id)[:, tf.newaxis],
        }


def contract(version):
    return {"name": tf.constant("movielens-recommender"), "version": tf.constant(version, tf.int64)}


def save(path, trouble=None, ours=True, users=(), module=None, version=1, table=None):
    """Exports a model; with `ours` it has the marker, of a version, and a manifest.

    `table` is the feature table that it brings along, and takes its users by.
    """
    of_user = table and {
        one.name: tf.as_dtype(one.dtype)
        for one in (*table.model_inputs(Owner.USER), table.timestamp)
    }
    made = module or Handmade(trouble)
    signatures = {
        "recommend": tf.function(made.recommend, autograph=False).get_concrete_function(
            **specs(of_user, k=([], tf.int32), exclude_movie_ids=([None, None], tf.string),
                    exclude_seen=([], tf.bool))
        ),
        "rank": tf.function(made.rank, autograph=False).get_concrete_function(
            **specs(of_user, movie_ids=([None, None], tf.string))
        ),
    }  # fmt: skip
    if ours:
        signatures["export_contract"] = tf.function(
            lambda: contract(version)
        ).get_concrete_function()
    tf.saved_model.save(made, str(path), signatures=signatures)
    if table:
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / "features.json").write_text(table.to_json())
    if users:
        (path / "assets.extra").mkdir(exist_ok=True)
        text = ", ".join(f'"{user}"' for user in users)
        (path / "assets.extra" / "users.json").write_text(f'{{"ids": [{text}]}}')
    if ours:
        write_manifest(path)
    return path
