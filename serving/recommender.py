"""The model's signatures in the application's terms: who asks, and what the answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schema.events import Event
from schema.features import MOVIELENS, Feature, FeatureTable
from serving.calls import Array, Call
from serving.catalogue import Catalogue, Movie, Users, read_catalogue, read_users
from serving.errors import ModelError
from serving.model import ServedModel
from serving.run_record import Quality, read_quality
from serving.user_features import NOTHING, Values, features_of, read_choices, read_table

REQUIRED_SIGNATURES = ("recommend", "rank")
_EVERYTHING = 1_000_000
_TYPES: Mapping[type, Any] = {bytes: object, int: np.int64, float: np.float32}
_OF_EVENTS: Mapping[str, tuple[Callable[[Event], Any], Any]] = {
    "recent_movie_ids": (lambda event: event.item_id, b""),
    "recent_timestamps": (lambda event: event.timestamp or 0, 0),
    "recent_ratings": (lambda event: event.rating or 0.0, 0.0),
}
"""The inputs for events: the value of an event, and what fills a row up."""


@dataclass(frozen=True)
class Person:
    """Who asks. What is left empty is taken from the profile that the model knows.

    Args:
      user_id: a user's id; empty for somebody unknown.
      features: feature values by the names of the model's feature table.
      timestamp: unix seconds of the query; 0 means now.
      events: films rated or liked, beside what the model knows of a user. Those with a time
        belong to the current session where gaps of at most 30 minutes lead to them from the
        query; the others are history.
    """

    user_id: str = ""
    features: Values = NOTHING
    timestamp: int = 0
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Scored:
    """A movie and what the model says of it.

    Args:
      movie_id: its id.
      title: its title; empty if the model does not know the movie.
      score: of the retrieval or the similarity; only their order means something.
      stars: the predicted rating, where one is predicted.
    """

    movie_id: str
    title: str
    score: float = 0.0
    stars: float = 0.0


@dataclass(frozen=True)
class Reason:
    """A film of somebody's history that speaks for a recommendation, and how much."""

    movie_id: str
    title: str
    contribution: float


@dataclass(frozen=True)
class Recommender:
    """A version of the model with its catalogue and its users."""

    model: ServedModel
    catalogue: Catalogue
    users: Users
    quality: Quality = field(default_factory=Quality)
    table: FeatureTable = MOVIELENS
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version, as answers name it."""
        return str(self.model.version)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What a version of our pipeline has and this one has not, for people."""
        parts = {
            "a run record": self.quality != Quality(),
            "a list of users": self.users.count is not None,
            "a list of movies with years and genres": any(
                movie.genres or movie.year for movie in self.catalogue.movies.values()
            ),
            "similar movies": self.finds_similar,
            "reasons": self.gives_reasons,
            "movies liked lately": self.takes_recent_movies,
        }
        return tuple(name for name, there in parts.items() if not there)

    @property
    def takes_recent_movies(self) -> bool:
        """Whether films liked lately count."""
        return self.model.accepts("recommend", "recent_movie_ids")

    @property
    def finds_similar(self) -> bool:
        """Whether it knows which movies resemble one another."""
        return "similar" in self.model.signatures

    @property
    def gives_reasons(self) -> bool:
        """Whether it can say why."""
        return "explain" in self.model.signatures

    def movie(self, movie_id: str, title: str) -> Movie:
        """Returns what is known of a movie."""
        return self.catalogue.get(movie_id) or Movie(movie_id, title)

    # -- calls -----------------------------------------------------------------------------

    def recommend(
        self, people: Sequence[Person], k: int, exclude: Sequence[Sequence[str]], seen: bool
    ) -> Call:
        """The call for the k best movies of each person.

        Args:
          people: who asks.
          k: how many movies at most.
          exclude: for each person the ids that may not be recommended.
          seen: whether movies of a known user's history may be recommended.
        """
        inputs = self._people("recommend", people)
        inputs["k"] = np.asarray(k, np.int32)
        inputs["exclude_movie_ids"] = _ragged(exclude, b"")
        inputs["exclude_seen"] = np.asarray(not seen)
        return Call(self.model, "recommend", inputs)

    def rank(self, people: Sequence[Person], movie_ids: Sequence[Sequence[str]]) -> Call:
        """The call for the stars that each person would give to given movies."""
        inputs = self._people("rank", people)
        inputs["movie_ids"] = _ragged(movie_ids, b"")
        return Call(self.model, "rank", inputs)

    def similar(self, movie_ids: Sequence[str], k: int) -> Call:
        """The call for the k movies that resemble each movie most."""
        inputs = {"movie_id": _strings(movie_ids), "k": np.asarray(k, np.int32)}
        return Call(self.model, "similar", inputs)

    def explain(self, people: Sequence[Person], movie_ids: Sequence[Sequence[str]], k: int) -> Call:
        """The call for the k films of each person's history that speak most for each movie."""
        inputs = self._people("explain", people)
        inputs["movie_ids"] = _ragged(movie_ids, b"")
        inputs["k"] = np.asarray(k, np.int32)
        return Call(self.model, "explain", inputs)

    def _people(self, signature: str, people: Sequence[Person]) -> dict[str, Array]:
        table = self.table
        inputs: dict[str, Array] = {
            table.user_id.name: _strings([person.user_id for person in people]),
            table.timestamp.name: np.array([person.timestamp for person in people], np.int64),
            **{
                feature.name: _column(feature, [person.features for person in people])
                for feature in features_of(table)
            },
        }
        for name, (of_event, filler) in _OF_EVENTS.items():
            if self.model.accepts(signature, name):
                rows = [[of_event(event) for event in person.events] for person in people]
                inputs[name] = _ragged(rows, filler)
        return inputs


# -- answers -----------------------------------------------------------------------------------


def recommended(outputs: Mapping[str, Array], row: int = 0) -> list[Scored]:
    """Reads a row of what `recommend` says: best first."""
    count = int(outputs["count"][row])
    columns = (
        outputs[name][row, :count].tolist()
        for name in ("movie_id", "movie_title", "score", "predicted_rating")
    )
    return [
        Scored(movie_id.decode(), title.decode(), score, stars)
        for movie_id, title, score, stars in zip(*columns, strict=True)
    ]


def ranked(outputs: Mapping[str, Array], row: int = 0) -> list[Scored]:
    """Reads a row of what `rank` says: in the order of the question."""
    columns = (
        outputs[name][row].tolist() for name in ("movie_id", "movie_title", "predicted_rating")
    )
    return [
        Scored(movie_id.decode(), title.decode(), stars=stars)
        for movie_id, title, stars in zip(*columns, strict=True)
    ]


def resembling(outputs: Mapping[str, Array], row: int = 0) -> list[Scored]:
    """Reads a row of what `similar` says: the most similar first."""
    count = int(outputs["count"][row])
    columns = (
        outputs[name][row, :count].tolist() for name in ("movie_id", "movie_title", "similarity")
    )
    return [
        Scored(movie_id.decode(), title.decode(), similarity)
        for movie_id, title, similarity in zip(*columns, strict=True)
    ]


def reasons(outputs: Mapping[str, Array], row: int = 0) -> list[list[Reason]]:
    """Reads a row of what `explain` says: for each movie its reasons, the strongest first."""
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


# -- making one --------------------------------------------------------------------------------


def make_recommender(model: ServedModel) -> Recommender:
    """Joins a model with its catalogue and users; a model without a catalogue is asked for it.

    Raises:
      ModelError: if a signature or one of its inputs is missing, or a file cannot be read.
    """
    table = read_table(model.path)
    _check_signatures(model, table)
    users = read_users(model.path)
    choices = read_choices(model.path, table)
    quality = read_quality(model.path)
    catalogue = read_catalogue(model.path)
    if catalogue is not None:
        return Recommender(model, catalogue, users, quality, table, choices)
    everything = Recommender(model, Catalogue(()), users, table=table)
    call = everything.recommend([Person()], _EVERYTHING, [()], seen=True)
    outputs = model.signatures[call.signature](call.inputs)
    movies = (Movie(scored.movie_id, scored.title) for scored in recommended(outputs))
    return Recommender(model, Catalogue(movies), users, quality, table, choices)


def _check_signatures(model: ServedModel, table: FeatureTable) -> None:
    for name in REQUIRED_SIGNATURES:
        if name not in model.signatures:
            found = ", ".join(model.signatures) or "none"
            raise ModelError(
                "INVALID_ARGUMENT", f"has no signature {name!r}; its signatures: {found}"
            )
    recommender = Recommender(model, Catalogue(()), Users(), table=table)
    calls = [
        recommender.recommend([Person()], 1, [()], seen=True),
        recommender.rank([Person()], [("",)]),
    ]
    if recommender.finds_similar:
        calls.append(recommender.similar([""], 1))
    if recommender.gives_reasons:
        calls.append(recommender.explain([Person()], [("",)], 1))
    for call in calls:
        expected = set(model.signatures[call.signature].inputs)
        if expected != set(call.inputs):
            differing = ", ".join(sorted(expected ^ set(call.inputs)))
            raise ModelError(
                "INVALID_ARGUMENT",
                f"signature {call.signature!r} does not take what this server gives: {differing}",
            )


def _strings(values: Sequence[str]) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def _column(feature: Feature, people: Sequence[Values]) -> Array:
    """Returns `[people]` values of a feature: empty text or 0 where none is given."""
    if feature.dtype == "string":
        return _strings([str(values.get(feature.name, "")) for values in people])
    return np.array([values.get(feature.name, 0) for values in people], np.dtype(feature.dtype))


def _ragged(rows: Sequence[Sequence[Any]], filler: Any) -> Array:
    """Lays rows of strings or numbers out as `[rows, longest, at least 1]`."""
    columns = max((len(row) for row in rows), default=0) or 1
    array = np.full((len(rows), columns), filler, _TYPES[type(filler)])
    for index, row in enumerate(rows):
        if row:
            array[index, : len(row)] = [v.encode() if isinstance(v, str) else v for v in row]
    return array
