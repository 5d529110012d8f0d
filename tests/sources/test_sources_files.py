from __future__ import annotations

import os
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from raw_files import (
    movie_rows,
    needs_real_data,
    rating_rows,
    read_ratings,
    user_rows,
    write_raw,
)

from sources import download, files
from sources.errors import InputError
from sources.tables import read_movies, read_users


def refusal(directory: Path) -> str:
    """The message that `check_files` refuses a directory with."""
    with pytest.raises(InputError) as error:
        files.check_files(directory)
    message = str(error.value)
    assert error.value.exit_code == 2
    assert len(message.splitlines()) <= 5
    assert "expected: " in message
    assert "what to do: " in message
    return message


def test_valid_files_are_accepted(tmp_path):
    files.check_files(write_raw(tmp_path))


@needs_real_data
def test_movielens_is_accepted():
    movielens_dir = Path(os.environ["MOVIELENS_DIR"])
    files.check_files(movielens_dir)


def test_windows_line_endings_blank_lines_and_a_missing_last_newline_are_accepted(tmp_path):
    write_raw(tmp_path, newline="\r\n")
    with (tmp_path / "u.genre").open("ab") as file:
        file.write(b"\r\n\r\n")
    data = (tmp_path / "u.data").read_bytes()
    (tmp_path / "u.data").write_bytes(data.removesuffix(b"\r\n"))
    files.check_files(tmp_path)


def test_a_byte_order_mark_of_utf8_is_accepted(tmp_path):
    files.check_files(write_raw(tmp_path, encoding="utf-8-sig"))


def test_a_file_larger_than_the_blocks_looked_at_is_accepted(tmp_path):
    files.check_files(write_raw(tmp_path, ratings=rating_rows(20_000)))


def test_a_missing_directory_is_named(tmp_path):
    message = refusal(tmp_path / "absent")
    assert f"{tmp_path / 'absent'}: no such data directory" in message
    assert "u.data, u.user, u.item, u.genre, u.occupation" in message
    assert "correct the path of the data" in message


def test_a_file_in_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    assert "the data directory is a file" in refusal(tmp_path / "file")


def test_a_missing_file_is_named_with_what_is_there(tmp_path):
    (write_raw(tmp_path) / "u.item").unlink()
    message = refusal(tmp_path)
    assert "missing: u.item" in message
    assert "found: u.data, u.genre, u.occupation, u.user" in message


@pytest.mark.parametrize("name", [name for name in files.FILES if name != "u.occupation"])
@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_file_is_refused(tmp_path, name, data):
    (write_raw(tmp_path) / name).write_bytes(data)
    message = refusal(tmp_path)
    assert f"{name}: the file is empty" in message
    assert f"found: {len(data)} bytes" in message


@pytest.mark.parametrize("name", ["u.data", "u.user", "u.item", "u.genre"])
def test_a_file_cut_in_the_middle_of_a_row_is_refused(tmp_path, name):
    path = write_raw(tmp_path) / name
    data = path.read_bytes()
    rows = data.count(b"\n")
    path.write_bytes(data[: data.rindex(b"\n", 0, -1) + 3])
    message = refusal(tmp_path)
    assert f"{name}, row {rows}: the file is truncated" in message
    assert "download the data again" in message


@pytest.mark.parametrize("name", files.FILES)
def test_a_binary_file_is_refused(tmp_path, name):
    (write_raw(tmp_path) / name).write_bytes(b"PK\x03\x04\0\0\0" * 20)
    message = refusal(tmp_path)
    assert f"{name}: the file is binary" in message
    assert "NUL bytes" in message


def test_nul_bytes_at_the_end_of_a_large_file_are_found(tmp_path):
    write_raw(tmp_path, ratings=rating_rows(20_000))
    with (tmp_path / "u.data").open("ab") as file:
        file.write(b"\0" * 4096)
    assert "u.data: the file is binary" in refusal(tmp_path)


def test_utf16_is_refused_as_a_wrong_encoding(tmp_path):
    text = "\n".join(user_rows())
    (write_raw(tmp_path) / "u.user").write_text(text, encoding="utf-16")
    message = refusal(tmp_path)
    assert "u.user: the file is in the wrong encoding" in message
    assert "found: UTF-16" in message
    assert "save the file again as UTF-8" in message


def test_commas_instead_of_tabs_are_refused(tmp_path):
    write_raw(tmp_path, ratings=[row.replace("\t", ",") for row in rating_rows()])
    message = refusal(tmp_path)
    assert "u.data, row 1: wrong number of columns" in message
    assert "expected: 4 columns: user id, movie id, rating, time, separated by tabs" in message
    assert "found: 1 column(s) in '1,1,1,880000000'" in message


def test_movies_without_a_flag_for_every_genre_are_refused(tmp_path):
    write_raw(tmp_path, genres=["unknown|0", "Action|1", "Comedy|2", "Drama|3"])
    message = refusal(tmp_path)
    assert "u.item, row 1: wrong number of columns" in message
    assert "expected: 9 columns: movie id, title" in message
    assert "found: 8 column(s)" in message


def test_one_row_of_another_width_among_the_first_is_left_to_the_cleanup(tmp_path):
    files.check_files(write_raw(tmp_path, ratings=["1\t2", *rating_rows()]))


@pytest.mark.parametrize(
    ("part", "header"),
    [
        ("users", "user_id|age|gender|occupation|zip_code"),
        ("movies", "movie id|title|release date|video|URL|unknown|Action|Comedy"),
        ("ratings", "user_id\titem_id\trating\ttimestamp"),
    ],
)
def test_a_header_row_is_refused(tmp_path, part, header):
    rows = {"users": user_rows(), "movies": movie_rows(), "ratings": rating_rows()}
    write_raw(tmp_path, **{part: [header, *rows[part]]})
    message = refusal(tmp_path)
    assert "row 1: the first row is a header" in message
    assert "remove the header row" in message


def test_looking_at_files_imports_nothing_heavy():
    script = (
        "import sys, sources.files as f;"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_digest_changes_with_content_and_not_with_order_or_place(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    first = files.file_digest(write_raw(one), files.FILES)
    assert files.file_digest(write_raw(two), reversed(files.FILES)) == first
    (two / "u.genre").write_text("unknown|0\n")
    assert files.file_digest(two, files.FILES) != first


def test_the_digest_of_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"u.data: cannot be read(.|\n)*No such file"):
        files.file_digest(tmp_path, ["u.data"])


def test_users_without_anything_but_ids_and_an_empty_list_of_occupations_are_accepted(tmp_path):
    files.check_files(write_raw(tmp_path, users=["1", "2", "3"], occupations=[]))
    files.check_files(write_raw(tmp_path, users=["1||||", "2||||"]))


# What stands where a file should.


def stand_in(path: Path, kind: str) -> None:
    """Puts something that is no regular file in the place of one."""
    path.unlink()
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may be no longer than 107 bytes
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", files.FILES)
@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a socket", "a device"])
def test_what_is_no_regular_file_is_refused_by_every_reader_without_waiting(tmp_path, name, kind):
    stand_in(write_raw(tmp_path) / name, kind)
    readers = [
        lambda: files.check_files(tmp_path),
        lambda: files.file_digest(tmp_path, [name]),
        lambda: list(files.read_lines(tmp_path / name)),
    ]
    if name == "u.data":
        readers.append(lambda: read_ratings(tmp_path / name, 0, 1000))
    else:
        readers.append(lambda: (read_users(tmp_path, "keep"), read_movies(tmp_path)))
    for reader in readers:
        with pytest.raises(InputError) as error:
            reader()
        message = str(error.value)
        assert f"{name}: not a regular file" in message
        assert f"found: {kind}" in message


def test_ratings_that_are_a_pipe_are_not_waited_for_to_tell_which_data_it_is(tmp_path):
    stand_in(write_raw(tmp_path) / "u.data", "a named pipe")
    assert not download.is_original(tmp_path)


@pytest.mark.parametrize("name", files.FILES)
def test_a_line_that_is_too_long_is_refused_with_its_row_before_it_is_read(tmp_path, name):
    path = write_raw(tmp_path) / name
    good = path.read_bytes()
    path.write_bytes(good + b"1" * (files.MAX_LINE_BYTES + 1000))
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            read_ratings(path) if name == "u.data" else list(files.read_lines(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    rows = good.count(b"\n") + 1
    assert f"{name}, row {rows}: the line is longer than 1,048,576 bytes" in str(error.value)
    assert peak < 8 * files.MAX_LINE_BYTES


def test_nul_bytes_in_the_middle_of_a_table_are_refused_with_their_row(tmp_path):
    rows = movie_rows()
    rows[70] = rows[70].replace("Film", "Fi\0lm")
    write_raw(tmp_path, movies=rows)
    with pytest.raises(InputError, match="u.item, row 71: NUL bytes"):
        read_movies(tmp_path)


def test_utf32_is_refused_as_a_wrong_encoding(tmp_path):
    for encoding, mark in (("utf-32-le", b"\xff\xfe\0\0"), ("utf-32-be", b"\0\0\xfe\xff")):
        text = "\n".join(user_rows()).encode(encoding)
        (write_raw(tmp_path) / "u.user").write_bytes(mark + text)
        assert "found: UTF-32" in refusal(tmp_path)
