"""Which format the data at a path is in: found out from the files, not from the path's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from schema.features import FeatureTable
from sources import archive, files, movielens_100k, movielens_csv, movielens_dat
from sources.adapter import MovieLensFiles
from sources.errors import InputError
from sources.movielens_100k import MovieLens100K
from sources.movielens_csv import MovieLensCsv
from sources.movielens_dat import MovieLensDat

ADAPTERS: Mapping[str, Callable[[Path], MovieLensFiles]] = {
    movielens_100k.SPEC.name: MovieLens100K,
    movielens_dat.ML_1M.name: MovieLensDat,
    movielens_dat.ML_10M.name: MovieLensDat,
    movielens_csv.SPEC.name: MovieLensCsv,
}
"""The adapter of each format, by the name in its specification."""

FILE_NAMES: frozenset[str] = frozenset(
    (
        *files.FORMATS,
        *movielens_dat.FORMATS,
        movielens_dat.TAGS,
        *movielens_csv.FORMATS,
        movielens_csv.TAGS,
    )
)
"""Every file that some format has and that is taken out of a zip file."""

_RATINGS: Mapping[str, Callable[[Path], MovieLensFiles]] = {
    files.RATINGS: MovieLens100K,
    movielens_dat.RATINGS: MovieLensDat,
    movielens_csv.RATINGS: MovieLensCsv,
}


def detect(path: Path, unpack_to: Path) -> MovieLensFiles:
    """Returns the adapter of the data at a path.

    Args:
      path: a folder of files, a folder with such a folder alone, one of the files, or a zip file.
      unpack_to: where a zip file is unpacked.

    Raises:
      InputError: no format fits, or several do. Whether each file looks as its format says is
        found out by the adapter's `check`.
    """
    if archive.is_archive(path):
        return _of_folder(archive.unpacked(path, FILE_NAMES, unpack_to), path)
    if path.is_file() and path.name in FILE_NAMES:
        return _of_folder(path.parent, path)
    if path.is_file():
        raise _unknown(path, files.shorten(path.name))
    return _of_folder(_inner(path), path)


def open_adapter(name: str, folder: Path, features: FeatureTable | None = None) -> MovieLensFiles:
    """Returns the adapter of a format for a folder of files.

    Args:
      name: that in the specification of the format.
      folder: the folder of its files.
      features: the features to read, where they are not all of the specification's.
    """
    adapter = ADAPTERS[name](folder)
    if features is not None:
        adapter.spec = dataclasses.replace(adapter.spec, features=features)
    return adapter


def _inner(folder: Path) -> Path:
    """Returns the folder that has the files: the only folder in one without any, else itself."""
    if not folder.is_dir() or _formats(folder):
        return folder
    folders = [child for child in folder.iterdir() if child.is_dir() and _formats(child)]
    return folders[0] if len(folders) == 1 else folder


def _formats(folder: Path) -> list[Callable[[Path], MovieLensFiles]]:
    return [adapter for name, adapter in _RATINGS.items() if (folder / name).exists()]


def _of_folder(folder: Path, path: Path) -> MovieLensFiles:
    if not folder.is_dir():
        raise InputError(
            "no such file or folder",
            file=str(path),
            expected="a folder, a zip file, or a file of a data set",
            action="correct --data, or leave it out to have the data found for you",
        )
    found = _formats(folder)
    if len(found) > 1:
        names = " and ".join(name for name in _RATINGS if (folder / name).exists())
        raise InputError(
            "data in several formats in one folder",
            file=str(path),
            expected="the files of one data set",
            found=names,
            action="give the folder of one of them",
        )
    if not found and (folder / files.MOVIES).exists():
        found = [MovieLens100K]  # its check says what is missing
    if not found:
        raise _unknown(path, files.listing(folder))
    return found[0](folder)


def _unknown(path: Path, found: str) -> InputError:
    return InputError(
        "no data set is recognised",
        file=str(path),
        expected=f"ratings as one of {', '.join(_RATINGS)}, in a format of MovieLens",
        found=found,
        action="see docs/guides/own-data.md for what the files of each format hold",
    )
