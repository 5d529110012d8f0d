"""Scores chunks of users with the server's signature, so that results are equal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow

from serving.batch.errors import RunError
from serving.errors import ModelError, ModelFault
from serving.model_validation import load_and_validate
from serving.recommender import Recommender, UserProfile
from serving.signatures import Array, check_outputs
from serving.titles import display_title
from serving.version_folder import Incomplete, is_whole, listing


def load_version(version_dir: Path, threads: int) -> Recommender:
    """Loads a version and validates it as the server does.

    Args:
      version_dir: its folder, named by its number.
      threads: how many threads TensorFlow may use.

    Raises:
      ModelError: it is not complete, cannot be read, or fails validation.
    """
    try:
        is_whole(version_dir, listing(version_dir), {})
    except Incomplete as error:
        raise ModelError("UNAVAILABLE", f"is not complete: {error}") from error
    return load_and_validate(version_dir, int(version_dir.name), threads)


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
    """Returns the recommendations for users, in the order of the users; rank 1 is the best.

    Without the column `stars` where the model predicts no ratings.

    Args:
      model: the version.
      user_ids: a chunk of users.
      k: recommendations for each at most.
      include_seen: whether movies that a user rated may be recommended.
      cold: the users who get the recommendations of a new user.

    Raises:
      RunError: the model fails, or a score is NaN or infinite.
    """
    profiles = [UserProfile("" if user_id in cold else user_id) for user_id in user_ids]
    call = model.recommend(profiles, k, [()] * len(profiles), include_seen)
    try:
        outputs = model.model.signatures[call.signature](call.inputs)
        check_outputs(call, outputs)
    except ModelFault as fault:
        raise RunError(
            f"Version {model.version} of the model failed on a chunk that begins with user"
            f" {user_ids[0]}: {fault.reason}"
        ) from fault
    counts = outputs["count"]
    places = np.arange(outputs["movie_id"].shape[1])
    there = places < counts[:, np.newaxis]
    ranks = np.broadcast_to(places + 1, there.shape)[there]
    titles = _text(outputs["movie_title"][there])
    columns = {
        "user_id": pyarrow.array(np.repeat(np.array(user_ids, object), counts), pyarrow.string()),
        "rank": pyarrow.array(ranks, pyarrow.int32()),
        "movie_id": _text(outputs["movie_id"][there]),
        "title": titles,
        "display_title": _display_titles(titles),
        "score": pyarrow.array(outputs["score"][there], pyarrow.float32()),
    }
    if model.predicts_ratings:
        ratings = outputs["predicted_rating"][there]
        columns["stars"] = pyarrow.array(ratings, pyarrow.float32())
    columns["model_version"] = pyarrow.array([model.version] * len(ranks), pyarrow.string())
    return pyarrow.table(columns)


def _text(values: Array) -> pyarrow.Array:
    return pyarrow.array(values, pyarrow.binary()).cast(pyarrow.string())


def _display_titles(titles: pyarrow.Array) -> pyarrow.Array:
    """Calculates each distinct title once."""
    encoded = titles.dictionary_encode()
    shown = [display_title(title) for title in encoded.dictionary.to_pylist()]
    return pyarrow.array(shown, pyarrow.string()).take(encoded.indices)
