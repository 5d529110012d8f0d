"""A hash of source code, so that the cache of a component sees edits to it.

Executors and functions are found by import path, which does not change when the code
behind it does. The hash goes into the component's execution properties instead.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_SUFFIXES = frozenset({".py", ".pbtxt"})


def source_digest(*packages: str, root: Path = _PROJECT_ROOT) -> str:
    """Returns a hash over the source files of packages, such as "trainer", with all below them.

    Args:
      packages: folders relative to the project's root, e.g. "components/data".
      root: the project's root.

    Raises:
      FileNotFoundError: a package is not there: its edits would go unseen.
    """
    digest = hashlib.blake2b(digest_size=16)
    for package in packages:
        folder = root / package
        if not folder.is_dir():
            raise FileNotFoundError(f"no package folder {folder}")
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(root)}:{len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()
