"""Which package may import which: read from every import in the code, also those in functions."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    {"schema", "storage", "metrics"},
    {"sources"},
    {"components"},
    {"transform"},
    {"trainer"},
    {"pipeline"},
    {"benchmarks", "local_runner"},
)
"""From the lowest on. A package imports itself and what is in the layers below it."""

PROGRAMS = {ROOT / "sources" / "__main__.py"}
"""What people start and nothing imports; it may use the layers above its package."""

SERVING = {"serving", "storage", "schema"}
"""All of this project that `serving` imports: it is installed without the pipeline's packages."""

TRAINER_LAYERS = (
    {"config"},
    {"data", "epochs", "lookups", "settings"},
    {"retrieval"},
    {"rating"},
    {"serving"},
    {"evaluation"},
    {"export", "model"},
    {"fit"},
    {"tutorial"},
    {"run"},
    {"component", "tuning", "new_users"},
    {"tuner", "new_user_evaluator"},
)
"""The same within the trainer, by module or subpackage."""

TOP_LEVEL = {name for layer in LAYERS for name in layer} | {"serving"}


def imports_of(path):
    """Every module of this project that a file imports, `from a import b` as `a.b` and `a`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: expected absolute imports"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] in TOP_LEVEL}


def files_of(package):
    single = ROOT / f"{package}.py"
    return [single] if single.exists() else sorted((ROOT / package).rglob("*.py"))


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def level_of(name, layers):
    return next(level for level, layer in enumerate(layers) if name in layer)


def upward_imports(files, layers, part):
    """Imports of the same layer or one above, as (file, import); `part` is what has a layer."""
    found = []
    for path in files:
        own = module_of(path).split(".")
        for name in imports_of(path):
            other = name.split(".")
            if other[:part] != own[:part] or len(own) <= part or len(other) <= part:
                continue
            one, two = own[part], other[part]
            if one != two and level_of(two, layers) >= level_of(one, layers):
                found.append((str(path.relative_to(ROOT)), name))
    return found


@pytest.mark.parametrize("package", sorted(TOP_LEVEL))
def test_every_package_has_code_to_judge(package):
    assert files_of(package)


@pytest.mark.parametrize("package", sorted(TOP_LEVEL - {"serving", "benchmarks", "local_runner"}))
def test_packages_import_only_from_the_layers_below(package):
    files = [path for path in files_of(package) if path not in PROGRAMS]
    assert upward_imports(files, LAYERS, 0) == []


def test_the_trainers_parts_import_only_from_the_layers_below():
    assert upward_imports(files_of("trainer"), TRAINER_LAYERS, 1) == []


def test_serving_imports_nothing_that_needs_the_pipelines_packages():
    outside = {
        (str(path.relative_to(ROOT)), name)
        for path in files_of("serving")
        for name in imports_of(path)
        if not any(name == one or name.startswith(f"{one}.") for one in SERVING)
    }
    assert outside == set()


def test_nothing_but_the_runners_imports_the_pipeline_or_serving():
    importers = {
        path.relative_to(ROOT).parts[0].removesuffix(".py")
        for package in TOP_LEVEL
        for path in files_of(package)
        for name in imports_of(path)
        if name.partition(".")[0] in {"pipeline", "serving"} - {package}
    }
    assert importers <= {"local_runner", "benchmarks"}


def test_modules_import_each_other_one_way():
    """No circle of modules, whether imported at the top of a file or within a function."""
    files = [path for package in sorted(TOP_LEVEL) for path in files_of(package)]
    modules = {module_of(path) for path in files}
    needs = {}
    for path in files:
        names = imports_of(path)
        parents = {name.rpartition(".")[0] for name in names}
        needs[module_of(path)] = ((names | parents) & modules) - {module_of(path)}
    while needs:
        free = {module for module, needed in needs.items() if not needed & needs.keys()}
        assert free, f"circles among {sorted(needs)}"
        needs = {module: needed for module, needed in needs.items() if module not in free}
