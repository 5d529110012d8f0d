import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from components.pusher import publish as publishing
from components.pusher.publish import Reason, newest_version, publish, tree_digest
from sources.errors import InputError

ROOT = Path(publishing.__file__).parents[2]


def write_model(folder, weights=b"weights"):
    """Writes files laid out as a SavedModel; publishing never looks into them."""
    files = {
        "saved_model.pb": b"graph" * 1000,
        "fingerprint.pb": b"print",
        "variables/variables.index": b"index",
        "variables/variables.data-00000-of-00001": weights * 1000,
        "assets/vocabulary.txt": b"a\nb\n",
    }
    for name, content in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path(folder)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "serving" / "model"


MANIFEST = "assets.extra/manifest.json"


def contents(folder):
    """Every file but the manifest, which a pushed version has and a model does not."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    found.pop(MANIFEST, None)
    return found


def test_a_first_push_copies_the_model_to_a_version_named_by_the_time(model, destination):
    done = publish(model, destination, clock=lambda: 1_700_000_000.9)
    assert done == publishing.Publication(Reason.PUSHED, 1_700_000_000, destination / "1700000000")
    assert contents(done.path) == contents(model)
    assert [child.name for child in destination.iterdir()] == ["1700000000"]


def test_an_identical_model_is_not_pushed_again(model, destination, tmp_path):
    first = publish(model, destination, clock=lambda: 100)
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    again = publish(copy, destination, clock=lambda: 200)
    assert (again.reason, again.version, again.path) == (Reason.UP_TO_DATE, 100, first.path)
    assert [child.name for child in destination.iterdir()] == ["100"]


def test_a_changed_model_becomes_a_new_version_and_the_old_one_stays(model, destination, tmp_path):
    old = publish(model, destination, clock=lambda: 100)
    before = contents(old.path)
    new = publish(write_model(tmp_path / "new", b"others"), destination, clock=lambda: 200)
    assert (new.reason, new.version) == (Reason.PUSHED, 200)
    assert contents(old.path) == before


def test_going_back_to_an_older_model_is_a_new_version(model, destination, tmp_path):
    publish(model, destination, clock=lambda: 100)
    publish(write_model(tmp_path / "new", b"others"), destination, clock=lambda: 200)
    back = publish(model, destination, clock=lambda: 300)
    assert (back.reason, back.version) == (Reason.PUSHED, 300)


@pytest.mark.parametrize("now", [50, 200])
def test_versions_grow_even_when_the_clock_stands_still_or_goes_back(
    now, model, destination, tmp_path
):
    publish(model, destination, clock=lambda: 200)
    new = publish(write_model(tmp_path / "new", b"others"), destination, clock=lambda: now)
    assert new.version == 201


def test_versions_are_compared_as_numbers_and_other_names_are_left_alone(model, destination):
    for name in ("9", "10", "notes", "1.5"):
        (destination / name).mkdir(parents=True)
    assert newest_version(destination) == 10
    assert publish(model, destination, clock=lambda: 0).version == 11
    assert {child.name for child in destination.iterdir()} == {"9", "10", "notes", "1.5", "11"}


def test_a_missing_destination_has_no_version(destination):
    assert newest_version(destination) is None


def test_a_damaged_newest_version_is_pushed_over_by_a_new_one(model, destination):
    damaged = publish(model, destination, clock=lambda: 100).path
    (damaged / "variables" / "variables.index").unlink()
    assert publish(model, destination, clock=lambda: 200).reason is Reason.PUSHED


def test_a_deleted_version_is_pushed_again(model, destination):
    shutil.rmtree(publish(model, destination, clock=lambda: 100).path)
    assert publish(model, destination, clock=lambda: 200).reason is Reason.PUSHED


def test_a_directory_without_a_saved_model_is_refused(tmp_path, destination):
    with pytest.raises(FileNotFoundError, match=r"expected a SavedModel.*saved_model\.pb"):
        publish(tmp_path, destination)
    assert not destination.exists()


def test_the_digest_sees_names_contents_and_borders_but_not_the_fingerprint(tmp_path):
    def digest_of(files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return tree_digest(folder)

    base = digest_of({"a": b"1", "b": b"2"})
    assert digest_of({"a": b"1", "b": b"2", "fingerprint.pb": b"random"}) == base
    others = [
        {"a": b"1", "c": b"2"},
        {"a": b"12", "b": b""},
        {"a": b"1"},
        {"a": b"1", "d/b": b"2"},
        {"a": b"2", "b": b"1"},
    ]
    digests = {digest_of(files) for files in others}
    assert len(digests) == len(others)
    assert base not in digests


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from components.pusher import publish

    calls_left = int(sys.argv[3])
    sync = os.fsync

    def killing_fsync(descriptor):
        global calls_left
        if calls_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        calls_left -= 1
        sync(descriptor)

    os.fsync = killing_fsync
    publish.publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("syncs", range(11))
def test_a_push_killed_at_any_point_leaves_no_half_version_and_the_next_one_works(
    syncs, model, destination, tmp_path
):
    old = publish(write_model(tmp_path / "old", b"older"), destination, clock=lambda: 100)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), model, destination, str(syncs)],
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    visible = {child.name for child in destination.iterdir() if child.name.isdecimal()}
    renamed = visible - {old.path.name}
    assert all(tree_digest(destination / name) == tree_digest(model) for name in renamed)
    # 5 files, the manifest, the version's directory and its 3 subdirectories; then the rename.
    assert bool(renamed) == (syncs == 10)
    assert all((destination / name / MANIFEST).is_file() for name in renamed)

    done = publish(model, destination)
    assert done.reason is (Reason.UP_TO_DATE if renamed else Reason.PUSHED)
    assert contents(done.path) == contents(model)
    assert {child.name for child in destination.iterdir()} == {"100", done.path.name}


def test_the_manifest_names_every_other_file_with_its_size_and_hash(model, destination):
    path = publish(model, destination).path
    manifest = json.loads((path / MANIFEST).read_text())
    assert manifest == {
        "schema_version": 1,
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents(model).items()
        },
    }


def test_run_record_and_manifest_do_not_make_another_model(model, destination):
    path = publish(model, destination, clock=lambda: 100).path
    for name in ("manifest.json", "run.json"):
        (path / "assets.extra" / name).write_text("{}")
    assert publish(model, destination, clock=lambda: 200).reason is Reason.UP_TO_DATE


def _link(path):
    path.symlink_to("/nowhere")


def _link_to_a_folder(path):
    (path.parent / "kept").mkdir()
    (path.parent / "kept" / "file").write_text("kept")
    path.symlink_to(path.parent / "kept")


@pytest.mark.parametrize(
    "make", [_link, _link_to_a_folder, Path.mkdir, Path.touch, os.mkfifo], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("name", [".tmp-push-x", ".tmp-push-200"])
def test_whatever_has_the_name_of_an_unfinished_version_does_not_stop_a_push(
    make, name, model, destination
):
    destination.mkdir(parents=True)
    make(destination / name)
    assert publish(model, destination, clock=lambda: 200).version == 200
    names = {child.name for child in destination.iterdir()}
    assert names - {"kept"} == {"200"}
    assert (destination / "kept" / "file").is_file() == ("kept" in names)


@pytest.mark.parametrize(("umask", "others"), [(0, 0o055), (0o002, 0o055), (0o077, 0)])
def test_nobody_else_may_write_in_a_pushed_version_whatever_the_umask(
    umask, others, model, destination
):
    before = os.umask(umask)
    try:
        path = publish(model, destination).path
    finally:
        os.umask(before)
    for found in [destination.parent, destination, path, *path.rglob("*")]:
        mode = stat.S_IMODE(found.stat().st_mode)
        assert mode & 0o022 == 0, (oct(mode), found)
        assert mode & others & (0o055 if found.is_dir() else 0o044) == mode & 0o077


def test_a_number_beyond_int64_is_not_a_version(model, destination):
    (destination / str(2**63)).mkdir(parents=True)
    assert newest_version(destination) is None
    assert publish(model, destination, clock=lambda: 100).version == 100


def test_no_number_left_for_a_version_is_a_message(model, destination):
    (destination / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(InputError, match="no number left for a new version"):
        publish(model, destination)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("file", range(5))
def test_a_full_disk_is_a_message_and_nothing_half_pushed(
    code, file, model, destination, monkeypatch
):
    copy_file, copied = publishing.copy_file, []

    def failing_copy(source, target):
        if len(copied) == file:
            target.write_bytes(source.read_bytes()[:1])
            raise OSError(code, os.strerror(code), str(target))
        copied.append(source)
        copy_file(source, target)

    monkeypatch.setattr(publishing, "copy_file", failing_copy)
    with pytest.raises(InputError, match="no space left to push the model") as caught:
        publish(model, destination)
    assert caught.value.exit_code == 2
    assert list(destination.iterdir()) == []
    monkeypatch.undo()
    assert publish(model, destination).reason is Reason.PUSHED


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_keeps_the_old_version_and_frees_its_space(
    tiny_disk, model, tmp_path
):
    old = publish(model, tiny_disk / "serving", clock=lambda: 100)
    big = write_model(tmp_path / "big", b"x" * 100)
    with pytest.raises(InputError, match="no space left"):
        publish(big, tiny_disk / "serving", clock=lambda: 200)
    assert [child.name for child in (tiny_disk / "serving").iterdir()] == ["100"]
    assert contents(old.path) == contents(model)
    small = write_model(tmp_path / "small", b"y")
    assert publish(small, tiny_disk / "serving", clock=lambda: 200).version == 200


def test_a_destination_that_is_a_file_is_a_message(model, tmp_path):
    (tmp_path / "serving").write_text("not a directory")
    for destination in (tmp_path / "serving", tmp_path / "serving" / "model"):
        with pytest.raises(InputError, match="cannot push the model") as caught:
            publish(model, destination)
        assert "expected: a directory that can be written" in str(caught.value)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_an_unwritable_destination_is_a_message(code, model, destination, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), str(destination))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="cannot push the model") as caught:
        publish(model, destination)
    assert os.strerror(code) in str(caught.value)


def test_any_other_failure_is_not_called_the_users(model, destination, monkeypatch):
    def fail(source, target):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(publishing, "copy_file", fail)
    with pytest.raises(OSError, match="input/output error"):
        publish(model, destination)
    assert list(destination.iterdir()) == []


def test_two_processes_that_push_at_once_make_one_version_each_or_agree(model, destination):
    command = (
        "import sys; from pathlib import Path; from components.pusher.publish import publish;"
        "print(publish(Path(sys.argv[1]), Path(sys.argv[2])).reason.value)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", command, model, destination],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    reasons = sorted(process.communicate()[0].strip() for process in processes)
    assert reasons == ["pushed", "up_to_date", "up_to_date", "up_to_date"]
    assert len(list(destination.iterdir())) == 1


def test_what_servers_do_not_take_for_a_version_is_none_here(tmp_path):
    model = write_model(tmp_path / "model")
    served = publish(model, tmp_path / "serving", clock=lambda: 100)
    (tmp_path / "serving" / "200").write_text("notes of somebody")
    (tmp_path / "serving" / "0300").mkdir()
    assert newest_version(tmp_path / "serving") == served.version
    assert publish(model, tmp_path / "serving", clock=lambda: 400).reason is Reason.UP_TO_DATE
