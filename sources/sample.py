"""A made-up data set in MovieLens's formats, for machines without the real one.

`sample_tastes` says what people like and why a model can learn it; this module
writes it down, dirt included, a block of users at a time.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from sources import sample_tastes as tastes
from sources.errors import InputError
from sources.progress import Progress
from sources.sample_names import Title, make_titles, person_name
from sources.staging import staged_directory

MIN_RATINGS = 1_000
FILES = ("u.data", "u.user", "u.item", "u.genre", "u.occupation", "u.info")
METADATA_FILES = ("movies_metadata.csv", "credits.csv")
MARKER_FILE = "GENERATED-SAMPLE"
"""Says that the data is invented, wherever the folder is used or copied to."""
METADATA_FOLDER = "metadata"
TITLE = "Generated sample"
"""What people call it: its files have the form of MovieLens-100K, and nothing else of it."""

_BLOCK_RATINGS = 250_000
"""Ratings made and held in memory at once."""

# How users and movies grow with ratings: like MovieLens 100K and 25M, in logarithms
# between, and about 155 ratings per user from there on.
_SIZES_RATINGS = (1e3, 1e5, 2.5e7, 1e9)
_SIZES_USERS = (40, 943, 162_000, 6_480_000)
_SIZES_MOVIES = (120, 1_700, 45_000, 150_000)

_DIRTY_SHARE = 0.001
_ODD_SHARE = 0.02  # zip codes that are not digits; unusual spellings of the gender
_NO_METADATA_SHARE = 0.03
_OUT_OF_RANGE_STARS = (0, 6, 11)
_DAY = 86_400
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_METADATA_COLUMNS = (
    "adult", "belongs_to_collection", "budget", "genres", "homepage", "id", "imdb_id",
    "original_language", "original_title", "overview", "popularity", "poster_path",
    "production_companies", "production_countries", "release_date", "revenue", "runtime",
    "spoken_languages", "status", "tagline", "title", "video", "vote_average", "vote_count",
)  # fmt: skip


def generate_sample(
    directory: Path, *, ratings: int = 100_000, seed: int = 42, progress: Progress | None = None
) -> None:
    """Writes a sample data set: MovieLens's files, and movie metadata in `metadata/`.

    The same arguments give the same bytes. `u.data` has exactly `ratings` rows, shuffled
    within blocks of about 250,000; each block holds users from the whole range of ids.
    Users and movies are as many as MovieLens has at that size (100,000: 943 and 1,700).
    No movie is rated twice by the same user, and every user rates at least 20.

    Dirt, like that of real files: per thousand rows (one at least) an exact duplicate
    and a rating out of range in `u.data`, an exact duplicate in `u.user`, a title in
    quotes and one with `b'…'` residue in `u.item`, a blank row, a US date and upper-case
    booleans in `movies_metadata.csv`, a broken literal in `credits.csv`. 2 % of zip codes
    are not five digits and 2 % of genders are spelled otherwise; 3 % of the movies have
    no metadata.

    Args:
      directory: where to; made by one rename when all is written. It may exist if empty.
      ratings: rows of `u.data`, 1,000 or more.
      seed: 0 or more.
      progress: called with the number of ratings written so far.

    Raises:
      InputError: bad arguments, a full disk, or a directory that cannot be written.
    """
    if ratings < MIN_RATINGS:
        raise InputError(
            "the sample is too small",
            expected=f"{MIN_RATINGS:,} ratings or more",
            found=f"{ratings:,}",
        )
    if seed < 0:
        raise InputError("bad seed of the sample", expected="0 or more", found=str(seed))
    world = _make_world(ratings, seed)
    with staged_directory(directory) as staging:
        (staging / MARKER_FILE).write_text(
            "The movies, users and ratings in this folder are invented.\n", encoding="ascii"
        )
        _write_users(staging / "u.user", world)
        _write_catalogue(staging / "u.item", world)
        _write_small_files(staging, world)
        metadata = staging / METADATA_FOLDER
        metadata.mkdir()
        _write_metadata(metadata, world)
        with (staging / "u.data").open("wb") as file:
            _write_ratings(file, world, progress)


def is_complete(directory: Path) -> bool:
    """Returns whether `directory` holds every file of a sample."""
    files = [directory / name for name in FILES]
    files += [directory / METADATA_FOLDER / name for name in METADATA_FILES]
    return all(file.is_file() for file in files)


def is_generated(directory: Path) -> bool:
    """Returns whether a folder of raw files is a sample that was generated, by its marker."""
    return (directory / MARKER_FILE).exists()


def user_count(ratings: int) -> int:
    """Returns how many users a sample of this many ratings has."""
    return _interpolate(ratings, _SIZES_USERS)


def movie_count(ratings: int) -> int:
    """Returns how many movies a sample of this many ratings has."""
    return _interpolate(ratings, _SIZES_MOVIES)


def _interpolate(ratings: int, sizes: tuple[int, ...]) -> int:
    logs = np.interp(np.log(ratings), np.log(_SIZES_RATINGS), np.log(sizes))
    return round(float(np.exp(logs)))


@dataclasses.dataclass(frozen=True)
class _World:
    """Everything but the ratings themselves."""

    ratings: int
    seed: int
    movies: tastes.Movies
    users: tastes.Users
    tastes: tastes.Tastes
    titles: list[Title]

    @property
    def duplicates(self) -> int:
        """Rows of u.data that repeat another one."""
        return _few(self.ratings)

    def rng(self, *part: int) -> np.random.Generator:
        """Returns a source of chance of its own for each part of the work."""
        return np.random.default_rng([self.seed, *part])


def _few(rows: int) -> int:
    return max(1, round(rows * _DIRTY_SHARE))


def _make_world(ratings: int, seed: int) -> _World:
    movies = tastes.make_movies(np.random.default_rng([seed, 1]), movie_count(ratings))
    users = tastes.make_users(
        np.random.default_rng([seed, 2]),
        user_count(ratings),
        ratings=ratings - _few(ratings),
        movies=len(movies),
    )
    return _World(
        ratings=ratings,
        seed=seed,
        movies=movies,
        users=users,
        tastes=tastes.make_tastes(np.random.default_rng([seed, 3]), movies),
        titles=make_titles(np.random.default_rng([seed, 4]), len(movies)),
    )


def _write_users(path: Path, world: _World) -> None:
    rng = world.rng(5)
    users = world.users
    lines = [
        f"{number}|{age}|{gender}|{tastes.OCCUPATIONS[occupation]}|{zip_code}\n"
        for number, age, gender, occupation, zip_code in zip(
            range(1, len(users) + 1),
            users.age.tolist(),
            _spell_genders(rng, users.is_male),
            users.occupation.tolist(),
            _draw_zip_codes(rng, len(users)),
            strict=True,
        )
    ]
    again = rng.choice(len(lines), size=_few(len(lines)), replace=False).tolist()
    with path.open("w", encoding="ascii", newline="") as file:
        file.writelines(lines)
        file.writelines(lines[row] for row in again)


def _spell_genders(rng: np.random.Generator, is_male: tastes.Bools) -> list[str]:
    spellings = {True: ("M", "Male", "male", "True"), False: ("F", "Female", "female", "False")}
    spelling = rng.integers(1, 4, size=len(is_male))
    spelling[rng.random(len(is_male)) >= _ODD_SHARE] = 0
    pairs = zip(is_male.tolist(), spelling.tolist(), strict=True)
    return [spellings[male][choice] for male, choice in pairs]


def _draw_zip_codes(rng: np.random.Generator, count: int) -> list[str]:
    codes = [f"{code:05d}" for code in rng.integers(501, 99_951, size=count).tolist()]
    for row in rng.choice(count, size=max(1, round(count * _ODD_SHARE)), replace=False).tolist():
        # As in the real data: postal codes from elsewhere, and nine digits.
        digits, letters = codes[row], "ABCEGHJKLM"
        mixed = "".join(
            letters[int(digit)] if place % 2 == 0 else digit for place, digit in enumerate(digits)
        )
        codes[row] = mixed if row % 4 else f"{digits}-{digits[1:]}"
    return codes


def _write_catalogue(path: Path, world: _World) -> None:
    movies = world.movies
    rows = world.rng(6).permutation(len(movies)).tolist()
    few = _few(len(movies))
    quoted, residue = set(rows[:few]), set(rows[few : 2 * few])
    flags = movies.genres.astype(int).tolist()
    with path.open("w", encoding="latin-1", newline="") as file:
        for row, title in enumerate(world.titles):
            listed = f"{title.listed} ({movies.year[row]})"
            if row in quoted:
                listed = f'"{listed}"'
            elif row in residue:
                listed = f"b'{listed}'"
            released = _release_date(world, row)
            date = f"{released.day:02d}-{_MONTHS[released.month - 1]}-{released.year}"
            fields = [str(row + 1), listed, date, "", f"http://movies.example/{row + 1}"]
            file.write("|".join([*fields, *map(str, flags[row])]) + "\n")


def _release_date(world: _World, row: int) -> datetime.date:
    first = datetime.date(int(world.movies.year[row]), 1, 1)
    return first + datetime.timedelta(days=int(world.movies.day[row]))


def _write_small_files(directory: Path, world: _World) -> None:
    genres = [f"{genre}|{number}" for number, genre in enumerate(tastes.GENRES)]
    info = [
        f"{len(world.users)} users",
        f"{len(world.movies)} items",
        f"{world.ratings} ratings",
    ]
    for name, lines in (
        ("u.genre", genres),
        ("u.occupation", tastes.OCCUPATIONS),
        ("u.info", info),
    ):
        (directory / name).write_text("\n".join(lines) + "\n", encoding="ascii")


def _write_metadata(directory: Path, world: _World) -> None:
    movies_path, credits_path = (directory / name for name in METADATA_FILES)
    rng = world.rng(7)
    known = np.flatnonzero(rng.random(len(world.movies)) >= _NO_METADATA_SHARE).tolist()
    few = _few(len(known))
    odd = rng.permutation(known).tolist()
    with movies_path.open("w", encoding="utf-8", newline="") as file:
        _write_film_rows(file, world, rng, known, odd[: 3 * few])
    with credits_path.open("w", encoding="utf-8", newline="") as file:
        _write_credit_rows(file, world, rng, known, set(odd[3 * few : 4 * few]))


def _write_film_rows(
    file: TextIO, world: _World, rng: np.random.Generator, known: list[int], odd: list[int]
) -> None:
    """Writes movies_metadata.csv; a third each of `odd` is damaged in one of three ways."""
    third = len(odd) // 3
    after_blank, us_dates, upper = (set(odd[third * i : third * (i + 1)]) for i in range(3))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_METADATA_COLUMNS)
    # MovieLens and movie metadata disagree about the year now and then.
    late = rng.random(len(world.movies)) < 0.03
    for row in known:
        if row in after_blank:
            writer.writerow([""] * len(_METADATA_COLUMNS))
        date = _release_date(world, row) + datetime.timedelta(days=365 if late[row] else 0)
        written = date.strftime("%m/%d/%Y") if row in us_dates else date.isoformat()
        writer.writerow(_film_row(world, row, written, upper=row in upper))


def _film_row(world: _World, row: int, date: str, *, upper: bool) -> list[object]:
    title, movies = world.titles[row], world.movies
    false = "FALSE" if upper else "False"
    genres = [
        {"id": int(genre), "name": tastes.GENRES[genre]}
        for genre in np.flatnonzero(movies.genres[row])
    ]
    votes = round(float(movies.popularity[row]) * world.ratings)
    values: dict[str, object] = {
        "adult": false,
        "genres": genres,
        "id": _film_id(row),
        "imdb_id": f"tt{_film_id(row):07d}",
        "original_language": "en" if title.original == title.english else "fr",
        "original_title": title.original,
        "overview": f'An invented film, "{title.english}",\nmade up for a sample.',
        "release_date": date,
        "runtime": 80.0 + row % 60,
        "status": "Released",
        "title": title.english,
        "video": false,
        "vote_average": round(float(np.clip(6.5 + 2 * movies.quality[row], 0, 10)), 1),
        "vote_count": votes,
    }
    return [values.get(column, "") for column in _METADATA_COLUMNS]


def _write_credit_rows(
    file: TextIO, world: _World, rng: np.random.Generator, known: list[int], broken: set[int]
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("cast", "crew", "id"))
    movies = world.movies
    supporting = rng.integers(0, max(len(movies) // 2, 1), size=(len(movies), 2)).tolist()
    for row in known:
        names = [person_name(int(movies.star[row]), family=1)]
        names += [person_name(number, family=2) for number in supporting[row]]
        cast = repr(
            [
                {"cast_id": order + 1, "character": "", "name": name, "order": order}
                for order, name in enumerate(names)
            ]
        )
        director = person_name(int(movies.director[row]), family=0)
        writer_name = person_name(supporting[row][0], family=3)
        crew = [
            {"department": "Writing", "job": "Screenplay", "name": writer_name},
            {"department": "Directing", "job": "Director", "name": director},
        ]
        writer.writerow((cast[:-9] if row in broken else cast, crew, _film_id(row)))


def _film_id(row: int) -> int:
    return 7 * row + 100


def _write_ratings(file: BinaryIO, world: _World, progress: Progress | None) -> None:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    options = pa_csv.WriteOptions(include_header=False, delimiter="\t", batch_size=65_536)
    done = 0
    for columns in _rating_blocks(world):
        pa_csv.write_csv(pa.table(dict(zip("umrt", columns, strict=True))), file, options)
        done += len(columns[0])
        if progress is not None:
            progress("Generating the sample data", done, world.ratings)


def _rating_blocks(world: _World) -> Iterator[tuple[tastes.Ints, ...]]:
    """Yields the columns of u.data (user, movie, stars, unix seconds) block by block."""
    blocks = -(-world.ratings // _BLOCK_RATINGS)
    duplicates = _split(world.duplicates, blocks)
    out_of_range = _split(_few(world.ratings), blocks)
    for block in range(blocks):
        rng = world.rng(8, block)
        members = np.arange(block, len(world.users), blocks)
        activity = world.users.activity[members]
        row, movie = tastes.draw_watched(rng, world.tastes, world.users.point[members], activity)
        user = members[row]
        stars = tastes.draw_stars(rng, world.users, world.movies, user, movie)
        seconds = _draw_times(rng, activity, _period_days(world.ratings))
        bad = rng.choice(len(user), size=out_of_range[block], replace=False)
        stars[bad] = rng.choice(_OUT_OF_RANGE_STARS, size=len(bad))
        again = rng.choice(len(user), size=duplicates[block], replace=False)
        order = rng.permutation(np.concatenate([np.arange(len(user)), again]))
        yield user[order] + 1, movie[order] + 1, stars[order], seconds[order]


def _split(count: int, parts: int) -> list[int]:
    return [(count * (part + 1)) // parts - (count * part) // parts for part in range(parts)]


def _period_days(ratings: int) -> float:
    """Returns how long ratings are collected: 7 months for 100,000, at most 10 years."""
    return float(min(215 * (ratings / 1e5) ** 0.4, 3_650))


def _draw_times(rng: np.random.Generator, activity: tastes.Ints, days: float) -> tastes.Ints:
    """Draws when each movie is rated: in few sittings per user, mostly in the evening.

    Args:
      rng: source of chance.
      activity: [users] ratings of each user.
      days: length of the period in which users join.

    Returns:
      [activity.sum()] unix seconds, grouped by user, in no order within the user.
    """
    start = datetime.datetime(tastes.LAST_YEAR + 1, 1, 1, tzinfo=datetime.timezone.utc)
    joined = np.floor(rng.random(len(activity)) * days * 0.8) * _DAY
    joined += 20 * 3600 + rng.normal(scale=2.5 * 3600, size=len(activity))
    sittings = 1 + np.minimum(rng.poisson(activity / 80), 12)

    user = np.repeat(np.arange(len(activity)), activity)
    first = np.cumsum(activity) - activity
    place = np.arange(len(user)) - first[user]
    sitting = place * sittings[user] // activity[user]
    is_new_sitting = np.diff(sitting, prepend=0) > 0
    wait = 3.0 + rng.exponential(22.0, size=len(user))
    pause = np.ceil(rng.exponential(0.04 * days, size=int(is_new_sitting.sum()))) * _DAY
    wait[is_new_sitting] += pause + rng.normal(scale=3600, size=len(pause))
    passed = np.cumsum(wait)
    seconds = start.timestamp() + joined[user] + passed - passed[first][user]
    # Movies come sorted by id: which is rated when must not depend on that.
    shuffled = np.lexsort((rng.random(len(user)), user))
    return np.floor(seconds).astype(np.int64)[shuffled]
