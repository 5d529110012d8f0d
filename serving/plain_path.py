"""A path that TensorFlow takes as it is: it reads some characters as parts of a pattern."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PLAIN = re.compile(r"[\w./ -]*", re.ASCII)


@contextlib.contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Gives a path to the same folder that has no brackets, stars, question marks and the like.

    Args:
      path: of a folder.

    Yields:
      The path itself if it is plain; else that of a link, which is gone when the block ends.
    """
    if _PLAIN.fullmatch(str(path)):
        yield path
        return
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(dir=usual if _PLAIN.fullmatch(usual) else "/tmp") as folder:
        link = Path(folder) / "folder"
        link.symlink_to(path.absolute())
        yield link
