"""Zip files: the data in them is found, and nothing else can come out of them."""

import struct
import zipfile

import pytest
from movielens_files import ML_1M, ML_CSV

from sources import archive
from sources.detect import FILE_NAMES, detect
from sources.errors import InputError
from sources.table import Table


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_zip_file_as_downloaded_is_unpacked_once(tmp_path):
    members = {f"ml-1m/{name}": data for name, data in ML_1M.items()}
    path = zipped(tmp_path / "ml-1m.zip", {"ml-1m/": b"", "ml-1m/README": b"terms", **members})
    adapter = detect(path, tmp_path / "out")
    adapter.check()
    assert adapter.spec.name == "ml-1m"
    taken = {file.name: file.read_bytes() for file in adapter.folder.iterdir()}
    assert taken.pop(archive.MARKER).decode().splitlines() == list(ML_1M)
    assert taken == ML_1M
    before = adapter.folder.stat().st_mtime_ns
    assert detect(path, tmp_path / "out").folder.stat().st_mtime_ns == before


def test_folders_of_parts_in_a_zip_file_are_read_and_removed_again(tmp_path):
    part = "user,item\n" + "".join(f"u{i},i{i % 3}\n" for i in range(9))
    members = {
        "export/interactions/part-0.csv": part,
        "export/interactions/part-1.csv": part.replace("u", "w").replace("wser", "user"),
        "export/interactions/_SUCCESS": "",
        "export/users/part-0.csv": "user,country\nu1,DE\n",
        "export/interactions/sub/part-0.csv": "not a part",
    }
    adapter = detect(zipped(tmp_path / "export.zip", members), tmp_path / "out")
    assert isinstance(adapter, Table)
    assert [file.name for file in adapter.layout.files] == [
        "interactions/part-0.csv",
        "interactions/part-1.csv",
        "users/part-0.csv",
    ]
    assert adapter.scan().events == 18
    assert archive.remove_unpacked(tmp_path / "out", tmp_path) == [adapter.folder]


def test_another_zip_file_of_the_same_name_is_other_data(tmp_path):
    first = detect(zipped(tmp_path / "data.zip", ML_1M), tmp_path / "out").folder
    assert detect(zipped(tmp_path / "data.zip", ML_CSV), tmp_path / "out").folder != first


@pytest.mark.parametrize("name", ["../ratings.dat", "/etc/ratings.dat", "a/../../ratings.dat"])
def test_a_path_that_leads_outside_is_refused(tmp_path, name):
    path = zipped(tmp_path / "evil.zip", {**ML_1M, name: b"1::2::3::4\n"})
    with pytest.raises(InputError, match="a path that leads outside of it"):
        detect(path, tmp_path / "out")
    assert (
        sorted(file.name for file in tmp_path.rglob("*")) == ["evil.zip", "out"]
        or not (tmp_path / "out").exists()
    )


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 1024)
    path = zipped(tmp_path / "bomb.zip", {**ML_1M, "ratings.dat": b"0" * 2_000_000})
    with pytest.raises(InputError, match="too large"):
        detect(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_size_that_is_a_lie_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(archive, "_BLOCK_BYTES", 64)
    path = zipped(tmp_path / "lie.zip", {**ML_1M, "ratings.dat": b"1::2::3::4\n" * 50})
    data = bytearray(path.read_bytes())
    for start in (data.find(b"PK\x01\x02"),):
        struct.pack_into("<I", data, start + 24, 10)
    path.write_bytes(data)
    with pytest.raises(InputError):
        detect(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_encrypted_file_is_named(tmp_path):
    path = zipped(tmp_path / "secret.zip", ML_1M)
    data = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(sign)
        data[start + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"secret.zip: encrypted(.|\n)*found: ratings.dat"):
        detect(path, tmp_path / "out")


REFUSED = {
    "two data sets": ({**{f"a/{n}": d for n, d in ML_1M.items()}, "b/users.dat": b"x"}, "twice"),
    "none": ({"notes.txt": b"nothing"}, r"no data set in it(.|\n)*found: notes.txt"),
    "empty": ({}, "no data set in it"),
}


@pytest.mark.parametrize(("members", "message"), REFUSED.values(), ids=REFUSED)
def test_what_holds_no_single_data_set_is_refused(tmp_path, members, message):
    with pytest.raises(InputError, match=message):
        detect(zipped(tmp_path / "data.zip", members), tmp_path / "out")


def test_a_damaged_zip_file_is_refused(tmp_path):
    path = zipped(tmp_path / "cut.zip", ML_1M)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut.zip: the zip file is damaged"):
        archive.unpacked(path, FILE_NAMES, tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_data_of_any_compression_is_called_that(tmp_path, compression):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("ratings.dat", bytes(range(256)) * 64)
    content = bytearray(path.read_bytes())
    start = 30 + len("ratings.dat")
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.zip: the zip file is damaged"):
        archive.unpacked(path, FILE_NAMES, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_name_that_is_no_text_is_damage(tmp_path):
    path = zipped(tmp_path / "name.zip", {"é": b"", **ML_1M})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(InputError, match=r"name.zip: the zip file is damaged"):
        archive.unpacked(path, FILE_NAMES, tmp_path / "out")


def test_folders_that_were_unpacked_and_are_not_used_are_removed_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    old, added_to, kept = (
        detect(zipped(tmp_path / f"{name}.zip", ML_1M), out).folder for name in ("a", "b", "c")
    )
    (added_to / "notes.txt").write_text("mine")
    lookalike = out / f"mine-{old.name.rpartition('-')[2]}"
    lookalike.mkdir()
    (lookalike / "ratings.dat").write_text("mine")
    (out / "link").symlink_to(kept)
    assert archive.remove_unpacked(out, kept) == [old]
    assert {path.name for path in out.iterdir()} == {
        added_to.name, kept.name, lookalike.name, "link"
    }  # fmt: skip
    assert detect(tmp_path / "a.zip", out).folder == old
    assert archive.remove_unpacked(tmp_path / "none", kept) == []
