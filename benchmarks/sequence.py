"""What a causal sequence block would find in a session, on each user's last rating.

    .venv/bin/python -m benchmarks.sequence                             # MovieLens-100K, validation
    .venv/bin/python -m benchmarks.sequence --dataset ml-1m --width 64 --epochs 8
    .venv/bin/python -m benchmarks.sequence --dataset ml-1m --test --towers

Fits on the `train` part of the pipeline's leave-one-out split and predicts each user's validation
rating; with `--test` it fits on train and validation and predicts the test rating. The time of the
rating and all earlier ratings of the user are known, those of the same second included. Metrics are
HR@10 (the same as recall@10 here) and NDCG@10 of the whole catalogue without the user's earlier
movies. On MovieLens-1M they are also given for the users whose times are exact and for the others.
The block (`benchmarks.sequence_block`) is an experiment; the model that the pipeline trains answers
in a session with its two towers, which `--towers` trains as well.

Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in $MOVIELENS_1M_DIR; about a minute of
processor time for the first, eight minutes or more for the others.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks import command, next_visit
from benchmarks.compare import data, movielens_1m, protocols
from benchmarks.compare.data import DATASETS, ML_1M, Task
from benchmarks.compare.protocols import LIST_LENGTH, FloatArray, IntArray
from metrics import ranking

if TYPE_CHECKING:
    from tensorflow import Tensor

    from benchmarks.sequence_block import Latest, SequenceConfig
    from trainer.config import TrainerConfig
    from trainer.data.training_data import Interactions, TrainingData
    from trainer.retrieval.events import Events
    from trainer.retrieval.long_term import LongTermModels

LONG_TERM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Weights of the long-term scores beside the block's own."""

_USERS_AT_ONCE = 256


class Queries(NamedTuple):
    """What is to be found, by rows of the fitted data.

    Attributes:
      users: `[n]` rows of the users.
      movies: `[n]` rows of the movies to be found.
      times: `[n]` unix seconds of the queries.
      exact: `[n]` bool: whether the user's times are exact.
    """

    users: IntArray
    movies: IntArray
    times: IntArray
    exact: protocols.BoolArray

    def part(self, start: int, stop: int) -> Queries:
        """Returns some of the queries."""
        part = slice(start, stop)
        return Queries(self.users[part], self.movies[part], self.times[part], self.exact[part])


def task_of(loaded: data.Data, test: bool) -> Task:
    """Returns what is learned from and what is to be found: validation, or test."""
    split = protocols.pipeline_split(loaded, "leave-one-out")
    if test:
        return Task(loaded, split, split.train, split.test)
    return Task(loaded, split, split.inner, split.validation)


def queries_of(task: Task, fitted: TrainingData) -> Queries:
    """Returns the lines to be found as queries."""
    loaded, lines = task.data, task.targets
    users = np.array(next_visit.rows_of(fitted.users.ids.tolist(), loaded.user_ids.tolist()))
    movies = np.array(next_visit.rows_of(fitted.catalogue.ids.tolist(), loaded.movie_ids.tolist()))
    last_exact = movielens_1m.FIRST_USER_WITH_INTERPOLATED_TIMES - 1
    exact = loaded.user_ids[loaded.users[lines]] <= last_exact
    return Queries(
        users[loaded.users[lines]],
        movies[loaded.movies[lines]],
        loaded.timestamps[lines],
        exact if loaded.name == ML_1M else np.ones_like(exact),
    )


def latest_of(held: Interactions, users: IntArray, times: IntArray, count: int) -> Latest:
    """Returns the latest events of users, those of the query's second included.

    Args:
      held: all earlier ratings.
      users: `[n]` rows of the users.
      times: `[n]` unix seconds of the queries.
      count: how many events at most.
    """
    import tensorflow as tf

    from benchmarks.sequence_block import Latest

    ends = held.offsets[users + 1][:, np.newaxis]
    places = ends - 1 - np.arange(count)
    present = tf.constant(places >= held.offsets[users][:, np.newaxis])
    places = np.maximum(places, 0)
    since = np.maximum(times[:, np.newaxis] - held.timestamp[places], 0)
    seconds = tf.constant(since.astype(np.float32))
    return Latest(
        tf.constant(held.movie_row[places], tf.int32),
        seconds,
        present,
        tf.constant(held.offsets[users + 1] - held.offsets[users]),
    )


def events_of(held: Interactions, residuals: npt.NDArray[np.float32], users: IntArray) -> Events:
    """Returns the whole histories of some users."""
    import tensorflow as tf

    from trainer.retrieval.events import Events

    places = [np.arange(held.offsets[user], held.offsets[user + 1]) for user in users]
    rows = np.repeat(np.arange(len(users)), [len(each) for each in places])
    every = np.concatenate(places)
    pairs = np.stack([rows, held.movie_row[every]], axis=1)
    return Events(tf.constant(pairs, tf.int64), tf.constant(residuals[every], tf.float32))


def line_of(name: str, ranks: IntArray, queries: Queries) -> str:
    """Returns a line of the table: the metrics of all users and of each group."""
    groups = [np.ones_like(queries.exact), queries.exact, ~queries.exact]
    cells = [
        f"{ranking.recall_at_k(ranks[group], 10):.4f} / "
        f"{ranking.row_ndcg(ranks[group], LIST_LENGTH):.4f}"
        for group in groups
    ]
    return f"| {name} | {' | '.join(cells)} |"


class _Ranks:
    """Ranks of what is to be found, batch by batch, by the name of who scored."""

    def __init__(self) -> None:
        self._found: dict[str, list[IntArray]] = {}

    def add(
        self, name: str, scores: FloatArray, seen: protocols.BoolArray, wanted: IntArray
    ) -> None:
        rows = np.arange(len(wanted))
        ranks = ranking.filtered_ranks(scores, seen, rows, wanted)
        self._found.setdefault(name, []).append(ranks)

    def items(self) -> Iterator[tuple[str, IntArray]]:
        for name, ranks in self._found.items():
            yield name, np.concatenate(ranks)


def measure(
    task: Task, block_config: SequenceConfig, config: TrainerConfig, towers: bool
) -> Iterator[str]:
    """Yields the lines of the table.

    Args:
      task: what is learned from and what is to be found.
      block_config: of the block.
      config: of everything else.
      towers: whether the two towers are trained as well.
    """
    import tensorflow as tf

    from benchmarks.compare import ours
    from benchmarks.sequence_block import fit_sequence
    from trainer.data.training_data import rating_residuals
    from trainer.retrieval import blend
    from trainer.retrieval.long_term import fit_long_term

    with tempfile.TemporaryDirectory() as scratch:
        fitted = ours.training_data(task, Path(scratch), task.fit)
    seed, started = config.train.seed, time.process_time()
    block, _ = fit_sequence(block_config, fitted, seed, _print_epoch)
    seconds = {"sequence block": time.process_time() - started}
    tf.keras.utils.set_random_seed(seed)
    models = fit_long_term(config.long_term, fitted, seed, lambda line: None)
    seconds["long-term models"] = sum(models.cpu_seconds.values())
    next_visit_list = blend.Blend(config.long_term, fitted.ratings_per_movie)
    with_towers = None
    if towers:
        started = time.process_time()
        with_towers = _fit_towers(config, models, fitted)
        seconds["towers and rating network"] = time.process_time() - started

    queries, held = queries_of(task, fitted), fitted.interactions
    residuals, ranks = rating_residuals(held), _Ranks()
    features = {name: tf.constant(values) for name, values in fitted.users.features.items()}
    for start in range(0, len(queries.users), _USERS_AT_ONCE):
        part = queries.part(start, start + _USERS_AT_ONCE)
        events, count = events_of(held, residuals, part.users), len(part.users)
        user, movie = events.pairs.numpy().T
        seen = ranking.seen_matrix(user, movie, (count, len(fitted.catalogue.ids)))
        profiles = {name: tf.gather(values, part.users) for name, values in features.items()}
        latest = latest_of(held, part.users, part.times, block_config.recency_events)
        of_models = models.scores(events, tf.constant(count, tf.int64), profiles)
        # What the towers' scores are joined with in a session.
        beside = tf.add_n([of_models[name] for name in of_models if name != blend.IALS])
        own = block.scores(latest)
        for weight in LONG_TERM_WEIGHTS:
            name = f"sequence block + {weight} × long-term" if weight else "sequence block alone"
            ranks.add(name, (own + weight * beside).numpy(), seen, part.movies)
        length = tf.cast(latest.history_length, tf.float32)
        of_next_visit = next_visit_list(of_models, length)
        if with_towers is not None:
            found = with_towers(events, profiles, latest, of_next_visit)
            ranks.add("two towers, as served", found.numpy(), seen, part.movies)
        ranks.add("next-visit list", of_next_visit.numpy(), seen, part.movies)
    exact = queries.exact
    yield f"| scores | all {len(exact)} | exact times: {exact.sum()} | others: {(~exact).sum()} |"
    yield "|---" * 4 + "|"
    for name, ranked in ranks.items():
        yield line_of(name, ranked, queries)
    yield "HR@10 / NDCG@10; CPU s of the fit: " + ", ".join(
        f"{name} {value:.0f}" for name, value in seconds.items()
    )


def _print_epoch(epoch: int, epochs: int, loss: float) -> None:
    print(f"epoch {epoch} of {epochs}: {loss:.4f}", flush=True)


def _fit_towers(
    config: TrainerConfig, models: LongTermModels, fitted: TrainingData
) -> Callable[[Events, Mapping[str, Tensor], Latest, Tensor], Tensor]:
    """Trains the towers; returns what scores queries as the exported model does."""
    import tensorflow as tf

    from trainer import fit
    from trainer.model import MovieRecommender
    from trainer.retrieval import events as product
    from trainer.retrieval.combination import HistoryRetrieval
    from trainer.retrieval.sessions import session_of

    model = MovieRecommender(fitted, config.model, config.train)
    with tempfile.TemporaryDirectory() as scratch:
        fit.fit(model, fitted, config.train, scratch, on_epoch=lambda *_: None)
    retrieval = HistoryRetrieval(
        model.towers,
        models,
        fitted.catalogue,
        fitted.ratings_per_movie,
    )

    def scores(
        events: Events, profiles: Mapping[str, Tensor], latest: Latest, next_visit_scores: Tensor
    ) -> Tensor:
        count = config.model.recency_events
        movies, seconds, present = (values[:, :count] for values in latest[:3])
        in_session = session_of(seconds, present)
        return retrieval.scores(
            next_visit_scores,
            retrieval.session_state(events, tf.shape(movies, tf.int64)[0]),
            retrieval.profile(profiles),
            product.Latest(movies, seconds, in_session, latest.history_length),
        )

    return scores


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.sequence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--test", action="store_true", help="predict the test ratings")
    parser.add_argument("--towers", action="store_true", help="train the two towers as well")
    parser.add_argument("--width", type=int, default=32, help="of the block's vectors")
    parser.add_argument("--epochs", type=int, default=10, help="of the block's training")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.sequence_block import SequenceConfig
    from trainer.config import TrainConfig, TrainerConfig

    block_config = SequenceConfig(width=options.width, epochs=options.epochs)
    config = TrainerConfig(train=TrainConfig(seed=options.seed))
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        part = "test" if options.test else "validation"
        print(f"{options.dataset}, leave-one-out, {part}, seed {options.seed}")
        print(block_config, flush=True)
        for line in measure(task_of(loaded, options.test), block_config, config, options.towers):
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
