"""A serving folder has a kind, and a model of another kind does not replace what is in it."""

import json
import os
import shutil

import pytest
from test_pusher_publish import contents, write_model

from components.pusher.kind import Kind, read_kind, write_kind
from components.pusher.publish import Origin, Reason, publish, tree_digest

REAL = Kind("ml-100k", "random", 42)
SAMPLE = Kind("sample", "random", 42)
OWN = Kind("shop", "random", 42, data_dir="/srv/ratings")


@pytest.fixture
def push(tmp_path):
    """Pushes another model each time."""
    count = iter(range(1, 100))

    def push(kind, **origin):
        number = next(count)
        model = write_model(tmp_path / f"model-{number}", b"%d" % number)
        return publish(
            model, tmp_path / "serving", clock=lambda: 100 * number, origin=Origin(kind, **origin)
        )

    return push


def served(tmp_path):
    return sorted(p.name for p in (tmp_path / "serving").iterdir() if p.name.isdecimal())


def test_first_push_records_the_kind_beside_the_version(push, tmp_path):
    assert push(REAL).reason is Reason.PUSHED
    assert json.loads((tmp_path / "serving" / "kind.json").read_text()) == {
        "schema_version": 1,
        "dataset": "ml-100k",
        "split_method": "random",
        "split_seed": 42,
    }
    assert sorted(p.name for p in (tmp_path / "serving").iterdir()) == ["100", "kind.json"]


@pytest.mark.parametrize(
    "other",
    [SAMPLE, Kind("ml-100k", "temporal", 42), Kind("ml-100k", "random", 7), OWN],
    ids=["data set", "split method", "split seed", "own data"],
)
def test_a_model_of_another_kind_is_not_pushed_and_nothing_changes(push, tmp_path, other):
    push(REAL)
    before = contents(tmp_path / "serving")
    done = push(other)
    assert (done.reason, done.version, done.path) == (Reason.OTHER_KIND, None, None)
    assert REAL.describe() in done.explanation
    assert other.describe() in done.explanation
    assert "--output-dir" in done.explanation
    assert contents(tmp_path / "serving") == before


def test_replace_is_how_another_kind_is_meant(push, tmp_path):
    push(SAMPLE)
    assert "--replace" in push(REAL).explanation
    assert push(REAL, replace=True).reason is Reason.PUSHED
    assert read_kind(tmp_path / "serving") == REAL
    assert push(REAL).reason is Reason.PUSHED


@pytest.mark.parametrize("held", [REAL, OWN])
def test_a_sample_never_replaces_anything_else_not_even_on_request(push, tmp_path, held):
    push(held)
    done = push(SAMPLE, replace=True)
    assert done.reason is Reason.OTHER_KIND
    assert "never" in done.explanation
    assert "--replace" not in done.explanation
    assert served(tmp_path) == ["100"]


def test_a_sample_may_replace_a_sample_of_another_seed(push):
    push(SAMPLE)
    other = Kind("sample", "random", 7)
    assert push(other).reason is Reason.OTHER_KIND
    assert push(other, replace=True).reason is Reason.PUSHED


@pytest.mark.parametrize("folder", ["/srv/ratings", "/elsewhere", None])
def test_where_own_data_lies_is_no_part_of_its_kind(push, folder):
    push(OWN)
    assert push(Kind("shop", "random", 42, data_dir=folder)).reason is Reason.PUSHED


@pytest.mark.parametrize("record", [None, "", "[]", '{"schema_version": 2}', '{"dataset": 1}'])
def test_versions_of_an_unknown_kind_are_replaced_on_request_only(push, tmp_path, record):
    write_model(tmp_path / "serving" / "50")
    if record is not None:
        (tmp_path / "serving" / "kind.json").write_text(record)
    assert push(REAL).reason is Reason.OTHER_KIND
    assert push(SAMPLE, replace=True).reason is Reason.OTHER_KIND
    assert served(tmp_path) == ["50"]
    assert push(REAL, replace=True).reason is Reason.PUSHED


def test_after_going_back_to_a_version_of_another_kind_both_records_count(push, tmp_path):
    push(SAMPLE)
    shutil.rmtree(push(REAL, replace=True).path)
    assert push(SAMPLE).reason is Reason.OTHER_KIND
    assert push(REAL).reason is Reason.OTHER_KIND
    assert push(REAL, replace=True).reason is Reason.PUSHED


def test_an_empty_folder_keeps_the_kind_it_was_given(push, tmp_path):
    (tmp_path / "serving").mkdir()
    write_kind(tmp_path / "serving", REAL)
    assert push(SAMPLE).reason is Reason.OTHER_KIND
    assert push(REAL).reason is Reason.PUSHED


def test_the_run_travels_with_the_version_and_does_not_make_it_another_model(push, tmp_path):
    run = {"run": "r1", "metrics": {"rmse": 0.9, "mae": None}, "blessed": True}
    done = push(OWN, run=run)
    record = json.loads((done.path / "assets.extra" / "run.json").read_text())
    assert record == {
        "schema_version": 1,
        **run,
        "kind": {
            "schema_version": 1,
            "dataset": "shop",
            "split_method": "random",
            "split_seed": 42,
        },
        "pushed_at": 100,
    }
    again = publish(
        tmp_path / "model-1", tmp_path / "serving", clock=lambda: 900, origin=Origin(OWN)
    )
    assert (again.reason, again.version) == (Reason.UP_TO_DATE, 100)
    assert tree_digest(done.path) == tree_digest(tmp_path / "model-1")


def test_a_version_whose_record_cannot_be_written_is_not_there(push, tmp_path, monkeypatch):
    from components.pusher import publish as publishing

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "write_record", full)
    with pytest.raises(publishing.InputError, match="no space left"):  # type: ignore[attr-defined]
        push(REAL)
    assert served(tmp_path) == []


@pytest.mark.parametrize("kind", [REAL, OWN])
def test_a_kind_is_read_as_it_was_written(tmp_path, kind):
    write_kind(tmp_path, kind)
    found = read_kind(tmp_path)
    assert (found, found.data_dir) == (kind, kind.data_dir)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("[" * 100_000)])
def test_a_kind_that_cannot_be_read_counts_as_none_and_stops_nothing(push, tmp_path, make):
    push(REAL)
    record = tmp_path / "serving" / "kind.json"
    record.unlink()
    make(record)
    assert read_kind(tmp_path / "serving") is None
    assert REAL.describe() in push(SAMPLE, replace=True).explanation
