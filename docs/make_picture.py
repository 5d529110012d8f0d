"""Runs the pipeline and draws what it printed: `.venv/bin/python docs/make_picture.py [OPTIONS]`.

Writes docs/run.svg. Options go to local_runner.py; paths of this machine are shortened.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
_COLUMNS = 104
"""Only the notice of the data's licence has longer lines."""

_COLORS = (
    (r"^✓|✓$", "green"),
    (r"^○", "cyan"),
    (r"✗", "bold red"),
    (r"\bblessed and pushed\b", "bold green"),
    (r"((upper|lower) end )?at (least|most) [\d.]+", "dim"),
    (
        r"^(data|ratings|new in test|dropped|repaired|missing|metadata|metrics|verdict|serving"
        r"|report|summary|next|left out)\b",
        "bold",
    ),
    (r"^[a-z0-9_]+(?= +-?\d\.\d{4})", "bold"),
)


def record(options: list[str]) -> str:
    """Runs the pipeline in a new temporary folder; returns what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "local_runner.py"), *options]
        done = subprocess.run(
            [*command, "--output-dir", "output"],
            cwd=folder,
            env={**os.environ, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout.replace(str(Path(folder).resolve()) + "/", "")
    for variable in ("MOVIELENS_DIR", "MOVIES_METADATA_DIR"):
        if value := os.environ.get(variable):
            text = text.replace(value, f"${variable}")
    # What a run in the project's own output directory says.
    text = text.replace("make serve ARGS='--model-dir output/serving_model'", "make serve")
    return "$ make run\n" + text


def draw(text: str, path: Path) -> None:
    """Writes the text as a picture of a terminal."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    for line in text.splitlines():
        styled = Text(line)
        for pattern, style in _COLORS:
            for match in re.finditer(pattern, line):
                styled.stylize(style, *match.span())
        console.print(styled)
    picture = console.export_svg(title="MovieLens recommender pipeline")
    # Rich would have the font fetched from the network.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    path.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    draw(record(sys.argv[1:]), ROOT / "docs" / "run.svg")
