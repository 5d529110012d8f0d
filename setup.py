"""Gives the package its dependencies; pyproject.toml has everything else.

`make setup` installs the package, Beam workers do (`--setup_file`).
"""

from pathlib import Path

from setuptools import setup

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"


def requirements(name: str) -> list[str]:
    """Returns the requirements that `requirements/<name>.in` lists by hand."""
    lines = (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and line.strip()[0] not in "#-"]


setup(
    install_requires=requirements("runtime"),
    extras_require={"dev": requirements("dev"), "serving": requirements("serving")},
)
