"""Setting up from nothing: lock files, package, preflight and the set-up scripts."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
TOP_LEVEL = (
    "components",
    "metrics",
    "pipeline",
    "schema",
    "serving",
    "sources",
    "storage",
    "trainer",
    "transform",
)


def run(*command, env=None, cwd=ROOT, timeout=60):
    return subprocess.run(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def executable(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# --- lock files


def locked(name):
    """The entries of a lock file: name → (version, number of hashes)."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    entries = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    lock = {}
    for entry in entries.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)(?: ; [^-]*)? +--hash", entry)
        assert match, f"no pinned version with a hash: {entry[:80]!r}"
        lock[match[1].lower()] = (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return lock


def by_hand(name):
    lines = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] not in "#-"]


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_lock_pins_and_hashes_every_package(name):
    lock = locked(name)
    assert len(lock) > 200
    assert [package for package, (_, hashes) in lock.items() if not hashes] == []


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_lock_names_no_index(name):
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_lock_holds_what_is_required_by_hand(name):
    from packaging.requirements import Requirement

    lock = locked(name)
    for requirement in map(Requirement, by_hand(name)):
        version, _ = lock[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_dev_lock_is_the_runtime_lock_and_more():
    runtime, dev = locked("runtime"), locked("dev")
    assert {name: dev.get(name) for name in runtime} == runtime
    assert {"pytest", "ruff", "mypy"} <= dev.keys() - runtime.keys()


# --- the package


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what git would give a fresh clone, for builds that write beside setup.py."""
    copy = tmp_path_factory.mktemp("sources")
    files = (
        "setup.py",
        "preflight.py",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "NOTICE",
    )
    for name in (*files, "requirements", *TOP_LEVEL):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    data = copy / "schema" / "data" / "packed.csv"
    data.parent.mkdir(exist_ok=True)
    data.write_text("a,b\n")
    return copy


def package_files(root):
    """Every module and data file below the top-level packages, as paths in an archive."""
    endings = {".py", ".pbtxt", ".json", ".csv", ".txt", ".html", ".css", ".js", ".svg"}
    return {
        str(path.relative_to(root))
        for top in TOP_LEVEL
        for path in (root / top).rglob("*")
        if path.suffix in endings
    }


def test_every_folder_with_modules_is_a_package():
    bare = {
        str(path.parent.relative_to(ROOT))
        for top in TOP_LEVEL
        for path in (ROOT / top).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert bare == set(), "pyproject.toml packs folders with an __init__.py only"


def test_no_data_file_has_an_ending_setup_does_not_pack():
    stray = {
        str(path.relative_to(ROOT))
        for top in TOP_LEVEL
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - package_files(ROOT)
    assert stray == set(), "add the ending to package-data in pyproject.toml and to this test"


def test_wheel_built_from_sdist_contains_everything(sources, tmp_path):
    """The way of a Beam worker: an sdist by setup.py, installed elsewhere."""
    built = run(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path, cwd=sources)
    assert built.returncode == 0, built.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path)
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    built = run(
        sys.executable, "setup.py", "-q", "bdist_wheel", "-d", tmp_path / "wheel", cwd=unpacked
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob(f"movielens_tfx_recommender-{VERSION}-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        about = packed.read(metadata).decode()
    assert {"preflight.py", *package_files(sources)} <= names
    assert "schema/data/packed.csv" in names
    assert re.search(r"Requires-Python: (>=3.10,<3.11|<3.11,>=3.10)\n", about)
    assert "License-Expression: Apache-2.0\n" in about
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names}
    for requirement in by_hand("runtime"):
        assert f"Requires-Dist: {requirement.split('=')[0].split('<')[0].split('>')[0]}" in about
    assert re.search(r"Requires-Dist: pytest.*extra == .dev.", about)


# --- starting programs with an interpreter that is not the project's


PROGRAMS = {
    ("local_runner.py", "--dataset", "sample"): "make run",
    ("-m", "serving"): "make serve",
    ("-m", "serving.batch", "--output", "x.parquet"): "",
    ("-m", "sources", "describe", "data"): "",
    ("-m", "components.report"): "make report",
    ("-m", "benchmarks.compare"): "",
    ("-m", "benchmarks.cross_weights"): "",
    ("-m", "benchmarks.pipeline_cost"): "",
    ("-m", "benchmarks.report_cost", "output"): "",
    ("-m", "benchmarks.seed_noise"): "",
    ("-m", "benchmarks.serving_load"): "",
    ("-m", "benchmarks.validation"): "",
}
"""Every program that people start, and the make target that does the same."""


def bare_python(*arguments, cwd=ROOT):
    """The same interpreter with no package installed: -S leaves out site-packages."""
    return run(sys.executable, "-S", "-E", *arguments, cwd=cwd)


@pytest.mark.parametrize("arguments", PROGRAMS, ids=" ".join)
def test_without_packages_a_program_says_which_commands_install_and_start_it(arguments):
    started = bare_python(*arguments)
    assert started.returncode == 2, started.stderr
    assert started.stdout == ""
    what, how = started.stderr.splitlines()
    assert re.fullmatch(r"\d+ packages that it needs are not installed\.", what)
    assert f"Run `make setup` in {ROOT} once" in how
    assert f"`.venv/bin/python {' '.join(arguments[:-1])}"[:30] in how
    assert f"`{PROGRAMS[arguments]}`" in how or not PROGRAMS[arguments]


def test_the_runner_says_so_in_any_working_directory(tmp_path):
    started = bare_python(ROOT / "local_runner.py", cwd=tmp_path)
    assert started.returncode == 2
    assert str(ROOT) in started.stderr


def test_help_needs_no_packages_and_no_working_directory(tmp_path):
    started = bare_python(ROOT / "local_runner.py", "--help", cwd=tmp_path)
    assert (started.returncode, started.stderr) == (0, "")
    assert "--dataset" in started.stdout


@pytest.fixture
def preflight(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    import preflight

    return preflight


def test_another_python_is_refused_by_name(preflight, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    expected = f"Python 3.10 is needed; this is 3.12.1 ({sys.executable})."
    assert preflight.problem(("runtime",)) == expected
    assert preflight.problem(("runtime",), packages=False) == ""
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert "this is 3.9.18" in preflight.problem(("runtime",), packages=False)


def test_a_wrong_version_is_named_with_the_right_one(preflight, tmp_path):
    requirements = tmp_path / "runtime.in"
    requirements.write_text("# a comment\n\npytest==0.1\nhypothesis>=6,<7\n")
    assert preflight.what_is_missing([requirements]) == (
        f"The installed packages do not fit: pytest is {pytest.__version__}, expected 0.1."
    )


def test_a_package_of_another_distribution_is_not_missing(preflight, tmp_path):
    requirements = tmp_path / "serving.in"
    requirements.write_text("json==1.0\nno-such-package\n")
    missing = preflight.what_is_missing([requirements])
    assert missing == "These packages are not installed: no-such-package."


def test_before_the_set_up_one_short_sentence_is_enough(preflight, tmp_path):
    requirements = tmp_path / "serving.in"
    requirements.write_text("".join(f"no-such-package-{number}\n" for number in range(25)))
    missing = preflight.what_is_missing([requirements])
    assert missing == "25 packages that it needs are not installed."


def test_this_environment_passes_the_preflight(preflight):
    assert preflight.problem(("runtime", "serving", "dev")) == ""


# --- finding Python 3.10

FAILING_SHIM = "echo 'pyenv: python3.10: command not found' >&2; exit 127"
OLDER_PYTHON = "exit 1"


def find_python(tmp_path, *, path, **env):
    env = {"PATH": str(path), "HOME": str(tmp_path / "home"), **env}
    return run("/bin/sh", REQUIREMENTS / "find_python.sh", env=env, cwd=tmp_path)


def this_python(path):
    return executable(path, f'exec "{sys.executable}" "$@"')


def is_this_python(found):
    same = Path(found.stdout.strip()).resolve() == Path(sys.executable).resolve()
    return found.returncode == 0 and same


def test_no_python_gives_two_lines_and_fails(tmp_path):
    stubs = tmp_path / "bin"
    executable(stubs / "python3", OLDER_PYTHON)
    found = find_python(tmp_path, path=stubs)
    assert found.returncode == 1
    assert found.stdout == ""
    what, how = found.stderr.splitlines()
    assert "Python 3.10 is needed" in what
    assert "uv python install 3.10" in how
    assert "pyenv install 3.10" in how


def test_python_on_path_is_found(tmp_path):
    this_python(tmp_path / "bin" / "python3.10")
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


def test_python_under_a_plain_name_is_found(tmp_path):
    this_python(tmp_path / "bin" / "python3")
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


def test_pyenv_version_is_found_behind_shims_that_fail(tmp_path):
    for name in ("python3.10", "python3", "python", "uv"):
        executable(tmp_path / "bin" / name, FAILING_SHIM)
    executable(tmp_path / "bin" / "pyenv", f'echo "{tmp_path}/pyenv root"')
    executable(tmp_path / "pyenv root/versions/3.10.2/bin/python3.10", FAILING_SHIM)
    this_python(tmp_path / "pyenv root/versions/3.10.9/bin/python3.10")
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


def test_pyenv_is_found_when_only_its_folder_is_there(tmp_path):
    this_python(tmp_path / "home/.pyenv/versions/3.10.9/bin/python3.10")
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


def test_uv_is_tried_first(tmp_path):
    executable(tmp_path / "bin" / "python3.10", FAILING_SHIM)
    mine = this_python(tmp_path / "uv" / "python3.10")
    executable(tmp_path / "bin" / "uv", f'[ "$*" != "python find --system 3.10" ] || echo "{mine}"')
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


def test_uv_downloads_when_nothing_is_found(tmp_path):
    mine = this_python(tmp_path / "uv" / "python3.10")
    executable(
        tmp_path / "bin" / "uv",
        f"""
case "$*" in
    --version) ;;
    "python install "*3.10) : >"{tmp_path}/installed" ;;
    "python find --system 3.10") [ -e "{tmp_path}/installed" ] && echo "{mine}" ;;
esac""",
    )
    assert is_this_python(find_python(tmp_path, path=tmp_path / "bin"))


# --- making .venv, with a uv that installs nothing and writes down how it was called


@pytest.fixture
def project(tmp_path):
    """A folder with the set-up scripts and a stub of uv; `project.uv` changes its answer."""
    return Project(tmp_path)


class Project:
    def __init__(self, folder):
        self.root = folder / "project with a space"
        self.stubs = folder / "stubs"
        self.calls = folder / "calls"
        shutil.copytree(REQUIREMENTS, self.root / "requirements")
        for name in ("setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.check_imports("")
        self.uv("exit 0")

    def check_imports(self, source):
        (self.root / "requirements" / "check_imports.py").write_text(source)

    def uv(self, on_install):
        executable(
            self.stubs / "uv",
            f"""
case "$*" in
    --version) ;;
    "python find"*) echo "{Path(sys.executable).resolve()}" ;;
    "pip install"*) echo "$*" >>"{self.calls}"; {on_install} ;;
esac""",
        )

    def set_up(self, kind="runtime", cwd=None):
        script = self.root / "requirements" / "setup_env.sh"
        env = {**os.environ, "PATH": f"{self.stubs}:/usr/bin:/bin"}
        self.calls.write_text("")
        return run("/bin/sh", script, kind, env=env, cwd=cwd or self.root)

    @property
    def installed(self):
        """The lock files and projects of the last call's installs."""
        return re.findall(r"(?:-r requirements/|-e )(\S+)", self.calls.read_text())


def test_first_set_up_installs_the_lock_and_the_project(project, tmp_path):
    done = project.set_up(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert project.installed == ["runtime.txt", "."]
    count = len(locked("runtime"))
    assert done.stderr.splitlines()[-2].startswith(f"Installing {count} packages")


def test_second_set_up_does_nothing(project):
    project.set_up()
    done = project.set_up()
    assert (done.returncode, done.stderr, project.installed) == (0, "", [])


def test_dev_set_up_upgrades_in_place_and_serves_both(project):
    project.set_up()
    mark = project.root / ".venv" / "kept"
    mark.touch()
    project.set_up("dev")
    assert project.installed == ["dev.txt", "."]
    assert mark.exists()
    project.set_up("runtime")
    assert project.installed == []


@pytest.mark.parametrize("changed", ["requirements/runtime.txt", "setup.py", "pyproject.toml"])
def test_a_changed_lock_or_package_is_installed(project, changed):
    project.set_up()
    path = project.root / changed
    path.write_text(f"# changed\n{path.read_text()}")
    project.set_up()
    assert project.installed == ["runtime.txt", "."]


def test_other_settings_of_the_checks_install_nothing(project):
    project.set_up()
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    project.set_up()
    assert project.installed == []


def test_a_moved_checkout_is_installed_again(project):
    project.set_up()
    project.root = project.root.rename(project.root.with_name("elsewhere"))
    project.set_up()
    assert project.installed == ["runtime.txt", "."]


def test_a_set_up_killed_in_the_middle_is_repeated(project):
    project.uv("kill -9 $PPID")
    assert project.set_up().returncode != 0
    leftover = project.root / ".venv" / "half-installed"
    leftover.touch()
    project.uv("exit 0")
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    assert "cut short" in done.stderr
    assert not leftover.exists()
    assert project.installed == ["runtime.txt", "."]


def test_a_venv_without_its_python_is_replaced(project):
    project.set_up()
    (project.root / ".venv/bin/python").unlink()
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    assert project.installed == ["runtime.txt", "."]


def test_a_failing_index_gives_two_lines_and_the_log(project):
    project.uv("echo 'Resolving'; echo 'error: Failed to fetch: no such host'; exit 2")
    done = project.set_up()
    assert done.returncode == 1
    _, what, where = done.stderr.splitlines()[-3:]
    assert what == (
        "Installing the packages failed: the package index did not answer "
        "(error: Failed to fetch: no such host)"
    )
    assert ".venv/setup.log" in where
    assert "Resolving" in (project.root / ".venv/setup.log").read_text()


def test_packages_that_do_not_load_fail_the_set_up(project):
    project.check_imports("import no_such_library")
    done = project.set_up()
    assert done.returncode == 1
    assert "Loading the packages failed: ModuleNotFoundError" in done.stderr
    project.check_imports("")
    assert project.set_up().returncode == 0


def test_a_missing_compiler_is_named(project):
    project.uv("echo \"error: command 'gcc' failed: No such file or directory\"; exit 1")
    assert "build-essential" in project.set_up().stderr


def test_bytecode_is_written_even_where_it_is_switched_off(project, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    project.check_imports("import sys\nassert not sys.dont_write_bytecode")
    assert project.set_up().returncode == 0


def test_a_failed_step_up_to_dev_leaves_the_runtime_usable(project):
    project.set_up()
    project.uv("echo 'error: offline'; exit 2")
    assert project.set_up("dev").returncode == 1
    done = project.set_up("runtime")
    assert (done.returncode, project.installed) == (0, [])
    project.uv("exit 0")
    project.set_up("dev")
    assert project.installed == ["dev.txt", "."]


def test_a_venv_made_by_hand_is_kept(project):
    venv = project.root / ".venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    (venv / "mine").touch()
    assert project.set_up().returncode == 0
    assert (venv / "mine").exists()


def test_a_set_up_at_work_is_not_disturbed(project):
    venv = project.root / ".venv"
    venv.mkdir()
    (venv / "setup-unfinished").write_text(f"{os.getpid()}\n")
    done = project.set_up()
    assert done.returncode == 1
    assert "Another set-up is at work" in done.stderr
    assert venv.exists()
    assert project.installed == []
