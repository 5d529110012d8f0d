"""Scores of the causal sequence block by its definition, one query and one head at a time."""

import numpy as np

from trainer.retrieval import two_towers
from trainer.retrieval.sequence import SECONDS_BOUNDARIES


def state(block, movies, seconds, history_length):
    """The state `[width]` of one query, from its latest events, the latest first.

    Args:
      block: the block.
      movies: rows of the events.
      seconds: from each event to the query.
      history_length: how many events there are in all.
    """
    values = {variable.name.split(":")[0]: variable.numpy() for variable in block.variables}

    def normalised(vector, scale):
        return scale * vector / np.sqrt(np.mean(vector**2) + 1e-6)

    def bucket(since):
        return sum(since >= bound for bound in SECONDS_BOUNDARIES)

    scales, table, heads = values["scales"], values["movies"], block.config.heads
    length = sum(history_length >= bound for bound in two_towers.LENGTH_BOUNDARIES)
    start = table[movies[0]] + values["seconds_since_last_event"][bucket(seconds[0])]
    start = start + values["history_length"][length]
    attended = []
    for head, part in enumerate(np.split(np.arange(table.shape[1]), heads)):
        query = normalised(start, scales[0]) @ values["query"][:, part]
        weights = []
        for place, (movie, since) in enumerate(zip(movies, seconds, strict=True)):
            key = normalised(table[movie], scales[0]) @ values["key"][:, part]
            bias = values["seconds_bias"][bucket(since), head]
            bias += values["position_bias"][place, head]
            weights.append(np.exp(query @ key / np.sqrt(len(part)) + bias))
        vectors = [normalised(table[m], scales[0]) @ values["value"][:, part] for m in movies]
        attended.append(np.average(vectors, axis=0, weights=weights))
    reached = start + np.concatenate(attended) @ values["output"]
    inner = normalised(reached, scales[1]) @ values["hidden"] + values["hidden_bias"]
    gelu = inner * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    return normalised(reached + gelu @ values["back"] + values["back_bias"], scales[2])


def scores(block, events, timestamp, history_length):
    """Scores `[movies]` of one query.

    Args:
      block: the block.
      events: (unix seconds, row) of all events before the query, by time.
      timestamp: of the query.
      history_length: how many events there are in all, those without a time among them.
    """
    latest = events[::-1][: block.config.recency_events]
    movies = [row for _, row in latest]
    seconds = [float(timestamp - time) for time, _ in latest]
    return block.movies.numpy() @ state(block, movies, seconds, history_length) + block.bias.numpy()


def random_block(block):
    """Moves every variable of an untrained block, so that none is zero."""
    rng = np.random.default_rng(5)
    for variable in block.trainable_variables:
        variable.assign_add(rng.normal(0.0, 0.3, variable.shape))
    return block
