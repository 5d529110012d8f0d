"""Names of the data sets, and the environment variable that names a folder of data."""

from __future__ import annotations

from typing import Final, Literal, get_args

ML_100K: Final = "ml-100k"
SAMPLE: Final = "sample"
CUSTOM: Final = "custom"
AUTO: Final = "auto"

OtherRelease = Literal[
    "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small"
]
"""Releases of MovieLens beside MovieLens-100K."""

DatasetName = Literal["ml-100k", "sample", "custom"] | OtherRelease
"""Names of what a run is made from; "custom" is data of the user's own."""

OTHER_RELEASES: tuple[OtherRelease, ...] = get_args(OtherRelease)
"""The releases that are downloaded by name, and by name only."""

DATASET_CHOICES: tuple[str, ...] = (AUTO, SAMPLE, ML_100K, *OTHER_RELEASES)
"""The values of `--dataset`."""

NO_OWN_DATA: tuple[str, ...] = (SAMPLE, *OTHER_RELEASES)
"""Those with which no data of the user's own is read."""

DATA_VARIABLE: Final = "MOVIELENS_DIR"
"""Environment variable: folder of raw files, where no option names one."""
