"""Every command of README and docs works as it is written, with nothing activated.

Each is run, or stands in NOT_RUN by its program with the reason and has its options checked.
"""

from __future__ import annotations

import enum
import json
import re
import shutil

import pytest
from docs_commands import PAGES, PYTHON, ROOT, Checkout, UnreadablePage, commands_of
from docs_commands import simple_commands as words_of


class Why(enum.Enum):
    """Why a command is not run here."""

    LONG = "it takes more than a minute"
    SERVER = "it runs until it is stopped"
    NETWORK = "it needs a network"
    ROOT = "it needs root"
    FOREIGN = "it is a program of others that need not be there, or needs a server"
    TESTS = "it is the test command itself"
    REMOVES = "it removes what these tests need"
    OF_MAKE = "a make target that is run, or checked, starts the same"
    DATA = "it needs data that is not in the project"
    SETTING = "it sets something for the commands after it"


RUN = {
    "make help": r"make|set up what is missing",
    "make report": r"/output/report/index\.html",
    "serving.batch": r"recommendations",
    "a python block": r"\S",
}
"""By program: what it prints, a regular expression. `--help` is run of every program."""

NOT_RUN = {
    "make run": Why.LONG,
    "make compare": Why.LONG,
    "make fuzz": Why.LONG,
    "local_runner.py": Why.LONG,
    "sources": Why.DATA,
    "make serve": Why.SERVER,
    "serving": Why.SERVER,
    "make test": Why.TESTS,
    "make test-fast": Why.TESTS,
    "make test-all": Why.TESTS,
    "make lint": Why.TESTS,
    "make coverage": Why.TESTS,
    "make ci": Why.TESTS,
    "make docs": Why.NETWORK,
    "pytest": Why.TESTS,
    "make setup": Why.NETWORK,
    "make setup-dev": Why.NETWORK,
    "make lock": Why.NETWORK,
    "make audit": Why.NETWORK,
    "requirements/audit.py": Why.NETWORK,
    "sh requirements/lock.sh": Why.NETWORK,
    "make clean": Why.REMOVES,
    "make distclean": Why.REMOVES,
    "components.report": Why.OF_MAKE,
    "benchmarks.compare": Why.LONG,
    "benchmarks.cross_weights": Why.LONG,
    "benchmarks.refit": Why.LONG,
    "benchmarks.next_visit": Why.LONG,
    "benchmarks.parts": Why.LONG,
    "benchmarks.pipeline_cost": Why.LONG,
    "benchmarks.ratings": Why.LONG,
    "benchmarks.report_cost": Why.LONG,
    "benchmarks.read_cost": Why.LONG,
    "benchmarks.seed_noise": Why.LONG,
    "benchmarks.sequence": Why.LONG,
    "benchmarks.serving_load": Why.LONG,
    "benchmarks.validation": Why.LONG,
    "docs/make_picture.py": Why.LONG,
    "docs/report_screenshots.py": Why.FOREIGN,
    "docs/serving_screenshots.py": Why.FOREIGN,
    "apt": Why.ROOT,
    "curl": Why.FOREIGN,
    "tensorflow_model_server": Why.FOREIGN,
    "uv": Why.NETWORK,
    "pyenv": Why.NETWORK,
    "export": Why.SETTING,
}
"""By program: why it is not run. Its file and options are checked all the same."""

HOW_TO_CLASSIFY = (
    "Put the program into RUN of tests/docs/test_docs_commands.py (with what it prints) if it ends"
    " within a minute, and otherwise into NOT_RUN with the reason. The program is what follows"
    f" `{PYTHON}` (or `-m`), or the make target."
)


def found():
    """Every command of the pages once, in the pages' order."""
    commands = {}
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for command in commands_of(page.read_text(encoding="utf-8"), name):
            commands.setdefault(command.text, command)
    return list(commands.values())


try:
    COMMANDS, UNREADABLE = found(), ""
except UnreadablePage as error:
    COMMANDS, UNREADABLE = [], str(error)


def is_run(command):
    return command.asks_for_help or all(program in RUN for program in command.programs)


OUR_SERVER = re.compile(r"\b(localhost|127\.0\.0\.1):8501\b")


def asks_our_server(command):
    return command.programs == ["curl"] and OUR_SERVER.search(command.text)


def name_of(command):
    return re.sub(r"\s+", " ", command.text)[:70]


runnable = pytest.mark.parametrize("command", filter(is_run, COMMANDS), ids=name_of)
others = pytest.mark.parametrize(
    "command", [command for command in COMMANDS if not is_run(command)], ids=name_of
)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="session")
def after_a_run(sample_output, tmp_path_factory):
    copy = Checkout(tmp_path_factory.mktemp("docs-run"))
    copy.take_output(sample_output)
    return copy


def test_every_block_says_what_language_it_is():
    assert UNREADABLE == ""
    assert len(COMMANDS) > 20


def test_every_command_is_run_or_has_a_reason():
    unknown = [
        f"{command.place}: {program!r} of `{command.text}`"
        for command in COMMANDS
        for program in command.programs
        if not command.asks_for_help and program not in {**RUN, **NOT_RUN}
    ]
    assert unknown == [], HOW_TO_CLASSIFY


def test_python_is_always_that_of_the_project():
    """`python` alone is another interpreter, or none, where nothing is activated."""
    wrong = re.compile(
        r"(?<![\w./-])python3?\s+(-m\s+(serving|components|benchmarks|pytest|pipeline|sources|trainer)\b"
        r"|(\./)?(local_runner|(docs|benchmarks|serving|pipeline)/\w+)\.py)"
    )
    places = []
    for file in [*ROOT.glob("*.*"), *(f for top in TYPED for f in (ROOT / top).rglob("*"))]:
        if file.suffix not in {".py", ".md", ".sh", ".html", ".js", ".ipynb"}:
            continue
        text = file.read_text(encoding="utf-8")
        places += [
            f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
            for match in wrong.finditer(text)
        ]
    assert places == [], f"write `{PYTHON} ...` or the make target"


TYPED = ("benchmarks", "components", "docs", "pipeline", "requirements", "schema", "serving",
         "sources", "storage", "trainer", "transform")  # fmt: skip
"""Folders whose docstrings, messages and pages name commands."""


@pytest.mark.xdist_group("docs")
@runnable
def test_a_command_runs_as_it_is_written(command, after_a_run, sample_output):
    done = after_a_run.run(command)
    assert done.returncode == 0, f"{command.place}\n{done.stdout}{done.stderr}"
    if command.asks_for_help:
        assert done.stdout.startswith(f"usage: {command.text.removesuffix(' --help')}")
    else:
        for program in command.programs:
            assert re.search(RUN[program], done.stdout + done.stderr), done.stdout + done.stderr
    if 'signatures["recommend"]' in command.text:
        assert_prints_ten_titles(done.stdout, sample_output)


def assert_prints_ten_titles(text, output):
    [catalogue, *_] = (output / "serving_model").glob("[0-9]*/assets.extra/catalogue.json")
    titles = [movie["title"] for movie in json.loads(catalogue.read_text(encoding="utf-8"))]
    assert sum(repr(title) in text for title in titles) >= 10


@pytest.fixture(scope="module")
def address(after_a_run):
    """Host and port of the server, started in the copy as the pages say but on a free port."""
    with after_a_run.serving() as address:
        yield address


@pytest.mark.xdist_group("docs")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
@pytest.mark.parametrize("command", filter(asks_our_server, COMMANDS), ids=name_of)
def test_a_request_to_the_server_is_answered(command, after_a_run, address):
    done = after_a_run.shell(OUR_SERVER.sub(address, command.text))
    assert done.returncode == 0, done.stderr
    assert "error" not in json.loads(done.stdout), f"{command.place}: {done.stdout}"


@pytest.mark.xdist_group("docs")
@others
def test_a_command_that_is_not_run_has_a_program_and_options_that_exist(command, checkout):
    complaints = [checkout.complaint(words) for words in words_of(command.text)]
    assert not any(complaints), f"{command.place}: {command.text}\n{' '.join(complaints)}"


@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("make rnu", "No rule to make target"),
        ('make run ARG="--epochs 4"', "no variable ARG"),
        ('make run ARGS="--epoch-count 4"', "unrecognized arguments|does not know"),
        (f"{PYTHON} local_runner.py --dataset netflix", "invalid choice"),
        (f"{PYTHON} -m benchmarks.missing", "no program benchmarks.missing"),
        (f"{PYTHON} -m serving --no-such-option", "does not know --no-such-option"),
        (f"{PYTHON} -m benchmarks.pipeline_cost --datset sample", "does not know --datset"),
        ("sh requirements/missing.sh", "no file"),
    ],
)
def test_the_check_finds(text, complaint, checkout):
    [words] = words_of(text)
    assert re.search(complaint, checkout.complaint(words))


def test_commands_are_found_wherever_they_stand():
    text = (
        'Run `make run\nARGS="--epochs 4"`, or ``curl x``; `make` and `curl` are programs.\n'
        "```sh\n# a comment\nmake serve   # goes on\ncurl a \\\n  b\ncurl -d '{\n}' c\n```\n"
        "- a list\n  ```python\n  print(1)\n  ```\n```text\nmake nothing\n```\n"
    )
    assert [command.text for command in commands_of(text, "page")] == [
        "make serve   # goes on",
        "curl a \\\n  b",
        "curl -d '{\n}' c",
        "  print(1)",
        'make run ARGS="--epochs 4"',
        "curl x",
    ]


@pytest.mark.parametrize("language", ["", "bash", "console", "shell"])
def test_a_block_of_no_known_language_is_named(language):
    with pytest.raises(UnreadablePage, match=r"page:2: .*Write ```sh over commands"):
        commands_of(f"text\n```{language}\nmake run\n```\n", "page")
