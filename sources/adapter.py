"""What the pipeline needs of a data set, whatever its format: `DatasetAdapter`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from schema import features
from sources import files
from sources.cleaning_log import CleaningLog, LossLimits
from sources.description import Description, Repeats
from sources.files import Format
from sources.spec import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sources.ratings import KnownIds


InvalidZip = Literal["keep", "drop"]
"""What becomes of users whose zip code is not five digits."""


class Part(NamedTuple):
    """A piece of a file of interactions that can be read on its own.

    Attributes:
      file: the name of the file.
      start: its first byte, or row of Parquet.
      end: the byte or row after it.
      unit: about how many bytes of ratings one step from start to end is.
    """

    file: str
    start: int
    end: int
    unit: int = 1


class DatasetAdapter:
    """Reads one format: users, items and batches of interactions.

    Users and items are of each format; interactions are those of MovieLens's formats, rows of four
    numbers in one file, where a format has no others.

    Args:
      folder: the folder of the files.
      spec: name, terms, scale and features of the data.
      formats: how each file that is read looks, by its name; their content is the fingerprint.
      ignored: the files of the folder that the format has and the pipeline does not read, with why.
    """

    ratings_file: str
    """The name of the file of interactions."""
    users_file: str
    """The name of the file of users; empty where there is none."""
    items_file: str
    """The name of the file of items."""
    pattern: str
    """Matches the files that are read, for TFX's own fingerprint of them."""
    layout_text: str = ""
    """Of own tables: files, roles and features as JSON (`sources.layout.Layout`)."""
    repeats: Repeats = "latest"
    """What becomes of several events of one user and item."""

    @property
    def interactions_name(self) -> str:
        """What the files of interactions are called together, for what concerns them all."""
        return self.ratings_file

    def __init__(
        self,
        folder: Path,
        spec: DatasetSpec,
        formats: Mapping[str, Format],
        ignored: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.formats = formats
        self.ignored = ignored

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog] | None:
        """Returns the users, ascending by id, with a column for each of their features.

        None where no file lists them: then everybody who rated is a user.
        """
        raise NotImplementedError

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the items, ascending by id, with the columns of their features in the files."""
        raise NotImplementedError

    def check(self) -> None:
        """Looks at the files before a run; see `files.check_files`.

        Raises:
          InputError: a file is missing or does not look as it should.
        """
        files.check_files(self.folder, self.formats)

    def followed(self, own: Description) -> None:
        """Takes the description that the layout was made by, with the file that it is in."""

    def roles(self) -> list[str]:
        """Returns which column plays which role, in words, where that was found out."""
        return []

    def odd(self) -> list[str]:
        """Returns what is not read though it looks as if it were meant, in words."""
        return []

    def questions(self) -> list[str]:
        """Returns what can be understood in several ways, in words."""
        return []

    def draft(self) -> str:
        """Returns a `data.toml` that says what was understood; of own tables alone."""
        raise NotImplementedError

    def tmdb_ids(self, limits: LossLimits) -> Mapping[int, int]:
        """Returns the ids of The Movie Database by item id, as far as the format has them."""
        return {}

    def parts(self, chunk_bytes: int) -> list[Part]:
        """Returns the pieces that cover the interactions once, of about `chunk_bytes`."""
        from sources.ratings import chunk_ranges

        ranges = chunk_ranges(self.folder / self.ratings_file, chunk_bytes)
        return [Part(self.ratings_file, start, end) for start, end in ranges]

    def interactions(
        self, part: Part, users: KnownIds, items: KnownIds, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the interactions of a part as `sources.interactions.INTERACTIONS`, cleaned."""
        from sources.interactions import batch_of
        from sources.ratings import read_ratings_chunk

        chunk, found = read_ratings_chunk(
            self.folder / part.file,
            part.start,
            part.end,
            users,
            items,
            limits,
            form=self.formats[part.file],
            scale=self.spec.scale or features.MOVIELENS.scale,
            positions=self.spec.file_order_is_time,
        )
        return batch_of(chunk), found
