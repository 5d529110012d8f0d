"""The standalone models of retrieval: what is left out is named."""

import types

import numpy as np
import pytest

from schema.features import MOVIELENS
from trainer.config import LongTermConfig
from trainer.retrieval import long_term, user_autoencoder
from trainer.serving import describe


@pytest.fixture
def data(monkeypatch):
    """Five movies; models cost nothing, and EASE's precision is kept."""
    fitted = []
    model = types.SimpleNamespace(fit=lambda data: None)
    monkeypatch.setattr(
        long_term,
        "UserAutoencoder",
        lambda config, *others: types.SimpleNamespace(config=config, fit=model.fit),
    )
    monkeypatch.setattr(long_term, "Ials", lambda config, seed: model)
    monkeypatch.setattr(long_term, "choose", lambda config, data: None)
    monkeypatch.setattr(long_term, "Ease", lambda config, dtype: fitted.append(dtype) or model)
    features = types.SimpleNamespace(of_kinds=lambda owner, kinds: ())
    catalogue, users = (types.SimpleNamespace(ids=np.arange(n), left_out=0) for n in (5, 6))
    return types.SimpleNamespace(
        catalogue=catalogue, users=users, outputs=features, fitted=fitted, features=MOVIELENS
    )


@pytest.mark.parametrize(
    ("bytes_allowed", "expected"),
    [(101, [np.float32]), (99, [np.float16]), (51, [np.float16]), (49, [])],
)
def test_ease_takes_the_best_precision_that_fits_or_is_left_out(data, bytes_allowed, expected):
    lines, config = [], LongTermConfig(ease_megabytes=bytes_allowed * 1e-6)
    models = long_term.fit_long_term(config, data, 1, lines.append)
    assert data.fitted == expected
    assert (models.ease is None) == (not expected)
    assert any("EASE is left out: its weights for 5 movies" in line for line in lines) == (
        not expected
    )
    left_out = describe.left_out(models, data)
    assert ("EASE" in left_out) == (not expected)
    assert left_out["side information of movies in predicted ratings"] == "the data has none"


@pytest.mark.parametrize(
    ("users", "bytes_allowed", "expected"),
    [(5, 200, "fitted"), (5, 199, "left out"), (6, 1_000, "not meant")],
)
def test_kernel_regression_that_is_too_large_is_named(
    data, monkeypatch, users, bytes_allowed, expected
):
    monkeypatch.setattr(
        long_term, "KernelRegression", lambda config: types.SimpleNamespace(fit=lambda data: None)
    )
    data.users.ids = np.arange(users)
    config = LongTermConfig(kernel_megabytes=bytes_allowed * 1e-6)
    models = long_term.fit_long_term(config, data, 1, lambda line: None)
    assert (models.kernel is not None) == (expected == "fitted")
    reason = describe.left_out(models, data).get("kernel regression", "")
    assert ("5 users and 5 movies" in reason) == (expected == "left out")


@pytest.mark.parametrize(
    ("users", "movies", "epochs", "networks"),
    [
        (943, 1_682, 60, 3),
        (610, 9_742, 60, 1),
        (6_040, 3_706, 32, 1),
        (69_878, 10_677, 2, 1),
        (138_493, 27_278, 1, 1),
        (10_000, 50_000, 4, 1),
        (9, 10**10, 1, 1),
    ],
    ids=["100k", "latest-small", "1m", "10m", "20m", "a large catalogue", "no end of movies"],
)
def test_many_users_and_many_movies_get_fewer_epochs_and_networks(users, movies, epochs, networks):
    assert user_autoencoder._epochs(LongTermConfig(), users, movies) == (epochs, -(-users // 200))
    assert user_autoencoder._networks(LongTermConfig(), users, movies) == networks
