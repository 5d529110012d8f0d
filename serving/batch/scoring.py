"""Scores chunks of users with the signature that the server calls, so that both say the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow

from serving.batch.output import SCHEMA
from serving.calls import Array
from serving.canary import try_out
from serving.errors import ModelError
from serving.model import load
from serving.recommender import Person, Recommender, make_recommender
from serving.titles import display_title


def load_version(version_dir: Path, threads: int) -> Recommender:
    """Loads a version and tries it on the server's queries.

    Args:
      version_dir: its folder, named by its number.
      threads: how many threads TensorFlow may use.

    Raises:
      ModelError: it cannot be read, is not what is expected, or answers nonsense.
    """
    try:
        recommender = make_recommender(load(version_dir, int(version_dir.name), threads))
        try_out(recommender)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError("UNKNOWN", f"cannot be loaded: {error!r}") from error
    return recommender


def chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yields ids in their order, `size` at a time."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def score(
    model: Recommender,
    user_ids: Sequence[str],
    k: int,
    include_seen: bool,
    cold: Collection[str] = (),
) -> pyarrow.Table:
    """Returns the recommendations for users, in the order of the users.

    Args:
      model: who recommends.
      user_ids: a chunk of users.
      k: recommendations for each at most.
      include_seen: whether movies that a user rated may be recommended.
      cold: those of the users who get what somebody unknown gets.
    """
    people = [Person("" if user_id in cold else user_id) for user_id in user_ids]
    call = model.recommend(people, k, [()] * len(people), include_seen)
    outputs = model.model.signatures[call.signature](call.inputs)
    counts = outputs["count"]
    columns = np.arange(outputs["movie_id"].shape[1])
    there = columns < counts[:, np.newaxis]
    ranks = np.broadcast_to(columns + 1, there.shape)[there]
    titles = _text(outputs["movie_title"][there])
    return pyarrow.table(
        [
            pyarrow.array(np.repeat(np.array(user_ids, object), counts), pyarrow.string()),
            pyarrow.array(ranks, pyarrow.int32()),
            _text(outputs["movie_id"][there]),
            titles,
            _display_titles(titles),
            pyarrow.array(outputs["score"][there], pyarrow.float32()),
            pyarrow.array(outputs["predicted_rating"][there], pyarrow.float32()),
            pyarrow.array([model.version] * len(ranks), pyarrow.string()),
        ],
        schema=SCHEMA,
    )


def _text(values: Array) -> pyarrow.Array:
    return pyarrow.array(values, pyarrow.binary()).cast(pyarrow.string())


def _display_titles(titles: pyarrow.Array) -> pyarrow.Array:
    """Calculates each distinct title once."""
    encoded = titles.dictionary_encode()
    shown = [display_title(title) for title in encoded.dictionary.to_pylist()]
    return pyarrow.array(shown, pyarrow.string()).take(encoded.indices)
