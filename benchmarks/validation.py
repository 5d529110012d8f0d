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
from typing import TYPE_CHECKING

from benchmarks import command
from benchmarks.compare import data
from benchmarks.compare.data import Task
from benchmarks.compare.methods import RECALL_10, RECALL_100, RMSE, USER_NDCG, measure
from benchmarks.compare.report import TRAIN_CPU_SECONDS
from benchmarks.compare.runner import splits_of
from schema.scenarios import IN_SESSION, metric_name
from sources.errors import InputError

if TYPE_CHECKING:
    from trainer.config import TrainerConfig

PARTS = ("model", "long_term", "bpmf", "train")
"""What of a `TrainerConfig` can be changed."""

_GIVEN = ("splits", "seed")
"""Given by the comparison's splits and `--seeds`."""

Number = int | float
Value = Number | tuple[Number, ...]

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


def changed(config: TrainerConfig, changes: Sequence[str]) -> TrainerConfig:
    """Returns a configuration with some values changed.

    Args:
      config: the shipped values.
      changes: `part.name=value` each; several values, as decay times, with commas between.

    Raises:
      InputError: one is not of that form, names nothing that there is, or has a value of
        another kind.
    """
    for change in changes:
        name, equals, text = change.partition("=")
        part, _, field = name.partition(".")
        if part not in PARTS or not equals:
            raise InputError(
                f"cannot read {change!r}",
                expected=f"part.name=value, where part is one of {', '.join(PARTS)}",
                action="write for example model.truncated_share=0.1",
            )
        values = getattr(config, part)
        names = [each.name for each in dataclasses.fields(values) if each.name not in _GIVEN]
        if field not in names:
            raise InputError(
                f"there is no {name}",
                expected=f"a name of {part}: {', '.join(names)}",
                action="correct the name",
            )
        value = _parsed(name, text, getattr(values, field))
        config = dataclasses.replace(
            config, **{part: dataclasses.replace(values, **{field: value})}
        )
    return config


def _parsed(name: str, text: str, now: Value) -> Value:
    one = now[0] if isinstance(now, tuple) else now
    kind = int if isinstance(one, int) else float
    try:
        if isinstance(now, tuple):
            return tuple(kind(part) for part in text.split(",") if part)
        return kind(text)
    except ValueError:
        raise InputError(
            f"{name} cannot be {text!r}",
            expected=f"a value like the shipped one, {now}",
            action="correct the value",
        ) from None


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
    from trainer.config import TrainerConfig

    config = changed(TrainerConfig(), options.changes)
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
