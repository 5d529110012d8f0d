"""Own tables: events with ids of any text, and optionally users and items."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from schema.features import Kind, Owner
from sources import cleaning_log, files, table_files, wrangling
from sources.adapter import DatasetAdapter, InvalidZip, Part
from sources.cleaning_log import CleaningLog, LossLimits, RowExample
from sources.description import Description
from sources.files import Format
from sources.interactions import id_keys
from sources.layout import Layout, draft, odd, offer, questions
from sources.spec import DatasetSpec
from sources.table_entities import entities
from sources.table_events import Scan, odd_times, read_events, scan_of
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

    @property
    def interactions_name(self) -> str:
        """The file; of several their folder, or the beginning of their names."""
        names = [file.name for file in self.layout.interactions]
        if len(names) == 1:
            return names[0]
        folder, slash, _ = (common := os.path.commonprefix(names)).rpartition("/")
        return folder + slash if slash else f"{common.rstrip('0123456789')}*"

    def scan(self) -> Scan:
        """Returns what one reading of all events finds; see `scan_of`."""
        return scan_of(self.folder, self.layout)

    def check(self) -> None:
        """Looks at the files again; see `table_files.look`."""
        for file in self.layout.files:
            table_files.look(self.folder, file.name)

    def followed(self, own: Description) -> None:
        """Takes the description that the layout was made by, with the file that it is in."""
        self.layout = dataclasses.replace(self.layout, description=own)

    def roles(self) -> list[str]:
        """Returns the columns of ids, ratings and times, and those of the features."""
        keys = {"users": self.layout.user_key, "items": self.layout.item_key}
        return [
            "Columns: " + ", ".join(f"{name} ({role})" for role, name in self.layout.roles.items()),
            *(["Ratings have decimal commas: 4,5 is 4.5"] if self.layout.decimal_comma else []),
            *(["Times are dates such as 20240203"] if self.layout.compact_dates else []),
            *(f"Ids of {table}: {key}" for table, key in keys.items() if key),
            *(f"  {column} is {name}" for name, column in self.layout.columns.items()),
            *self._effect(),
            *self._offers(),
        ]

    def _effect(self) -> list[str]:
        """Returns where the context of events counts for less than data of ratings and times."""
        table = self.layout.table
        if not table.context or table.has_time:
            return []
        if table.has_rating:
            return [
                "Context features move predicted ratings alone, as there are no times, and no "
                "metric measures that"
            ]
        return ["Context features change nothing, as there are neither ratings nor times"]

    def _offers(self) -> list[str]:
        """Returns the lines of `data.toml` that make context features of unused columns."""
        lines = offer(self.layout)
        if not lines:
            return []
        path = self.layout.description.path
        where = "to [context] in" if self.layout.description.has_context else "to"
        table = self.layout.table
        moved = ["predicted ratings"] * table.has_rating
        moved += ["lists within a session"] * table.has_time
        does = " and ".join(moved) or "nothing, as there are neither ratings nor times"
        start = (
            f"Not used as a context feature, which moves {does}. Known before the user chooses? "
            f"Then add {where} {path}, without #:"
        )
        return [start, *(f"  {line}" for line in lines)]

    def odd(self) -> list[str]:
        """Returns what is beside the events and not read, and times that can hardly be meant."""
        return [*odd(self.layout), *odd_times(self.scan(), self.layout)]

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
        self, part: Part, users: KnownIds | None, items: KnownIds | None, limits: LossLimits
    ) -> tuple[pa.RecordBatch, CleaningLog]:
        """Returns the events of a part but those of users who were dropped.

        Whoever and whatever has an event is known.
        """
        batch, found = read_events(self.folder, self.layout, part)
        if users is not None and users.dropped:
            gone = np.isin(id_keys(batch.column("user_id")), list(users.dropped))
            found.drop(part.file, cleaning_log.INVALID_ZIP, int(gone.sum()))
            batch = batch.filter(pa.array(~gone))
        return batch, found

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everybody who is listed or has an event; what is not known of them is missing."""
        table = self.spec.features
        users, found = entities(self.folder, self.layout, table, Owner.USER, limits)
        zip_code = next(iter(table.of_kind(Kind.ZIP_CODE)), None)
        if invalid_zip == "keep" or zip_code is None:
            return users, found
        valid = np.array([wrangling.is_valid_zip(one) for one in users[zip_code.name]], np.bool_)
        gone = users[~valid]
        examples = [
            RowExample(None, "a zip code of five digits", files.shorten(one))
            for one in gone[zip_code.name][: cleaning_log.MAX_EXAMPLES]
        ]
        if self.users_file:
            # Whoever is not listed is no row of the file.
            unlisted = found.file(self.users_file).repaired.get(cleaning_log.UNLISTED, 0)
            count = len(gone) - unlisted
            found.drop(self.users_file, cleaning_log.INVALID_ZIP, count, examples)
        keys = id_keys(pa.array(list(gone[table.user_id.name]), pa.string()))
        reasons = dict.fromkeys(keys.tolist(), cleaning_log.INVALID_ZIP)
        found.dropped_ids.setdefault(self.users_file, {}).update(reasons)
        found.check(limits)
        return users[valid].reset_index(drop=True), found

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns everything that is listed or has an event; one without a title has its id."""
        return entities(self.folder, self.layout, self.spec.features, Owner.MOVIE, limits)
