"""What of a history is before a query: by time, and within a second by place in the file."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from trainer.data.training_data import Interactions
from trainer.serving.lookup_tables import HistoryTable

EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=30)


@examples(30)
@given(events=EVENTS, ordered=st.booleans(), data=st.data())
def test_events_of_one_second_are_before_a_query_by_their_place_in_the_file(events, ordered, data):
    places = data.draw(st.permutations(range(1, len(events) + 1)))
    rows = sorted((user, time, place) for (user, time), place in zip(events, places, strict=True))
    user, time, place = np.array(rows, np.int64).T
    place *= ordered
    table = HistoryTable(
        Interactions(
            user_row=user,
            movie_row=np.arange(len(rows)),
            rating=np.ones(len(rows), np.float32),
            timestamp=time,
            context={},
            offsets=np.searchsorted(user, np.arange(5)),
            position=place,
        )
    )
    queries = np.array(
        [(u, t, p) for u in range(4) for t in range(7) for p in (0, 3, len(rows) + 1)], np.int64
    )
    whose, when, where = (tf.constant(column) for column in queries.T)
    found = table.before(tf.cast(whose, tf.int32), when, where, table.bounds(whose)).numpy()
    for (u, t, p), (start, end) in zip(queries, found, strict=True):
        before = (user == u) & ((time < t) | (ordered & (time == t) & (place < p)))
        assert list(range(start, end)) == np.flatnonzero(before).tolist()
