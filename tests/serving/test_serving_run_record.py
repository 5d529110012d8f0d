"""Reading a version's run record; a missing or damaged one is empty."""

import json
import os

import pytest

from serving.errors import ModelError
from serving.run_record import RunRecord, read_run_record
from serving.version_folder import read_json


def record(folder, text):
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "run.json").write_bytes(text)
    return folder


def test_numbers_and_the_name_of_the_data_are_read(tmp_path):
    document = {
        "dataset": {"name": "ml-100k", "source": "x"},
        "metrics": {"rmse": 0.9, "rows": 12, "none": None, "text": "1", "yes": True},
    }
    found = read_run_record(record(tmp_path, json.dumps(document).encode()))
    assert found == RunRecord("ml-100k", {"rmse": 0.9, "rows": 12.0})


def test_a_missing_record_is_empty(tmp_path):
    assert read_run_record(tmp_path) == RunRecord()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"metrics": [], "dataset": 3}',
        b'{"metrics": {"rmse": NaN}}', b'{"metrics": {"rmse": -Infinity}}',
        b'{"metrics": {"rmse": 1e999}}', b'{"metrics": {"rmse": ' + b"9" * 400 + b"}}",
        b'{"metrics": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"metrics": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"dataset": {"name": "x"}}' + b" " * (2 << 20),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_damaged_record_is_empty(text, tmp_path):
    assert read_run_record(record(tmp_path, text)) == RunRecord()


def test_a_pipe_or_a_device_in_its_place_is_not_waited_for(tmp_path):
    folder = record(tmp_path, b"")
    path = folder / "assets.extra" / "run.json"
    path.unlink()
    os.mkfifo(path)
    assert read_run_record(folder) == RunRecord()
    path.unlink()
    path.symlink_to("/dev/zero")
    assert read_run_record(folder) == RunRecord()
    with pytest.raises(ModelError, match="no ordinary file"):
        read_json(path, 100)
