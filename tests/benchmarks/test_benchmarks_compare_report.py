"""The tables of the comparison, against figures that are known, and who reads them."""

import dataclasses
import json
import statistics
import types

import numpy as np
import pytest
from compare_fixtures import constant

from benchmarks.compare import movielens_1m, protocols, report, texts
from benchmarks.compare import runner as runner_module
from benchmarks.compare.methods import Answer, Predictions, grid
from components.report.page import Table
from components.report.sections import evaluation


def nothing(text):
    pass


def tables(bench, *methods):
    runner = bench.runner()
    for method in methods:
        runner.run([method], nothing)
    return {table.title: table for table in report.make_tables(runner, methods)}


def rows(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


NEXT_VISIT = "Recommendations at the next visit, shuffle 42"


def lists(recall, recall_100=0.5):
    return {"next_visit_recall_at_10": recall, "next_visit_recall_at_100": recall_100}


@pytest.fixture
def ours(bench):
    """Ours with two seeds, and the metrics it has with each."""
    by_seed = {1: 0.3, 2: 0.34}

    def answer(task, params):
        recall = by_seed[params["seed"]]
        in_session = {"in_session_recall_at_10": recall + 0.2, "in_session_rating_rmse": 0.85}
        crosses = {f"{report.CROSS}a × {i}": 20.0 - i for i in range(10)}
        crosses[report.CROSS + "user id × movie id"] = 0.5 * params["seed"]
        more = {**lists(recall), **in_session, **crosses, "next_visit_rating_rmse": 0.9}
        return Answer(more={**more, "train_seconds": 12.0, "train_cpu_seconds": 20.0})

    return bench.method(report.OURS, answer, kind="both", seeds=tuple(by_seed))


def test_several_seeds_give_mean_and_spread(bench, ours):
    found = rows(tables(bench, ours)[NEXT_VISIT])
    assert found["The ours (mean of 2 seeds)"]["recall@10"] == 0.32
    spread = round(statistics.stdev([0.3, 0.34]), 4)
    assert found["The ours (sd over seeds)"]["recall@10"] == spread
    in_session = rows(tables(bench, ours)["In session"])
    assert in_session["shuffle 42 (mean of 2 seeds)"]["recall@10"] == pytest.approx(0.52)
    assert in_session["shuffle 7"]["RMSE"] == 0.85


def test_our_sequence_block_is_beside_ours_in_a_session_and_no_baseline(bench, ours, monkeypatch):
    split = bench.splits.by_time[0].name
    monkeypatch.setitem(runner_module.ONLY_ON, runner_module.SEQUENCE, split)
    metrics = {**lists(0.9), "in_session_recall_at_10": 0.7}
    block = bench.method(runner_module.SEQUENCE, constant(**metrics), kind="retrieval", seeds=(1,))
    found = tables(bench, ours, block)
    shown = {title for title, table in found.items() if "The sequence" in str(table.rows)}
    assert shown == {"In session"}
    assert rows(found["In session"])[f"{split}, The sequence"]["recall@10"] == 0.7
    assert len(bench.runner().steps(block)) == 1


def test_one_seed_has_no_spread(bench, ours):
    found = rows(tables(bench, ours)["Recommendations at the next visit, shuffle 7"])
    assert found["The ours"]["recall@10"] == 0.3
    assert not any("sd over" in name for name in found)


def test_tests_that_are_not_measured_are_named(bench, ours):
    def interrupted(text):
        raise KeyboardInterrupt

    method = bench.method("other")
    assert texts.MISSING_TITLE not in tables(bench, method)
    with pytest.raises(KeyboardInterrupt):
        bench.runner().run([ours], interrupted)
    found = report.make_tables(bench.runner(), [method, ours])
    (table,) = (one for one in found if one.title == texts.MISSING_TITLE)
    ((title, names),) = table.rows
    assert title == "The ours"
    assert "shuffle 42 (seed 2)" in names  # type: ignore[operator]
    assert "shuffle 7 (seed 1)" in names  # type: ignore[operator]
    assert "shuffle 42 (seed 1)" not in names  # type: ignore[operator]


def test_summary_holds_the_best_baseline_of_each_row_against_ours(bench, ours):
    weak = bench.method("weak", constant(**lists(0.1, 0.6)), kind="retrieval")
    strong = bench.method("strong", constant(**lists(0.2, 0.4)), kind="retrieval")
    close = bench.method("close", constant(next_visit_rating_rmse=0.91))
    far = bench.method("far", constant(next_visit_rating_rmse=0.99))
    table = tables(bench, weak, strong, close, far, ours)[texts.SUMMARY_TITLE]
    found = {(row[0], row[1]): row[2:5] for row in table.rows}
    assert found["shuffle 42", "recall@10"] == [0.32, 0.2, "The strong"]
    assert found["shuffle 42", "recall@100"] == [0.5, 0.6, "The weak"]
    assert found["mean of u1 to u5", "RMSE"] == [0.9, 0.91, "The close"]


def test_the_strongest_is_not_named_while_a_baseline_is_not_measured(bench, ours):
    runner = bench.runner()
    weak = bench.method("weak", constant(**lists(0.1)), kind="retrieval")
    absent = bench.method("absent", constant(**lists(0.9)), kind="retrieval")
    close = bench.method("close", constant(next_visit_rating_rmse=0.91))
    runner.run([weak, close, ours], nothing)
    found = report.make_tables(runner, [weak, absent, close, ours])
    (table,) = (one for one in found if one.title == texts.SUMMARY_TITLE)
    assert {row[1] for row in table.rows} == {"RMSE"}


def random_ratings(bench, name, noise, **options):
    def answer(task, params):
        wrong = np.random.default_rng(len(name)).normal(0.0, noise, len(task.targets))
        return Answer(Predictions(ratings=task.data.ratings[task.targets] + wrong))

    return bench.method(name, answer, **options)


def test_differences_are_paired_by_user_and_shown_in_words(bench):
    ours = random_ratings(bench, report.OURS, 0.3, kind="rating")
    far, same = random_ratings(bench, "far", 2.0), random_ratings(bench, "same", 0.3)
    found = tables(bench, far, same, ours)
    cells = rows(found[texts.RATINGS_TITLE])
    difference = cells["The ours"]["shuffle 42"] - cells["The far"]["shuffle 42"]
    value, low, _, high = (
        cells["The far"]["shuffle 42: ours minus it (95 %)"].strip(")").replace("(", "").split()
    )
    assert float(value) == pytest.approx(difference, abs=2e-4)
    assert float(low) < float(value) < float(high) < 0
    assert cells["The ours"]["shuffle 42: ours minus it (95 %)"] is None
    assert [row[-1] for row in found[texts.SUMMARY_TITLE].rows if row[0] == "shuffle 42"] == [
        "within noise"
    ]
    only_far = tables(bench, far, ours)[texts.SUMMARY_TITLE]
    assert [row[-1] for row in only_far.rows if row[0] == "shuffle 42"] == ["better"]


def test_mean_of_the_folds_needs_all_of_them(bench):
    def fold(task):
        return 0.9 + float(task.split.name[1:]) / 100 if task.split.name.startswith("u") else 0.8

    method = bench.method(
        "close", lambda task, params: Answer(more={"next_visit_rating_rmse": fold(task)})
    )
    found = rows(tables(bench, method)[texts.RATINGS_TITLE])["The close"]
    assert found["shuffle 42"] == 0.8
    assert [found[f"u{number}"] for number in range(1, 6)] == [0.91, 0.92, 0.93, 0.94, 0.95]
    assert found["mean of u1 to u5"] == pytest.approx(0.93)
    next(bench.folder.glob("close-u3-*.json")).unlink()
    left = {t.title: t for t in report.make_tables(bench.runner(), [method])}
    found = rows(left[texts.RATINGS_TITLE])["The close"]
    assert (found["u3"], found["mean of u1 to u5"]) == (None, None)


def test_rows_and_users_are_those_of_the_tests(bench):
    found = rows(tables(bench, bench.method())[texts.TESTS_TITLE])["shuffle 42"]
    users = bench.loaded.users[bench.splits.main.test]
    hits = sum(min(10, int((users == user).sum())) for user in set(users.tolist()))
    assert found["highest recall@10"] == pytest.approx(hits / len(users), abs=1e-4)
    assert (found["test rows"], found["test users"]) == (len(users), len(set(users.tolist())))


def test_users_with_exact_and_with_interpolated_times_are_distinguished(bench):
    shift = movielens_1m.FIRST_USER_WITH_INTERPOLATED_TIMES - 4
    user_ids = bench.loaded.user_ids + shift  # the first three are below
    bench.loaded = dataclasses.replace(bench.loaded, name="ml-1m", user_ids=user_ids)
    bench.splits = runner_module.splits_of(bench.loaded)

    def answer(task, params):
        first = bench.loaded.users[task.targets] < 3
        ranks = np.where(first, 10, 11)
        return Answer(in_session=Predictions(ranks=ranks), more=lists(0.3))

    ours = bench.method(report.OURS, answer, kind="both", seeds=(1, 2))
    found = rows(tables(bench, ours)["In session"])
    name = "last rating of each user"
    assert found[f"{name}, users 1 to 2999"]["recall@10"] == 1.0
    assert found[f"{name}, users from 3000 on"]["recall@10"] == 0.0
    assert found[name]["recall@10"] == pytest.approx(0.25)


def test_somebody_new_is_measured_over_all_folds(bench):
    def lists_of(seed):
        def answer(task, params):
            scores = np.random.default_rng(seed).random(bench.loaded.shape)
            if not task.split.new_users:
                return Answer(Predictions(scores=scores))
            return Answer(new_user=dict.fromkeys(task.split.new_users, scores))

        return answer

    ours = bench.method(report.OURS, lists_of(1), kind="both", new_users=True, seeds=(1, 2))
    other = bench.method("other", lists_of(2), kind="retrieval", new_users=None)
    found = rows(tables(bench, other, ours)[texts.NEW_USERS_TITLE])
    assert set(found) == {"The other", "The ours"}
    cells = found["The other"]["3 named: ours minus it (95 %)"]
    difference = found["The ours"]["3 named"] - found["The other"]["3 named"]
    assert float(cells.split()[0]) == pytest.approx(difference, abs=2e-4)
    next(bench.folder.glob("other-new-users*fold-2*.json")).unlink()
    left = {t.title: t for t in report.make_tables(bench.runner(), [other, ours])}
    assert set(rows(left[texts.NEW_USERS_TITLE])) == {"The ours"}


def test_tables_of_another_data_set_stay(bench, ours, tmp_path):
    report.write(tmp_path, bench.runner(), [bench.method("close"), ours])
    other = dataclasses.replace(bench.loaded, name="ml-1m")
    bench.loaded = other
    report.write(tmp_path, bench.runner(), [])
    tables = json.loads((tmp_path / report.JSON).read_text("utf-8"))["tables"]
    assert list(dict.fromkeys(table["dataset"] for table in tables)) == ["ml-100k", "ml-1m"]
    text = (tmp_path / report.MARKDOWN).read_text("utf-8")
    assert text.index("## MovieLens-100K") < text.index("## MovieLens-1M")
    assert "A sixth of the timestamps are interpolated" in text


def test_capstones_figures_stand_beside_ours_and_the_leaking_model_is_marked(bench, ours, tmp_path):
    figures = {"unfiltered_recall_at_10": 0.95, "unfiltered_recall_at_100": 0.998}
    figures |= {"next_visit_recall_at_10": 0.96, "next_visit_rating_rmse": 1.0}
    leak = bench.method("tutorial_leak", constant(**figures), kind="both", only_main=True)
    honest = bench.method(
        "tutorial_rating",
        constant(**{**figures, "unfiltered_recall_at_10": 0.01}),
        kind="both",
        only_main=True,
    )
    found = tables(bench, honest, leak, ours)
    table = rows(found["The capstone's models, shuffle 42"])
    assert table["rating-specialised"]["capstone top-10"] == 0.1153
    assert table["rating-specialised"]["top-10"] == 0.01
    assert table["**LEAKING** query tower"]["top-10"] == 0.95
    assert table["hybrid: ours (mean of 2 seeds)"]["capstone top-10"] == 0.9544
    assert table["hybrid: ours (mean of 2 seeds)"]["recall@10"] == 0.32
    # It stands nowhere else: neither among the baselines nor as the strongest of them.
    assert not any(
        "LEAK" in str(row) for title in (texts.SUMMARY_TITLE,) for row in found[title].rows
    )
    assert not any("tutorial" in str(row) for row in found[NEXT_VISIT].rows)
    report.write(tmp_path, bench.runner(), [honest, leak, ours])
    text = (tmp_path / report.MARKDOWN).read_text("utf-8")
    marked = [line for line in text.splitlines() if "0.9980" in line and "LEAKING" in line]
    assert len(marked) == 1
    assert "Two of the capstone's rows were swapped" in text
    assert "0.95 cannot be" in text


def test_ids_are_among_the_crosses_wherever_they_come(bench, ours):
    table = tables(bench, ours)["Feature pairs of the cross layer"]
    assert table.rows[0][:3] == ["a × 0", 1, 20.0]
    assert len(table.rows) == 11
    assert table.rows[-1] == [
        "user id × movie id", 11, 0.75, round(statistics.stdev([0.5, 1.0]), 4)
    ]  # fmt: skip


def test_costs_tell_the_training_of_ours_apart(bench, ours):
    found = rows(tables(bench, bench.method("close"), ours)["Cost of one fit and its test"])
    assert found["The ours, the training alone"]["seconds by the clock"] == 12
    assert found["The ours, the training alone"]["processor seconds"] == 20
    assert "The close, the training alone" not in found


def test_what_was_tried_and_chosen_is_listed(bench):
    method = bench.method("close", grid=grid(off=(1.0, 0.0), kind=("x",)))
    (row,) = tables(bench, method)["Hyperparameters tried and chosen"].rows
    assert row == [
        "The close", "shuffle 42", "off: 1.0, 0.0; kind: x (2 combinations)", "off 0.0, kind x"
    ]  # fmt: skip


def test_files_hold_the_same_tables(bench, ours, tmp_path):
    found = tables(bench, bench.method("close"), ours)
    folder = tmp_path / "docs"
    report.write(folder, bench.runner(), [bench.method("close"), ours])
    written = json.loads((folder / report.JSON).read_text("utf-8"))["tables"]
    assert [table["title"] for table in written] == list(found)
    text = (folder / report.MARKDOWN).read_text("utf-8")
    for table in written:
        assert f"### {table['title']} [{table['protocol']}]" in text
        for row in table["rows"]:
            assert len(row) == len(table["columns"])
            assert f"| {row[0]} |" in text


def test_the_report_of_a_run_shows_the_tables(bench, ours, tmp_path):
    bench.runner().run([ours], nothing)
    report.write(tmp_path, bench.runner(), [ours])
    sources = types.SimpleNamespace(results=tmp_path / report.JSON, dataset={"name": "ml-100k"})
    shown = list(evaluation._comparison(types.SimpleNamespace(sources=sources)))
    by_title = {block.caption: block for block in shown if isinstance(block, Table)}
    table = by_title[f"{NEXT_VISIT}: next_visit"]
    assert [table.numeric(column) for column in table.columns[:3]] == [False, True, True]
    assert table.rows[0]["recall@10"] == 0.32


def test_nothing_measured_gives_no_empty_tables(bench):
    found = {t.title for t in report.make_tables(bench.runner(), [bench.method(kind="both")])}
    assert found == {texts.TESTS_TITLE, texts.MISSING_TITLE}


def test_ceiling_bounds_every_list_of_a_user(bench):
    rng = np.random.default_rng(0)
    scores = rng.random(bench.loaded.shape)
    method = bench.method(
        "lists", lambda task, p: Answer(Predictions(scores=scores)), kind="retrieval"
    )
    found = rows(tables(bench, method)[NEXT_VISIT])["The lists"]
    users = bench.loaded.users[bench.splits.main.test]
    assert 0 < found["recall@10"] <= protocols.user_only_ceiling(users)
