"""Artifacts around files that are there."""

from pathlib import Path

from tfx.types import artifact_utils, standard_artifacts


def artifact_at(kind, uri):
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


def examples_of(files, folder):
    """An Examples artifact whose splits hold links to the files."""
    artifact = artifact_at(standard_artifacts.Examples, folder)
    artifact.split_names = artifact_utils.encode_split_names(sorted(files))
    for split, paths in files.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        for number, path in enumerate(paths):
            (folder / f"Split-{split}" / f"{number}-{Path(path).name}").symlink_to(path)
    return artifact
