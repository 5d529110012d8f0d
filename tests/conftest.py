"""What all tests share: the option that rewrites golden files."""

import os

# Before TensorFlow is imported anywhere: its chatter hides what a test prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest


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
