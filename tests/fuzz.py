"""Runs every property test with new random examples until the time is up: `make fuzz`.

Each round runs them all with a seed of its own. At the end stands what failed, with the
line that reproduces it; the examples are kept in .hypothesis/ too and tried first next time.
"""

import argparse
import dataclasses
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).parents[1]

REPRODUCE = re.compile(r"@reproduce_failure\([^\n]*\)")
EXAMPLES = re.compile(r"(\d+) passing examples, (\d+) failing examples")


@dataclasses.dataclass(frozen=True)
class Failure:
    """A test that failed.

    Attributes:
      test: its name.
      seed: the seed of the round.
      message: the first line of the error.
      reproduce: the decorator that draws the same example again; empty if there is none.
    """

    test: str
    seed: int
    message: str
    reproduce: str


@dataclasses.dataclass(frozen=True)
class Round:
    """What one run of all property tests made: its exit code, tests, examples and failures."""

    exit_code: int
    tests: int
    examples: int
    failures: tuple[Failure, ...]


def read_failures(junit, seed):
    """Returns the failures in a report of pytest in JUnit's format."""
    failures = []
    for case in ET.fromstring(junit).iter("testcase"):
        for problem in [*case.findall("failure"), *case.findall("error")]:
            text = problem.text or ""
            lines = (problem.get("message") or "").splitlines() or [""]
            found = REPRODUCE.search(text)
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            failures.append(Failure(name, seed, lines[0], found.group() if found else ""))
    return tuple(failures)


def count_tests(junit):
    """Returns how many tests ran, those skipped left out."""
    return sum(case.find("skipped") is None for case in ET.fromstring(junit).iter("testcase"))


def count_examples(output):
    """Returns how many examples hypothesis tried, by its statistics."""
    return sum(int(a) + int(b) for a, b in EXAMPLES.findall(output))


def run_round(seed, until, pytest_args):
    """Runs all property tests once and shows pytest's output."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [
            sys.executable, "-m", "pytest", "-m", "hypothesis", "--tier=all", "-q",
            f"--hypothesis-seed={seed}", "--hypothesis-show-statistics",
            f"--junitxml={report}", *pytest_args,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "HYPOTHESIS_PROFILE": "fuzz",
            "PYTHONUNBUFFERED": "1",
            "FUZZ_SEED": str(seed),
            "FUZZ_UNTIL": str(until),
        }
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                print(line, end="", flush=True)
        junit = report.read_text(encoding="utf-8") if report.exists() else "<none/>"
    output = "".join(lines)
    return Round(
        process.returncode, count_tests(junit), count_examples(output), read_failures(junit, seed)
    )


def summary(rounds, minutes):
    """Returns what was tried and what failed, once for each test and error."""
    failures = {(f.test, f.message): f for done in rounds for f in done.failures}.values()
    lines = [
        f"fuzz: {minutes:.1f} minutes, {len(rounds)} rounds, "
        f"{sum(done.tests for done in rounds):,} tests, "
        f"{sum(done.examples for done in rounds):,} examples, {len(failures)} failures"
    ]
    for failure in failures:
        lines += [
            f"  {failure.test}",
            f"    {failure.message}",
            f"    reproduce: {failure.reproduce or f'--hypothesis-seed={failure.seed}'}",
        ]
    return "\n".join(lines)


def main(arguments=None):
    """Runs rounds until the time is up; returns the exit code: 0, or 1 if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("pytest_args", nargs="*", help="for pytest, after --: files, -n 2, ...")
    options = parser.parse_args(arguments)
    start, rounds = time.time(), []
    try:
        while time.time() < start + 60 * options.minutes:
            seed = random.SystemRandom().randrange(2**32)
            until = start + 60 * options.minutes
            rounds.append(run_round(seed, until, options.pytest_args))
            # 0: all passed, 1: some failed; what else there is would only repeat itself.
            if rounds[-1].exit_code not in (0, 1):
                break
    except KeyboardInterrupt:
        print("\ninterrupted; the rounds that were finished:")
    print(summary(rounds, (time.time() - start) / 60))
    return max((done.exit_code for done in rounds), default=0)


if __name__ == "__main__":
    sys.exit(main())
