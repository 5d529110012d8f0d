"""Names of the data sets, and the environment variable that names a folder of data."""

from __future__ import annotations

from typing import Final, Literal

ML_100K: Final = "ml-100k"
SAMPLE: Final = "sample"
CUSTOM: Final = "custom"
AUTO: Final = "auto"

DatasetName = Literal["ml-100k", "sample", "custom"]
DatasetChoice = Literal["auto", "ml-100k", "sample"]
DATASET_CHOICES: tuple[DatasetChoice, ...] = (AUTO, ML_100K, SAMPLE)
"""The values of `--dataset`."""

DATA_VARIABLE: Final = "MOVIELENS_DIR"
"""Environment variable: folder of raw files, where no option names one."""
