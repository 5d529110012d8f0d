"""Own tables: events with ids of any text, and optionally users and items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from schema.features import Owner
from sources import table_files
from sources.adapter import DatasetAdapter, InvalidZip, Part
from sources.cleaning_log import CleaningLog, LossLimits
from sources.files import Format
from sources.layout import Layout, draft, questions
from sources.spec import DatasetSpec
from sources.table_entities import entities
from sources.table_events import Scan, read_events, scan_of
from sources.table_features import with_features

if TYPE_CHECKING:
    from sources.ratings import KnownIds

NAME = "table"


class Table(DatasetAdapter):
    """Own tables of any of the forms in `sources.table_files`.

    Args:
      folder: of the files.
      layout: files, roles and features; a layout without features has them found out.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.layout = layout if layout.features else with_features(folder, layout)
        self.ratings_file = layout.interactions[0].name
        self.users_file = layout.users[0].name if layout.users else ""
        self.items_file = layout.items[0].name if layout.items else ""
        # TFX's fingerprint covers the first file; that of the options covers all.
        self.pattern = "".join(f"[{c}]" if c in "*?[" else c for c in self.ratings_file)
        formats = {
            file.name: Format(None, file.describe(), len(file.columns), ()) for file in layout.files
        }
        self.layout_text = self.layout.to_json()
        self.repeats = layout.description.repeats
        spec = DatasetSpec(
            NAME, "own tables", self.layout.table, item_noun=layout.description.item_noun
        )
        super().__init__(folder, spec, formats, self.layout.ignored)

    def scan(self) -> Scan:
        """Returns what one reading of all events finds; see `scan_of`."""
        return scan_of(self.folder, self.layout)

    def check(self) -> None:
        """Looks at the files again; see `table_files.look`."""
        for file in self.layout.files:
            table_files.look(self.folder, file.name)

    def roles(self) -> list[str]:
        """Returns the columns of ids, ratings and times, and those of the features."""
        keys = {"users": self.layout.user_key, "items": self.layout.item_key}
        return [
            "Columns: " + ", ".join(f"{name} ({role})" for role, name in self.layout.roles.items()),
            *(["Ratings have decimal commas: 4,5 is 4.5"] if self.layout.decimal_comma else []),
            *(f"Ids of {table}: {key}" for table, key in keys.items() if key),
            *(f"  {column} is {name}" for name, column in self.layout.columns.items()),
        ]

    def questions(self) -> list[str]:
        """Returns which roles could be of several columns, and types of events without weights."""
        return questions(self.layout)

    def draft(self) -> str:
        """Returns a `data.toml` that says what was understood."""
        return draft(self.layout)

    def parts(self, chunk_bytes: int) -> list[Part]:
        """Returns the parts of all files of events."""
        return [
            part
            for file in self.layout.interactions
            for part in table_files.parts(self.folder, file, chunk_bytes)
        ]

    def interactions(
        self, part: Part, users: KnownIds, items: KnownIds, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the events of a part; whoever and whatever has an event is known."""
        return read_events(self.folder, self.layout, part)

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everybody who is listed or has an event; what is not known of them is missing."""
        return entities(self.folder, self.layout, self.spec.features, Owner.USER, limits)

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everything that is listed or has an event; one without a title has its id."""
        return entities(self.folder, self.layout, self.spec.features, Owner.MOVIE, limits)
