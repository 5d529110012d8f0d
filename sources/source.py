"""Where a run's data comes from: the user's own, the real data set, or a sample."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from sources import download, releases, sample
from sources.adapter import DatasetAdapter
from sources.detect import detect, open_adapter
from sources.errors import InputError
from sources.names import (
    AUTO,
    CUSTOM,
    DATA_VARIABLE,
    DATASET_CHOICES,
    ML_100K,
    NO_OWN_DATA,
    OTHER_RELEASES,
    SAMPLE,
    DatasetName,
)
from sources.progress import Progress
from sources.staging import writable

METADATA_VARIABLE = "MOVIES_METADATA_DIR"

Origin = Literal["data", "MOVIELENS_DIR", "cache", "download", "generated"]


@dataclasses.dataclass(frozen=True)
class DataSource:
    """The data of a run.

    Attributes:
      name: "ml-100k" only if the ratings are those of MovieLens-100K, byte for byte.
      source: how the data was come by.
      data_dir: directory of the files.
      format: name of their format (`sources.detect.ADAPTERS`, or own tables).
      layout: of own tables: files, roles and features as JSON.
      metadata_dir: directory of The Movies Dataset's files, if there is one.
      called: the name of the user's own data, theirs or one made from its folder; else empty.
      seed: of the sample; None for real data.
      notice: what the user must read (the data is not what they may think it
        is, why, and what to do), at the start and at the end; None if there is nothing.
    """

    name: DatasetName
    source: Origin
    data_dir: Path
    format: str = ML_100K
    layout: str = ""
    metadata_dir: Path | None = None
    called: str = ""
    seed: int | None = None
    notice: str | None = None

    def open(self) -> DatasetAdapter:
        """Returns the adapter of the files."""
        return open_adapter(self.format, self.data_dir, layout_text=self.layout)

    @property
    def title(self) -> str:
        """What people call the data: a release's name, `sample.TITLE` or the user's; empty if only
        its format is known."""
        if self.name == SAMPLE:
            return sample.TITLE
        archive = releases.ARCHIVES.get(self.name)
        return self.called if archive is None else archive.name

    def to_json(self) -> dict[str, str | int | None]:
        """Returns the fields but the layout as a JSON object, paths as text.

        The name is the user's own where they gave one.
        """
        fields = {**dataclasses.asdict(self), "name": self.called or self.name}
        del fields["layout"], fields["called"]
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in fields.items()
        }


def resolve_source(
    *,
    dataset: str,
    data: Path | None,
    metadata_dir: Path | None,
    output_dir: Path,
    seed: int,
    sample_ratings: int,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> DataSource:
    """Finds, downloads or makes the data of a run.

    "auto" takes the first it can have of: `data`, `$MOVIELENS_DIR`, the cache, a
    download, a sample. "ml-100k" never ends with a sample, "sample" always; another release of
    MovieLens comes from the cache or a download. Data that is named is used or refused;
    there is no falling back from it.

    Args:
      dataset: one of `DATASET_CHOICES`.
      data: the user's own data: a folder, a zip file or one of the files.
      metadata_dir: the user's own directory of movie metadata; else it is
        `$MOVIES_METADATA_DIR` (not for the sample, whose movies are made up), else
        `metadata/` in the data directory, else there is none.
      output_dir: a sample and unpacked zip files are kept in `data/` under it, and used again.
      seed: of the sample, 0 or more.
      sample_ratings: size of the sample.
      say: called with one line for each thing that takes time, and with the notice.
      progress: called with the progress of downloading or generating.

    Raises:
      InputError: wrong or contradicting arguments, a directory that does not exist, data
        that cannot be had.
    """
    path, folder = given_paths(dataset=dataset, data=data, metadata_dir=metadata_dir)
    make_sample = functools.partial(_sample, output_dir, seed, sample_ratings, say, progress)
    if dataset == SAMPLE:
        found = make_sample()
    elif dataset in OTHER_RELEASES:
        found = _released(cast(DatasetName, dataset), say, progress)
    elif path is not None:
        found = _given(path, "data" if data else "MOVIELENS_DIR", output_dir)
    else:
        found = _ml_100k(say, progress, otherwise=make_sample if dataset == AUTO else None)
    if folder is None or (metadata_dir is None and found.name == SAMPLE):
        folder = found.data_dir / sample.METADATA_FOLDER
    return dataclasses.replace(found, metadata_dir=folder if folder.is_dir() else None)


def given_paths(
    *, dataset: str, data: Path | None, metadata_dir: Path | None
) -> tuple[Path | None, Path | None]:
    """Returns the data and the folder of movie metadata that the user named.

    Nothing is read, made or downloaded.

    Raises:
      InputError: wrong or contradicting arguments, a path that does not exist.
    """
    if dataset not in DATASET_CHOICES:
        raise InputError("unknown dataset", expected=" or ".join(DATASET_CHOICES), found=dataset)
    if dataset in NO_OWN_DATA and data is not None:
        raise InputError(
            f"--data contradicts --dataset {dataset}",
            found=str(data),
            action="leave one of the two out",
        )
    raw, folder = (
        (data, "--data") if data else _from_environment(DATA_VARIABLE, dataset in NO_OWN_DATA),
        (metadata_dir, "--metadata-dir")
        if metadata_dir
        else _from_environment(METADATA_VARIABLE, dataset == SAMPLE),
    )
    return raw and _there(*raw), folder and _existing(*folder)


def _from_environment(variable: str, ignored: bool) -> tuple[Path, str] | None:
    """Returns the folder in a variable; None where it is not set, or ignored."""
    value = None if ignored else os.environ.get(variable)
    return (Path(value), f"${variable}") if value else None


def _given(path: Path, origin: Origin, output_dir: Path) -> DataSource:
    """Returns the data that the user named."""
    adapter = detect(path, output_dir / "data", output_dir)
    folder = adapter.folder.resolve()
    return DataSource(
        _name(folder), origin, folder, format=adapter.spec.name, layout=adapter.layout_text
    )


def _name(directory: Path) -> DatasetName:
    if sample.is_generated(directory):
        return SAMPLE
    return ML_100K if download.is_original(directory) else CUSTOM


def _released(
    dataset: DatasetName, say: Callable[[str], None], progress: Progress | None
) -> DataSource:
    """Returns a release of MovieLens from cache or network."""
    archive = releases.ARCHIVES[dataset]
    origin: Origin = "cache"
    directory = download.cached(archive)
    if directory is None:
        say(f"Downloading {archive.name} to {download.cache_directory()}")
        origin, directory = "download", download.download(archive, progress)
    return DataSource(dataset, origin, directory, format=detect(directory, directory).spec.name)


def _ml_100k(
    say: Callable[[str], None],
    progress: Progress | None,
    otherwise: Callable[[], DataSource] | None,
) -> DataSource:
    """Returns MovieLens-100K from cache or network; what `otherwise` makes if that fails."""
    if (directory := download.cached()) is not None:
        return DataSource(ML_100K, "cache", directory)
    say(f"Downloading MovieLens-100K to {download.cache_directory()}")
    try:
        return DataSource(ML_100K, "download", download.download(progress=progress))
    except InputError as error:
        if otherwise is None:
            raise
        notice = _sample_notice(error)
    say(notice)
    return dataclasses.replace(otherwise(), notice=notice)


def _sample(
    output_dir: Path,
    seed: int,
    ratings: int,
    say: Callable[[str], None],
    progress: Progress | None,
) -> DataSource:
    directory = output_dir / "data" / f"sample-{ratings}-seed{seed}"
    if not sample.is_complete(directory):
        say(f"Generating a sample of {ratings:,} ratings (seed {seed}) in {directory}")
        if directory.is_dir():
            # Files were taken out of it; it is ours to make again.
            with writable(directory):
                shutil.rmtree(directory)
        sample.generate_sample(directory, ratings=ratings, seed=seed, progress=progress)
    return DataSource(SAMPLE, "generated", directory.resolve(), seed=seed)


def _sample_notice(error: InputError) -> str:
    why = error.problem if error.found is None else f"{error.problem}: {error.found}"
    return (
        "NOT REAL DATA: this run uses a generated sample; its movies, users and ratings are "
        f"made up. {why[0].upper()}{why[1:]}. For real data give the unpacked MovieLens-100K "
        f"with --data or ${DATA_VARIABLE}."
    )


def _there(path: Path, option: str) -> Path:
    """Returns the absolute path of a file or folder that is there."""
    path = path.expanduser()
    if not path.exists():
        raise InputError(
            f"{option} does not exist",
            file=str(path),
            expected="a folder, a zip file, or a file of a data set",
            action=f"correct {option}, or leave it out to have the data found for you",
        )
    return path.resolve()


def _existing(path: Path, option: str) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        raise InputError(
            f"{option} is no directory" if path.exists() else f"{option} does not exist",
            file=str(path),
            expected="the directory that holds the files",
            action=f"correct {option}, or leave it out to have the data found for you",
        )
    return path.resolve()
