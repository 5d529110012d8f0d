"""What all tests share: tiers, profiles of hypothesis, golden files, one run of the pipeline."""

import contextlib
import fcntl
import os
import random
import time
from pathlib import Path

# Before TensorFlow is imported anywhere: its chatter hides what a test prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis_profiles
import pytest
import sample_run
import tiers

FUZZ_SEED, FUZZ_UNTIL = "FUZZ_SEED", "FUZZ_UNTIL"
"""Environment of a round of `make fuzz`: its seed, and when it ends (seconds since 1970)."""


def pytest_addoption(parser):
    parser.addoption(
        "--tier",
        choices=tiers.TIERS,
        default=tiers.DEFAULT,
        help="fast: no TensorFlow, no pipeline; standard: not what is marked exhaustive; all",
    )
    parser.addoption(
        "--regenerate-goldens",
        action="store_true",
        help="rewrite the golden files from what the code does now, then look at the diff",
    )


def pytest_configure(config):
    """Loads the profile before any test module is imported: settings are made from it then."""
    hypothesis_profiles.load_profile(config.getoption("--tier"))


@pytest.fixture
def golden(request):
    """Compares text with a golden file, or writes the file under --regenerate-goldens."""

    def check(path, text):
        if request.config.getoption("--regenerate-goldens"):
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        folder = path.parent.relative_to(request.config.rootpath)
        assert text == expected, (
            f"{path.name} is not what the code makes. If the change is meant, run\n"
            f"  .venv/bin/python -m pytest {folder} --regenerate-goldens\nand commit the diff."
        )

    return check


def pytest_collection_modifyitems(config, items):
    """Keeps the tests of the chosen tier.

    In a round of `make fuzz` shuffles the files: none is always the one cut off.
    """
    tier = config.getoption("--tier")
    kept = [item for item in items if _belongs(item, tier)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    if FUZZ_SEED in os.environ:
        draw = random.Random(int(os.environ[FUZZ_SEED]))
        keys = {path: draw.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: keys[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Skips what is left of a round of `make fuzz` when its time is up."""
    if time.time() > float(os.environ.get(FUZZ_UNTIL, "inf")):
        pytest.skip("the time of make fuzz is up")


def pytest_ignore_collect(collection_path, config):
    """Leaves what loads TensorFlow out of the fast tier before it is imported."""
    if config.getoption("--tier") != "fast":
        return None
    if collection_path.is_dir():
        fixtures = collection_path / "conftest.py"
        return (fixtures.is_file() and tiers.is_heavy(fixtures)) or None
    return (collection_path.suffix == ".py" and tiers.is_heavy(collection_path)) or None


def _belongs(item, tier):
    exhaustive = item.get_closest_marker("exhaustive") is not None
    if tier == "fast":
        heavy = tiers.HEAVY_FIXTURES.intersection(item.fixturenames)
        return not exhaustive and not heavy and item.get_closest_marker("slow") is None
    return tier == "all" or not exhaustive


@pytest.fixture(scope="session")
def sample_output(tmp_path_factory):
    """The output directory of one run on a small sample; its raw files are in `data/`.

    All tests share it, those of other workers too, so nothing in it may be changed.
    SAMPLE_OUTPUT names one that is there already, to spare the run while working here.
    """
    if there := os.environ.get("SAMPLE_OUTPUT"):
        return Path(there)
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    output = shared / "sample-run" / "output"
    with _locked(shared / "sample-run.lock"):
        if not (output / "summary.json").exists():
            sample_run.run(output)
    return output


@contextlib.contextmanager
def _locked(path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
