"""What the fast tier leaves out."""

import pytest
import tiers


def file(folder, text, name="module.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "import tensorflow as tf",
        "from tfx import types",
        "try:\n    import apache_beam\nexcept ImportError:\n    pass",
        "from trainer import run",
        "from trainer.run import run_fn",
    ],
)
def test_a_module_that_loads_tensorflow_is_heavy(tmp_path, text):
    assert tiers.is_heavy(file(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "import numpy",
        "from metrics import ranking",
        "from sources.errors import InputError",
        "if TYPE_CHECKING:\n    import tensorflow",
        "def later():\n    import tensorflow",
    ],
)
def test_a_module_that_does_not_is_light(tmp_path, text):
    assert not tiers.is_heavy(file(tmp_path, text))


def test_an_import_within_a_test_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(tiers, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    assert tiers.is_heavy(file(tmp_path / "tests", "def test_it():\n    import tensorflow"))


def test_a_conftest_that_loads_it_makes_its_folder_heavy(tmp_path):
    file(tmp_path, "import tensorflow", "conftest.py")
    assert tiers.is_heavy(file(tmp_path, "import json"))
