"""What the data of a run is called, so that models of one kind replace each other."""

import io
from pathlib import Path

import pytest

from components.pusher.kind import Kind, write_kind
from pipeline import kinds, run
from pipeline.config import OutputPaths, RunConfig
from pipeline.terminal import Terminal
from sources import files
from sources.errors import InputError
from sources.sample import generate_sample
from sources.source import DataSource, resolve_source


@pytest.fixture
def paths(tmp_path):
    found = OutputPaths(tmp_path / "output")
    found.serving_model.mkdir(parents=True)
    return found


def no_time():
    raise AssertionError("only a timeline that was not decided needs a time")


def name(paths, data_name_="custom", **options):
    source = DataSource(data_name_, "data", Path("/resolved"))
    return kinds.kind_of(RunConfig(**options), source, paths, no_time).dataset


def test_data_of_two_folders_of_one_name_has_two_kinds_which_stay_the_same_every_day(paths):
    one, other, again = (
        name(paths, data=Path(folder)) for folder in ("/a/ratings", "/b/ratings", "/a/ratings")
    )
    assert one == again != other
    assert one.startswith("ratings-")


def test_a_link_that_is_moved_to_another_folder_every_day_is_the_same_data(paths, tmp_path):
    names = set()
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        link = tmp_path / "today"
        link.unlink(missing_ok=True)
        link.symlink_to(day)
        names.add(name(paths, data=link))
    assert len(names) == 1


def test_a_relative_folder_is_the_same_data_as_its_absolute_path(paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name(paths, data=Path("raw")) == name(paths, data=tmp_path / "raw")


@pytest.mark.parametrize("folder", ["/", "/a/🎬", "/a/out [1]", "/a/" + "n" * 200])
def test_any_folder_gives_a_name_that_could_be_given_by_hand(paths, folder):
    found = name(paths, data=Path(folder))
    assert RunConfig(data=Path("x"), data_name=found).data_name == found


def test_a_name_that_was_given_is_remembered_for_the_same_folder_only(paths):
    first = kinds.kind_of(
        RunConfig(data=Path("/a/ratings"), data_name="shop"),
        DataSource("custom", "data", Path("/a/ratings")),
        paths,
        no_time,
    )
    write_kind(paths.serving_model, first)
    assert name(paths, data=Path("/a/ratings")) == "shop"
    assert name(paths, data=Path("/b/ratings")) != "shop"
    assert name(paths, data=Path("/b/ratings"), data_name="shop") == "shop"


def test_data_in_the_environment_is_named_like_that_of_the_option(paths, monkeypatch):
    option = name(paths, data=Path("/a/ratings"))
    monkeypatch.setenv("MOVIELENS_DIR", "/a/ratings")
    assert name(paths) == option


def test_known_data_has_its_own_name_wherever_it_lies(paths, monkeypatch):
    monkeypatch.delenv("MOVIELENS_DIR", raising=False)
    assert name(paths, "ml-100k", data=Path("/a")) == "ml-100k"
    assert name(paths, "ml-100k") == "ml-100k"
    assert name(paths, "sample", dataset="sample") == "sample"


def test_a_generated_sample_is_one_wherever_it_lies_and_whatever_it_is_called(paths, tmp_path):
    folder = tmp_path / "copied"
    generate_sample(folder, ratings=1000, seed=1)
    source = resolve_source(
        dataset="auto", data=folder, metadata_dir=None, output_dir=tmp_path, seed=1,
        sample_ratings=1000, say=print,
    )  # fmt: skip
    found = kinds.kind_of(RunConfig(data=folder), source, paths, no_time)
    assert found.dataset == "sample"
    with pytest.raises(InputError, match="for a generated sample"):
        kinds.kind_of(RunConfig(data=folder, data_name="mine"), source, paths, no_time)


def planned(paths, tmp_path, **options):
    """The pipeline that a run builds, of a sample that need not be there."""
    config = RunConfig(dataset="sample", output_dir=paths.root, **options)
    (tmp_path / "raw").mkdir(exist_ok=True)
    for file in files.FILES:
        (tmp_path / "raw" / file).touch()
    data = DataSource("sample", "generated", tmp_path / "raw")
    return run._pipeline_config(config, data, paths, Terminal(io.StringIO()))


def test_the_seed_of_the_training_changes_no_data_no_split_and_no_kind(paths, tmp_path):
    first, second = (planned(paths, tmp_path, seed=seed) for seed in (1, 2))
    assert (first.trainer.train.seed, second.trainer.train.seed) == (1, 2)
    assert first.example_gen == second.example_gen
    assert first.kind == second.kind == Kind("sample", "random", 42)


def test_the_seed_of_the_splits_changes_the_kind_and_no_training(paths, tmp_path):
    first, second = (planned(paths, tmp_path, split_seed=seed) for seed in (1, 2))
    assert first.trainer == second.trainer
    assert [first.example_gen.split_seed, second.example_gen.split_seed] == [1, 2]
    assert first.kind != second.kind


@pytest.mark.parametrize(("options", "expected"), [({"seed": 7}, 42), ({"sample_seed": 7}, 7)])
def test_the_sample_has_a_seed_of_its_own(tmp_path, monkeypatch, options, expected):
    seeds = []

    def stop(**arguments):
        seeds.append(arguments["seed"])
        raise InputError("recorded")

    monkeypatch.setattr(run.source, "resolve_source", stop)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="recorded"):
        run.run(RunConfig(dataset="sample", output_dir=tmp_path / "output", **options))
    assert seeds == [expected]


SOURCE = DataSource("custom", "data", Path("/a/ratings"))


def on_a_timeline(paths, first_time=no_time, **options):
    config = RunConfig(data=Path("/a/ratings"), split="timeline", **options)
    return kinds.kind_of(config, SOURCE, paths, first_time)


def test_a_timeline_is_decided_once_and_kept_when_there_are_more_ratings(paths):
    first = on_a_timeline(paths, lambda: 975_000_000)
    assert first.split_time == 975_000_000
    assert on_a_timeline(paths, lambda: 976_000_000).split_time == 976_000_000
    write_kind(paths.serving_model, first)
    assert on_a_timeline(paths) == first


def test_an_option_moves_a_timeline_to_another_kind(paths):
    write_kind(paths.serving_model, on_a_timeline(paths, lambda: 975_000_000))
    moved = on_a_timeline(paths, split_time=980_000_000)
    assert moved.split_time == 980_000_000
    assert moved != on_a_timeline(paths)
    assert moved.slug() != on_a_timeline(paths).slug()


@pytest.mark.parametrize(
    "other",
    [
        Kind("custom", "timeline", 42, split_time=1),
        Kind("ratings", "timeline", 7, split_time=1),
        Kind("ratings", "random", 42),
    ],
)
def test_a_timeline_of_other_data_or_another_seed_decides_nothing(paths, other):
    write_kind(paths.serving_model, other)
    found = on_a_timeline(paths, lambda: 975_000_000, data_name="ratings")
    assert found.split_time == 975_000_000


@pytest.mark.parametrize("split", ["random", "temporal", "leave-one-out"])
def test_other_methods_have_no_time_and_refuse_one(paths, split):
    assert kinds.kind_of(RunConfig(split=split), SOURCE, paths, no_time).split_time is None
    with pytest.raises(InputError, match="--split timeline with it"):
        RunConfig(split=split, split_time=975_000_000)


@pytest.mark.parametrize("value", ["", "ml-100k", "sample", "a b", "../x", "n" * 64, "é", "-a"])
def test_a_name_that_cannot_be_one_is_refused(value):
    with pytest.raises(InputError, match="--data-name cannot be used"):
        RunConfig(data=Path("x"), data_name=value)


@pytest.mark.parametrize("options", [{}, {"dataset": "sample"}])
def test_a_name_without_data_is_refused_before_something_else_is_trained_on(options, monkeypatch):
    monkeypatch.delenv("MOVIELENS_DIR", raising=False)
    with pytest.raises(InputError, match="no data is given"):
        RunConfig(data_name="shop", **options)


def test_replacing_and_not_pushing_contradict_each_other():
    with pytest.raises(InputError, match="contradict"):
        RunConfig(replace=True, no_push=True)
