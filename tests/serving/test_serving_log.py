"""The log blocks nothing, whether it is read or not and wherever it is written."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.access_log import Log, printable

FULL = 70_000
"""More than a pipe takes."""


class Gate(io.RawIOBase):
    """A stream that takes nothing until it is opened."""

    def __init__(self):
        self.opened, self.written, self.called = threading.Event(), [], threading.Event()

    def write(self, data):
        self.called.set()
        self.opened.wait()
        self.written.append(bytes(data))
        return len(data)


def lines_of(written):
    return [json.loads(line) for line in b"".join(written).splitlines()]


def test_an_unread_stream_blocks_nothing_and_dropped_lines_are_counted():
    gate = Gate()
    log = Log(gate, lines=10)
    log.info("first")
    assert gate.called.wait(10)
    for number in range(100):
        log.info("more", number=number)
    assert log.dropped == 90
    assert not log.flush(0.01)
    gate.opened.set()
    assert log.flush(10)
    found = lines_of(gate.written)
    assert [line["message"] for line in found[:2]] == ["first", "more"]
    assert found[-1]["message"] == "lines of the log were dropped"
    assert found[-1]["lines"] == 90


def test_lines_are_dropped_by_their_size_as_well():
    gate = Gate()
    log = Log(gate)
    log.info("first")
    assert gate.called.wait(10)
    for _ in range(9):
        log.info("x" * (1 << 20))
    assert log.dropped == 6
    gate.opened.set()


def test_an_unread_pipe_gets_the_waiting_lines_once_it_is_read():
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        log = Log(stream)
        log.info("x" * FULL)
        log.info("last")
        assert not log.flush(0.01)
        found = b""
        while b"last" not in found:
            found += os.read(reader, 65_536)
        assert log.flush(10)
    os.close(reader)
    assert [len(line["message"]) for line in map(json.loads, found.splitlines())] == [FULL, 4]


@pytest.mark.parametrize("broken", ["full", "closed", "gone"])
def test_a_log_that_cannot_be_written_loses_lines_and_nothing_else(broken):
    if broken == "full":
        stream = Path("/dev/full").open("wb")  # noqa: SIM115 - closed below
    else:
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "wb")
    with stream:
        if broken == "closed":
            stream.close()
        log = Log(stream)
        log.info("lost")
        assert log.flush(10)
        assert log.dropped == 1


def test_what_a_terminal_acts_upon_is_escaped():
    stream = io.BytesIO()
    log = Log(stream)
    strange = "a\x1b[2Jb\x7fc\x85d\u2028e\u202ef\u200fg\ufeffh\nÄ 映画"
    log.info("strange", path=strange, bad="\udcff")
    assert log.flush(10)
    text = stream.getvalue().decode()
    assert text.count("\n") == 1
    assert not any(sign in text for sign in "\x1b\x7f\x85\u2028\u202e\u200f\ufeff")
    assert text.isascii()
    found = json.loads(text)
    assert found["path"] == strange
    assert found["bad"] == "\udcff"


def test_text_for_a_terminal_has_no_signs_that_it_acts_upon():
    assert printable("a\x1b[0m\u202eb\n") == "a\\u001b[0m\\u202eb\n"


def test_an_unread_announcement_is_not_an_error():
    code = (
        "import threading; from serving.access_log import announce; announce('x')\n"
        "[one.join() for one in threading.enumerate() if one.name == 'announce']"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, check=False)
    assert done.returncode == 0


def test_a_process_without_standard_streams_opens_none_of_them_as_something_else():
    code = (
        "import os, sys; os.closerange(0, 3); sys.stdout = sys.stderr = None\n"
        "from storage.environment import open_closed_streams\n"
        "open_closed_streams()\n"
        "assert os.open('/', os.O_RDONLY) > 2 and sys.stderr.buffer and sys.stdout\n"
        "sys.stderr.isatty()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
