"""Which tests belong to which tier, found out from the tests themselves.

- fast: whatever needs no TensorFlow and starts no pipeline, server or browser.
- standard: everything but what is marked `exhaustive`.
- all: everything.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIERS = ("fast", "standard", "all")
DEFAULT = "standard"

HEAVY_LIBRARIES = frozenset(
    {
        "apache_beam",
        "keras_tuner",
        "ml_metadata",
        "nbclient",
        "playwright",
        "tensorflow",
        "tensorflow_data_validation",
        "tensorflow_metadata",
        "tensorflow_model_analysis",
        "tensorflow_recommenders",
        "tensorflow_transform",
        "tfx",
        "tfx_bsl",
    }
)
"""Importing any of them takes seconds."""

HEAVY_FIXTURES = frozenset(
    {"audit", "checkout", "project", "run_tests", "sample_output", "server", "sources", "venv"}
)
"""Fixtures that run the pipeline, a server, a build or another program in a process of its own."""


@functools.cache
def is_heavy(path: Path) -> bool:
    """Returns whether collecting a file of tests loads one of `HEAVY_LIBRARIES`.

    Imports within functions count in tests, whose functions all run, and not in the project.
    """
    own_fixtures = path.with_name("conftest.py")
    if own_fixtures.is_file() and own_fixtures != path and is_heavy(own_fixtures):
        return True
    return _reaches_heavy(path, seen=set())


def _reaches_heavy(path: Path, seen: set[Path]) -> bool:
    seen.add(path)
    for name in _imports(path):
        if name.split(".")[0] in HEAVY_LIBRARIES:
            return True
        for found in _files(name, path.parent):
            if found not in seen and _reaches_heavy(found, seen):
                return True
    return False


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere = path.is_relative_to(ROOT / "tests")
    names = set()
    for node in ast.walk(tree) if everywhere else _module_level(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _module_level(tree: ast.Module) -> list[ast.stmt]:
    """Returns the statements that run on import, those under `if TYPE_CHECKING` left out."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.If):
            if ast.unparse(node.test) != "TYPE_CHECKING":
                found += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try | ast.With):
            found += node.body
        else:
            found.append(node)
    return found


def _files(name: str, folder: Path) -> list[Path]:
    """Returns the project's files that importing a dotted name runs: packages on the way too."""
    parts = name.split(".")
    found = []
    for base in (ROOT, folder):
        for end in range(1, len(parts) + 1):
            place = base.joinpath(*parts[:end])
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file():
                    found.append(path)
    return found
