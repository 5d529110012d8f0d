"""The configuration of a run: typed, frozen, validated once, passed down."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from components.errors import InputError

Dataset = Literal["auto", "ml-100k", "sample"]
Split = Literal["random", "temporal"]
InvalidZip = Literal["keep", "drop"]
Model = Literal["tuned", "joint", "retrieval", "rating"]

DATASETS: tuple[Dataset, ...] = ("auto", "ml-100k", "sample")
SPLITS: tuple[Split, ...] = ("random", "temporal")
MODELS: tuple[Model, ...] = ("tuned", "joint", "retrieval", "rating")
INVALID_ZIPS: tuple[InvalidZip, ...] = ("keep", "drop")

PIPELINE_NAME = "movielens"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What a person asked for.

    Attributes:
      dataset: where the data comes from.
      data_dir: folder of raw files, if named.
      metadata_dir: folder of The Movies Dataset, if named.
      output_dir: everything a run makes lies under it.
      split: protocol that assigns ratings to train, validation and test.
      invalid_zip: keep or drop users whose zip code is not five digits.
      model: ours ("tuned"), or a tutorial-style one to compare with.
      epochs: passes over the training ratings; None for the model's default.
      tune: search hyperparameters on validation before the model is trained.
      tune_trials: how many models the search trains; None for its default.
      seed: seed of the splits, the sample and the training.
      sample_ratings: size of the generated sample.
      cache: reuse results of components whose inputs have not changed.
      verbose: show the libraries' logs on the terminal as well.
    """

    dataset: Dataset = "auto"
    data_dir: Path | None = None
    metadata_dir: Path | None = None
    output_dir: Path = Path("output")
    split: Split = "random"
    invalid_zip: InvalidZip = "keep"
    model: Model = "tuned"
    epochs: int | None = None
    tune: bool = False
    tune_trials: int | None = None
    seed: int = 42
    sample_ratings: int = 100_000
    cache: bool = True
    verbose: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("--epochs", self.epochs, 1),
            ("--tune-trials", self.tune_trials, 1),
            ("--seed", self.seed, 0),
            ("--sample-ratings", self.sample_ratings, 1000),
        ):
            if value is not None and value < least:
                raise InputError(
                    f"{name} is out of range",
                    expected=f"a whole number from {least} on",
                    found=str(value),
                )
        if self.tune_trials is not None and not self.tune:
            raise InputError(
                "--tune-trials is given, but nothing is searched",
                expected="--tune with it",
                found=f"--tune-trials {self.tune_trials} alone",
                action="add --tune, or leave --tune-trials out",
            )
        if self.tune and self.model != "tuned":
            raise InputError(
                "--tune searches the values of our model only",
                expected="--model tuned",
                found=f"--model {self.model}",
                action="leave out --tune or --model",
            )

    @property
    def paths(self) -> OutputPaths:
        """Where everything of this run lies."""
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
        return self.root / "pipeline_root"

    @property
    def metadata(self) -> Path:
        """The ML Metadata store."""
        return self.root / "metadata.sqlite"

    @property
    def serving_model(self) -> Path:
        """Pushed versions, as TensorFlow Serving wants them."""
        return self.root / "serving_model"

    @property
    def summary(self) -> Path:
        """The summary for machines."""
        return self.root / "summary.json"

    @property
    def anomalies(self) -> Path:
        """What the gate found, also where it stopped the run."""
        return self.root / "anomalies.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report" / "index.html"

    @property
    def log(self) -> Path:
        """Everything the libraries say."""
        return self.root / "run.log"

    @property
    def lock(self) -> Path:
        """Held while a run writes here."""
        return self.root / ".lock"
