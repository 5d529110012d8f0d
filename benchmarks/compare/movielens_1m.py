"""MovieLens-1M in the formats of MovieLens-100K, as anybody would convert it.

    .venv/bin/python -m benchmarks.compare.movielens_1m ml-1m converted

The folder then goes to the comparison, or to the pipeline with `--data`. Nothing is added:
ages stay the codes of their ranges, a movie has no release date (its year is in the title), zip
codes of nine digits lose their last four. The ratings keep their order, which in this data set
means something: among the ratings of one second it is that in which they were given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import command
from sources.errors import InputError
from sources.movielens_dat import OCCUPATIONS

VARIABLE = "MOVIELENS_1M_DIR"
FILES = ("ratings.dat", "users.dat", "movies.dat")

FIRST_USER_WITH_INTERPOLATED_TIMES = 3000
"""From this id on, some times of our copy are interpolated; see `texts.DATASET_NOTES`."""

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""In the order of MovieLens-100K; MovieLens-1M has all but the first."""

_ENCODING = "latin-1"
_SEPARATOR = "::"


def convert(source: Path, target: Path) -> None:
    """Writes the files of MovieLens-1M in the formats of MovieLens-100K.

    Args:
      source: folder of `FILES`.
      target: folder of the five files that are written; made if it is not there.

    Raises:
      InputError: a file is missing, or a row is not as published.
    """
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}",
            file=str(source),
            expected=f"the folder of MovieLens-1M, with {', '.join(FILES)}",
            action=f"unpack MovieLens-1M and set {VARIABLE} to the directory of its files",
        )
    target.mkdir(parents=True, exist_ok=True)
    ratings = _rows(source / FILES[0], columns=4)
    _write(target / "u.data", ("\t".join(row) for row in ratings))
    _write(target / "u.user", map(_user, _rows(source / FILES[1], columns=5)))
    _write(target / "u.item", map(_movie, _rows(source / FILES[2], columns=3)))
    _write(target / "u.occupation", iter(OCCUPATIONS))
    _write(target / "u.genre", (f"{genre}|{number}" for number, genre in enumerate(GENRES)))


def _user(row: Sequence[str]) -> str:
    user_id, gender, age, occupation, zip_code = row
    return "|".join([user_id, age, gender, OCCUPATIONS[int(occupation)], zip_code.split("-")[0]])


def _movie(row: Sequence[str]) -> str:
    movie_id, title, genres = row
    known = genres.split("|")
    unknown = set(known) - set(GENRES)
    if unknown:
        raise InputError(
            f"unknown genres: {', '.join(sorted(unknown))}",
            file=FILES[2],
            expected=", ".join(GENRES),
            action="compare on MovieLens-1M as published",
        )
    flags = ["1" if genre in known else "0" for genre in GENRES]
    return "|".join([movie_id, title, "", "", "", *flags])


def _rows(path: Path, columns: int) -> Iterator[list[str]]:
    with path.open(encoding=_ENCODING) as file:
        for number, line in enumerate(file, start=1):
            # A title may hold colons: "2001: A Space Odyssey".
            row = line.rstrip("\r\n").split(_SEPARATOR)
            if len(row) != columns:
                raise InputError(
                    "wrong number of columns",
                    file=path.name,
                    row=number,
                    expected=f"{columns} columns, separated by {_SEPARATOR}",
                    found=line.rstrip("\n"),
                    action="compare on MovieLens-1M as published",
                )
            yield row


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding=_ENCODING, newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Converts the first folder into the second.

    Raises:
      InputError: wrong use, or data that is not as published.
    """
    if len(arguments) != 2:
        raise InputError(
            "expected two folders",
            expected="the folder of MovieLens-1M and the one to write",
            found=" ".join(arguments) or "none",
            action=".venv/bin/python -m benchmarks.compare.movielens_1m ml-1m converted",
        )
    convert(Path(arguments[0]), Path(arguments[1]))
    print(f"Wrote MovieLens-1M in the formats of MovieLens-100K to {arguments[1]}")


if __name__ == "__main__":
    command.run(main, "Interrupted.")
