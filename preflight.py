"""Checks, before anything is imported, that this interpreter can run a program of the project.

Standard library only, and written so that any Python from 3.6 on can read it.
"""

import sys
from pathlib import Path

PYTHON = (3, 10)
ROOT = Path(__file__).resolve().parent
_FEW = 3
"""So many missing packages are named; of more, as before the set-up, the number is given."""

WRONG_USE = 2
"""The exit code of a program that was started with another interpreter than the project's."""


def require(program: str, *kinds: str, target: str = "", packages: bool = True) -> None:
    """Ends the process with two lines on stderr where this interpreter cannot run a program.

    Where it can, what breaks libraries is taken out of the environment.

    Args:
      program: what is written after the interpreter's name, as "-m serving".
      kinds: requirements files that must be met, as "serving".
      target: the make target that does the same; empty where there is none.
      packages: False where the standard library is enough, as it is for --help.

    Raises:
      SystemExit: with code 2, if something is missing.
    """
    found = problem(kinds, packages=packages)
    if found:
        sys.stderr.write(f"{found}\n{how_to_start(program, target)}\n")
        sys.exit(WRONG_USE)
    from storage import environment

    environment.print_to_stderr(environment.prepare())


def how_to_start(program: str, target: str = "") -> str:
    """One sentence: which commands start a program with the project's own interpreter."""
    both = f"; `make {target}` does both" if target else ""
    return f"Run `make setup` in {ROOT} once, then `.venv/bin/python {program}` there{both}."


def problem(kinds: "tuple[str, ...]", packages: bool = True) -> str:
    """Why this interpreter cannot run a program, or the empty string."""
    version = sys.version_info[:2]
    if version < PYTHON or (version > PYTHON and packages):
        found = ".".join(map(str, sys.version_info[:3]))
        return f"Python 3.10 is needed; this is {found} ({sys.executable})."
    if not packages:
        return ""
    if sys.flags.optimize > 1:
        return (
            "Python was started with -OO or PYTHONOPTIMIZE=2, which removes texts that the "
            "libraries read: leave that out."
        )
    files = [ROOT / "requirements" / f"{kind}.in" for kind in kinds]
    # An installed package has no requirements beside it: its installer has met them.
    return what_is_missing([file for file in files if file.is_file()])


def what_is_missing(files: "list[Path]") -> str:
    """What the installed packages lack of hand-written requirements files.

    Reads the packages' metadata only: importing TensorFlow to learn the same takes seconds.

    Returns:
        One sentence, or the empty string where nothing is missing.
    """
    from importlib import metadata  # not in Python 3.6, which gets as far as the version check

    missing, wrong = [], []
    for name, pinned in _requirements(files):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if not _importable(name):
                missing.append(name)
            continue
        fits = version.startswith(pinned[:-1]) if pinned.endswith("*") else version == pinned
        if pinned and not fits:
            wrong.append(f"{name} is {version}, expected {pinned}")
    if len(missing) > _FEW:
        return f"{len(missing)} packages that it needs are not installed."
    if missing:
        return f"These packages are not installed: {', '.join(missing)}."
    if wrong:
        return f"The installed packages do not fit: {'; '.join(wrong)}."
    return ""


def _requirements(files: "list[Path]") -> "list[tuple[str, str]]":
    """Name and pinned version (empty: any) of each line of requirements files."""
    found = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith(("#", "-")):
                continue
            name = line.replace("=", " ").replace("<", " ").replace(">", " ").split()[0]
            found.append((name, line.partition("==")[2].strip()))
    return found


def _importable(name: str) -> bool:
    """Whether a package is there under another distribution's name, as of tensorflow-cpu."""
    from importlib.util import find_spec

    return find_spec(name.replace("-", "_")) is not None
