"""The installable package: what `make setup` and Beam workers (`--setup_file`) install."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
TOP_LEVEL = (
    "components",
    "metrics",
    "pipeline",
    "schema",
    "serving",
    "sources",
    "storage",
    "trainer",
    "transform",
)
DATA_FILES = ("pbtxt", "json", "csv", "txt", "html", "css", "js", "svg")


def requirements(name: str) -> list[str]:
    """The requirements that `requirements/<name>.in` lists by hand."""
    lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and line.strip()[0] not in "#-"]


setup(
    name="movielens-tfx-recommender",
    version="0.1.0",
    description="A TFX pipeline that turns MovieLens ratings into a served recommender.",
    python_requires=">=3.10,<3.11",
    packages=find_packages(
        str(ROOT), include=[pattern for top in TOP_LEVEL for pattern in (top, f"{top}.*")]
    ),
    py_modules=["preflight"],
    package_data={"": [f"**/*.{ending}" for ending in DATA_FILES]},
    install_requires=requirements("runtime"),
    extras_require={"dev": requirements("dev"), "serving": requirements("serving")},
)
