"""ReportGen in the pipeline, the runner's own report, and the command that remakes it."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from tfx import types
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.example_gen.options import ExampleGenOptions
from components.report import build, component, sources
from components.report import cli as command
from components.report.component import Report, ReportGen, report_options
from components.report.context import Context
from components.report.page import Block
from components.report.sources import Sources, find_sources
from components.report.store import read_latest_run
from pipeline import dag, pipeline
from pipeline import run as runner
from pipeline.config import RunConfig
from pipeline.terminal import FAILED
from schema.features import MOVIELENS, ZIP_CODE, FeatureTable
from sources.errors import InputError

pytestmark = [pytest.mark.xdist_group("report")]


def channel(kind):
    return types.Channel(type=kind)


def test_run_publishes_the_page_that_its_component_made(run_output):
    lineage = read_latest_run(run_output / "metadata.sqlite")
    made = lineage.output("ReportGen", "report")
    assert made.type == "Report"
    summary = json.loads((run_output / "summary.json").read_text(encoding="utf-8"))
    assert summary["report"] == str(run_output / "report" / "index.html")
    assert [c["name"] for c in summary["components"]][-1] == "ReportGen"


def test_page_of_the_component_shows_what_led_to_the_verdict_and_not_what_came_after(run_output):
    lineage = read_latest_run(run_output / "metadata.sqlite")
    page = (run_output / "report" / "index.html").read_text(encoding="utf-8")
    assert "Blessed" in page
    for execution in lineage.executions:
        after = execution.component in ("Pusher", "ReportGen")
        assert (f"<td>{execution.component}</td>" in page) != after, execution.component
    assert "<td>PushedModel</td>" not in page
    assert "<td>ModelBlessing</td>" in page


def test_every_output_of_the_pipeline_reaches_the_page(run_output):
    """What the component was given is what a look into the store finds."""
    lineage = read_latest_run(run_output / "metadata.sqlite")
    found = find_sources(run_output)
    for name in ReportGen.SPEC_CLASS.INPUTS.keys() - {"gate_pass"}:
        given = lineage.input("ReportGen", name)
        expected = getattr(found, name)
        assert (given.uri if given else None) == (str(expected) if expected else None), name


def test_optional_inputs_may_be_missing(tmp_path):
    given = report_options({"name": "sample"}, "k", MOVIELENS, results_file=tmp_path / "nowhere")
    built = ReportGen(ratings=channel(standard_artifacts.Examples), **given)
    assert set(built.inputs) == {"ratings"}
    report, ratings = Report(), standard_artifacts.Examples()
    report.uri, ratings.uri = str(tmp_path / "report"), str(tmp_path / "ratings")
    ReportGen.test_call(ratings=ratings, report=report, **given)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "the run did not get as far as the Evaluator" in page
    assert report.get_string_custom_property(component.BROKEN) == ""


def key(**changes):
    arguments = {"dataset": {"name": "sample"}, "kind": "k", "features": MOVIELENS, **changes}
    built = ReportGen(ratings=channel(standard_artifacts.Examples), **report_options(**arguments))
    return dict(built.spec.exec_properties)


def test_whatever_is_on_the_page_is_in_the_cache_key(tmp_path):
    keys = [key(), key(kind="q"), key(dataset={"name": "sample", "notice": "invented"})]
    keys.append(key(features=FeatureTable(tuple(f for f in MOVIELENS.features if f != ZIP_CODE))))
    results = tmp_path / "results.json"
    for text in ("{}", '{"tables": []}'):
        results.write_text(text, encoding="utf-8")
        keys.append(key(results_file=results))
    assert len({json.dumps(each, sort_keys=True) for each in keys}) == len(keys)


def test_a_look_into_the_store_finds_the_feature_table_that_the_ratings_were_read_with(run_output):
    found = find_sources(run_output)
    assert found.features == MOVIELENS
    fewer = FeatureTable(tuple(f for f in MOVIELENS.features if f != ZIP_CODE))
    executions = [
        dataclasses.replace(e, settings={"custom_config": options_with(fewer)})
        if e.component == "RatingsGen"
        else e
        for e in found.lineage.executions
    ]
    changed = dataclasses.replace(found.lineage, executions=tuple(executions))
    assert sources.features_of(changed) == fewer
    assert sources.features_of(None) == MOVIELENS


def options_with(table):
    options = ExampleGenOptions(None, "random", 1, "keep", "", features=table)
    # The form in which TFX stores it.
    return proto_utils.proto_to_json(options.to_proto())


def test_section_that_fails_says_so_and_leaves_the_others(tmp_path, monkeypatch):
    def fails(context: Context) -> Iterator[Block]:
        raise ValueError("<b>no chart</b>")

    parts = [
        dataclasses.replace(part, blocks=fails) if part.title == "Model" else part
        for part in build.PARTS
    ]
    monkeypatch.setattr(build, "PARTS", parts)
    made = build.write_report(Sources(error="the disk is full"), tmp_path / "index.html")
    assert made.broken == ("Model",)
    assert "&lt;b&gt;no chart&lt;/b&gt;" in made.html
    assert "the disk is full" in made.html
    assert 'id="evaluation"' in made.html


def test_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report" / "index.html"
    build.write_report(Sources(), path)
    before = path.read_text(encoding="utf-8")

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OSError, match="No space"):
        build.write_report(Sources(error="other"), path)
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]


# --- the runner


@pytest.fixture
def failing(monkeypatch):
    """A pipeline whose only component is a ReportGen that fails."""

    class Runner:
        run_id = "a run"

        def __init__(self, *_):
            pass

        def run(self):
            yield dag.ComponentRun("ReportGen", FAILED, 0.1, 0.1, None, {}, ValueError("no page"))

    monkeypatch.setattr(dag, "DagRunner", Runner)
    monkeypatch.setattr(pipeline, "create_pipeline", lambda config: SimpleNamespace(components=[]))


def configuration(tmp_path):
    return RunConfig(dataset="sample", sample_ratings=1000, output_dir=tmp_path / "output")


def test_failing_report_does_not_fail_the_run(failing, tmp_path):
    runner.run(configuration(tmp_path))
    summary = json.loads((tmp_path / "output" / "summary.json").read_text(encoding="utf-8"))
    assert summary["error"] is None
    assert summary["report"] == str(tmp_path / "output" / "report" / "index.html")
    assert (tmp_path / "output" / "report" / "index.html").exists()


def test_run_says_when_there_is_no_report_at_all(failing, tmp_path, capfd, monkeypatch):
    def fails(*_):
        raise RuntimeError("no template")

    monkeypatch.setattr(build, "write_report", fails)
    code = runner.run(configuration(tmp_path))
    out, _ = capfd.readouterr()
    assert "The report could not be made" in out
    assert "no template" in out
    summary = json.loads((tmp_path / "output" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["report"], summary["error"], summary["exit_code"]) == (None, None, code)


def test_run_that_is_refused_before_its_first_component_leaves_the_old_report(tmp_path):
    config = dataclasses.replace(configuration(tmp_path), dataset="auto", data=tmp_path / "nowhere")
    old = tmp_path / "output" / "report" / "index.html"
    old.parent.mkdir(parents=True)
    old.write_text("of another run", encoding="utf-8")
    with pytest.raises(InputError, match="--data does not exist"):
        runner.run(config)
    assert old.read_text(encoding="utf-8") == "of another run"


# --- the command


def test_command_remakes_the_report_of_the_latest_run(run_output, tmp_path, capsys):
    output = tmp_path / "output"
    output.mkdir()
    for name in ("metadata.sqlite", "summary.json", "anomalies.json"):
        shutil.copy2(run_output / name, output)
    assert command.main(["--output-dir", str(output)]) == 0
    path = output / "report" / "index.html"
    assert capsys.readouterr().out.strip() == str(path)
    page = path.read_text(encoding="utf-8")
    assert "sample, random split, split seed 42" in page


def test_command_without_a_run_says_what_to_do(tmp_path, capsys):
    assert command.main(["--output-dir", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "no run was found" in printed
    assert "make run" in printed
    assert not (tmp_path / "report").exists()


def test_summary_of_another_run_is_not_shown_for_this_one(run_output, tmp_path):
    """As after a run that could not read its data, which the store knows nothing of."""
    for name in ("metadata.sqlite", "anomalies.json"):
        shutil.copy2(run_output / name, tmp_path)
    (tmp_path / "pipeline_root").symlink_to(run_output / "pipeline_root")
    summary = {"run": None, "error": "u.data is missing", "dataset": {"name": "other"}}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    found = find_sources(tmp_path)
    assert found.error == ""
    assert found.dataset == {}
    assert found.ratings is not None
