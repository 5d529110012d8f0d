"""Wrong use of the batch is named before the model is loaded and before anything is written."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serving.batch.command import main
from serving.batch.users import MAX_FILE_BYTES

ROOT = Path(__file__).resolve().parents[2]
VERSION = "1700000000"


@pytest.fixture
def models(tmp_path):
    """A folder with a version that knows the users 1 to 5, and has no model to load."""
    folder = tmp_path / "models"
    assets = folder / VERSION / "assets.extra"
    assets.mkdir(parents=True)
    (assets / "users.json").write_text(json.dumps({"ids": ["1", "2", "3", "4", "5"]}))
    return folder


@pytest.fixture
def refused(tmp_path, models, capsys):
    """Runs the batch in process; returns what it says, having checked that it changed nothing."""

    def run(*options, output=None):
        output = str(tmp_path / "out.csv") if output is None else output
        before = snapshot(tmp_path)
        code = main(["--model-dir", str(models), "--output", output, *options])
        message = capsys.readouterr()
        assert code == 2, message.err
        assert message.out == ""
        assert "Traceback" not in message.err
        assert "Unexpected" not in message.err
        assert snapshot(tmp_path) == before
        return message.err

    return run


def snapshot(folder):
    """Every path below a folder, with the bytes of ordinary files."""
    return {path: path.read_bytes() if path.is_file() else "" for path in sorted(folder.rglob("*"))}


# -- the output ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["results", "results/", "results/.", ".", "results.csv"])
def test_an_output_that_is_a_folder_is_refused_and_keeps_what_is_in_it(refused, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "precious.txt").write_text("mine")
    assert "is a folder" in refused(output=f"{tmp_path}/{name}")


def test_an_output_that_only_looks_like_a_folder_is_refused(refused, tmp_path):
    assert "is a folder" in refused(output=f"{tmp_path}/new.csv/")


@pytest.mark.parametrize(
    "url", ["gs://b/x.parquet", "s3://b/x.csv", "file:///tmp/x.csv", "hdfs://n/x.jsonl"]
)
def test_an_output_that_is_a_url_is_refused(refused, url):
    assert "--output is a URL" in refused(output=url)


@pytest.mark.parametrize("name", ["x", "x.xlsx", "x.csv.gz", "x.", "csv", "x.json", "x.parquet~"])
def test_an_output_of_an_unknown_format_is_refused_with_those_that_are_known(
    refused, tmp_path, name
):
    message = refused(output=str(tmp_path / name))
    assert "not that of a known format" in message
    assert ".parquet, .csv, .jsonl" in message


def test_an_output_in_a_folder_that_is_not_there_or_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "No such file or directory" in refused(output=str(tmp_path / "no" / "x.csv"))
    assert "Not a directory" in refused(output=str(tmp_path / "file" / "x.csv"))


def test_an_output_that_is_a_pipe_a_socket_a_device_or_a_circle_is_refused(refused, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    (tmp_path / "round.csv").symlink_to("round.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.csv"))
        for name in ("pipe.csv", "null.csv", "s.csv"):
            assert "no ordinary file" in refused(output=str(tmp_path / name))
    assert "no ordinary file" in refused(output=str(tmp_path / "round.csv"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (os.fsdecode(b"caf\xe9.csv"), "is not UTF-8"),
        ("a\nb.csv", "control characters"),
        ("a\x00b.csv", "control characters"),
        ("x" * 300 + ".csv", "File name too long"),
    ],
)
def test_an_output_with_an_impossible_name_is_refused(refused, tmp_path, name, says):
    assert says in refused(output=f"{tmp_path}/{name}")


def test_an_empty_output_and_none_are_refused(refused, capsys):
    assert "--output is empty" in refused(output="")
    assert main(["--users", "1"]) == 2
    assert "--output" in capsys.readouterr().err


def test_the_file_of_users_and_the_folder_of_models_are_no_output(refused, tmp_path, models):
    ids = tmp_path / "ids.csv"
    ids.write_text("1\n")
    (tmp_path / "same.csv").hardlink_to(ids)
    for name in ("ids.csv", "same.csv"):
        message = refused("--users-file", str(ids), output=str(tmp_path / name))
        assert "also an input" in message
    assert "folder of models" in refused(output=str(models / VERSION / "x.csv"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without permission")
def test_an_output_that_may_not_be_written_is_refused():
    script = (
        "import locale, os, shutil, sys, serving.batch.output;"
        "from serving.batch.command import main;"
        "os.setgid(65534); os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    # Not below pytest's own folder, where nobody else may look.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        assets = Path(folder) / "models" / VERSION / "assets.extra"
        assets.mkdir(parents=True)
        (assets / "users.json").write_text('{"ids": ["1"]}')
        there = Path(folder) / "there.csv"
        there.write_text("mine")
        for name, says in (("there.csv", "may not be written"), ("new.csv", "Permission denied")):
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    script,
                    "--output",
                    f"{folder}/{name}",
                    "--model-dir",
                    f"{folder}/models",
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 2, done.stderr
            assert says in done.stderr
        assert there.read_text() == "mine"


# -- the users -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ("missing_users.txt", "has no data on 1 of the users"),
        ("1,Anna", "found: Anna"),
        ("01,٣,1.0,-1,\ufeff1", "has no data on 5 of the users"),
        ("1,,2", "part 2 is empty"),
        ("1,2,", "part 3 is empty"),
        ("1\t2", "part 1 has a tab or another control character: '1\\t2'"),
        (",".join(["\x1b"] * 200), "and 195 more"),
        ("9" * 1001, "has 1,001 characters, more than 1,000"),
    ],
)
def test_users_that_are_no_ids_are_named_and_the_option_for_files_is_pointed_at(
    refused, users, says
):
    message = refused(f"--users={users}")
    assert says in message
    assert "--users-file" in message


@pytest.mark.parametrize("users", ["", " ", ",", " , "])
def test_no_users_are_refused(refused, users):
    assert "--users has no ids" in refused("--users", users)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"user_id\n1\n2\n", "line 1 is a heading"),
        (b"1,Anna\n2,Ben\n", "has no data on 2 of the users"),
        (b"1\n2\tBen\n", "line 2 has a tab or another control character: '2\\tBen'"),
        (b"1\n\n\nAndr\xe9\n", "line 4 is not UTF-8: 'Andr\\xe9'"),
        (b"1\n2\x00\n", "line 2 has a tab or another control character: '2\\x00'"),
        (b"1\n" + b"7" * 5000 + b"\n", "line 2 has 5,000 characters, more than 1,000"),
        ("1\n2\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b"", "has no ids"),
        (b"\n \r\n\t\n", "has no ids"),
        (b"\xef\xbb\xbf", "has no ids"),
        (b"\x7f\n" * 1000, "1,000 lines without a user's id"),
    ],
)
def test_lines_of_a_users_file_that_are_no_id_are_named_with_their_number(
    refused, tmp_path, content, says
):
    path = tmp_path / "users [1]%?.txt"
    path.write_bytes(content)
    message = refused("--users-file", str(path))
    assert says in message
    assert str(path) in message or "has no data on" in message
    assert len(message.splitlines()) <= 5


def test_a_users_file_that_is_not_a_regular_file_is_refused(refused, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    assert "No such file" in refused("--users-file", str(tmp_path / "missing.txt"))
    assert "Is a directory" in refused("--users-file", str(tmp_path))
    assert "no ordinary file" in refused("--users-file", str(tmp_path / "pipe"))
    assert "no ordinary file" in refused("--users-file", "/dev/zero")
    assert "more than 33,554,432 bytes" in refused("--users-file", str(large))
    assert "is a URL" in refused("--users-file", "https://host/ids.txt")
    large.unlink()


def test_users_and_a_file_of_users_together_are_refused(refused):
    assert "not allowed with" in refused("--users", "1", "--users-file", "x")


def test_unknown_users_are_an_error_that_names_a_few_and_counts_all(refused):
    message = refused("--users", "1,2," + ",".join(str(100 + number) for number in range(20)))
    assert "has no data on 20 of the users" in message
    assert "100; 101; 102; 103; 104 and 15 more" in message
    assert "--unknown skip" in message
    assert "--unknown cold" in message


def test_no_user_left_after_skipping_is_an_error(refused):
    assert "has none of the 2 users" in refused("--users", "98,99", "--unknown", "skip")


# -- everything else -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--k", "0"), "expected 1 to 1000, found '0'"),
        (("--k", "1001"), "expected 1 to 1000"),
        (("--k", "ten"), "expected 1 to 1000, found 'ten'"),
        (("--k", "1_0"), "expected 1 to 1000"),
        (("--k", "9" * 5000), "expected 1 to 1000"),
        (("--threads", "0"), "expected 1 to 256"),
        (("--threads", "-1"), "expected 1 to 256"),
        (("--chunk", "9999"), "expected 1 to 2048"),
        (("--unknown", "maybe"), "invalid choice: 'maybe'"),
        (("--k",), "expected one argument"),
        (("stray", "words"), "Unrecognized arguments: stray words"),
        (("--runner", "DirectRunner"), "Unrecognized arguments: --runner DirectRunner"),
    ],
)
def test_options_out_of_range_are_refused(refused, options, says):
    assert says in refused(*options)


def test_a_folder_without_a_model_is_refused(refused, tmp_path, models):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("empty", "missing"):
        assert "make run" in refused("--model-dir", str(tmp_path / name))
    assert "Not a directory" in refused("--model-dir", str(tmp_path / "file"))
    assert "is a URL" in refused("--model-dir", "gs://bucket/models")
    (models / VERSION / "saved_model.pb").write_bytes(b"")
    assert f"--model-dir {models}" in refused("--model-dir", str(models / VERSION))


def test_a_version_whose_users_cannot_be_read_is_refused(refused, models):
    (models / VERSION / "assets.extra" / "users.json").write_text("[")
    assert "users.json" in refused()
    (models / VERSION / "assets.extra" / "users.json").unlink()
    assert "has no list of users" in refused()


def shell(command, **environment):
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )


def test_help_has_formats_examples_and_exit_codes_and_survives_a_closed_pipe():
    done = shell('"$PYTHON" -m serving.batch --help')
    assert done.returncode == 0
    for words in ("--users-file ids.txt", ".parquet, .csv", "exit codes: 0", "130 interrupted"):
        assert words in done.stdout
    done = shell('"$PYTHON" -m serving.batch --help | true; echo "${PIPESTATUS[0]}"')
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_change_no_exit_code(closed):
    done = shell(f'"$PYTHON" -m serving.batch --users Anna --output x.csv {closed}; echo $?')
    assert done.stdout == "2\n"
    assert "Traceback" not in done.stderr
    done = shell(f'"$PYTHON" -m serving.batch --help {closed}; echo $?')
    assert done.stdout.endswith("0\n")
    assert "Traceback" not in done.stderr
