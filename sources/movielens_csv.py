"""MovieLens as CSV: latest-small, latest, 20M, 25M and 32M."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schema import features as raw
from schema.features import FeatureTable
from sources import files, wrangling
from sources.adapter import DatasetAdapter, InvalidZip
from sources.cleaning_log import CleaningLog, LossLimits
from sources.files import Format
from sources.movielens_dat import movie_of
from sources.records import Line, parse_id, read_records
from sources.spec import MOVIELENS_CITATION, DatasetSpec
from sources.text import decode_row

if TYPE_CHECKING:
    import pandas as pd

RATINGS, MOVIES, LINKS, TAGS = "ratings.csv", "movies.csv", "links.csv", "tags.csv"


def _csv(*names: str, numeric: tuple[int, ...]) -> Format:
    description = f"{', '.join(names)}, separated by commas, under a header"
    return Format(b",", description, len(names), numeric, header=names, quoted=True)


FORMATS = {
    RATINGS: _csv("userId", "movieId", "rating", "timestamp", numeric=(0, 1, 2, 3)),
    MOVIES: _csv("movieId", "title", "genres", numeric=(0,)),
    LINKS: _csv("movieId", "imdbId", "tmdbId", numeric=(0, 1, 2)),
}

SPEC = DatasetSpec(
    name="ml-csv",
    title="MovieLens as CSV",
    features=FeatureTable(
        (
            raw.USER_ID,
            raw.MOVIE_ID,
            raw.HALF_STARS,
            raw.TIMESTAMP,
            raw.TITLE,
            raw.GENRES,
            raw.RELEASE_YEAR,
            raw.DIRECTOR,
            raw.STAR,
        )
    ),
    licence="research use; no commercial use without permission of GroupLens (see its README)",
    citation=MOVIELENS_CITATION,
)


_ROWS_LOOKED_AT = 10


def is_movielens(folder: Path) -> bool:
    """Returns whether a folder has MovieLens's `ratings.csv` and `movies.csv`, by their content.

    With own ids or other columns, or without such a `movies.csv`, they are own tables.

    Raises:
      InputError: one of them cannot be read.
    """
    if not all((folder / name).exists() for name in (RATINGS, MOVIES)):
        return False
    heads = {name: files.head_lines(folder / name) for name in (RATINGS, MOVIES)}
    texts = {name: [decode_row(line)[0] for line in lines] for name, lines in heads.items()}
    if not FORMATS[RATINGS].is_header(texts[RATINGS][0]):
        return False
    if any(texts[MOVIES]) and not FORMATS[MOVIES].is_header(texts[MOVIES][0]):
        return False
    rows = [line.split(",") for line in texts[RATINGS][1 : _ROWS_LOOKED_AT + 1] if line]
    whole = [all(map(_is_whole, row[:2])) for row in rows]
    return 2 * sum(whole) >= len(whole)


def _is_whole(text: str) -> bool:
    return wrangling.parse_whole_number(wrangling.clean_token(text)) is not None


class Link(NamedTuple):
    """One row of `links.csv`."""

    id: int
    tmdb_id: int | None


class MovieLensCsv(DatasetAdapter):
    """`ratings.csv`, `movies.csv` and, where it is there, `links.csv`."""

    ratings_file, users_file, items_file = RATINGS, "", MOVIES
    pattern = "*.csv"

    def __init__(self, folder: Path) -> None:
        here = {name: form for name, form in FORMATS.items() if name != LINKS}
        if (folder / LINKS).exists():
            here[LINKS] = FORMATS[LINKS]
        ignored = {path.name: "the tag genome is not used" for path in folder.glob("genome-*.csv")}
        if (folder / TAGS).exists():
            ignored[TAGS] = "tags are not used: on validation they gained nothing"
        super().__init__(folder, SPEC, here, ignored)

    def users(self, limits: LossLimits, invalid_zip: InvalidZip) -> None:
        """Returns None: no file says anything of a user."""

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the movies; the year is that in the title, where it has one."""
        from sources.tables import movies_frame

        found = CleaningLog()
        rows = read_records(self.folder / MOVIES, FORMATS[MOVIES], "movie", movie_of, found, limits)
        links = self._links(found, limits)
        if LINKS in found.files and not found.files[LINKS].rows:
            del found.files[LINKS]  # a header alone: the file is optional
        found.miss(LINKS, "tmdbId", sum(link.tmdb_id is None for link in links))
        found.check(limits)
        return movies_frame([movie for _, movie in rows]), found

    def tmdb_ids(self, limits: LossLimits) -> Mapping[int, int]:
        """Returns the ids of `links.csv` that are there."""
        links = self._links(CleaningLog(), limits)
        return {link.id: link.tmdb_id for link in links if link.tmdb_id is not None}

    def _links(self, found: CleaningLog, limits: LossLimits) -> list[Link]:
        if LINKS not in self.formats:
            return []
        path = self.folder / LINKS
        return [row for _, row in read_records(path, FORMATS[LINKS], "movie", _link, found, limits)]


def _link(line: Line) -> Link:
    tmdb_id = line.clean_number(2)
    return Link(
        parse_id(line.clean_number(0), "movie id"),
        None if wrangling.is_missing(tmdb_id) else parse_id(tmdb_id, "tmdbId"),
    )
