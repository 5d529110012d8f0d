"""Artifacts around files that are there."""

from pathlib import Path

from tfx.types import artifact_utils, standard_artifacts


def artifact_at(kind, uri):
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


def examples_of(files, folder, ratings=None):
    """An Examples artifact whose splits hold links to the files; `ratings` has event files."""
    artifact = artifact_at(standard_artifacts.Examples, folder)
    artifact.split_names = artifact_utils.encode_split_names(sorted(files))
    for split, paths in files.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        for number, path in enumerate(paths):
            (folder / f"Split-{split}" / f"{number}-{Path(path).name}").symlink_to(path)
    for name in () if ratings is None else ("Users", *(f"Events-{split}" for split in files)):
        (folder / name).symlink_to(ratings / name)
    return artifact
