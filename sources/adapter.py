"""What the pipeline needs of a data set, whatever its format: `DatasetAdapter`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from schema import features
from sources import files
from sources.cleaning_log import CleaningLog, LossLimits
from sources.description import Repeats
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


class DatasetAdapter(Protocol):
    """Reads one format: users, items and batches of interactions."""

    @property
    def spec(self) -> DatasetSpec:
        """Name, terms, scale and features of the data."""

    @property
    def folder(self) -> Path:
        """The folder of the files."""

    @property
    def formats(self) -> Mapping[str, Format]:
        """How each file that is read looks, by its name; their content is the fingerprint."""

    @property
    def ratings_file(self) -> str:
        """The name of the file of interactions."""

    @property
    def users_file(self) -> str:
        """The name of the file of users; empty where there is none."""

    @property
    def items_file(self) -> str:
        """The name of the file of items."""

    @property
    def ignored(self) -> Mapping[str, str]:
        """The files of the folder that the format has and the pipeline does not read, with why."""

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog] | None:
        """Returns the users, ascending by id, with a column for each of their features.

        None where no file lists them: then everybody who rated is a user.
        """

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the items, ascending by id, with the columns of their features in the files."""

    def tmdb_ids(self, limits: LossLimits) -> Mapping[int, int]:
        """Returns the ids of The Movie Database by item id, as far as they are known."""

    def parts(self, chunk_bytes: int) -> list[Part]:
        """Returns the pieces that cover the interactions once, of about `chunk_bytes`."""

    def interactions(
        self, part: Part, users: KnownIds, items: KnownIds, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the interactions of a part as `sources.interactions.INTERACTIONS`, cleaned."""


class MovieLensFiles:
    """The part that the adapters of MovieLens's formats share: one file of ratings, in chunks.

    Args:
      folder: the folder of the files.
      spec: name, terms, scale and features.
      formats: how each file that is read looks, by its name.
      ignored: files that are not read, with why.
    """

    ratings_file: str
    users_file: str
    items_file: str
    pattern: str
    """Matches the files that are read, for TFX's own fingerprint of them."""
    layout_text: str = ""
    """Of own tables: files, roles and features as JSON (`sources.layout.Layout`)."""
    repeats: Repeats = "latest"
    """What becomes of several events of one user and item."""

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
        """Returns the users; see `DatasetAdapter.users`."""
        raise NotImplementedError

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the items; see `DatasetAdapter.items`."""
        raise NotImplementedError

    def check(self) -> None:
        """Looks at the files before a run; see `files.check_files`.

        Raises:
          InputError: a file is missing or does not look as it should.
        """
        files.check_files(self.folder, self.formats)

    def roles(self) -> list[str]:
        """Returns which column plays which role, in words, where that was found out."""
        return []

    def questions(self) -> list[str]:
        """Returns what can be understood in several ways, in words."""
        return []

    def draft(self) -> str:
        """Returns a `data.toml` that says what was understood; of own tables alone."""
        raise NotImplementedError

    def tmdb_ids(self, limits: LossLimits) -> Mapping[int, int]:
        """Returns no ids of The Movie Database: the format has none."""
        return {}

    def parts(self, chunk_bytes: int) -> list[Part]:
        """Returns ranges of bytes of the file of ratings that cover it once."""
        from sources.ratings import chunk_ranges

        ranges = chunk_ranges(self.folder / self.ratings_file, chunk_bytes)
        return [Part(self.ratings_file, start, end) for start, end in ranges]

    def interactions(
        self, part: Part, users: KnownIds, items: KnownIds, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the ratings whose rows start in a range of bytes; see `read_ratings_chunk`."""
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
