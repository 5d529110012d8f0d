"""MovieLens-1M and MovieLens-10M: columns between '::', Latin-1 or UTF-8, no header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from schema import features as raw
from schema.features import FeatureTable
from sources import cleaning_log, files, wrangling
from sources.adapter import DatasetAdapter, InvalidZip
from sources.cleaning_log import BadRow, CleaningLog, LossLimits
from sources.files import Format
from sources.records import Line, parse_id, read_records
from sources.spec import MOVIELENS_CITATION, DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

    from sources.tables import Movie, User

RATINGS, USERS, MOVIES, TAGS = "ratings.dat", "users.dat", "movies.dat", "tags.dat"

_SEPARATED = "separated by '::'"
FORMATS = {
    RATINGS: Format(b"::", f"user id, movie id, rating, time, {_SEPARATED}", 4, (0, 1, 2, 3)),
    USERS: Format(b"::", f"user id, gender, age, occupation, zip code, {_SEPARATED}", 5, (0, 2, 3)),
    MOVIES: Format(b"::", f"movie id, title, genres with '|' between them, {_SEPARATED}", 3, (0,)),
}

OCCUPATIONS: tuple[str, ...] = (
    "other/not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
"""The text of each occupation's code (README of MovieLens-1M)."""

_MOVIE_FEATURES = (raw.TITLE, raw.GENRES, raw.RELEASE_YEAR, raw.DIRECTOR, raw.STAR)
_USER_FEATURES = (raw.GENDER, raw.AGE, raw.AGE_BUCKET, raw.OCCUPATION, raw.ZIP_CODE)
_EVENT = (raw.USER_ID, raw.MOVIE_ID, raw.RATING, raw.TIMESTAMP)

ML_1M = DatasetSpec(
    name="ml-1m",
    title="MovieLens-1M",
    # Each user's ratings stand in the order in which they were given.
    features=FeatureTable((*_EVENT, raw.POSITION, *_USER_FEATURES, *_MOVIE_FEATURES)),
    licence="research use; no redistribution and no commercial use without permission of GroupLens",
    citation=MOVIELENS_CITATION,
)
ML_10M = DatasetSpec(
    name="ml-10m",
    title="MovieLens-10M",
    features=FeatureTable((*_EVENT[:2], raw.HALF_STARS, _EVENT[3], *_MOVIE_FEATURES)),
    licence="research use; no redistribution and no commercial use without permission of GroupLens",
    citation=MOVIELENS_CITATION,
)

_ZIP_PLUS_4 = re.compile(r"(\d{5})-\d{4}", re.ASCII)


class MovieLensDat(DatasetAdapter):
    """`ratings.dat` and `movies.dat`, with `users.dat` (1M) or without (10M)."""

    ratings_file, users_file, items_file = RATINGS, USERS, MOVIES
    pattern = "*.dat"

    def __init__(self, folder: Path) -> None:
        has_users = (folder / USERS).exists()
        formats = {name: form for name, form in FORMATS.items() if name != USERS or has_users}
        why = "tags are not used: on validation they gained nothing"
        ignored = {TAGS: why} if (folder / TAGS).exists() else {}
        super().__init__(folder, ML_1M if has_users else ML_10M, formats, ignored)

    def users(
        self, limits: LossLimits, invalid_zip: InvalidZip
    ) -> tuple[pd.DataFrame, CleaningLog] | None:
        """Returns the users; an age is the lower bound of its range, an occupation its text."""
        if USERS not in self.formats:
            return None
        from sources.tables import drop_invalid_zips, users_frame

        found = CleaningLog()
        rows = read_records(self.folder / USERS, FORMATS[USERS], "user", _user, found, limits)
        users = [user for _, user in drop_invalid_zips(rows, USERS, invalid_zip, found)]
        found.check(limits)
        return users_frame(users), found

    def items(self, limits: LossLimits) -> tuple[pd.DataFrame, CleaningLog]:
        """Returns the movies; the year is that in the title."""
        from sources.tables import movies_frame

        found = CleaningLog()
        rows = read_records(self.folder / MOVIES, FORMATS[MOVIES], "movie", movie_of, found, limits)
        found.check(limits)
        return movies_frame([movie for _, movie in rows]), found


def _user(line: Line) -> User:
    from sources.tables import User, read_age

    code = line.clean_number(3)
    occupation = raw.UNKNOWN
    if wrangling.is_missing(code):
        line.missing.append("occupation")
    elif code.isascii() and code.isdigit() and int(code) < len(OCCUPATIONS):
        occupation = OCCUPATIONS[int(code)]
    else:
        expected = f"a code from 0 to {len(OCCUPATIONS) - 1}"
        line.lost.append(
            BadRow(cleaning_log.BAD_OCCUPATION, expected=expected, found=files.shorten(code))
        )
    return User(
        parse_id(line.clean_number(0), "user id"),
        read_age(line, 2),
        line.known(wrangling.normalize_gender(line.clean(1)), "gender"),
        occupation,
        line.known(_ZIP_PLUS_4.sub(r"\1", line.clean(4)), "zip code"),
    )


def movie_of(line: Line) -> Movie:
    """Returns the movie of a row: its id, its title with the year, its genres between '|'.

    Raises:
      BadRow: the id is no whole number.
    """
    from sources.tables import Movie

    movie_id = parse_id(line.clean_number(0), "movie id")
    title = line.known(line.clean_title(1), "title")
    genres = line.clean(2)
    if genres == NO_GENRES or wrangling.is_missing(genres):
        line.missing.append("genres")
        return Movie(movie_id, title, None, ())
    return Movie(movie_id, title, None, tuple(dict.fromkeys(filter(None, genres.split("|")))))


NO_GENRES = "(no genres listed)"
"""What stands in the place of genres where a movie has none."""
