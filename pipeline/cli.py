"""The command line of the local runner. It imports no large library, so --help is quick."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.names import SPLIT_METHODS
from pipeline.config import INVALID_ZIPS, MODELS, RunConfig
from sources.cleaning_log import DEFAULT_MAX_LOSS
from sources.errors import InputError, PipelineError
from sources.names import DATASET_CHOICES
from storage import environment
from storage.errors import PathError
from storage.paths import local_path
from trainer import settings
from trainer.settings import Value

_DESCRIPTION = (
    "Trains a recommender on MovieLens or on your own data: from raw ratings to a validated, "
    "evaluated, blessed and pushed model."
)
_EPILOG = (
    "exit codes: 0 pushed or up to date, 1 unexpected failure, 2 wrong use or unreadable "
    "input, 3 anomalies stopped the run, 4 not blessed, 5 blessed but not pushed, since "
    "what is served is of another kind (see --replace), 130 interrupted"
)


_RENAMED_MODELS = {"tuned": "hybrid"}
"""Values of `--model` that the next release refuses, with their new names."""


_PATHS = ("data", "metadata_dir", "output_dir", "settings", "schema", "thresholds")
"""Options that are paths."""


def _model(value: str) -> str:
    """Returns the value of `--model`; prints a warning if it is an old name."""
    if value not in _RENAMED_MODELS:
        return value
    name = _RENAMED_MODELS[value]
    environment.print_to_stderr(
        [f"Warning: --model {value} is now --model {name}; use the new name."]
    )
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local_runner.py",
        usage=".venv/bin/python local_runner.py [OPTION ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "--dataset",
        choices=DATASET_CHOICES,
        metavar="NAME",
        default="auto",
        help="auto: MovieLens-100K where it can be had, else a sample (default); sample: "
        f"generated; a release of MovieLens, downloaded once: {', '.join(DATASET_CHOICES[2:])}",
    )
    add(
        "--data",
        metavar="PATH",
        help="your data: a folder or zip file, of your own tables or in a format of MovieLens",
    )
    add("--data-dir", help=argparse.SUPPRESS)  # the former name of --data
    add(
        "--data-name",
        metavar="NAME",
        help="what to call that data; models of one name and split replace each other",
    )
    add(
        "--metadata-dir",
        metavar="DIR",
        help="folder of movies_metadata.csv and credits.csv",
    )
    add("--output-dir", metavar="DIR", default="output", help="default: output")
    add(
        "--split",
        choices=SPLIT_METHODS,
        default="random",
        help="what is test: 20 %% at random (default), each user's last 20 %%, all ratings "
        "from a time on, each user's last rating",
    )
    add(
        "--split-time",
        type=int,
        metavar="SECONDS",
        help="unix time at which the test of --split timeline begins",
    )
    add(
        "--invalid-zip",
        choices=INVALID_ZIPS,
        default="keep",
        help="users whose zip code is not five digits: keep them (default) or drop them",
    )
    add(
        "--max-loss",
        type=float,
        default=DEFAULT_MAX_LOSS,
        metavar="SHARE",
        help="share of ratings, rows or values that may be lost as unreadable (default: 0.01)",
    )
    add(
        "--model",
        type=_model,
        choices=MODELS,
        default="hybrid",
        help="hybrid: this project's (default); joint, retrieval, rating: the TFRS tutorial's two "
        "towers, trained on both tasks or on one, to compare with",
    )
    add("--epochs", type=int, help="passes over the training ratings")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter, as trainer.epochs=12; help lists all; can be repeated; the last "
        "value of a name counts",
    )
    add("--settings", metavar="FILE", help="hyperparameters in a TOML file; --set goes before it")
    add("--schema", metavar="FILE", help="the schema to validate the data against")
    add("--thresholds", metavar="FILE", help="your own blessing thresholds, in a TOML file")
    add(
        "--sequence",
        action="store_true",
        help="add the sequence block to lists within a session",
    )
    add("--tune", action="store_true", help="search hyperparameters on validation first")
    add("--tune-trials", type=int, metavar="N", help="models the search trains (default: 20)")
    add(
        "--new-user-folds",
        type=int,
        default=0,
        metavar="K",
        help="measure lists of new users on K folds of users",
    )
    add("--seed", type=int, default=42, help="of the training (default: 42)")
    add(
        "--split-seed",
        type=int,
        default=42,
        metavar="SEED",
        help="of the splits (default: 42)",
    )
    add(
        "--sample-seed",
        type=int,
        default=42,
        metavar="SEED",
        help="of the sample (default: 42)",
    )
    add(
        "--sample-ratings",
        type=int,
        metavar="N",
        default=100_000,
        help="size of the sample (default: 100000)",
    )
    add("--no-cache", action="store_true", help="run every component again")
    add(
        "--reset-cache",
        action="store_true",
        help="first delete metadata.sqlite and pipeline_root",
    )
    add(
        "--replace",
        action="store_true",
        help="push even if other data or another split is served",
    )
    add("--no-push", action="store_true", help="for experiments: judge the model, push nothing")
    add("--verbose", action="store_true", help="show the libraries' logs here too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline with command line arguments; returns the exit code."""
    environment.print_to_stderr(environment.prepare())
    # A run continues after its terminal is closed; Ctrl-C and SIGTERM stop it.
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return _main(arguments)
    finally:
        environment.flush_streams()


def _rename_data_dir(options: dict[str, Any]) -> None:
    """Takes --data-dir as --data, with a warning.

    Raises:
      InputError: both are given.
    """
    former = options.pop("data_dir")
    if former is None:
        return
    if options["data"] is not None:
        raise InputError(
            "--data-dir is the former name of --data, and both are given",
            action="leave --data-dir out",
        )
    environment.print_to_stderr(["Warning: --data-dir is now --data; use the new name."])
    options["data"] = former


def _settings(assignments: Sequence[str], file: Path | None) -> tuple[tuple[str, Value], ...]:
    """Returns the hyperparameters of `--settings` and `--set` by name; the latter go first."""
    found = {**(settings.read(file) if file else {}), **settings.parse(assignments)}
    return tuple(sorted(found.items()))


def _main(arguments: Sequence[str] | None) -> int:
    try:
        options = vars(_parser().parse_args(arguments))
    except BrokenPipeError:  # as in `--help | head`
        return 128 + signal.SIGPIPE
    options["cache"] = not options.pop("no_cache")
    try:
        if "help" in options["set"]:
            print(settings.listing())
            return 0
        _rename_data_dir(options)
        for name in _PATHS:
            if options[name] is not None:
                options[name] = local_path(options[name], f"--{name.replace('_', '-')}")
        options["settings"] = _settings(options.pop("set"), options["settings"])
        config = RunConfig(**options)
        # These imports take seconds.
        from pipeline.run import run

        return run(config)
    except (PipelineError, PathError) as error:
        environment.print_to_stderr([str(error)])
        return error.exit_code
    except KeyboardInterrupt:
        environment.print_to_stderr(["Interrupted. The next run goes on from here."])
        return 130
