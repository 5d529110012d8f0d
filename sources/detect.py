"""Which format the data at a path is in: found out from the files, not from the path's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from schema.features import FeatureTable
from sources import (
    archive,
    description,
    files,
    layout,
    movielens_100k,
    movielens_csv,
    movielens_dat,
)
from sources.adapter import DatasetAdapter
from sources.errors import InputError
from sources.movielens_100k import MovieLens100K
from sources.movielens_csv import MovieLensCsv
from sources.movielens_dat import MovieLensDat

ADAPTERS: Mapping[str, Callable[[Path], DatasetAdapter]] = {
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

TABLE = "table"
"""The format of own tables."""

_WANTED: frozenset[str] = FILE_NAMES | {
    description.FILE,
    *(f"{stem}{rest}" for stem in layout.STEMS for rest in (".*", "[-_.]*", "/[!._]*")),
    *(f"{stem}.*" for stem in layout.COMMON_STEMS),
}
"""What is taken out of a zip file: names and patterns of names."""

_RATINGS: Mapping[str, Callable[[Path], DatasetAdapter]] = {
    files.RATINGS: MovieLens100K,
    movielens_dat.RATINGS: MovieLensDat,
    movielens_csv.RATINGS: MovieLensCsv,
}


def detect(path: Path, unpack_to: Path, output_dir: Path | None = None) -> DatasetAdapter:
    """Returns the adapter of the data at a path.

    Args:
      path: a folder of files, a folder with such a folder alone, one of the files, or a zip file.
      unpack_to: where a zip file is unpacked.
      output_dir: where a `data.toml` may be that says what own tables are; else it may be beside
        the files.

    Raises:
      InputError: no format fits, several do, or a folder or table cannot be read. Whether each file
        looks as its format says is found out by the adapter's `check`.
    """
    if archive.is_archive(path):
        return _of_folder(archive.unpacked(path, _WANTED, unpack_to), path, output_dir)
    if path.is_file():
        if path.name in FILE_NAMES or layout.table_of(path.name) is not None:
            return _of_folder(path.parent, path, output_dir)
        return _table(path.parent, {"interactions": [path.name]}, output_dir)
    return _of_folder(_inner(path), path, output_dir)


def open_adapter(
    name: str, folder: Path, features: FeatureTable | None = None, layout_text: str = ""
) -> DatasetAdapter:
    """Returns the adapter of a format for a folder of files.

    Args:
      name: that in the specification of the format.
      folder: the folder of its files.
      features: the features to read, where they are not all of the specification's.
      layout_text: of own tables: the `layout_text` of the adapter that was detected.
    """
    if name == TABLE:
        from sources.table import Table

        adapter: DatasetAdapter = Table(folder, layout.Layout.from_json(layout_text))
    else:
        adapter = ADAPTERS[name](folder)
    if features is not None:
        adapter.spec = dataclasses.replace(adapter.spec, features=features)
    return adapter


def _table(
    folder: Path, tables: Mapping[str, list[str]], output_dir: Path | None
) -> DatasetAdapter:
    from sources.table import Table

    own = description.find(output_dir, folder)
    return Table(folder, layout.layout_of(folder, tables, own))


def _inner(folder: Path) -> Path:
    """Returns the folder that has the files: the only folder in one without any, else itself."""
    if not folder.is_dir() or _has_data(folder):
        return folder
    folders = [child for child in _children(folder) if child.is_dir() and _has_data(child)]
    return folders[0] if len(folders) == 1 else folder


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise files.unreadable(str(folder), error) from error


def _has_data(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return False
    return any(name in _RATINGS or layout.table_of(name) == "interactions" for name in names)


def _formats(folder: Path) -> list[str]:
    """Returns the names of the files by which a folder has a format of MovieLens."""
    names = [name for name in _RATINGS if (folder / name).exists()]
    if movielens_csv.RATINGS in names and not movielens_csv.is_movielens(folder):
        names.remove(movielens_csv.RATINGS)
    return names


def _of_folder(folder: Path, path: Path, output_dir: Path | None) -> DatasetAdapter:
    if not folder.is_dir():
        if folder.exists():
            files.check_regular(folder)
        raise InputError(
            "no such file or folder",
            file=str(path),
            expected="a folder, a zip file, or a file of a data set",
            action="correct the path",
        )
    _children(folder)  # whether it can be read
    found = _formats(folder)
    tables: Mapping[str, list[str]] = {}
    if movielens_csv.RATINGS not in found:
        tables = layout.find_tables(folder)
        found += tables["interactions"][:1]
    if len(found) > 1:
        raise InputError(
            "data in several formats in one folder",
            file=str(path),
            expected="the files of one data set",
            found=" and ".join(found),
            action="give the folder of one of them",
        )
    if not found and (folder / files.MOVIES).exists():
        found = [files.RATINGS]  # its check says what is missing
    if not found:
        raise _unknown(path, folder)
    if tables.get("interactions"):
        return _table(folder, tables, output_dir)
    return _RATINGS[found[0]](folder)


def _unknown(path: Path, folder: Path) -> InputError:
    zipped = [one for one in _children(folder) if one.suffix.lower() == ".zip"]
    guide = "see docs/guides/own-data.md for what the files of each format hold"
    return InputError(
        "no data set is recognised",
        file=str(path),
        expected=f"ratings as {', '.join(_RATINGS)}, or own tables: interactions.csv, "
        "interactions.parquet and so on, or one table with a column of users (such as user_id) and "
        "one of items (such as item_id)",
        found=files.listing(folder),
        action=f"give the zip file itself: {zipped[0]}; or {guide}"
        if zipped
        else "name the table of events interactions.*, and its columns of users and items in "
        f"{description.FILE} ([columns] user = ..., item = ...); {guide}",
    )
