"""A hash of source code, so that the cache of a component sees edits to it.

Executors and functions are found by import path, which does not change when the code
behind it does. The hash goes into the component's execution properties instead.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

from tfx.dsl.components.base import base_component

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_PROPERTY = "source_digest"
_Component = TypeVar("_Component", bound=base_component.BaseComponent)
_SUFFIXES = frozenset({".py", ".pbtxt", ".html", ".css", ".js", ".json"})


def source_digest(*packages: str, root: Path = _PROJECT_ROOT) -> str:
    """Returns a hash over the source files of packages, such as "trainer", with all below them.

    Args:
      packages: folders relative to the project's root, e.g. "sources".
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


def keyed_by_source(component: _Component, *packages: str) -> _Component:
    """Makes the hash of the packages a component runs part of its cache key.

    Args:
      component: a component that has been built.
      packages: folders of the code it runs, relative to the project's root.

    Returns:
      The same component.
    """
    component.spec.exec_properties[_PROPERTY] = source_digest(*packages)
    return component
