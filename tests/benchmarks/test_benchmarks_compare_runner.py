"""What a method is fitted on, what its values are chosen by, and what is kept in `calls`."""

import json

import numpy as np
import pytest
from compare_fixtures import Bench, perfect, write_files

from benchmarks.compare import data
from benchmarks.compare.cache import Cache
from benchmarks.compare.methods import Answer, Predictions, grid
from benchmarks.compare.runner import Runner
from sources.errors import InputError


def nothing(text):
    pass


def of_split(bench, name):
    return [(task, params) for task, params in bench.calls if task.split.name == name]


def test_values_are_chosen_on_validation_whatever_test_says(bench):
    main = bench.splits.main

    def answer(task, params):
        # "a" is better on validation, "b" on the test and wherever nothing is chosen.
        validation = any(task.targets is each.validation for each in (main, *bench.splits.by_time))
        return perfect(task, {"off": float((params["value"] == "a") != validation)})

    method = bench.method(answer=answer, grid=grid(value=("b", "a")), kind="rating")
    runner = bench.runner()
    runner.run([method], nothing)
    assert runner.chosen(method, main) == {"value": "a"}
    results = list(runner.results(method))
    assert {record.params["value"] for _, record in results} == {"a"}
    assert all(record.metrics["next_visit_rating_rmse"] > 0 for _, record in results)


def test_choosing_sees_no_line_of_the_test(bench):
    bench.runner().run([bench.method(grid=grid(off=(0.0, 1.0)), kind="both")], nothing)
    tried = [task for task, _ in bench.calls if not np.array_equal(task.targets, task.split.test)]
    assert len(tried) == 2 * 2  # two values, on the shuffle and on the split by time
    for task in tried:
        assert task.fit is task.split.inner
        assert task.targets is task.split.validation
        assert not np.isin(np.concatenate([task.fit, task.targets]), task.split.test).any()


def test_final_fit_takes_all_but_the_test_and_each_test_is_evaluated_once(bench):
    bench.runner().run([bench.method(grid=grid(off=(0.0, 1.0)), kind="both")], nothing)
    tests = [task for task, _ in bench.calls if np.array_equal(task.targets, task.split.test)]
    names = [task.split.name for task in tests]
    assert names == ["shuffle 42", "last 20 % of each user", "shuffle 7"] + [
        f"u{fold}" for fold in range(1, 6)
    ]
    for task in tests:
        everything = np.sort(np.concatenate([task.fit, task.targets]))
        assert everything.tolist() == list(range(len(bench.loaded.users)))


@pytest.mark.parametrize(
    ("kind", "without"), [("retrieval", "u1"), ("rating", "last 20 % of each user")]
)
def test_a_method_is_only_final_for_what_it_does_not_do(bench, kind, without):
    scores = np.zeros(bench.loaded.shape)
    answer = None if kind == "rating" else (lambda task, params: Answer(Predictions(scores=scores)))
    bench.runner().run([bench.method(answer=answer, kind=kind)], nothing)
    assert bench.calls
    assert not of_split(bench, without)


def test_splits_of_choices_are_measured_with_every_seed_and_others_with_the_first(bench):
    bench.runner().run([bench.method(seeds=(5, 6, 7), kind="both")], nothing)
    for name in ("shuffle 42", "last 20 % of each user"):
        assert [params["seed"] for _, params in of_split(bench, name)] == [5, 6, 7]
    for name in ("shuffle 7", "u1", "u5"):
        assert [params["seed"] for _, params in of_split(bench, name)] == [5]


def test_the_first_split_of_all_methods_comes_first_and_further_seeds_come_last(bench):
    methods = [bench.method("a", seeds=(5, 6), kind="both"), bench.method("b", kind="both")]
    done = []
    bench.runner().run(methods, done.append)
    assert done[:4] == [
        f"The {name}: test on {split}"
        for split in ("shuffle 42", "last 20 % of each user")
        for name in ("a", "b")
    ]
    further = [params.get("seed") == 6 for _, params in bench.calls]
    assert further == [False] * (len(further) - 2) + [True, True]


def test_what_was_measured_is_not_measured_again(bench):
    method = bench.method(grid=grid(off=(0.0, 1.0)))
    bench.runner().run([method], nothing)
    before = len(bench.calls)
    again = bench.runner()
    again.run([method], nothing)
    assert len(bench.calls) == before
    assert again.complete(method)


def test_an_interrupted_run_goes_on_where_it_was(bench):
    whole = bench.runner().size(bench.method(grid=grid(off=(0.0, 1.0))))

    def interrupted(task, params):
        if len(bench.calls) == 4:
            raise KeyboardInterrupt
        return perfect(task, params)

    method = bench.method(answer=interrupted, grid=grid(off=(0.0, 1.0)))
    with pytest.raises(KeyboardInterrupt):
        bench.runner().run([method], nothing)
    assert not bench.runner().complete(method)
    done = []
    bench.runner().run([method], done.append)
    # The one that was interrupted is the only one that was begun twice.
    assert len(bench.calls) == whole + 1
    assert len(done) == whole


@pytest.mark.parametrize(
    ("damage", "of"),
    [
        ("", ".json"),
        ("{", ".json"),
        ("[1, 2]", ".json"),
        ('{"method": "method"}', ".json"),
        ("", ".npz"),
        ("PK", ".npz"),
        (None, ".npz"),
    ],
)
def test_a_damaged_measurement_counts_as_none(bench, damage, of):
    method = bench.method()
    runner = bench.runner()
    runner.run([method], nothing)
    expected = [record.metrics for _, record in runner.results(method)]
    victim = sorted(bench.folder.glob("*.json"))[0]
    kept = json.loads(victim.read_text())
    victim.with_suffix(of).unlink()
    if damage is not None:
        victim.with_suffix(of).write_text(damage)
    assert not runner.complete(method)
    bench.calls.clear()
    runner.run([method], nothing)
    assert [task.split.name for task, _ in bench.calls] == [kept["split"]]
    assert [record.metrics for _, record in runner.results(method)] == expected


def test_other_data_is_measured_again(bench, tmp_path, monkeypatch):
    method = bench.method()
    bench.runner().run([method], nothing)
    monkeypatch.setenv(data.DATA_VARIABLE, str(write_files(tmp_path / "other", seed=2)))  # type: ignore[attr-defined]
    other = Bench(data.load(), bench.folder)
    assert not list(other.runner().results(method))


def test_changed_code_is_measured_again(bench):
    def method(version):
        return bench.method(more_source=lambda: version)

    bench.runner().run([method("one")], nothing)
    assert bench.runner().complete(method("one"))
    assert not list(bench.runner().results(method("two")))


def test_measurements_of_other_code_are_found_on_request_alone(bench):
    def method(version, **options):
        return bench.method(more_source=lambda: version, grid=grid(off=(0.0, 1.0)), **options)

    bench.runner().run([method("one")], nothing)
    expected = [record.metrics for _, record in bench.runner().results(method("one"))]
    bench.calls.clear()
    cache = Cache(bench.folder, bench.loaded.digest, any_code=True)
    runner = Runner(bench.loaded, bench.splits, cache)
    runner.run([method("two")], nothing)
    assert [record.metrics for _, record in runner.results(method("two"))] == expected
    assert not bench.calls
    assert not list(bench.runner().results(method("two")))
    # Of another method, or with other values, there is nothing to take.
    assert not list(runner.results(method("two", name="method2")))
    assert not list(runner.results(bench.method(grid=grid(off=(0.0, 2.0)))))


def test_a_figure_that_is_not_a_number_stops_the_comparison(bench):
    def broken(task, params):
        return Answer(Predictions(ratings=np.full(len(task.targets), np.nan)))

    with pytest.raises(ValueError, match="The method with .* gave .*nan"):
        bench.runner().run([bench.method(answer=broken)], nothing)
    assert not list(bench.folder.glob("*"))


def test_progress_counts_what_is_measured(bench):
    method = bench.method(grid=grid(off=(0.0, 1.0, 2.0)), kind="both", seeds=(1, 2))
    done = []
    bench.runner().run([method], done.append)
    assert len(done) == bench.runner().size(method) == len(bench.calls)
    assert done[0] == "The method: choice 1 of 3 on shuffle 42"
    assert done[3] == "The method: test on shuffle 42"


def test_quick_tries_the_quick_values_alone(bench):
    method = bench.method(grid=grid(off=(0.0, 1.0)), quick={"off": 0.5})
    bench.runner(quick=True).run([method], nothing)
    assert {params["off"] for _, params in bench.calls} == {0.5}


def test_missing_data_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="MOVIELENS_DIR is not set"):
        data.load()
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="missing: u.data, u.user, u.item"):
        data.load()


@pytest.mark.parametrize("line", ["1\t2\tgood\t880000000", "1,2,3,880000000", "1\t2\t3"])
def test_unreadable_ratings_are_named(movielens, line):
    (movielens / "u.data").write_text(line + "\n")
    with pytest.raises(InputError, match="cannot read the ratings") as caught:
        data.load()
    assert "separated by tabs" in str(caught.value)
