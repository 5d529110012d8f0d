"""Figures on validation for other values: what can be changed, and that no test is read."""

import dataclasses

import numpy as np
import pytest

from benchmarks import validation
from sources.errors import InputError
from trainer.config import TrainerConfig

FAST = (
    "train.epochs=1",
    "long_term.epochs=1",
    "bpmf.burn_in=2",
    "bpmf.draws=2",
    "model.embedding_dim=4",
)


def test_named_values_are_changed_and_no_others():
    shipped = TrainerConfig()
    found = validation.changed(
        shipped, ["model.truncated_share=0.5", "train.epochs=3", "model.recency_seconds=30,4000.5"]
    )
    expected = dataclasses.replace(
        shipped,
        model=dataclasses.replace(
            shipped.model, truncated_share=0.5, recency_seconds=(30.0, 4000.5)
        ),
        train=dataclasses.replace(shipped.train, epochs=3),
    )
    assert found == expected
    assert isinstance(found.train.epochs, int)
    assert validation.changed(shipped, []) == shipped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated_share=0.1", "cannot read 'truncated_share=0.1'"),
        ("model.truncated_share", "cannot read 'model.truncated_share'"),
        ("serving.port=1", "cannot read 'serving.port=1'"),
        ("model.gap=0.1", "there is no model.gap"),
        ("train.splits=test", "there is no train.splits"),
        ("train.seed=3", "there is no train.seed"),
        ("model.truncated_share=many", "model.truncated_share cannot be 'many'"),
        ("train.epochs=1.5", "train.epochs cannot be '1.5'"),
        ("model.recency_seconds=a,b", "model.recency_seconds cannot be 'a,b'"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_a_reason(change, message):
    with pytest.raises(InputError, match=message) as error:
        validation.changed(TrainerConfig(), [change])
    assert "expected" in str(error.value)
    assert "what to do" in str(error.value)


def test_no_line_of_a_test_is_fitted_or_evaluated(bench):
    tasks = validation.tasks(bench.loaded)
    assert [task.split.name for task in tasks] == ["shuffle 42", "last 20 % of each user"]
    for task in tasks:
        lines = np.concatenate([task.fit, task.targets])
        assert len(np.unique(lines)) == len(lines)
        assert not np.isin(lines, task.split.test).any()
        assert len(lines) + len(task.split.test) == len(bench.loaded.users)


@pytest.mark.exhaustive
def test_prints_a_row_for_each_split(movielens, capsys):
    validation.main([*FAST, "--seeds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"validation, seeds 1: {' '.join(FAST)}"
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]
    assert table[0] == ["split", *validation.METRICS]
    assert [cells[0] for cells in table[2:]] == ["shuffle 42", "last 20 % of each user"]
    for cells in table[2:]:
        top_10, top_100, rmse = map(float, cells[1:4])
        assert 0 <= top_10 <= top_100 <= 1
        assert 0.5 < rmse < 3


@pytest.mark.exhaustive
def test_values_that_no_model_can_be_trained_with_are_a_message(movielens):
    with pytest.raises(InputError, match=r"training with .*learning_rate=nan failed") as error:
        validation.main([*FAST, "long_term.epochs=3", "long_term.learning_rate=nan"])
    assert "expected finite losses" in str(error.value)
