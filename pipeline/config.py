"""The options of a run, validated, and the layout of its output directory."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Literal

from components.names import (
    ANOMALIES_FILE,
    LOG_FILE,
    METADATA_FILE,
    PIPELINE_ROOT,
    REPORT_FILE,
    SCHEMA_FILE,
    SERVING_FOLDER,
    SUMMARY_FILE,
    THRESHOLDS_FILE,
    SplitMethod,
)
from sources.cleaning_log import DEFAULT_MAX_LOSS, LossLimits
from sources.errors import InputError
from sources.names import AUTO, DATA_VARIABLE, ML_100K, NO_OWN_DATA, SAMPLE
from storage.paths import local_path
from trainer.config import TrainerConfig
from trainer.settings import EPOCHS, GROUPS, Value, applied

InvalidZip = Literal["keep", "drop"]
Model = Literal["hybrid", "joint", "retrieval", "rating"]

MODELS: tuple[Model, ...] = ("hybrid", "joint", "retrieval", "rating")
INVALID_ZIPS: tuple[InvalidZip, ...] = ("keep", "drop")

_DATA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TAKEN_NAMES = (ML_100K, SAMPLE)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The options of a run.

    Attributes:
      dataset: where the data comes from.
      data: folder, zip file or file of a data set, if given.
      metadata_dir: folder of The Movies Dataset, if given.
      output_dir: folder of everything that a run writes.
      data_name: name of the user's own data; None: the recorded name, or one made from the
        folder's path.
      split: split method: which ratings are train, validation and test.
      split_time: when the test split of a timeline begins, unix seconds; None: as for the served
        model, else after 80 % of the ratings.
      invalid_zip: keep or drop users whose zip code is not five digits.
      max_loss: share (0 to 1) of ratings, rows and values that cleaning may drop as unreadable.
      model: the hybrid model, or one of the TFRS tutorial to compare with.
      epochs: passes over the training ratings; None for the model's default.
      settings: hyperparameters that are not the shipped ones, by name (`trainer.settings`).
      schema: the curated schema; None: the committed one of MovieLens-100K, else that of the
        output folder, which is made on the first run.
      thresholds: file of the user's own blessing thresholds; None: that of the output folder, if
        there is one.
      sequence: add the sequence block to the hybrid model.
      tune: search hyperparameters on validation before training.
      tune_trials: number of models that the search trains; None for its default.
      new_user_folds: folds of users that are held out to measure the lists of new users; 0: none.
      seed: seed of the training.
      split_seed: seed of the splits.
      sample_seed: seed of the generated sample.
      sample_ratings: size of the generated sample.
      cache: reuse results of components whose inputs have not changed.
      reset_cache: delete the metadata store and the artifacts in it first.
      replace: push even if a model of another kind is served.
      no_push: push nothing.
      verbose: show the libraries' logs on the terminal as well.
    """

    dataset: str = AUTO
    data: Path | None = None
    data_name: str | None = None
    metadata_dir: Path | None = None
    output_dir: Path = Path("output")
    split: SplitMethod = "random"
    split_time: int | None = None
    invalid_zip: InvalidZip = "keep"
    max_loss: float = DEFAULT_MAX_LOSS
    model: Model = "hybrid"
    epochs: int | None = None
    settings: tuple[tuple[str, Value], ...] = ()
    schema: Path | None = None
    thresholds: Path | None = None
    sequence: bool = False
    tune: bool = False
    tune_trials: int | None = None
    new_user_folds: int = 0
    seed: int = 42
    split_seed: int = 42
    sample_seed: int = 42
    sample_ratings: int = 100_000
    cache: bool = True
    reset_cache: bool = False
    replace: bool = False
    no_push: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("--epochs", self.epochs, 1),
            ("--tune-trials", self.tune_trials, 1),
            ("--seed", self.seed, 0),
            ("--split-seed", self.split_seed, 0),
            ("--sample-seed", self.sample_seed, 0),
            ("--split-time", self.split_time, 1),
            ("--sample-ratings", self.sample_ratings, 1000),
        ):
            if value is not None and value < least:
                raise InputError(
                    f"{name} is out of range",
                    expected=f"a whole number from {least} on",
                    found=str(value),
                )
        if self.new_user_folds < 0 or self.new_user_folds == 1:
            raise InputError(
                "--new-user-folds is out of range",
                expected="2 or more folds of users, one of which is held out at a time; or 0, the "
                "default, which measures no new users",
                found=str(self.new_user_folds),
                action="choose for example 5, or leave --new-user-folds out",
            )
        LossLimits.of(self.max_loss)
        if self.split_time is not None and self.split != "timeline":
            raise InputError(
                "--split-time is given, but nothing is split by it",
                expected="--split timeline with it",
                found=f"--split {self.split}",
                action="add --split timeline, or leave --split-time out",
            )
        if self.tune_trials is not None and not self.tune:
            raise InputError(
                "--tune-trials is given, but nothing is searched",
                expected="--tune with it",
                found=f"--tune-trials {self.tune_trials} alone",
                action="add --tune, or leave --tune-trials out",
            )
        for option, is_given, does in (
            ("--tune", self.tune, "searches hyperparameters of"),
            ("--sequence", self.sequence, "adds a part to"),
            ("--new-user-folds", self.new_user_folds, "measures"),
        ):
            if is_given and self.model != "hybrid":
                raise InputError(
                    f"{option} {does} the hybrid model only",
                    expected="--model hybrid",
                    found=f"--model {self.model}",
                    action=f"leave out {option} or --model",
                )
        if self.replace and self.no_push:
            raise InputError(
                "--replace and --no-push contradict each other", action="leave one of them out"
            )
        self._check_data_name()
        self._check_settings()
        for option, path in (
            ("--data", self.data),
            ("--metadata-dir", self.metadata_dir),
            ("--schema", self.schema),
            ("--thresholds", self.thresholds),
            ("--output-dir", self.output_dir),
        ):
            if path is not None:
                local_path(path, option)

    def _check_data_name(self) -> None:
        if self.data_name is None:
            return
        if not _DATA_NAME.fullmatch(self.data_name) or self.data_name in _TAKEN_NAMES:
            raise InputError(
                "--data-name cannot be used",
                expected="up to 63 letters, digits, '.', '_' and '-', the first a letter or digit; "
                f"not {' or '.join(_TAKEN_NAMES)}",
                found=repr(self.data_name),
            )
        if self.given_data is None:
            raise InputError(
                "--data-name names data of your own, but no data is given",
                expected=f"--data, or ${DATA_VARIABLE} in the environment",
                found=f"--dataset {self.dataset}" if self.dataset in NO_OWN_DATA else "neither",
                action="give the data's folder, or leave --data-name out",
            )

    def _check_settings(self) -> None:
        names = [name for name, _ in self.settings]
        if self.epochs is not None and EPOCHS in names:
            raise InputError(
                f"--epochs and {EPOCHS} set the same",
                found=f"--epochs {self.epochs}, {EPOCHS}={dict(self.settings)[EPOCHS]}",
                action="leave one of them out",
            )
        if not self.sequence and (given := [one for one in names if one.startswith("sequence.")]):
            raise InputError(
                f"{given[0]} changes nothing without --sequence",
                action="add --sequence, or leave it out",
            )
        if self.sequence and dict(self.settings).get("model.recency_seconds") == ():
            raise InputError(
                "--sequence adds a part to lists within a session, but model.recency_seconds=none "
                "switches sessions off",
                action="leave out --sequence or the setting",
            )
        ours = ("model", "long_term", "bpmf", "sequence")
        unused = ("tutorial",) if self.model == "hybrid" else ours
        used = [group for group in GROUPS if group not in unused]
        idle = [name for name in names if name.partition(".")[0] in unused]
        if idle:
            raise InputError(
                f"{idle[0]} changes nothing with --model {self.model}",
                expected=f"settings of {', '.join(used)}",
                action="leave it out, or choose another --model",
            )
        applied(TrainerConfig(), dict(self.settings))

    @property
    def given_data(self) -> Path | None:
        """The data as the user gave it; None if they gave none."""
        if self.dataset in NO_OWN_DATA:
            return None
        if self.data is not None:
            return self.data
        value = os.environ.get(DATA_VARIABLE)
        return Path(value) if value else None

    @property
    def paths(self) -> OutputPaths:
        """The paths of the output directory."""
        return OutputPaths(self.output_dir.resolve())


@dataclasses.dataclass(frozen=True)
class OutputPaths:
    """The layout of an output directory.

    Attributes:
      root: the output directory, absolute.
    """

    root: Path

    @property
    def pipeline_root(self) -> Path:
        """Artifacts of all components."""
        return self.root / PIPELINE_ROOT

    @property
    def metadata(self) -> Path:
        """The ML Metadata store."""
        return self.root / METADATA_FILE

    @property
    def serving_model(self) -> Path:
        """Pushed versions, in TensorFlow Serving's layout."""
        return self.root / SERVING_FOLDER

    @property
    def summary(self) -> Path:
        """The summary as JSON."""
        return self.root / SUMMARY_FILE

    @property
    def anomalies(self) -> Path:
        """The anomalies that the gate found, also if it stopped the run."""
        return self.root / ANOMALIES_FILE

    @property
    def schema(self) -> Path:
        """The curated schema of data that is not MovieLens-100K; for people to edit."""
        return self.root / SCHEMA_FILE

    @property
    def thresholds(self) -> Path:
        """The user's own blessing thresholds, if they have put some there."""
        return self.root / THRESHOLDS_FILE

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.root / REPORT_FILE

    @property
    def log(self) -> Path:
        """The libraries' output."""
        return self.root / LOG_FILE

    @property
    def marker(self) -> Path:
        """File that marks the directory as an output directory."""
        return self.root / ".movielens-output.json"

    @property
    def lock(self) -> Path:
        """Held while a run writes here."""
        return self.root / ".lock"
