"""The report's own command: what it says where there is nothing that it can show."""

import sqlite3

import pytest

from components.report.build import write_report
from components.report.cli import main
from components.report.sources import Sources, read_json
from storage.errors import PathError


def write_damaged(store):
    store.write_bytes(b"no database" * 500)


def write_another_programs(store):
    with sqlite3.connect(store) as database:
        database.execute("CREATE TABLE mine (a)")


def write_empty(store):
    store.touch()


@pytest.mark.parametrize("write", [write_damaged, write_another_programs, write_empty])
def test_a_store_that_cannot_be_read_ends_with_a_message_and_is_left_alone(write, tmp_path, capsys):
    store = tmp_path / "metadata.sqlite"
    write(store)
    before = store.read_bytes()
    assert main(["--output-dir", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "the metadata store cannot be read" in printed
    assert str(store) in printed
    assert "CREATE TABLE" not in printed
    assert "--reset-cache" in printed
    assert store.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.sqlite"]


def test_a_folder_without_a_run_ends_with_a_message(tmp_path, capsys):
    assert main(["--output-dir", str(tmp_path)]) == 2
    assert "no run was found" in capsys.readouterr().err


def test_the_page_takes_no_folders_place_and_leaves_a_link(tmp_path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(PathError, match="is a folder"):
        write_report(Sources(), tmp_path / "index.html")
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    write_report(Sources(), tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!")


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, '{"a": "\xe9"}', "[]"], ids=["cut", "deep", "Latin-1", "a list"]
)
def test_a_damaged_summary_is_as_none(text, tmp_path):
    (tmp_path / "summary.json").write_text(text, encoding="latin-1")
    assert read_json(tmp_path / "summary.json") == {}
