"""What all tests share: the profiles of hypothesis and the option that rewrites golden files."""

import os
import random
import time

# Before TensorFlow is imported anywhere: its chatter hides what a test prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis_profiles
import pytest

# Before any test module is imported: settings are made from the profile loaded then.
hypothesis_profiles.load_profile()

FUZZ_SEED, FUZZ_UNTIL = "FUZZ_SEED", "FUZZ_UNTIL"
"""Environment of a round of `make fuzz`: its seed, and when it ends (seconds since 1970)."""


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate-goldens",
        action="store_true",
        help="write the golden files anew from what the code does now, then look at the diff",
    )


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
            f"  python -m pytest {folder} --regenerate-goldens\nand commit the diff."
        )

    return check


def pytest_collection_modifyitems(items):
    """Shuffles the files in a round of `make fuzz`: none is always the one cut off."""
    if FUZZ_SEED in os.environ:
        draw = random.Random(int(os.environ[FUZZ_SEED]))
        keys = {path: draw.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: keys[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Skips what is left of a round of `make fuzz` when its time is up."""
    if time.time() > float(os.environ.get(FUZZ_UNTIL, "inf")):
        pytest.skip("the time of make fuzz is up")
