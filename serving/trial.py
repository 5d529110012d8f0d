"""Loading a version and trying it, wherever that happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.errors import ModelError, ModelFault, RequestError
from serving.model import load
from serving.recommender import Recommender, make_recommender
from serving.trial_queries import prepare, validate


def load_and_try(
    path: Path, version: int, threads: int = 1, prepare_threads: int = 1
) -> Recommender:
    """Loads a version and asks it the trial queries.

    Args:
      path: its folder.
      version: its number.
      threads: how many threads TensorFlow may use for a call.
      prepare_threads: how many signatures to prepare at the same time.

    Raises:
      ModelError: it cannot be loaded or answers nonsense.
    """
    return _opened(path, version, threads, lambda made: validate(made, prepare_threads))


def load_and_prepare(path: Path, version: int, threads: int = 1) -> Recommender:
    """Loads a version that was tried elsewhere, and makes its first calls.

    Raises:
      ModelError: it cannot be loaded or does not answer.
    """
    return _opened(path, version, threads, prepare)


def _opened(
    path: Path, version: int, threads: int, then: Callable[[Recommender], None]
) -> Recommender:
    try:
        model = load(path, version, threads)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError("UNKNOWN", f"cannot be loaded: {type(error).__name__}") from error
    try:
        recommender = make_recommender(model)
        then(recommender)
    except ModelError:
        model.retire()
        raise
    except RequestError as error:
        model.retire()
        reason = error.reason if isinstance(error, ModelFault) else error.message
        raise ModelError("INTERNAL", f"fails on a query: {reason}") from error
    except Exception as error:
        model.retire()
        raise ModelError("INTERNAL", f"fails on a query: {type(error).__name__}") from error
    return recommender
