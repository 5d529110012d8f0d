"""What each part of the model is worth where somebody is new, and within a session.

    .venv/bin/python -m benchmarks.parts                                # MovieLens-100K, new users
    .venv/bin/python -m benchmarks.parts --features --folds 2           # without features
    .venv/bin/python -m benchmarks.parts --in-session --split temporal  # within a session
    .venv/bin/python -m benchmarks.parts --dataset ml-1m --folds 2

**New users**: for each fold of users, the list's models are fitted to the ratings of all others
but those of test, and the fold's users name no movie, or their first 1, 3, 5 or 10, as with
`--new-user-folds`. Parts are left out after the fit; with `--features` the autoencoder, the one
model that reads features, is fitted again without groups of them; `--features each` also without
each.

**In session**: trains the whole model on `train`, once, and evaluates it on `validation` with the
tables of one part at a time set to zero; `--rows` evaluates fewer rows, evenly spread.

The first line is the model as shipped, the others are differences from it with 95 % intervals,
paired by user. Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in $MOVIELENS_1M_DIR. Which
director and lead actor are known depends on $MOVIES_METADATA_DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks import command
from benchmarks.compare import data, protocols
from benchmarks.compare.data import DATASETS, Task
from benchmarks.compare.differences import Difference
from benchmarks.compare.protocols import LIST_LENGTH, RATING_SCALE, FloatArray, IntArray
from benchmarks.next_visit import task_of
from metrics import bootstrap, ranking
from schema import hashing
from schema.predictions import USER_KEY, rank_of, rating_of
from schema.scenarios import IN_SESSION, NAMED_MOVIES, NEXT_VISIT
from trainer.config import LongTermConfig, TrainerConfig
from trainer.settings import applied, parse

if TYPE_CHECKING:
    import tensorflow as tf

    from benchmarks.compare.ours import FittedModel
    from trainer.data.training_data import TrainingData
    from trainer.new_users import Query
    from trainer.retrieval.combination import HistoryRetrieval
    from trainer.retrieval.long_term import LongTermModels

SERVED = "as shipped"

_ROOT = "RMSE"
"""What the names of metrics begin with that are roots of means."""


def without_features(fitted: TrainingData, names: Sequence[str]) -> TrainingData:
    """Returns the data with nothing in some transformed features: all users or movies are alike."""

    def emptied(features: Mapping[str, Any]) -> dict[str, Any]:
        nothing = {
            key: [values[0][:0]] * len(values)
            if isinstance(values, list)
            else np.zeros_like(values)
            for key, values in features.items()
            if key in names
        }
        return {**features, **nothing}

    users, movies = fitted.users, fitted.catalogue
    return dataclasses.replace(
        fitted,
        users=dataclasses.replace(users, features=emptied(users.features)),
        catalogue=dataclasses.replace(movies, features=emptied(movies.features)),
    )


def feature_lines(fitted: TrainingData, *, each: bool) -> dict[str, list[str]]:
    """Returns which transformed features are left out together, by what the line is called.

    Args:
      fitted: the data.
      each: whether each feature is left out as well.
    """
    from schema.features import Kind, Owner
    from trainer.retrieval.two_towers import FEATURE_KINDS

    of_users, of_movies = (
        fitted.outputs.of_kinds(owner, FEATURE_KINDS) for owner in (Owner.USER, Owner.MOVIE)
    )
    credited = [one for one in of_movies if one.source.kind is Kind.CATEGORY]
    groups = {
        "without the users' features": of_users,
        "without the movies' features": of_movies,
        "without director and lead actor": credited,
        **({f"without {one.name}": [one] for one in (*of_users, *of_movies)} if each else {}),
    }
    return {line: [one.name for one in group] for line, group in groups.items() if group}


def compared(
    lines: Mapping[str, FloatArray], metrics: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yields the cells of each line: the first one's metrics, then differences from these.

    Args:
      lines: `[users, 1 + metrics]` number of rows, and sums over them, of each line.
      metrics: their names; those that begin with "RMSE" are roots of the means.
    """

    def values(sums: FloatArray) -> FloatArray:
        means = sums[:, 1:] / sums[:, :1]
        is_root = [name.startswith(_ROOT) for name in metrics]
        return np.where(is_root, np.sqrt(np.maximum(means, 0.0)), means)

    def of_all(sums: FloatArray) -> FloatArray:
        return values(sums.sum(axis=0, keepdims=True))[0]

    (served, first), *others = lines.items()
    drawn = values(bootstrap.drawn_sums(first))
    yield served, [f"{value:.4f}" for value in of_all(first)]
    for name, sums in others:
        changes = (values(bootstrap.drawn_sums(sums)) - drawn).T
        found = zip(of_all(sums) - of_all(first), changes, strict=True)
        yield name, [_difference(value, draws) for value, draws in found]


def _difference(value: float, draws: FloatArray) -> str:
    """Returns a difference with its interval, or a dash if nothing changed."""
    return Difference(value, *bootstrap.interval(draws)).describe() if draws.any() else "–"


def new_user_lines(
    models: LongTermModels,
    config: LongTermConfig,
    popularity: IntArray,
    query: Query,
    features: Mapping[str, IntArray],
) -> dict[str, FloatArray]:
    """Returns `[users, movies]` scores of the list, as shipped and without one part at a time.

    Args:
      models: the fitted models.
      config: the weights of the list.
      popularity: `[movies]` fitted ratings of each.
      query: what new users name.
      features: transformed features of the data's users, `[users]` each, by name.
    """
    import tensorflow as tf

    from trainer.retrieval import blend
    from trainer.retrieval.events import Events

    events = Events(tf.constant(query.named, tf.int64), tf.constant(query.residuals, tf.float32))
    users = tf.constant(len(query.users), tf.int64)
    own = {name: tf.constant(values[query.users]) for name, values in features.items()}
    scores = models.scores(events, users, own)
    autoencoder = models.autoencoder
    nobody = tf.zeros_like(autoencoder.profile(own))
    of_nobody = autoencoder.scores(autoencoder.user_state(events, nobody))
    length = tf.constant(np.bincount(query.named[:, 0], minlength=len(query.users)), tf.float32)

    def listed(scores: Mapping[str, tf.Tensor], config: LongTermConfig = config) -> FloatArray:
        return np.asarray(blend.Blend(config, popularity)(scores, length), np.float64)

    def without(name: str) -> dict[str, tf.Tensor]:
        return {key: values for key, values in scores.items() if key != name}

    no_prior = dataclasses.replace(
        config, popularity_weights=tuple(0.0 for _ in config.popularity_weights)
    )
    return {
        SERVED: listed(scores),
        "without the popularity prior": listed(scores, no_prior),
        "without the autoencoder": listed(without(blend.AUTOENCODER)),
        "without the profile": listed({**scores, blend.AUTOENCODER: of_nobody}),
        "without EASE": listed(without(blend.EASE)),
        "without iALS": listed(without(blend.IALS)),
    }


def of_new_users(
    fitted: TrainingData, config: LongTermConfig, folds: int, seed: int, features: str | None
) -> Iterator[str]:
    """Yields the lines of the table of new users.

    Args:
      fitted: the ratings of all users.
      config: hyperparameters of the list.
      folds: of users.
      seed: of the fits.
      features: lines are those without "groups" of features, or without "each" as well; None: those
        without one part.
    """
    import tensorflow as tf

    from trainer import new_users
    from trainer.retrieval.long_term import fit_long_term
    from trainer.retrieval.user_autoencoder import UserAutoencoder

    fold_of_user = hashing.user_folds(fitted.users.ids.astype(np.int64), folds, seed)
    found: dict[str, dict[int, list[FloatArray]]] = {}
    left_out = feature_lines(fitted, each=features == "each") if features else {}
    for fold in range(folds):
        held_out = fold_of_user == fold
        others = new_users.without_users(fitted, held_out)
        tf.keras.utils.set_random_seed(seed)
        models = fit_long_term(config, others, seed, lambda line: None)
        variants = {"": models}
        for label, names in left_out.items():
            tf.keras.utils.set_random_seed(seed)
            autoencoder = UserAutoencoder(config, seed)
            autoencoder.fit(without_features(others, names))
            variants[label] = dataclasses.replace(models, autoencoder=autoencoder)
        for count in NAMED_MOVIES:
            query = new_users.query_of(fitted, held_out, count, others.interactions.rating.mean())
            for variant, each in variants.items():
                scored = new_user_lines(
                    each, config, others.ratings_per_movie, query, fitted.users.features
                )
                if features:
                    scored = {variant or SERVED: scored[SERVED]}
                for name, scores in scored.items():
                    ndcg = new_users.ndcg_of_lists(scores, query)
                    line = found.setdefault(name, {each: [] for each in NAMED_MOVIES})
                    line[count].append(np.stack([np.ones(len(ndcg)), ndcg], axis=1))
        tf.keras.backend.clear_session()
    yield f"| movies named | {' | '.join(map(str, NAMED_MOVIES))} |"
    yield "|---" * (1 + len(NAMED_MOVIES)) + "|"
    columns = [
        dict(compared({name: np.concatenate(line[count]) for name, line in found.items()}, [""]))
        for count in NAMED_MOVIES
    ]
    for name in found:
        yield f"| {name} | {' | '.join(column[name][0] for column in columns)} |"


def zeroed(model: FittedModel) -> Iterator[tuple[str, list[tuple[tf.Variable, Any]]]]:
    """Yields the parts of the lists in a session: tables, and their values without the part."""
    retrieval = cast("HistoryRetrieval", model.network.parts.retrieval)
    towers = model.network.model.towers
    network = model.standalone.long_term.autoencoder.network
    assert towers is not None, "the data has times"
    tower, histories = towers[0], retrieval.histories.numpy()
    histories[:, -tower.history.shape[1] :] = 0.0

    def nothing(*tables: tf.Variable) -> list[tuple[tf.Variable, Any]]:
        return [(table, np.zeros(table.shape)) for table in tables]

    yield "without the towers", nothing(retrieval.towers)
    yield "towers: without the latest events", nothing(retrieval.recency)
    yield "towers: without the history as a whole", [(retrieval.histories, histories)]
    yield "towers: without the profile", nothing(*tower.profile.tables.values())
    yield "towers: without the time since the last event", nothing(tower.seconds_table)
    yield "towers: without the history's length", nothing(tower.lengths_table)
    yield "without the autoencoder", nothing(retrieval.candidates)
    yield "autoencoder: without the profile", nothing(*network.profile.tables.values())
    if retrieval.ease is not None:
        yield "without EASE", nothing(retrieval.ease.weights)


def of_sessions(task: Task, config: TrainerConfig, scratch: Path) -> Iterator[str]:
    """Yields the lines of the table of lists and ratings in a session."""
    from benchmarks.compare import ours
    from trainer.rating.rating_blend import BlendedRating

    model = ours.fitted_model(task, config, scratch)
    ratings = task.data.ratings[task.targets]
    evaluate = ours.traced(model.network.evaluation)
    lines = {SERVED: _sums(model.answers(evaluate), ratings)}
    for name, tables in zeroed(model):
        kept = [table.numpy() for table, _ in tables]
        for table, values in tables:
            table.assign(values)
        lines[name] = _sums(model.answers(evaluate), ratings)
        for (table, _), values in zip(tables, kept, strict=True):
            table.assign(values)
    network, bpmf = model.network.model.rating_model, model.standalone.bpmf
    assert network is not None, "the data has ratings"
    assert bpmf is not None, "the data has ratings"
    parts = model.network.parts
    for name, weight in (("without the rating network", 1.0), ("without the factorisation", 0.0)):
        changed = dataclasses.replace(parts, rating=BlendedRating(network, bpmf, weight))
        evaluate = ours.traced(changed.evaluation(model.data))
        lines[name] = _sums(model.answers(evaluate), ratings)
    metrics = ("recall@10", "recall@100", "RMSE", "RMSE at the next visit")
    yield f"| | {' | '.join(metrics)} |"
    yield "|---" * (1 + len(metrics)) + "|"
    for name, cells in compared(lines, metrics):
        yield f"| {name} | {' | '.join(cells)} |"


def _sums(answers: Mapping[str, FloatArray], ratings: FloatArray) -> FloatArray:
    """Returns `[users, 1 + metrics]`: the number of rows, and sums of the columns over them."""
    ranks = answers[rank_of(IN_SESSION)].astype(np.int64)
    errors = [
        np.clip(answers[rating_of(scenario)], *RATING_SCALE) - ratings
        for scenario in (IN_SESSION, NEXT_VISIT)
    ]
    hits = [ranking.hits(ranks, k) for k in (LIST_LENGTH, 100)]
    counts, sums = ranking.sums_by_user(
        answers[USER_KEY].astype(np.int64), *hits, *(error**2 for error in errors)
    )
    return np.stack([counts.astype(np.float64), *sums], axis=1)


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.parts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("changes", nargs="*", metavar="part.name=value")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--split", choices=tuple(protocols.PIPELINE_NAMES), default="random")
    parser.add_argument("--folds", type=int, default=5, help="of new users")
    parser.add_argument(
        "--features",
        nargs="?",
        choices=("groups", "each"),
        const="groups",
        help="new users, without groups of features, or each as well",
    )
    parser.add_argument("--in-session", action="store_true", help="parts within a session")
    parser.add_argument("--rows", type=int, help="of validation, evenly spread")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = applied(TrainerConfig(), parse(options.changes))
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=options.seed))
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as records:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        task = task_of(loaded, options.split)
        print(f"{options.dataset}, {options.split} split, seed {options.seed}")
        if options.in_session:
            rows = np.linspace(0, len(task.targets) - 1, options.rows or len(task.targets))
            task = dataclasses.replace(task, targets=task.targets[rows.astype(np.int64)])
            table = of_sessions(task, config, Path(records))
        else:
            from benchmarks.compare import ours

            fitted = ours.training_data(task, Path(records), task.split.train)
            table = of_new_users(
                fitted, config.long_term, options.folds, options.seed, options.features
            )
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
