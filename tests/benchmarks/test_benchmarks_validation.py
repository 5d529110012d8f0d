"""Figures on validation for other values: what can be changed, and that no test is read."""

import numpy as np
import pytest

from benchmarks import validation
from sources.errors import InputError

FAST = (
    "train.epochs=1",
    "long_term.epochs=1",
    "bpmf.burn_in=2",
    "bpmf.draws=2",
    "model.embedding_dim=4",
)


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
    with pytest.raises(InputError, match=r"training with .*l2_retrieval=1e12 failed") as error:
        validation.main(
            [*FAST, "train.epochs=3", "train.learning_rate=1e12", "model.l2_retrieval=1e12"]
        )
    assert "expected finite losses" in str(error.value)
