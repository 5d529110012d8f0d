"""How many epochs and steps follow from the data."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from trainer.config import TrainConfig


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(10, (7, 10)), (50, (2, 50)), (60, (1, 60)), (100, (1, 100)), (5_000, (1, 100))],
)
def test_much_data_gets_fewer_epochs(steps, expected):
    assert TrainConfig(epochs=7, max_steps=100).schedule(steps) == expected


@given(st.integers(1, 50), st.integers(1, 10_000), st.integers(1, 100_000))
def test_there_is_an_epoch_and_never_more_steps_than_allowed(epochs, most, steps):
    found, each = TrainConfig(epochs=epochs, max_steps=most).schedule(steps)
    assert 1 <= found <= epochs
    assert 1 <= each <= steps
    assert found * each <= most
