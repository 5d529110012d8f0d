"""The output file of a batch: written as a whole or not at all, in the format of its ending."""

import csv
import errno
import io
import json
import multiprocessing
import os
import resource
import signal

import pyarrow
import pyarrow.parquet
import pytest

from serving.batch import terminal
from serving.batch.output import check_output, write
from storage.errors import PathError

HOSTILE = ["recs[12]", "recs*", "a?b", "100%d", "it's", 'say "hi"', "blank s", "🎬", "{a,b}", "~"]
TITLE = 'Say "Hi", The\r\n=cmd (1999) é 🎬'


def table(start, rows=2):
    numbers = range(start, start + rows)
    return pyarrow.table(
        {
            "user_id": [str(number) for number in numbers],
            "rank": pyarrow.array([1] * rows, pyarrow.int32()),
            "movie_id": ["50"] * rows,
            "title": [TITLE] * rows,
            "display_title": [TITLE] * rows,
            "score": pyarrow.array([0.1] * rows, pyarrow.float32()),
            "stars": pyarrow.array([3.4] * rows, pyarrow.float32()),
            "model_version": ["1"] * rows,
        }
    )


def nothing():
    pass


def read(path):
    """The rows of a file, as JSON has them."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl", ".ndjson"])
def test_every_format_has_all_rows_in_order_and_every_character(tmp_path, ending):
    path = check_output(str(tmp_path / f"x{ending}"))
    assert write(path, [table(0, 3), table(3, 2)], nothing) == 5
    rows = read(path)
    assert [row["user_id"] for row in rows] == ["0", "1", "2", "3", "4"]
    for row in rows:
        assert list(row) == table(0).column_names
        assert row["title"] == row["display_title"] == TITLE
        assert float(row["stars"]) == pytest.approx(3.4)


def test_json_lines_have_short_numbers(tmp_path):
    write(tmp_path / "x.jsonl", [table(0, 1)], nothing)
    assert '"score":0.1,"stars":3.4' in (tmp_path / "x.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_path_is_never_a_pattern(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    others = [folder / f"recs{number}.csv" for number in (1, 2, 3)]
    for other in others:
        other.write_text("mine")
    for ending in (".parquet", ".csv", ".JSONL"):
        path = check_output(str(folder / f"{name}{ending}"))
        write(path, [table(0)], nothing)
        assert path.stat().st_size
    assert len(list(folder.iterdir())) == 6
    assert {other.read_text() for other in others} == {"mine"}


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.csv"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to("elsewhere/real.csv")
    write(check_output(str(link)), [table(0)], nothing)
    assert link.is_symlink()
    assert len(read(real)) == 2
    assert real.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in real.parent.iterdir()] == ["real.csv"]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_what_was_there_stays_when_the_batch_ends_early(tmp_path, ending, error, recwarn):
    path = tmp_path / f"x{ending}"
    path.write_text("old")

    def tables():
        yield table(0)
        raise error

    with pytest.raises(error):
        write(path, tables(), nothing)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_full_disk_is_named_and_an_existing_file_stays(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(PathError, match="cannot be written; nothing was changed there"):
            write(path, (table(number, 1000) for number in range(200)), nothing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_left_is_called_a_full_disk(tmp_path):
    def tables():
        yield table(0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PathError, match="the disk is full"):
        write(tmp_path / "x.csv", tables(), nothing)
    assert list(tmp_path.iterdir()) == []


def test_two_batches_on_one_target_both_end_with_a_whole_file(tmp_path):
    path = tmp_path / "x.csv"

    def tables():
        yield table(0)
        write(path, [table(10)], nothing)
        assert [row["user_id"] for row in read(path)] == ["10", "11"]
        yield table(2)

    write(path, tables(), nothing)
    assert [row["user_id"] for row in read(path)] == ["0", "1", "2", "3"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_next_batch_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    path = tmp_path / "x.csv"
    foreign = tmp_path / ".partial-of-mine"
    foreign.write_text("mine")

    def tables():
        yield table(0, 100_000)
        os.kill(os.getpid(), signal.SIGKILL)

    killed = multiprocessing.get_context("fork").Process(
        target=write, args=(path, tables(), nothing)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 2
    write(path, [table(0)], nothing)
    assert sorted(tmp_path.iterdir()) == [foreign, path]
    assert foreign.read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once_and_not_when_the_file_is_complete(tmp_path, number, request):
    # Who started the tests may have had signals ignored, and processes inherit that.
    inherited = signal.signal(number, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(number, inherited))
    path = tmp_path / "x.csv"

    def interrupted():
        yield table(0)
        signal.raise_signal(number)
        yield table(2)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), terminal.interruptible():
        write(path, interrupted(), nothing)
    assert list(tmp_path.iterdir()) == []
    with terminal.interruptible():
        write(path, [table(0)], lambda: (terminal.ignore_signals(), signal.raise_signal(number)))
    assert len(read(path)) == 2
    assert signal.getsignal(number) is before


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_that_moves_in_a_terminal_and_lines_now_and_then_elsewhere():
    for stream, moves in ((Terminal(), True), (io.StringIO(), False)):
        seconds = iter(range(0, 1000, 4))
        progress = terminal.Progress(1_000, stream, lambda seconds=seconds: next(seconds))  # type: ignore[misc]
        for users in (100, 200, 300, 400):
            progress.reach(users)
        assert progress.end() == pytest.approx(20)
        message = stream.getvalue()
        assert (
            "400 of 1,000 users, 25 per second" in message if moves else "300 of 1,000" in message
        )
        assert message.count("\r") == (4 if moves else 0)
        assert message.count("\n") == 1


def test_a_closed_pipe_is_not_an_error():
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    os.close(reading)
    terminal.say("nobody reads this", stream)
    terminal.say("nor this", stream)
    stream.close()
