"""The server's insides: the served version, the batcher and the counters, joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.batching import Batcher, Outputs
from serving.calls import Call
from serving.config import Config
from serving.errors import ModelError, ModelFault, NotFound
from serving.events import Log
from serving.metrics import Metrics
from serving.recommender import (
    Person,
    Reason,
    Recommender,
    Scored,
    ranked,
    reasons,
    recommended,
    resembling,
)
from serving.versions import Versions


@dataclass(frozen=True)
class Recommended:
    """A movie with its score, its stars and the films that speak for it."""

    movie: Scored
    reasons: Sequence[Reason] = ()


@dataclass(frozen=True)
class Wish:
    """What somebody wants to be recommended.

    Args:
      k: how many movies at most.
      exclude: ids of movies that may not be recommended.
      include_seen: whether movies that the person has rated may be recommended.
      reasons: how many films to name for each recommendation at most.
    """

    k: int = 10
    exclude: tuple[str, ...] = ()
    include_seen: bool = False
    reasons: int = 0


class Service:
    """Answers questions with the newest working version.

    Args:
      config: how to serve.
      log: for what happens.
      ready: called each time a version is served from now on.
    """

    def __init__(
        self, config: Config, log: Log, ready: Callable[[Recommender], None] | None = None
    ) -> None:
        self.config = config
        self.log = log
        self.metrics = Metrics()
        self._ready = ready or (lambda recommender: None)
        self.batcher = Batcher(config.batching, self.metrics.batch)
        self.metrics.watch_queue(lambda: self.batcher.waiting)
        self.metrics.watch_log(lambda: log.dropped)
        self.versions = Versions(
            config.model_dir,
            log,
            threads=config.threads,
            poll_seconds=config.poll_seconds,
            settle_seconds=config.settle_seconds,
            limits=config.validation,
            changed=self._changed,
            failed=self._failed,
        )

    def _changed(self, recommender: Recommender) -> None:
        self.metrics.serves(recommender.model.version)
        self._ready(recommender)

    def _failed(self, error: ModelError) -> None:
        self.metrics.load_failed(error.code)

    def start(self) -> None:
        """Starts to look for versions."""
        self.versions.start()

    def stop(self) -> None:
        """Stops; requests must have been answered before. Does not wait for what hangs."""
        self.versions.stop()
        self.batcher.close()

    async def run(self, call: Call) -> Outputs:
        """Runs a call, possibly together with others.

        Raises:
          RequestError: if it cannot be answered; `ModelFault` if that is the model's fault.
        """
        try:
            return await self.batcher.run(call)
        except ModelFault as fault:
            self.metrics.model_fault(fault.kind)
            self.log.error(
                "the model could not answer", version=str(call.model.version), reason=fault.reason
            )
            raise

    async def recommend(
        self, recommender: Recommender, person: Person, wish: Wish
    ) -> list[Recommended]:
        """Returns what a person should see, the best first."""
        exclude = (*wish.exclude, *(event.item_id for event in person.events))
        call = recommender.recommend([person], wish.k, [exclude], wish.include_seen)
        movies = recommended(await self.run(call))
        if not wish.reasons or not movies or not recommender.gives_reasons:
            return [Recommended(movie) for movie in movies]
        ids = [movie.movie_id for movie in movies]
        why = reasons(await self.run(recommender.explain([person], [ids], wish.reasons)))
        return [Recommended(movie, of) for movie, of in zip(movies, why, strict=True)]

    async def rate(
        self, recommender: Recommender, person: Person, movie_ids: Sequence[str]
    ) -> list[Scored]:
        """Returns the stars that a person would give to movies."""
        return ranked(await self.run(recommender.rank([person], [movie_ids])))

    async def similar(self, recommender: Recommender, movie_id: str, k: int) -> list[Scored]:
        """Returns the movies that resemble one, the most similar first.

        Raises:
          NotFound: if the model does not know such movies at all.
        """
        if not recommender.finds_similar:
            raise NotFound(
                f"Version {recommender.version} of the model does not know similar movies."
                " A model trained by the present pipeline does: run 'make run'."
            )
        return resembling(await self.run(recommender.similar([movie_id], k)))
