"""Runs the pipeline on this machine: `python local_runner.py --help`.

Written so that any Python from 3.6 on can read this file and say what is missing.
"""

import sys
from pathlib import Path

PYTHON = (3, 10)
ROOT = Path(__file__).resolve().parent
HOW_TO = (
    f"Run `make setup` in {ROOT} once, then `.venv/bin/python local_runner.py` there; "
    "`make run` does both."
)


def what_is_missing(requirements: Path) -> str:
    """What the installed packages lack of a hand-written requirements file.

    Reads the packages' metadata only: importing TensorFlow to learn the same takes seconds.

    Returns:
        One sentence, or the empty string where nothing is missing.
    """
    from importlib import metadata  # not in Python 3.6, which gets as far as the version check

    missing, wrong = [], []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith(("#", "-")):
            continue
        name = line.replace("=", " ").replace("<", " ").replace(">", " ").split()[0]
        pinned = line.partition("==")[2].strip()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if pinned and version != pinned:
            wrong.append(f"{name} is {version}, expected {pinned}")
    if missing:
        return f"These packages are not installed: {', '.join(missing)}."
    if wrong:
        return f"The installed packages do not fit: {'; '.join(wrong)}."
    return ""


def preflight(arguments: "list[str]") -> str:
    """Why the pipeline cannot start with this interpreter, or the empty string.

    Help needs the standard library only, so it asks for no packages.
    """
    version = sys.version_info[:2]
    wants_help = not {"-h", "--help"}.isdisjoint(arguments)
    if version < PYTHON or (version > PYTHON and not wants_help):
        found = ".".join(map(str, sys.version_info[:3]))
        return f"Python 3.10 is needed; this is {found} ({sys.executable})."
    return "" if wants_help else what_is_missing(ROOT / "requirements" / "runtime.in")


if __name__ == "__main__":
    problem = preflight(sys.argv[1:])
    if problem:
        sys.stderr.write(f"{problem}\n{HOW_TO}\n")
        sys.exit(2)
    from pipeline.cli import main

    sys.exit(main())
