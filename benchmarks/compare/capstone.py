"""The capstone's models on the comparison's splits: the pipeline's own, and one that leaks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from benchmarks.compare import protocols
from benchmarks.compare.data import ML_100K_ONLY, Data, Task
from benchmarks.compare.methods import RECALL_10, RECALL_100, Answer, Method, Params, Predictions
from benchmarks.compare.protocols import FloatArray, IntArray
from benchmarks.compare.report import RAW_RMSE
from components.source_hash import source_digest
from metrics import ranking
from trainer.config import TutorialConfig
from trainer.data.training_data import Interactions, Users
from trainer.retrieval.two_towers import embedding_table
from trainer.tutorial import TutorialModel, fit_tutorial
from transform import outputs as out

_SEED = 42
_EPOCHS = 8
_BATCH = 2_000


class LeakingModel(TutorialModel):
    """A query tower that also receives genres and release date of the movie to be found.

    Useless in practice, where there is no such movie: it shows what leakage does to the metrics.

    Args:
      data: the movies, whose features the query tower is given.
      config: widths and loss weights.
    """

    def __init__(self, data: Data, config: TutorialConfig) -> None:
        super().__init__(*data.shape, config)
        dates, date = np.unique(data.movie_released, return_inverse=True)
        self._date = tf.constant(date)
        self._genres = tf.constant(data.movie_genres, tf.float32)
        dim = config.embedding_dim
        self.dates = embedding_table("leaking_date", len(dates), dim)
        self.genres = embedding_table("leaking_genre", data.movie_genres.shape[1], dim)

    def query(self, user: tf.Tensor, movie: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, dim]` vectors of users and of the movies they are to find."""
        genres = tf.matmul(tf.gather(self._genres, movie), self.genres)
        date = tf.gather(self.dates, tf.gather(self._date, movie))
        return tf.gather(self.users, user) + genres + date

    def stars(self, user_id: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns predicted stars `[batch]`, not clipped."""
        pair = [self.query(user_id, movie_row), tf.gather(self.movies, movie_row)]
        return tf.squeeze(self.network(tf.concat(pair, axis=1)), axis=1)

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the weighted sum of both losses, as the model without the leak."""
        user, movie = inputs["user_id"], inputs["movie_row"]
        retrieval = self.retrieval_task(
            self.query(user, movie), tf.gather(self.movies, movie), compute_metrics=False
        )
        self.retrieval_loss.update_state(retrieval / tf.cast(tf.size(movie), tf.float32))
        rating = self.rating_task(labels=inputs["rating"], predictions=self.stars(user, movie))
        config = self.tutorial_config
        return config.retrieval_weight * retrieval + config.rating_weight * rating


def run(task: Task, params: Params) -> Answer:
    """Trains a tutorial-style model; a leaking one scores the movies once for each row."""
    tf.keras.utils.set_random_seed(_SEED)
    config = TutorialConfig(
        retrieval_weight=float(params["retrieval_weight"]),
        rating_weight=float(params["rating_weight"]),
    )
    leaking = params["leaking"]
    model = LeakingModel(task.data, config) if leaking else TutorialModel(*task.data.shape, config)
    interactions, user_table = _as_trainer_data(task)
    with tempfile.TemporaryDirectory() as log_dir:
        fit_tutorial(
            model,
            interactions,
            user_table,
            int(params["epochs"]),
            _SEED,
            log_dir,
            on_epoch=lambda epoch, epochs, logs: None,
        )
    users, wanted = task.data.users[task.targets], task.data.movies[task.targets]
    stars = model.stars(tf.constant(users), tf.constant(wanted)).numpy().astype(np.float64)
    # The capstone did not clip; with a network that was never trained that is a star more.
    more = {RAW_RMSE: float(np.sqrt(np.mean((stars - task.data.ratings[task.targets]) ** 2)))}
    if isinstance(model, LeakingModel):
        unfiltered, filtered = _leaking_ranks(model, task)
        # Each row has a list of its own, so there is none of a user to average over.
        more[RECALL_10] = ranking.recall_at_k(filtered, 10)
        more[RECALL_100] = ranking.recall_at_k(filtered, 100)
        return Answer(Predictions(ratings=stars), unfiltered_ranks=unfiltered, more=more)
    candidates = model.movies.numpy()[:-1].astype(np.float64)
    scores = model.users.numpy() @ candidates.T
    return Answer(
        Predictions(scores=scores, ratings=stars),
        unfiltered_ranks=protocols.unfiltered_ranks(scores, users, wanted),
        more=more,
    )


def _leaking_ranks(model: LeakingModel, task: Task) -> tuple[IntArray, IntArray]:
    data = task.data
    seen = ranking.seen_matrix(data.users[task.fit], data.movies[task.fit], data.shape)
    candidates: FloatArray = model.movies.numpy()[:-1].astype(np.float64)
    unfiltered, filtered = [], []
    for start in range(0, len(task.targets), _BATCH):
        lines = task.targets[start : start + _BATCH]
        users, movies = data.users[lines], data.movies[lines]
        scores = model.query(tf.constant(users), tf.constant(movies)).numpy() @ candidates.T
        # Each row has scores of its own, as if it were of a user of its own.
        rows = np.arange(len(lines))
        unfiltered.append(protocols.unfiltered_ranks(scores, rows, movies))
        filtered.append(ranking.filtered_ranks(scores, seen[users], rows, movies))
    return np.concatenate(unfiltered), np.concatenate(filtered)


def _as_trainer_data(task: Task) -> tuple[Interactions, Users]:
    data, (users, _) = task.data, task.data.shape
    lines = task.fit[np.lexsort((data.timestamps[task.fit], data.users[task.fit]))]
    ids = np.array([str(user + 1).encode() for user in range(users)])
    return (
        Interactions(
            user_row=data.users[lines],
            movie_row=data.movies[lines],
            rating=data.ratings[lines].astype(np.float32),
            timestamp=data.timestamps[lines],
            context={},
            offsets=np.searchsorted(data.users[lines], np.arange(users + 1)),
        ),
        Users(ids=ids, features={out.USER_ID_INDEX: np.arange(users)}),
    )


def _source() -> str:
    return source_digest("trainer")


def _method(name: str, title: str, rating: float, retrieval: float, leaking: bool) -> Method:
    params = {"rating_weight": rating, "retrieval_weight": retrieval, "leaking": int(leaking)}
    return Method(
        name,
        title,
        "both",
        run,
        ({**params, "epochs": _EPOCHS},),
        {**params, "epochs": 1},
        only_main=True,
        datasets=ML_100K_ONLY,
        more_source=_source,
    )


METHODS: tuple[Method, ...] = (
    _method("tutorial_rating", "rating-specialised", 1.0, 0.0, False),
    _method("tutorial_retrieval", "retrieval-specialised", 0.0, 1.0, False),
    _method("tutorial_joint", "joint", 1.0, 1.0, False),
    _method("tutorial_leak", "LEAKING query tower", 1.0, 1.0, True),
)
