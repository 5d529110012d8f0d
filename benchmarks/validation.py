"""Metrics on validation with other values than the shipped ones: how choices are made.

    .venv/bin/python -m benchmarks.validation              # the shipped values
    .venv/bin/python -m benchmarks.validation model.truncated_share=0.1 --seeds 42 43

Trains the whole model on the inner lines of the comparison's splits (benchmarks/compare), shuffle
42 and each user's last by time, and evaluates it on their validation lines. No line of a test is
read. Needs MovieLens-100K in $MOVIELENS_DIR; about a minute of processor time for each split and
seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
from collections.abc import Mapping, Sequence

from benchmarks import command
from benchmarks.compare import data
from benchmarks.compare.data import Task
from benchmarks.compare.methods import RECALL_10, RECALL_100, RMSE, USER_NDCG, measure
from benchmarks.compare.report import TRAIN_CPU_SECONDS
from benchmarks.compare.runner import splits_of
from schema.scenarios import IN_SESSION, metric_name
from sources.errors import InputError
from trainer.config import TrainerConfig
from trainer.settings import applied, parse

METRICS: Mapping[str, str] = {
    "recall@10": RECALL_10,
    "recall@100": RECALL_100,
    "RMSE": RMSE,
    "NDCG@10": USER_NDCG,
    "in session: recall@10": metric_name(IN_SESSION, "recall_at_10"),
    "in session: RMSE": metric_name(IN_SESSION, "rating_rmse"),
    "training, CPU s": TRAIN_CPU_SECONDS,
}
"""Columns: at the next visit but for the last two, among unseen movies; NDCG@10 is the mean over
users."""


def tasks(loaded: data.Data) -> tuple[Task, ...]:
    """Returns the tasks: fitted to inner lines, evaluated on validation lines."""
    splits = splits_of(loaded)
    return tuple(
        Task(loaded, split, split.inner, split.validation)
        for split in (splits.main, *splits.by_time)
    )


def row(label: str, found: Sequence[Mapping[str, float]]) -> str:
    """Returns a line of the table: the mean over seeds of each metric."""
    means = [statistics.fmean(each[metric] for each in found) for metric in METRICS.values()]
    cells = [f"{mean:.4f}" for mean in means[:-1]] + [f"{means[-1]:.0f}"]
    return f"| {label} | {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      InputError: wrong use, or data that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.validation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("changes", nargs="*", metavar="part.name=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    options = parser.parse_args(arguments)
    loaded = data.load()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.compare.ours import answer_with

    config = applied(TrainerConfig(), parse(options.changes))
    values = " ".join(options.changes) or "as shipped"
    print(f"validation, seeds {', '.join(map(str, options.seeds))}: {values}")
    print(f"| split | {' | '.join(METRICS)} |")
    print("|---" * (len(METRICS) + 1) + "|", flush=True)
    for task in tasks(loaded):
        found = []
        for seed in options.seeds:
            seeded = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
            try:
                found.append(measure(task, answer_with(task, seeded)).metrics)
            except ValueError as error:
                raise InputError(
                    f"training with {values} failed",
                    expected="values that a model can be trained with",
                    found=str(error),
                    action="try others",
                ) from error
            print(f"{task.split.name}, seed {seed}: done", file=sys.stderr, flush=True)
        print(row(task.split.name, found), flush=True)


if __name__ == "__main__":
    command.run(main, "Interrupted.")
