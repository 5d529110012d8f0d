"""The standalone models of retrieval: what is left out is named."""

import types

import numpy as np
import pytest

from trainer.config import LongTermConfig
from trainer.retrieval import long_term
from trainer.retrieval.blend import EASE
from trainer.serving import describe


@pytest.fixture
def data(monkeypatch):
    """Five movies; the autoencoder and iALS cost nothing."""
    model = types.SimpleNamespace(fit=lambda data: None)
    monkeypatch.setattr(
        long_term,
        "UserAutoencoder",
        lambda config, *others: types.SimpleNamespace(config=config, fit=model.fit),
    )
    monkeypatch.setattr(long_term, "Ials", lambda config, seed: model)
    monkeypatch.setattr(long_term, "Ease", lambda config: model)
    return types.SimpleNamespace(catalogue=types.SimpleNamespace(ids=np.arange(5)))


@pytest.mark.parametrize(("limit", "is_fitted"), [(4, False), (5, True)])
def test_ease_of_a_large_catalogue_is_left_out_and_said_to_be(data, limit, is_fitted):
    lines = []
    models = long_term.fit_long_term(LongTermConfig(ease_limit=limit), data, 1, lines.append)
    assert (models.ease is not None) == is_fitted
    assert any("EASE is left out: 5 movies" in line for line in lines) != is_fitted
    described = describe.next_visit(models)
    assert described["left_out"] == ([] if is_fitted else [EASE])
    assert (EASE in described["weights"]) == is_fitted
    assert all(len(values) == len(described["lengths"]) for values in described["weights"].values())
