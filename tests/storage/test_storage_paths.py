"""Paths: URLs and odd names, joining and listing, publishing whole files or nothing."""

import errno
import fcntl
import gc
import multiprocessing
import os
import stat
import sys

import pytest

from storage import paths
from storage.errors import PathError, cannot_write

HOSTILE = (
    "out [1]",
    "runs*",
    "a?b",
    "100%",
    "it's",
    'say "hi"',
    "blank s",
    "🎬 films",
    "{a,b}",
    "~",
)


@pytest.mark.parametrize(
    "value",
    ["gs://b/x", "s3://b", "http://h/x", "file:///tmp/x", "HDFS://n/x", "gs:/b/x", "az://c"],
)
def test_urls_are_recognised_and_refused_in_words(value):
    assert paths.is_url(value)
    with pytest.raises(PathError, match=r"--output is a URL\n  expected: a path on this machine"):
        paths.local_path(value, "--output")


@pytest.mark.parametrize("value", ["out", "/tmp/x", "./gs:/b", "a:b", "c:/x", "a/gs://b", *HOSTILE])
def test_local_paths_are_no_urls(value):
    assert not paths.is_url(value)
    assert str(paths.local_path(value, "--output")) == str(paths.Path(value))  # type: ignore[attr-defined]


def test_bytes_that_are_not_utf8_are_refused_and_shown_escaped():
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(PathError, match=r"--data-dir is not UTF-8") as caught:
        paths.local_path(name, "--data-dir")
    assert r"'caf\xe9'" in str(caught.value)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\x1b[31m"])
def test_control_characters_are_refused(value):
    with pytest.raises(PathError, match="control characters"):
        paths.local_path(value, "--output")


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder():
    with pytest.raises(PathError, match="--output-dir is empty"):
        paths.local_path("", "--output-dir")


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("/", "a"), "/a"),
        (("a/", "/b", "c"), "a/b/c"),
        (("gs://b/x/", "y"), "gs://b/x/y"),
        (("/a",), "/a"),
        (("/",), "/"),
    ],
)
def test_join_puts_one_slash_at_each_seam(parts, joined):
    assert paths.join(*parts) == joined


@pytest.mark.parametrize("name", HOSTILE)
def test_no_character_of_a_path_is_a_pattern(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (tmp_path / "out 1").mkdir()
    paths.write_text(folder / f"{name}.txt", "x")
    assert paths.list_names(folder) == [f"{name}.txt"]


def test_listing_what_is_no_folder_gives_nothing(tmp_path):
    assert paths.list_names(tmp_path / "missing") == []
    (tmp_path / "file").touch()
    assert paths.list_names(tmp_path / "file") == []


def test_a_file_is_published_whole_and_nothing_else_is_left(tmp_path):
    with paths.publish_file(tmp_path / "a.txt") as stream:
        stream.write(b"new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert paths.list_names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file_as_it_was(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write():
        with paths.publish_file(target) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert target.read_text() == "old"
    assert paths.list_names(tmp_path) == ["a.txt"]


def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one_and_nothing_else(tmp_path):
    target, traced, finished, number = tmp_path / "x", [], False, 0
    target.write_text("old")

    def trace(frame, event, _):
        if frame.f_code.co_filename != paths.__file__:
            return None
        if event == "line":
            traced.append(frame.f_lineno)
            if len(traced) == number:
                raise KeyboardInterrupt
        return trace

    while not finished:
        traced.clear()
        number += 1
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with paths.publish_file(target) as stream:
                stream.write(b"new")
            finished = len(traced) < number
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        gc.collect()
        assert list(tmp_path.iterdir()) == [target]
        assert target.read_text() in ("old", "new")
    assert number > 20


def test_a_temporary_file_that_cannot_be_locked_is_closed_and_removed(tmp_path, monkeypatch):
    streams = []

    def refuse(stream, _):
        streams.append(stream)
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="no locks"):
        paths.write_text(tmp_path / "x", "new")
    assert [stream.closed for stream in streams] == [True]
    assert not list(tmp_path.iterdir())


def test_a_link_at_the_target_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to("there/real.txt")
    paths.write_text(link, "one")
    paths.write_text(link, "two")
    assert link.is_symlink()
    assert (tmp_path / "there" / "real.txt").read_text() == "two"
    assert paths.list_names(tmp_path / "there") == ["real.txt"]


def test_a_folder_or_pipe_at_the_target_is_refused_and_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    with pytest.raises(PathError, match="is a folder"):
        paths.write_text(tmp_path / "folder", "x")
    assert paths.list_names(tmp_path / "folder") == ["kept"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathError, match="no ordinary file"):
        paths.write_text(tmp_path / "pipe", "x")


def test_permissions_are_the_old_files_or_those_of_a_new_one(tmp_path):
    (tmp_path / "plain").touch()
    (tmp_path / "old").touch(mode=0o600)
    for name in ("old", "new"):
        paths.write_text(tmp_path / name, "x")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes["old"] == 0o600
    assert modes["new"] == modes["plain"]


def test_the_longest_name_there_can_be_is_published(tmp_path):
    name = "n" * 255
    paths.write_text(tmp_path / name, "x")
    assert paths.list_names(tmp_path) == [name]


def _die_while_writing(target):
    with paths.publish_file(target) as stream:
        stream.write(b"half")
        stream.flush()
        os._exit(9)


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    target = tmp_path / "a.txt"
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(target,))
    process.start()
    process.join(30)
    assert len(paths.list_names(tmp_path)) == 1
    with paths.publish_file(target) as slow:
        slow.write(b"slow")
        paths.write_text(target, "quick")
        assert len(paths.list_names(tmp_path)) == 2
    assert target.read_text() == "slow"
    assert paths.list_names(tmp_path) == ["a.txt"]


def test_errors_of_the_disk_have_messages():
    assert "the disk is full" in str(cannot_write("/x", OSError(28, "No space left on device")))
    assert "Permission denied" in str(cannot_write("/x", OSError(13, "Permission denied")))


def make_pipe(path):
    os.mkfifo(path)


def make_folder(path):
    path.mkdir()


def make_endless(path):
    path.symlink_to("/dev/zero")


def make_huge(path):
    path.touch()
    os.truncate(path, 1 << 40)


def make_deep(path):
    path.write_text("[" * 100_000)


def make_number(path):
    path.write_text("1" * 10_000)


def make_bytes(path):
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "make", [make_pipe, make_folder, make_endless, make_huge, make_deep, make_number, make_bytes]
)
def test_json_that_cannot_be_read_is_an_error_and_never_waited_for(make, tmp_path):
    make(tmp_path / "kind.json")
    with pytest.raises((OSError, ValueError)):
        paths.read_json(tmp_path / "kind.json")
