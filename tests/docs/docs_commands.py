"""Finds the commands in the pages, and runs or checks them in a copy of the project."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HISTORY = ROOT / "CHANGELOG.md"
PAGES = (*sorted({*ROOT.glob("*.md")} - {_HISTORY}), *sorted((ROOT / "docs").rglob("*.md")))
"""All but the changelog, whose commands are those of the release it writes about."""
PYTHON = ".venv/bin/python"
SETUP = (ROOT / "requirements" / "setup_env.sh").read_text(encoding="utf-8")

NOT_COMMANDS = frozenset({"text", "json", "nginx", "caddy", "yaml", "toml", "http", "html", "csv"})
"""Languages of fenced blocks that nobody types into a shell."""

STARTS_A_COMMAND = re.compile(
    r"(\w+=\S* +)*(make|python[\d.]*|pip3?|pytest|sh|bash|curl|wget|apt|apt-get|sudo|uv|pyenv|git"
    r"|docker|kubectl|kill|nginx|caddy|wrk|jq|openssl|tensorflow_model_server|\S*\.venv\S*/\S+"
    r"|\./\S+) +\S"
)
"""How inline code begins that is a command; a program's name alone is a mention of it."""

_COPY_IGNORES = shutil.ignore_patterns(
    ".git", ".venv*", "output", "__pycache__", ".*_cache", ".hypothesis", "build", "*.egg-info"
)
_OPERATORS = frozenset({"&&", "||", "|", ";", "&", "(", ")"})
_REDIRECTIONS = frozenset({">", ">>", "<", "2>"})

PARSE_ONLY = """
import argparse, json, os, runpy, sys
original = argparse.ArgumentParser.parse_known_args
def parse(self, args=None, namespace=None):
    unknown = original(self, args, namespace)[1]
    print(json.dumps(unknown), flush=True)
    os._exit(0)
argparse.ArgumentParser.parse_known_args = parse
program, sys.argv = sys.argv[1], sys.argv[1:]
if program.endswith(".py"):
    sys.path.insert(0, os.path.dirname(program))
    runpy.run_path(program, run_name="__main__")
else:
    runpy.run_module(program, run_name="__main__", alter_sys=True)
"""
"""Starts a program and ends it when its parser has accepted the options."""


@dataclasses.dataclass(frozen=True)
class Command:
    """What the reader of a page is to type.

    Attributes:
      text: as it is written.
      language: "sh" or "python".
      place: page and line.
    """

    text: str
    language: str
    place: str

    @property
    def programs(self) -> list[str]:
        """What it starts: "make run", "serving.batch", "docs/make_picture.py", "curl"."""
        if self.language == "python":
            return ["a python block"]
        return [program_of(words) for words in simple_commands(self.text)]

    @property
    def asks_for_help(self) -> bool:
        return self.text.startswith(PYTHON) and self.text.endswith(" --help")


class UnreadablePage(Exception):
    """A page holds a block whose kind is not known."""


def commands_of(text: str, page: str) -> list[Command]:
    """Every command of a page in Markdown, fenced or inline."""
    fenced, prose = _split(text, page)
    found = []
    for line, language, block in fenced:
        if language == "python":
            found.append(Command(block, "python", f"{page}:{line}"))
        elif language == "sh":
            found += [
                Command(one, "sh", f"{page}:{line + offset}") for offset, one in _logical(block)
            ]
    for match in re.finditer(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", prose, re.DOTALL):
        code = " ".join(match.group(2).split())
        if STARTS_A_COMMAND.match(code):
            line = prose.count("\n", 0, match.start()) + 1
            found.append(Command(code, "sh", f"{page}:{line}"))
    return found


def _split(text: str, page: str) -> tuple[list[tuple[int, str, str]], str]:
    """Fenced blocks as (first line, language, text), and the rest with the same line numbers."""
    fenced: list[tuple[int, str, str]] = []
    prose: list[str] = []
    block: list[str] = []
    fence, language, start = "", "", 0
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"[\s>]*(```+|~~~+)\s*(\S*)", line)
        if not fence and match:
            fence, language, start, block = match.group(1), match.group(2), number + 1, []
            if language not in {"sh", "python", *NOT_COMMANDS}:
                raise UnreadablePage(
                    f"{page}:{number}: the block's language is {language!r}. Write ```sh over"
                    " commands, ```python over Python, and over what nobody types one of "
                    f"{', '.join(sorted(NOT_COMMANDS))}."
                )
        elif fence and match and match.group(1).startswith(fence) and not match.group(2):
            fenced.append((start, language, "\n".join(block)))
            fence = ""
        elif fence:
            block.append(line)
        prose.append("" if fence or match else line)
    if fence:
        raise UnreadablePage(f"{page}:{start - 1}: the block is never closed.")
    return fenced, "\n".join(prose)


def _logical(block: str) -> list[tuple[int, str]]:
    """The commands of a shell block, each with the number of its first line in the block."""
    found: list[tuple[int, str]] = []
    waiting: list[str] = []
    start = 0
    for number, line in enumerate(block.splitlines()):
        if not waiting:
            start = number
        waiting.append(line)
        text = "\n".join(waiting)
        if line.endswith("\\") or not _complete(text):
            continue
        if shlex.split(text, comments=True):
            found.append((start, text.strip()))
        waiting = []
    if waiting:
        raise UnreadablePage(f"a command has no end: {' '.join(waiting)!r}")
    return found


def _complete(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def simple_commands(text: str) -> list[list[str]]:
    """The words of each command between the shell's operators, without redirections."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word in _OPERATORS:
            commands.append([])
        elif word in _REDIRECTIONS:
            next(words, None)
        else:
            commands[-1].append(word)
    return [words for words in map(_without_settings, commands) if words]


def _without_settings(words: list[str]) -> list[str]:
    """A command without the variables that are set for it."""
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    return words


def program_of(words: list[str]) -> str:
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        return " ".join(["make", *(targets or ["help"])])
    if words[0] == PYTHON and len(words) > 1:
        return words[2] if words[1] == "-m" and len(words) > 2 else words[1]
    if words[0] in {"sh", "bash"} and len(words) > 1:
        return " ".join(words[:2])
    return words[0]


class Checkout:
    """A fresh copy of the project with an environment that is ready, as after `make setup`.

    The environment holds links to the packages of the present one and finds the project's own
    in the copy. pip uses no index, so that a stamp that does not fit ends in an error
    rather than in an installation.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.home = folder / "home"
        shutil.copytree(ROOT, self.root, ignore=_COPY_IGNORES)
        pip = self.home / ".config" / "pip" / "pip.conf"
        pip.parent.mkdir(parents=True)
        pip.write_text("[global]\nno-index = true\n")
        self._make_environment()

    def _make_environment(self) -> None:
        there, here = ROOT / ".venv", self.root / ".venv"
        here.mkdir()
        (here / "bin").symlink_to(there / "bin")
        shutil.copy(there / "pyvenv.cfg", here)
        packages = Path("lib", "python3.10", "site-packages")
        (here / packages).mkdir(parents=True)
        for entry in (there / packages).iterdir():
            if not entry.name.startswith("__editable__"):
                (here / packages / entry.name).symlink_to(entry)
        (here / packages / "project.pth").write_text(f"{self.root}\n")
        for kind in ("runtime", "dev"):
            fingerprint = re.search(r"^fingerprint\(\) \{.*?^\}$", SETUP, re.MULTILINE | re.DOTALL)[
                0
            ]
            self.shell(f"{fingerprint}\nfingerprint {kind} >.venv/setup-{kind}.stamp")

    def shell(self, text: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a command in a shell that has nothing activated and knows no variables."""
        return subprocess.run(
            ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", f"HOME={self.home}",
             "/bin/sh", "-c", text],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )  # fmt: skip

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        """Runs a command as it is written."""
        if command.language == "sh":
            return self.shell(command.text)
        return self.shell(f"{PYTHON} -c {shlex.quote(command.text)}")

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """A server of the copy's pushed model; gives its host and port."""
        with subprocess.Popen(
            ["env", "-i", "PATH=/usr/bin:/bin", PYTHON, "-m", "serving", "--port", "0"],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.search(r"http://(\S+)", line)
                assert found, f"the server did not start: {line!r}"
                yield found.group(1)
            finally:
                process.terminate()

    def complaint(self, words: list[str]) -> str:
        """What is wrong with a command of ours that is not run; empty if nothing is."""
        if words[0] == "make":
            return self._complaint_of_make(words)
        if words[0] == PYTHON:
            return self._complaint_of_python(words[1:])
        if words[0] in {"sh", "bash"}:
            return "" if (self.root / words[1]).is_file() else f"there is no file {words[1]}"
        return ""

    def _complaint_of_make(self, words: list[str]) -> str:
        makefile = (self.root / "Makefile").read_text(encoding="utf-8")
        for name in (word.partition("=")[0] for word in words[1:] if "=" in word):
            if not re.search(rf"^{re.escape(name)} *[?:]?=", makefile, re.MULTILINE):
                return f"the Makefile has no variable {name}"
        dry = self.shell(shlex.join([words[0], "-n", *words[1:]]))
        if dry.returncode:
            return dry.stderr
        for line in dry.stdout.replace("\\\n", " ").splitlines():
            for recipe in simple_commands(line) if _complete(line) else []:
                if recipe[0] == PYTHON and (found := self._complaint_of_python(recipe[1:])):
                    return found
        return ""

    def _complaint_of_python(self, words: list[str]) -> str:
        is_module = words[0] == "-m"
        program = words[1] if is_module else words[0]
        parts = program.split(".")
        if is_module and not (self.root / parts[0]).is_dir():
            return ""  # of another project, as pytest
        file = Path(*parts) if is_module else Path(program)
        candidates = [file / "__main__.py", file.with_name(file.name + ".py")]
        if not any((self.root / one).is_file() for one in (candidates if is_module else [file])):
            return f"there is no program {program}"
        options = words[2:] if is_module else words[1:]
        return self._complaint_of_options(program, options)

    def _complaint_of_options(self, program: str, options: list[str]) -> str:
        line = [PYTHON, "-c", PARSE_ONLY, program, *options]
        done = self.shell(shlex.join(line))
        if done.returncode or not done.stdout.strip():
            return done.stderr or "it ended before it read its options"
        unknown = json.loads(done.stdout.splitlines()[-1])
        if unknown and program == "benchmarks.pipeline_cost":
            return self._complaint_of_options("local_runner.py", unknown)
        return f"{program} does not know {' '.join(unknown)}" if unknown else ""

    def take_output(self, output: Path) -> None:
        """Puts a copy of a run's output where the pages say it is."""
        shutil.copytree(output, self.root / "output")
