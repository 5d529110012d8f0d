"""The manifest of a pushed version: size and SHA-256 of each of its files.

It is written last. A reader that finds a file missing, shorter or different treats the version as
incomplete. This module imports nothing beyond the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from schema.export_contract import MANIFEST

SCHEMA_VERSION = 1

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_BLOCK_BYTES = 1024 * 1024


def write_manifest(directory: Path) -> None:
    """Writes `assets.extra/manifest.json`: size and SHA-256 of every other file of a version.

    The file's content is synced to the disk; its directory's entry is not.

    Args:
      directory: the version, with all its other files.
    """
    files = {
        name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and (name := path.relative_to(directory).as_posix()) != MANIFEST
    }
    path = directory / MANIFEST
    path.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    path.touch(_FILE_MODE)
    with path.open("w", encoding="utf-8") as stream:
        json.dump({"schema_version": SCHEMA_VERSION, "files": files}, stream, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
