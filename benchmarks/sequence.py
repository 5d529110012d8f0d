"""What the causal sequence block adds to recommendations within a session, by its weight.

    .venv/bin/python -m benchmarks.sequence                             # MovieLens-100K, validation
    .venv/bin/python -m benchmarks.sequence --dataset ml-1m --split leave-one-out
    .venv/bin/python -m benchmarks.sequence sequence.width=32 --test

Trains the whole model as the pipeline does with `--sequence`, once, and evaluates it with several
weights of the block beside the towers: on validation, fitted to `train`; with `--test` on test,
fitted to both. Without the block the model is that of weight 0. Metrics are those of the scenario
`in_session`; on MovieLens-1M also of the users whose times are exact, and of the others.

Needs MovieLens-100K in $MOVIELENS_DIR or MovieLens-1M in $MOVIELENS_1M_DIR; about two minutes of
processor time for the first, ten for the second.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import command
from benchmarks.compare import data, movielens_1m, protocols
from benchmarks.compare.data import DATASETS, ML_1M, Task
from benchmarks.compare.protocols import LIST_LENGTH, BoolArray, IntArray
from metrics import ranking
from schema import predictions
from schema.scenarios import IN_SESSION
from trainer.config import BpmfConfig, SequenceConfig, TrainConfig, TrainerConfig
from trainer.settings import applied, parse

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)

_NO_RATINGS = BpmfConfig(chains=1, burn_in=1, draws=1, thinning=1)
"""Predicted ratings are not measured, so that no time is spent on them."""


def groups_of(task: Task) -> dict[str, BoolArray]:
    """Returns marks `[targets]` of groups of users, by what the group is called."""
    loaded, users = task.data, task.data.user_ids[task.data.users[task.targets]]
    groups = {"all users": np.ones(len(users), np.bool_)}
    if loaded.name == ML_1M:
        exact = users < movielens_1m.FIRST_USER_WITH_INTERPOLATED_TIMES
        groups |= {"exact times": exact, "others": ~exact}
    return groups


def line_of(name: str, ranks: IntArray, groups: Sequence[BoolArray]) -> str:
    """Returns a line of the table: the metrics of each group."""
    cells = [
        f"{ranking.recall_at_k(ranks[group], 10):.4f} / "
        f"{ranking.row_ndcg(ranks[group], LIST_LENGTH):.4f}"
        for group in groups
    ]
    return f"| {name} | {' | '.join(cells)} |"


def measure(task: Task, config: TrainerConfig) -> Iterator[str]:
    """Yields the lines of the table; `config` has a sequence block."""
    from benchmarks.compare import ours

    groups = groups_of(task)
    yield f"| weight | {' | '.join(f'{name}: {g.sum():,} rows' for name, g in groups.items())} |"
    yield "|---" * (1 + len(groups)) + "|"
    with tempfile.TemporaryDirectory() as scratch:
        for name, answers in ours.by_sequence_weight(task, config, WEIGHTS, Path(scratch)):
            ranks = answers[predictions.rank_of(IN_SESSION)].astype(np.int64)
            yield line_of(name, ranks, list(groups.values()))
    yield "recall@10 (HR@10 where each user has one row) / NDCG@10 of rows, in session"


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
    parser.add_argument("changes", nargs="*", metavar="sequence.name=value")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--split", choices=tuple(protocols.PIPELINE_NAMES), default="random")
    parser.add_argument("--test", action="store_true", help="evaluate on the test split")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = TrainerConfig(
        train=TrainConfig(seed=options.seed), sequence=SequenceConfig(), bpmf=_NO_RATINGS
    )
    config = applied(config, parse(options.changes))
    with tempfile.TemporaryDirectory() as scratch:
        loaded = data.load(dataset=options.dataset, scratch=Path(scratch))
        split = protocols.pipeline_split(loaded, options.split)
        fit, targets = (
            (split.train, split.test) if options.test else (split.inner, split.validation)
        )
        part = "test" if options.test else "validation"
        print(f"{options.dataset}, {options.split} split, {part}, seed {options.seed}")
        for line in measure(Task(loaded, split, fit, targets), config):
            print(line, flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
