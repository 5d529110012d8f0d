"""Small SavedModels that the server can serve, correct and faulty ones."""

import json

import tensorflow as tf

from components.pusher.publish import write_manifest
from schema.features import Owner

MOVIES = 12
IDS = tuple(str(movie) for movie in range(MOVIES))
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
    """Recommends movies 0 to 11 with falling scores; `trouble(user_id)` is added to the stars.

    `ids` are the movies' ids; without `ratings` it predicts none.
    """

    def __init__(self, trouble=None, ballast=0, ids=IDS, ratings=True):
        super().__init__()
        self._ratings = ratings
        self.ballast = tf.Variable(tf.zeros(ballast), trainable=False)
        self._trouble = trouble or (lambda user_id: tf.zeros(tf.shape(user_id)))
        self.stars = tf.Variable(tf.linspace(4.5, 1.5, MOVIES))
        self.rows = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(list(ids), list(range(MOVIES))), 0
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
            **({"predicted_rating": stars} if self._ratings else {}),
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


_SMALL = []


def small(tmp_path_factory):
    """A folder of models with one version, saved once for all tests; nothing in it may change."""
    if not _SMALL:
        folder = tmp_path_factory.mktemp("small")
        save(folder / "1")
        _SMALL.append(folder)
    return _SMALL[0]


def save(
    path, trouble=None, ours=True, users=(), module=None, version=1, table=None, movies=False,
    recent=False, dataset=None,
):  # fmt: skip
    """Exports a model; with `ours` it has the marker, of a version, and a manifest.

    `table` is the feature table that travels with it and names its inputs; with `movies` its
    catalogue travels with it, with `recent` it takes recent movies, and `dataset` is the value of
    its `dataset.json`.
    """
    has_rating, has_time = (table is None or table.has_rating), (table is None or table.has_time)
    of_user = table and {
        one.name: tf.as_dtype(one.dtype)
        for one in (*table.model_inputs(Owner.USER), *table.model_inputs(Owner.CONTEXT))
    }
    events = {
        "recent_movie_ids": ([None, None], tf.string),
        **({"recent_timestamps": ([None, None], tf.int64)} if has_time else {}),
        **({"recent_ratings": ([None, None], tf.float32)} if has_rating else {}),
    } if recent else {}  # fmt: skip
    made = module or Handmade(trouble)
    signatures = {
        "recommend": tf.function(made.recommend, autograph=False).get_concrete_function(
            **specs(of_user, k=([], tf.int32), exclude_movie_ids=([None, None], tf.string),
                    exclude_seen=([], tf.bool), **events)
        ),
    }  # fmt: skip
    if has_rating:
        signatures["rank"] = tf.function(made.rank, autograph=False).get_concrete_function(
            **specs(of_user, movie_ids=([None, None], tf.string), **events)
        )
    if ours:
        signatures["export_contract"] = tf.function(
            lambda: contract(version)
        ).get_concrete_function()
    tf.saved_model.save(made, str(path), signatures=signatures)
    files = {}
    if table:
        files["features.json"] = table.to_json()
    if users:
        files["users.json"] = json.dumps({"ids": list(users)})
    if movies:
        rows = [{"movie_id": one.decode(), "title": f"Movie {one.decode()}"}
                for one in made.ids.numpy()]  # fmt: skip
        files["catalogue.json"] = json.dumps(rows)
    if dataset:
        files["dataset.json"] = json.dumps(dataset)
    for name, text in files.items():
        (path / "assets.extra").mkdir(exist_ok=True)
        (path / "assets.extra" / name).write_text(text)
    if ours:
        write_manifest(path)
    return path
