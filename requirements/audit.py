"""Checks the lock files for known vulnerabilities: `make audit`.

pip-audit makes the requests. It calls a package that its service does not answer for "skipped" and
still ends with success, so this reads its answer and fails on packages without one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# dev.txt holds everything of runtime.txt and serving.txt, in the same versions.
LOCKS = tuple(HERE / f"{name}.txt" for name in ("dev", "compare", "docs"))
ACCEPTED = HERE / "audit-accepted.txt"

NOTHING_FOUND, FOUND, NO_ANSWER = 0, 1, 69
"""Exit codes; 69 is EX_UNAVAILABLE of sysexits.h."""


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a locked package.

    Attributes:
      package: name and version, as "urllib3 2.5.0".
      ids: its names in the data bases, the service's own first.
      fixed_in: versions without it; empty if there are none.
      summary: one sentence of the data base.
    """

    package: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]
    summary: str


class NoAnswerError(Exception):
    """The service gave no answer; the message is pip-audit's last line."""


def read_accepted(path: Path) -> dict[str, str]:
    """Returns the reason by id of a file with lines `ID package: reason`, comments aside."""
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return {name: reason.strip() for name, _, reason in entries}


def look_up(locks: Sequence[Path], options: Sequence[str]) -> Mapping[str, Any]:
    """Returns pip-audit's answer about every package of lock files.

    Args:
      locks: requirements files with hashes.
      options: further options of pip-audit, as those that name the service.

    Raises:
      NoAnswerError: it ended without an answer.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += ["--format", "json", "--progress-spinner", "off", *options]
    for lock in locks:
        command += ["--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise NoAnswerError(lines[-1]) from None
    return answer


def unanswered(answer: Mapping[str, Any]) -> list[str]:
    """Returns the packages that the service did not answer for."""
    return sorted({one["name"] for one in answer["dependencies"] if "skip_reason" in one})


def findings(answer: Mapping[str, Any]) -> list[Finding]:
    """Returns every known vulnerability once, by package and id."""
    found = {
        Finding(
            f"{one['name']} {one['version']}",
            (vulnerability["id"], *sorted(vulnerability["aliases"])),
            tuple(vulnerability["fix_versions"]),
            vulnerability.get("description", ""),
        )
        for one in answer["dependencies"]
        for vulnerability in one.get("vulns", ())
    }
    return sorted(found, key=lambda finding: (finding.package, finding.ids))


def reason_for(finding: Finding, accepted: Mapping[str, str]) -> str:
    """Returns why a vulnerability is accepted, or the empty string."""
    return next((accepted[name] for name in finding.ids if name in accepted), "")


def _show(finding: Finding, reason: str) -> None:
    fixed = f"fixed in {', '.join(finding.fixed_in)}" if finding.fixed_in else "no version fixes it"
    print(f"{finding.package}: {', '.join(finding.ids)}; {fixed}")
    print(f"    {f'accepted: {reason}' if reason else finding.summary[:200]}")


def judge(answer: Mapping[str, Any], accepted: Mapping[str, str]) -> int:
    """Prints what an answer says; returns the exit code."""
    found, silent = findings(answer), unanswered(answer)
    open_ones = [finding for finding in found if not reason_for(finding, accepted)]
    for finding in found:
        _show(finding, reason_for(finding, accepted))
    count = len({one["name"] for one in answer["dependencies"]} - set(silent))
    print(f"{count} packages were looked up, {len(found)} known vulnerabilities,", end=" ")
    print(f"{len(found) - len(open_ones)} of them accepted ({ACCEPTED.name}).")
    if open_ones:
        print("Raise the packages (requirements/lock.sh says how), or accept with a reason.")
    if silent:
        _complain(f"no answer for {len(silent)} packages: {', '.join(silent[:5])} ...")
    return FOUND if open_ones else NO_ANSWER if silent else NOTHING_FOUND


def _complain(what: str) -> None:
    print(
        f"Known vulnerabilities could not be looked up: {what}\n"
        "This says nothing about the packages. Try again where pypi.org can be reached, or name"
        " another service, as --service osv with --osv-url.",
        file=sys.stderr,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks the packages up and prints what is known; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python requirements/audit.py",
        description="Check the lock files for known vulnerabilities.",
        epilog="exit codes: 0 none but accepted ones, 1 some were found, 2 wrong use, 69 the"
        " service did not answer for every package",
    )
    parser.add_argument("locks", type=Path, nargs="*", help="lock files (default: ours)")
    parser.add_argument(
        "--service", choices=("pypi", "osv"), default="pypi", help="the database (default: pypi)"
    )
    parser.add_argument("--osv-url", metavar="URL", help="a mirror of OSV, for --service osv")
    parser.add_argument("--timeout", type=int, default=15, metavar="S",
                        help="seconds to wait for each answer (default: 15)")  # fmt: skip
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, metavar="FILE",
                        help="vulnerabilities and why they do no harm here")  # fmt: skip
    options = parser.parse_args(arguments)
    if missing := [str(path) for path in (*options.locks, options.accepted) if not path.is_file()]:
        parser.error(f"expected a file, found none: {', '.join(missing)}")
    more = ["--vulnerability-service", options.service, "--timeout", str(options.timeout)]
    more += ["--osv-url", options.osv_url] if options.osv_url else []
    try:
        answer = look_up(options.locks or LOCKS, more)
    except NoAnswerError as error:
        _complain(str(error))
        return NO_ANSWER
    return judge(answer, read_accepted(options.accepted))


if __name__ == "__main__":
    sys.exit(main())
