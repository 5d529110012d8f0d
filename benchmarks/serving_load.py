"""Measures the server's latency and throughput for recommendations.

    .venv/bin/python -m benchmarks.serving_load            # output/serving_model
    .venv/bin/python -m benchmarks.serving_load --model-dir DIR --seconds 10

One run measures everything that is compared: the model called directly in a process, the
server at fixed rates and at saturation, with batching, without it and with a delay on top, and
while a new version is swapped in; start to ready; peak memory. wrk (on Debian: apt install wrk)
makes the requests, each for another user, on the same machine, so it and the server share the
processors. At a fixed rate its connections pause between requests, so a slow server gets fewer;
the rate that was reached is printed, and so are the processor milliseconds of the server per
request, which depend least on other load. Compare metrics of one run with each other.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWAP_SECONDS = 20
"""Longer than a swap takes."""
LARGE_CELLS = 100_000
"""The server's --max-cells by default."""

LUA = """
local ids = {%(ids)s}
local think = %(think)d
local paths = {}
function setup(thread) thread:set("seed", math.random(1000000)) end
function init(args)
  math.randomseed(seed)
  for index, id in ipairs(ids) do
    paths[index] = wrk.format("GET", "/api/users/" .. id .. "/recommendations?k=10%(extra)s")
  end
end
function request() return paths[math.random(#paths)] end
%(delay)s
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %%f %%f %%f %%f %%d %%d\\n",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""
DELAY = "function delay() return math.random(0, 2 * think) end"

DIRECT = """
import os, sys, time, statistics
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from serving import tensorflow_import
tensorflow_import.install()
from pathlib import Path
from serving.model import load
from serving.recommender import UserProfile, make_recommender
path = Path(sys.argv[1])
model = make_recommender(load(path, int(path.name)))
people = [UserProfile(user) for user in model.users.ids] or [UserProfile()]
function = model.model.signatures["recommend"]
for rows in (1, 4, 16, 64):
    calls = [
        model.recommend([people[(n * rows + i) % len(people)] for i in range(rows)], 10,
                        [()] * rows, False)
        for n in range(max(30, 400 // rows))
    ]
    for call in calls[:5]:
        function(call.inputs)
    times = []
    for call in calls:
        started = time.perf_counter()
        function(call.inputs)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    rate = rows / statistics.mean(times) * 1e3
    print(rows, statistics.median(times), times[int(len(times) * 0.99)], rate)
"""


def newest_version(model_dir: Path) -> Path:
    versions = [path for path in model_dir.iterdir() if path.name.isdigit()]
    if not versions:
        raise SystemExit(f"No model in {model_dir}: run 'make run' first, or name --model-dir.")
    return max(versions, key=lambda path: int(path.name))


def user_ids(version: Path) -> list[str]:
    path = version / "assets.extra" / "users.json"
    return json.loads(path.read_text())["ids"] if path.exists() else [""]


def measure_directly(version: Path) -> None:
    print("the model called directly, in one process and thread")
    print("  rows of a call      p50 ms      p99 ms      users/s")
    done = subprocess.run(
        [sys.executable, "-c", DIRECT, str(version)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        rows, median, worst, rate = line.split()
        print(f"  {rows:>14} {float(median):>11.2f} {float(worst):>11.2f} {float(rate):>12,.0f}")


@contextmanager
def server(model_dir: Path, *options: str) -> Iterator[tuple[str, int, float]]:
    """Starts a server; gives its address, its process id and the seconds until it was ready."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--model-dir", str(model_dir), "--port", "0",
         "--no-access-log", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise SystemExit("The server did not start; run 'make serve' to see why.")
        yield found.group(), process.pid, time.monotonic() - started
    finally:
        process.terminate()
        process.wait(timeout=60)


def cpu_seconds(process: int) -> float:
    """Processor seconds that a process has used; hardly depends on what else is running."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    url: str,
    process: int,
    ids: Sequence[str],
    seconds: int,
    rate: int,
    clients: int,
    extra: str = "",
) -> None:
    """Runs wrk once and prints its line; a rate of 0 is as fast as possible."""
    before = cpu_seconds(process)
    connections = max(8, rate // 5) if rate else clients
    values = {
        "ids": ", ".join(f'"{user}"' for user in ids),
        "think": round(1000 * connections / rate) if rate else 0,
        "delay": DELAY if rate else "",
        "extra": extra,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % values)
        script.flush()
        done = subprocess.run(
            ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", script.name, url],
            capture_output=True,
            text=True,
            check=True,
        )
    result = re.search(r"RESULT (.*)", done.stdout)
    assert result, done.stdout + done.stderr
    reached, median, tail, most, refused, broken = map(float, result.group(1).split())
    cost = 1e3 * (cpu_seconds(process) - before) / max(1.0, reached * seconds)
    wanted = f"{rate}/s" if rate else f"{connections} clients"
    print(
        f"    {wanted:>12} {reached:>10,.0f} {median:>9.2f} {tail:>9.2f} {most:>9.1f}"
        f" {refused:>10.0f} {broken:>8.0f} {cost:>9.2f}",
        flush=True,
    )


def measure_health_under_large_calls(url: str, version: Path) -> None:
    """Times /healthz while four clients request the largest answers; aim: 100 ms at most."""
    movies = len(json.loads((version / "assets.extra" / "catalogue.json").read_text()))
    rows = max(1, LARGE_CELLS // movies)
    inputs = {"movie_id": [str(1 + row % movies) for row in range(rows)], "k": movies}
    body = json.dumps({"signature_name": "similar", "inputs": inputs}).encode()
    large = urllib.request.Request(f"{url}/v1/models/movielens:predict", body)

    def request_much() -> int:
        statuses = []
        for _ in range(4):
            try:
                with urllib.request.urlopen(large, timeout=60) as answer:
                    statuses.append(answer.status if answer.read() else 0)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
        return statuses.count(200)

    waits = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(request_much) for _ in range(4)]
        while not all(one.done() for one in calls):
            started = time.perf_counter()
            with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
                answer.read()
            waits.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.01)
    answered = sum(one.result() for one in calls)
    waits.sort()
    print(
        f"    healthz while {answered} of 16 large calls are answered ({rows} rows x {movies}):"
        f" median {statistics.median(waits):.1f} ms, longest {waits[-1]:.1f} ms"
        f" (aim 100 ms) of {len(waits)}",
        flush=True,
    )


def measure_swap(version: Path, ids: Sequence[str], seconds: int, clients: int) -> None:
    """Measures requests while a copy of the version is validated, loaded and swapped in."""
    print("  while a new version is validated, loaded and swapped in")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        shutil.copytree(version, models / "1")
        with server(models, "--poll", "0.2") as (url, process, _):
            shutil.copytree(version, models / ".2")
            (models / ".2").rename(models / "2")
            measure(url, process, ids, max(seconds, SWAP_SECONDS), 100, clients)
            with urllib.request.urlopen(f"{url}/readyz", timeout=60) as answer:
                swapped = json.load(answer)["model_version"] == "2"
            print(f"    {'' if swapped else 'not '}swapped in meanwhile", flush=True)


def peak_memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found.group(1)) / 1024 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.serving_load",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--model-dir", type=Path, default=ROOT / "output" / "serving_model")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 300, 600])
    parser.add_argument("--clients", type=int, default=64, help="connections at saturation")
    parser.add_argument("--starts", type=int, default=3, help="how often to time the start")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing (on Debian: apt install wrk).")
    version = newest_version(arguments.model_dir)
    ids = user_ids(version)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before")
    print(f"version {version.name}, {len(ids)} users\n")
    measure_directly(version)

    starts = []
    for _ in range(arguments.starts):
        with server(arguments.model_dir) as (_, _, seconds):
            starts.append(seconds)
    print(f"\nstart to ready: median {statistics.median(starts):.1f} s of {len(starts)}\n")

    print("GET /api/users/<id>/recommendations?k=10")
    print("          wanted    reached    p50 ms    p99 ms    max ms    refused   broken    cpu ms")
    configurations: list[tuple[str, list[str], list[int]]] = [
        ("batching (as by default)", [], [*arguments.rates, 0]),
        ("no batching", ["--max-batch", "1"], [*arguments.rates, 0]),
        ("batching with 2 ms of delay", ["--batch-delay", "2"], [*arguments.rates, 0]),
    ]
    for name, options, rates in configurations:
        with server(arguments.model_dir, *options) as (url, process, _):
            measure(url, process, ids, 2, 0, 8)  # warm-up; nothing is measured
            print(f"  {name}")
            for rate in rates:
                measure(url, process, ids, arguments.seconds, rate, arguments.clients)
            if not options:
                print("  the same with reasons=2")
                measure(url, process, ids, arguments.seconds, 100, arguments.clients, "&reasons=2")
                measure_health_under_large_calls(url, version)
            print(f"    peak memory {peak_memory_mb(process):.0f} MB")
    measure_swap(version, ids, arguments.seconds, arguments.clients)
    print(f"\nload {os.getloadavg()[0]:.2f} after")


if __name__ == "__main__":
    main()
