"""The hash of the code in the cache key: it changes with what is run, and with nothing else."""

import ast
import shutil
from pathlib import Path

import pytest
from example_artifacts import options
from google.protobuf import json_format
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline

from components.evaluation.config import Thresholds
from components.example_gen.component import RatingsGen
from components.pusher.kind import Kind
from components.source_hash import keyed_by_source, source_digest
from pipeline import pipeline as pipeline_module
from pipeline.config import OutputPaths
from pipeline.pipeline import PipelineConfig, create_pipeline
from trainer.config import TrainerConfig, TunerConfig

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = {
    "components",
    "metrics",
    "pipeline",
    "schema",
    "serving",
    "sources",
    "storage",
    "trainer",
    "transform",
}


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "trainer/__init__.py": "",
        "trainer/model.py": "DIMENSION = 32\n",
        "trainer/deep/layers.py": "DEPTH = 2\n",
        "schema/schema.pbtxt": 'feature { name: "a" }\n',
        "other/code.py": "",
    }.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "root"


@pytest.mark.parametrize("file", ["trainer/model.py", "trainer/deep/layers.py"])
def test_an_edit_of_a_source_file_changes_the_digest(root, file):
    before = source_digest("trainer", root=root)
    (root / file).write_text((root / file).read_text() + "# a comment\n")
    assert source_digest("trainer", root=root) != before


def test_an_edit_of_the_curated_schema_changes_the_digest(root):
    before = source_digest("schema", root=root)
    (root / "schema/schema.pbtxt").write_text('feature { name: "b" }\n')
    assert source_digest("schema", root=root) != before


def test_new_removed_and_renamed_files_change_the_digest(root):
    digests = [source_digest("trainer", root=root)]
    (root / "trainer/new.py").write_text("")
    digests.append(source_digest("trainer", root=root))
    (root / "trainer/new.py").rename(root / "trainer/newer.py")
    digests.append(source_digest("trainer", root=root))
    (root / "trainer/model.py").unlink()
    digests.append(source_digest("trainer", root=root))
    assert len(set(digests)) == 4


def test_moving_text_between_files_changes_the_digest(root):
    before = source_digest("trainer", root=root)
    (root / "trainer/__init__.py").write_text("DEPTH = 2\n")
    (root / "trainer/deep/layers.py").write_text("")
    assert source_digest("trainer", root=root) != before


def test_unrelated_files_do_not_change_the_digest(root):
    before = source_digest("trainer", root=root)
    (root / "other/code.py").write_text("edited = True\n")
    (root / "trainer/README.md").write_text("about\n")
    (root / "trainer/__pycache__").mkdir()
    (root / "trainer/__pycache__/model.cpython-310.pyc").write_bytes(b"\0")
    assert source_digest("trainer", root=root) == before


def test_the_place_of_the_checkout_and_times_of_files_do_not_matter(root, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere")
    (tmp_path / "elsewhere/trainer/model.py").touch()
    there = source_digest("trainer", "schema", root=tmp_path / "elsewhere")
    assert there == source_digest("trainer", "schema", root=root)


@pytest.mark.parametrize("package", ["trainr", "trainer/model.py"])
def test_a_package_that_is_not_there_is_an_error(root, package):
    with pytest.raises(FileNotFoundError, match=f"no package folder .*{package}"):
        source_digest("trainer", package, root=root)


def compiled(tmp_path, component):
    """Returns the intermediate representation of a pipeline of one component, as JSON."""
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    built = Pipeline(
        pipeline_name="one",
        pipeline_root=str(tmp_path / "root"),
        components=[component],
        metadata_connection_config=config,
    )
    ir = json_format.MessageToDict(compiler.Compiler().compile(built))
    (node,) = ir["nodes"]
    return node["pipelineNode"]


def test_the_digest_is_a_parameter_of_the_compiled_component(tmp_path):
    same = options()
    plain = compiled(tmp_path, RatingsGen(tmp_path, same))["parameters"]["parameters"]
    component = RatingsGen(tmp_path, same)
    keyed = keyed_by_source(component, "sources", "schema")
    assert keyed is component
    parameters = compiled(tmp_path, keyed)["parameters"]["parameters"]
    digest = parameters.pop("source_digest")["fieldValue"]["stringValue"]
    assert digest == source_digest("sources", "schema")
    assert parameters == plain


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The packages that key each component of the pipeline."""
    folder = tmp_path_factory.mktemp("pipeline")
    found = {}

    def record(component, *packages):
        found[component.id] = packages
        return component

    config = PipelineConfig(
        data_dir=folder,
        example_gen=options(),
        trainer=TrainerConfig(),
        tuner=TunerConfig(),
        kind=Kind("sample", "random", 42),
        thresholds=Thresholds(),
        paths=OutputPaths(folder),
        new_user_folds=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_module, "keyed_by_source", record)
        create_pipeline(config)
    return found


def module_file(name):
    path = ROOT / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(file):
    """Returns the project's own modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if module_file(name).exists() else node.module for name in names}
    return {name for name in found if name.split(".")[0] in TOP_LEVEL}


def reached(packages):
    """Returns every module that the code in packages imports, and what that imports in turn."""
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    # A program that is started by name; no component imports it.
    waiting = [path for path in files if path.name != "__main__.py"]
    seen = set()
    while waiting:
        for name in imports(waiting.pop()) - seen:
            seen.add(name)
            waiting.append(module_file(name))
    return seen


HARMLESS = {
    # Messages, and what is shown while running.
    "sources.errors",
    "components.progress",
    # Where bytes go, not which: paths and the writing of whole files.
    "storage",
    "storage.environment",
    "storage.errors",
    "storage.paths",
    # What is called so (a split, a component, a property, a file) is part of the key itself.
    "components.names",
}


@pytest.mark.parametrize(
    "component",
    [
        "RatingsGen",
        "MoviesGen",
        "StatisticsGen",
        "AnomalyGate",
        "Transform",
        "Tuner",
        "Trainer",
        "NewUserEvaluator",
        "Evaluator",
        "Pusher",
        "ReportGen",
    ],
)
def test_every_component_is_keyed_by_all_the_code_it_runs(keys, component):
    """An edit to code outside of the key would go unseen: the cache would serve old results."""
    folders = [package.replace("/", ".") for package in keys[component]]
    outside = {
        name
        for name in reached(keys[component]) - HARMLESS
        if not any(name == folder or name.startswith(f"{folder}.") for folder in folders)
    }
    assert outside == set()
