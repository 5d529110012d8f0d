"""Calls of the model's signatures for user profiles, and reading their outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from schema.dataset import DatasetLabel
from schema.events import Event
from schema.features import MOVIELENS, Feature, FeatureTable
from serving.catalogue import Catalogue, Movie, Users, read_catalogue, read_users
from serving.errors import ModelError
from serving.model import ServedModel
from serving.run_record import RunRecord, read_item_noun, read_run_record
from serving.signatures import Array, Call
from serving.user_features import NOTHING, Values, features_of, read_choices, read_table

_EVERYTHING = 1_000_000
_TYPES: Mapping[type, Any] = {bytes: object, int: np.int64, float: np.float32}


@dataclass(frozen=True)
class UserProfile:
    """What a request says about a user. Empty fields are taken from the model's known profile.

    Args:
      user_id: a user's id; empty for a new user.
      features: feature values by the names of the model's feature table.
      context: context features of the query, by the same names; those left out are unknown.
      timestamp: unix seconds of the query; 0 means now.
      events: movies rated or liked, in addition to the history that the model has. Those with a
        time belong to the current session where gaps of at most 30 minutes lead to them from the
        query; the others are history.
    """

    user_id: str = ""
    features: Values = NOTHING
    timestamp: int = 0
    events: tuple[Event, ...] = ()
    context: Values = NOTHING


@dataclass(frozen=True)
class Reason:
    """A movie of a user's history and its contribution to the score of a recommendation."""

    movie_id: str
    title: str
    contribution: float


@dataclass(frozen=True)
class ScoredMovie:
    """A movie in an output of the model.

    Args:
      movie_id: its id.
      title: its title; empty if the model does not have the movie.
      score: of the retrieval or the similarity; comparable within one list only.
      stars: the predicted rating; None where the signature predicts none.
    """

    movie_id: str
    title: str
    score: float = 0.0
    stars: float | None = None


@dataclass(frozen=True)
class Recommender:
    """A version of the model with its catalogue and its users."""

    model: ServedModel
    catalogue: Catalogue
    users: Users
    run_record: RunRecord = field(default_factory=RunRecord)
    table: FeatureTable = MOVIELENS
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    item_noun: str = DatasetLabel.item_noun
    has_catalogue_file: bool = True

    @property
    def version(self) -> str:
        """The version's number, as in responses."""
        return str(self.model.version)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this version lacks of a version that this pipeline exports, for the log."""
        parts = {
            "a run record": self.run_record != RunRecord(),
            "a list of users": self.users.count is not None,
            "a list of movies": self.has_catalogue_file,
            "similar movies": self.finds_similar,
            "reasons": self.gives_reasons,
            "recent movies": self.takes_recent_movies,
        }
        return tuple(name for name, there in parts.items() if not there)

    @property
    def predicts_ratings(self) -> bool:
        """Whether the training data has ratings."""
        return self.table.has_rating

    @property
    def no_rating(self) -> float:
        """The value for an event without a rating: 0, or NaN where 0 is on the scale."""
        scale = self.table.scale if self.predicts_ratings else None
        return math.nan if scale is not None and scale.low <= 0 <= scale.high else 0.0

    @property
    def takes_recent_movies(self) -> bool:
        """Whether events of the request count."""
        return self.model.accepts("recommend", "recent_movie_ids")

    @property
    def finds_similar(self) -> bool:
        """Whether it has the signature for similar movies."""
        return "similar" in self.model.signatures

    @property
    def gives_reasons(self) -> bool:
        """Whether it has the signature for reasons."""
        return "explain" in self.model.signatures

    def movie(self, movie_id: str, title: str) -> Movie:
        """Returns a movie of the catalogue, or one of which only the title is known."""
        return self.catalogue.get(movie_id) or Movie(movie_id, title)

    # -- calls -----------------------------------------------------------------------------

    def recommend(
        self, profiles: Sequence[UserProfile], k: int, exclude: Sequence[Sequence[str]], seen: bool
    ) -> Call:
        """Returns the call for the k best movies for each user.

        Args:
          profiles: the users.
          k: how many movies at most.
          exclude: for each user the ids of movies that are not recommended.
          seen: whether movies of a known user's history may be recommended.
        """
        inputs = self._profile_inputs("recommend", profiles)
        inputs["k"] = np.asarray(k, np.int32)
        inputs["exclude_movie_ids"] = _ragged(exclude, b"")
        inputs["exclude_seen"] = np.asarray(not seen)
        return Call(self.model, "recommend", inputs)

    def rank(self, profiles: Sequence[UserProfile], movie_ids: Sequence[Sequence[str]]) -> Call:
        """Returns the call for the ratings that each user would give to movies."""
        inputs = self._profile_inputs("rank", profiles)
        inputs["movie_ids"] = _ragged(movie_ids, b"")
        return Call(self.model, "rank", inputs)

    def similar(self, movie_ids: Sequence[str], k: int) -> Call:
        """Returns the call for the k movies most similar to each movie."""
        inputs = {"movie_id": _strings(movie_ids), "k": np.asarray(k, np.int32)}
        return Call(self.model, "similar", inputs)

    def explain(
        self, profiles: Sequence[UserProfile], movie_ids: Sequence[Sequence[str]], k: int
    ) -> Call:
        """Returns the call for at most k reasons for each movie, the largest contribution first."""
        inputs = self._profile_inputs("explain", profiles)
        inputs["movie_ids"] = _ragged(movie_ids, b"")
        inputs["k"] = np.asarray(k, np.int32)
        return Call(self.model, "explain", inputs)

    def sample_calls(self, movie_id: str, k: int = 1) -> list[Call]:
        """Returns a call of each signature, for a new user and a movie."""
        calls = [self.recommend([UserProfile()], k, [()], seen=True)]
        if self.predicts_ratings:
            calls.append(self.rank([UserProfile()], [[movie_id]]))
        if self.finds_similar:
            calls.append(self.similar([movie_id], k))
        if self.gives_reasons:
            calls.append(self.explain([UserProfile()], [[movie_id]], k))
        return calls

    def _profile_inputs(self, signature: str, profiles: Sequence[UserProfile]) -> dict[str, Array]:
        table = self.table
        inputs: dict[str, Array] = {
            table.user_id.name: _strings([profile.user_id for profile in profiles]),
            **{
                feature.name: _column(feature, [profile.features for profile in profiles])
                for feature in features_of(table)
            },
            **{
                feature.name: _column(feature, [profile.context for profile in profiles])
                for feature in table.context
            },
        }
        if table.has_time:
            times = [profile.timestamp for profile in profiles]
            inputs[table.timestamp.name] = np.array(times, np.int64)
        lists = [profile.events for profile in profiles]
        no_rating = self.no_rating
        of_events: dict[str, tuple[list[list[Any]], Any]] = {
            "recent_movie_ids": ([[one.item_id for one in events] for events in lists], b""),
            "recent_timestamps": ([[one.timestamp or 0 for one in events] for events in lists], 0),
            "recent_ratings": (
                [[no_rating if one.rating is None else one.rating for one in events]
                 for events in lists],
                0.0,
            ),
        }  # fmt: skip
        for name, (rows, filler) in of_events.items():
            if self.model.accepts(signature, name):
                inputs[name] = _ragged(rows, filler)
        return inputs


# -- outputs -----------------------------------------------------------------------------------


def scored_movies(outputs: Mapping[str, Array], row: int = 0) -> list[ScoredMovie]:
    """Returns the movies in one row of the outputs of `recommend`, `rank` or `similar`.

    In the order of the outputs: the best first, or for `rank` as given.
    """
    count = int(outputs["count"][row]) if "count" in outputs else outputs["movie_id"].shape[1]
    scores = outputs.get("score", outputs.get("similarity", np.zeros(outputs["movie_id"].shape)))
    stars = outputs.get("predicted_rating", np.full(outputs["movie_id"].shape, None))
    columns = (outputs["movie_id"], outputs["movie_title"], scores, stars)
    rows = zip(*(column[row, :count].tolist() for column in columns), strict=True)
    return [
        ScoredMovie(movie_id.decode(), title.decode(), score, rating)
        for movie_id, title, score, rating in rows
    ]


def reasons(outputs: Mapping[str, Array], row: int = 0) -> list[list[Reason]]:
    """Returns each movie's reasons in one row of the outputs of `explain`, the largest first."""
    columns = (
        outputs[name][row].tolist()
        for name in ("because_movie_id", "because_movie_title", "contribution")
    )
    return [
        [
            Reason(movie_id.decode(), title.decode(), contribution)
            for movie_id, title, contribution in zip(*of_movie, strict=True)
            if movie_id
        ]
        for of_movie in zip(*columns, strict=True)
    ]


# -- making a recommender ----------------------------------------------------------------------


def make_recommender(model: ServedModel) -> Recommender:
    """Joins a model with its catalogue and users.

    The catalogue of a version without the file is what the model recommends without a limit.

    Raises:
      ModelError: if a signature or one of its inputs is missing, or a file cannot be read.
    """
    table = read_table(model.path)
    catalogue = read_catalogue(model.path)
    recommender = Recommender(
        model,
        catalogue or Catalogue(()),
        read_users(model.path),
        read_run_record(model.path),
        table,
        read_choices(model.path, table),
        read_item_noun(model.path),
    )
    _check_signatures(recommender)
    if catalogue is not None:
        return recommender
    call = recommender.recommend([UserProfile()], _EVERYTHING, [()], seen=True)
    outputs = model.signatures[call.signature](call.inputs)
    movies = (Movie(scored.movie_id, scored.title) for scored in scored_movies(outputs))
    return replace(recommender, catalogue=Catalogue(movies), has_catalogue_file=False)


def _check_signatures(recommender: Recommender) -> None:
    model = recommender.model
    required = ("recommend", "rank") if recommender.predicts_ratings else ("recommend",)
    for name in required:
        if name not in model.signatures:
            found = ", ".join(model.signatures) or "none"
            raise ModelError(
                "INVALID_ARGUMENT", f"has no signature {name!r}; its signatures: {found}"
            )
    for call in recommender.sample_calls(""):
        expected = set(model.signatures[call.signature].inputs)
        if expected != set(call.inputs):
            differing = ", ".join(sorted(expected ^ set(call.inputs)))
            raise ModelError(
                "INVALID_ARGUMENT",
                f"signature {call.signature!r} has other inputs than expected: {differing}",
            )


def _strings(values: Sequence[str]) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def _column(feature: Feature, profiles: Sequence[Values]) -> Array:
    """Returns a feature's values `[users]`, the missing one where none is given."""
    found = [values.get(feature.name, feature.missing) for values in profiles]
    if feature.dtype == "string":
        return _strings(list(map(str, found)))
    if feature.dtype == "int64":
        found = np.clip(np.array(found, np.float64), -(2.0**53), 2.0**53).tolist()
    return np.array(found, np.dtype(feature.dtype))


def _ragged(rows: Sequence[Sequence[Any]], filler: Any) -> Array:
    """Pads rows of strings or numbers to `[rows, columns]`, with at least one column."""
    columns = max((len(row) for row in rows), default=0) or 1
    array = np.full((len(rows), columns), filler, _TYPES[type(filler)])
    for index, row in enumerate(rows):
        if row:
            array[index, : len(row)] = [v.encode() if isinstance(v, str) else v for v in row]
    return array
