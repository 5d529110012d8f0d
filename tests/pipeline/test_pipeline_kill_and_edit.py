"""A run killed in each component, one after the other, in one output directory; then edits.

In the standard tier the last kill is in Transform. That killed pushes leave no half version is
tested there at every step of a push (tests/pusher), and that a repeated run is cached at a whole
run (test_pipeline_end_to_end.py).
"""

import re

import pytest
from pipeline_fixtures import CACHEABLE, CACHED, COMPONENTS, RESOLVERS, RUNNING, SMALL

from components.evaluation.directions import LEAK_CHECKED_ROWS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline_kill_and_edit")]

ARGUMENTS = (*SMALL, "--epochs", "1")

TELLING = ("StatisticsGen", "Transform")
"""Killed in the standard tier, so that the second run finds what the first one had done."""

KILLED = [
    pytest.param(name, marks=() if name in TELLING else pytest.mark.exhaustive)
    for name in COMPONENTS
]

SECONDS_IN = {"Transform": 2.0, "Trainer": 3.0, "Evaluator": 1.5}
"""How long a component that takes a while is at work before it is killed."""


@pytest.fixture(scope="module")
def killed(project, output, request):
    """Runs by the component they were killed in."""
    results = {}
    for name in COMPONENTS if request.config.getoption("--tier") == "all" else TELLING:
        run = project.start(*ARGUMENTS, output=output)
        run.wait_for_start_of(name, SECONDS_IN.get(name, 0.0))
        results[name] = run.kill()
    return results


@pytest.fixture(scope="module")
def resumed(killed, project, output):
    """The run that follows on those killed, and is left alone."""
    return project.run(*ARGUMENTS, output=output)


@pytest.fixture(scope="module")
def untouched(resumed, project, output):
    assert resumed.code == 0, resumed.out
    return project.run(*ARGUMENTS, output=output)


@pytest.fixture(scope="module")
def trainer_edited(untouched, project, output):
    add_comment(project, "trainer/fit.py")
    return project.run(*ARGUMENTS, output=output)


@pytest.fixture(scope="module")
def transform_edited(trainer_edited, project, output):
    """In a process of its own, as after a real edit."""
    add_comment(project, "transform/preprocessing.py")
    return project.run_cold(*ARGUMENTS, output=output)


@pytest.fixture(scope="module")
def schema_edited(transform_edited, project, output):
    """Interrupted, as by Ctrl-C, once it has shown what it does with the schema."""
    add_comment(project, "schema/schema.pbtxt")
    run = project.start(*ARGUMENTS, output=output)
    run.wait_for_start_of("Transform", 1.0)
    return run.interrupt()


def add_comment(project, name):
    with (project.root / name).open("a", encoding="utf-8") as file:
        file.write("\n# An edit.\n")


def lines(run):
    """State by component, as printed before the run ended."""
    return dict(re.findall(r"^[✓○✗] (\w+) +(\w+) ", run.out, re.MULTILINE))


def done_before(killed, name):
    """How many components were done when the run before this one was killed; 0 for the first."""
    number = killed.index(name)
    return COMPONENTS.index(killed[number - 1]) if number else 0


@pytest.mark.parametrize("name", KILLED)
def test_run_killed_in_a_component_keeps_what_was_done_before(killed, name):
    run = killed[name]
    assert run.code == -9, run.out
    place = COMPONENTS.index(name)
    done = lines(run)
    assert set(COMPONENTS[:place]) <= set(done)
    for earlier in COMPONENTS[: done_before(list(killed), name)]:
        if earlier in CACHEABLE:
            assert done[earlier] == "cached", earlier


@pytest.mark.parametrize("name", KILLED[: COMPONENTS.index("Pusher")])
def test_run_killed_before_the_pusher_leaves_no_version(killed, name):
    assert killed[name].versions == {}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", COMPONENTS[COMPONENTS.index("Pusher") :])
def test_run_killed_from_the_pusher_on_leaves_no_version_or_a_whole_one(killed, resumed, name):
    assert set(killed[name].versions.items()) <= set(resumed.versions.items())


def test_some_runs_were_killed_at_work(killed):
    """Else the test above proves little: the store knows of executions that never ended."""
    for name in SECONDS_IN.keys() & killed.keys():
        assert killed[name].executions[name, RUNNING] > 0, name


@pytest.mark.exhaustive
def test_next_run_goes_on_and_pushes_one_version(resumed):
    assert resumed.code == 0, resumed.out
    assert resumed.summary["status"] in ("pushed", "up_to_date")
    assert resumed.ran <= RESOLVERS | {"Evaluator", "Pusher", "ReportGen"}
    assert list(resumed.versions) == [resumed.summary["pushed_version"]]
    assert "Traceback" not in resumed.out + resumed.err


@pytest.mark.exhaustive
def test_nothing_unfinished_lies_beside_the_version(resumed, output):
    names = {path.name for path in (output / "serving_model").iterdir()}
    assert names == {"kind.json", *resumed.versions}


@pytest.mark.exhaustive
def test_run_after_that_is_all_cached(untouched):
    assert untouched.ran <= RESOLVERS
    assert untouched.summary["status"] == "up_to_date"
    assert all(untouched.executions[name, CACHED] for name in CACHEABLE)


def assert_pusher_ran_if_there_was_something_to_push(run):
    """A model that came out the same to the byte is not pushed again."""
    assert ("Pusher" in run.ran) is (run.summary["status"] == "pushed")


@pytest.mark.exhaustive
def test_edit_of_the_trainer_runs_it_and_what_depends_on_it(trainer_edited):
    assert trainer_edited.code == 0, trainer_edited.out
    expected = RESOLVERS | {"Trainer", "Evaluator", "ReportGen"}
    assert trainer_edited.ran - {"Pusher"} == expected
    assert_pusher_ran_if_there_was_something_to_push(trainer_edited)


@pytest.mark.exhaustive
def test_edit_of_the_preprocessing_runs_it_and_what_depends_on_it(transform_edited):
    assert transform_edited.code == 0, transform_edited.out + transform_edited.err
    expected = RESOLVERS | {"Transform", "Trainer", "Evaluator", "ReportGen"}
    assert transform_edited.ran - {"Pusher"} == expected
    assert_pusher_ran_if_there_was_something_to_push(transform_edited)


@pytest.mark.exhaustive
def test_model_made_again_after_a_comment_is_the_same(resumed, trainer_edited, transform_edited):
    """It may count as another version: what ran before it numbers the graph's functions."""
    for run in (trainer_edited, transform_edited):
        assert run.summary["status"] in ("pushed", "up_to_date")
        assert run.versions.items() >= resumed.versions.items()
        for name, value in resumed.summary["metrics"].items():
            # How many rows are sampled follows from how Beam cuts batches.
            if name != LEAK_CHECKED_ROWS:
                assert run.summary["metrics"][name] == pytest.approx(value, abs=0.02), name


@pytest.mark.exhaustive
def test_edited_schema_is_imported_again(schema_edited):
    assert lines(schema_edited)["ImportSchemaGen"] == "ran"


@pytest.mark.exhaustive
def test_interrupted_run_says_that_the_next_one_goes_on(schema_edited, transform_edited):
    assert schema_edited.code == 130, schema_edited.out + schema_edited.err
    assert schema_edited.err == "Interrupted. The next run goes on from here.\n"
    assert "Traceback" not in schema_edited.out
    assert schema_edited.versions == transform_edited.versions
