"""MovieLens-100K's formats, and the generated sample, which is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schema.features import MOVIELENS
from sources import files
from sources.adapter import DatasetAdapter, InvalidZip
from sources.cleaning_log import CleaningLog, LossLimits
from sources.spec import MOVIELENS_CITATION, DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

SPEC = DatasetSpec(
    name="ml-100k",
    title="MovieLens-100K",
    features=MOVIELENS,
    licence="research use; no redistribution and no commercial use without permission of GroupLens",
    citation=MOVIELENS_CITATION,
)


class MovieLens100K(DatasetAdapter):
    """`u.data`, `u.user`, `u.item`, `u.genre` and `u.occupation`."""

    ratings_file, users_file, items_file = files.RATINGS, files.USERS, files.MOVIES
    pattern = "u.*"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SPEC, files.FORMATS)

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog] | None:
        """Returns the users; see `tables.read_users`."""
        from sources import tables

        return tables.read_users(self.folder, invalid_zip, limits)

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the movies; see `tables.read_movies`."""
        from sources import tables

        return tables.read_movies(self.folder, limits)
