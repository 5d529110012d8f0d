"""The served version, the batcher and the counters, used by both APIs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serving.access_log import Log
from serving.batching import Batcher, Outputs
from serving.config import Config
from serving.errors import ModelError, ModelFault, NotFound
from serving.metrics import Metrics
from serving.recommender import Recommender, ScoredMovie, UserProfile, reasons, scored_movies
from serving.signatures import Call
from serving.versions import Versions


class Service:
    """Runs calls on the newest working version.

    Args:
      config: the server's configuration.
      log: the server's log.
      ready: called after each change of the served version.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        ready: Callable[[Recommender], None] = lambda recommender: None,
    ) -> None:
        self.config = config
        self.log = log
        self.metrics = Metrics()
        self._ready = ready
        self.batcher = Batcher(config.batching, self.metrics.batch)
        self.metrics.watch_queue(lambda: self.batcher.waiting)
        self.metrics.watch_log(lambda: log.dropped)
        self.versions = Versions(config, log, self._changed, self._failed)

    def _changed(self, recommender: Recommender) -> None:
        self.metrics.serves(recommender.model.version)
        self._ready(recommender)

    def _failed(self, error: ModelError) -> None:
        self.metrics.load_failed(error.code)

    def stop(self) -> None:
        """Stops, after the last response; does not wait for calls that hang."""
        self.versions.stop()
        self.batcher.close()

    async def run(self, call: Call) -> Outputs:
        """Runs a call, possibly merged with others.

        Raises:
          RequestError: if it fails; `ModelFault` if the model fails on valid inputs.
        """
        try:
            return await self.batcher.run(call)
        except ModelFault as fault:
            self.metrics.call_failed(fault.kind)
            self.log.error(
                "a call of the model failed", version=str(call.model.version), reason=fault.reason
            )
            raise

    async def recommend(
        self,
        recommender: Recommender,
        profile: UserProfile,
        k: int,
        exclude: Sequence[str] = (),
        include_seen: bool = False,
        most_reasons: int = 0,
    ) -> list[ScoredMovie]:
        """Returns recommended movies, the best first.

        Args:
          recommender: the version to use.
          profile: the user.
          k: how many movies at most.
          exclude: ids of movies that are not recommended, beside those of the profile's events.
          include_seen: whether movies that the user has rated may be recommended.
          most_reasons: how many reasons each movie has at most.
        """
        excluded = (*exclude, *(event.item_id for event in profile.events))
        call = recommender.recommend([profile], k, [excluded], include_seen)
        movies = scored_movies(await self.run(call))
        if not most_reasons or not movies or not recommender.gives_reasons:
            return movies
        ids = [movie.movie_id for movie in movies]
        found = reasons(await self.run(recommender.explain([profile], [ids], most_reasons)))
        return [replace(movie, reasons=own) for movie, own in zip(movies, found, strict=True)]

    async def rate(
        self, recommender: Recommender, profile: UserProfile, movie_ids: Sequence[str]
    ) -> list[ScoredMovie]:
        """Returns movies with the ratings that are predicted for a user, in the given order."""
        return scored_movies(await self.run(recommender.rank([profile], [movie_ids])))

    async def similar(self, recommender: Recommender, movie_id: str, k: int) -> list[ScoredMovie]:
        """Returns the movies most similar to a movie, the most similar first.

        Raises:
          NotFound: if the version has no signature for similar movies.
        """
        if not recommender.finds_similar:
            raise NotFound(
                f"Version {recommender.version} of the model does not know similar movies."
                " A model trained by the present pipeline does: run 'make run'."
            )
        return scored_movies(await self.run(recommender.similar([movie_id], k)))
