"""Real servers in processes of their own, with a model that the pipeline pushed."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
PATIENCE = ("--deadline", "60", "--read-timeout", "60")
"""What a test that is about something else allows: the machine may be busy with other tests."""


class Server:
    """A running `python -m serving`."""

    def __init__(self, model_dir, *options, environment=None, wait_ready=True):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving", "--model-dir", str(model_dir), "--port", "0",
             "--access-log", *PATIENCE, *options],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.log = []
        self._out = queue.Queue()
        self._threads = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_out, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.ready_line = self._await_ready() if wait_ready else None
        self.url = self.ready_line and re.search(r"http://\S+", self.ready_line).group()

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def _read_out(self):
        for line in self.process.stdout:
            self._out.put(line)
        self._out.put(None)

    def _await_ready(self):
        line = self._out.get(timeout=START_SECONDS)
        assert line is not None, f"The server did not start: {''.join(self.log)}"
        return line

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=90, **options)

    def peak_memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        for thread in self._threads:
            thread.join(timeout=5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
