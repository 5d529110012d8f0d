"""Reading and splitting data of very few users and movies."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from raw_files import file_of, read_ratings
from tiny_data import tiny_data

from components.example_gen import records, splits
from components.names import SPLITS
from schema import features as raw
from schema.features import FeatureTable, Owner
from sources.errors import InputError
from sources.interactions import text_key
from sources.ratings import RatingsChunk
from sources.repeats import keep_latest_rating


@given(data=tiny_data(), kind=st.sampled_from(["random", "temporal"]), seed=st.integers(0, 2**31))
def test_every_rating_is_read_and_put_into_one_split_or_the_split_is_refused(data, kind, seed):
    user, movie = data.user_ids[data.user], data.movie_ids[data.movie]
    lines = [
        f"{u}\t{m}\t{r:.0f}\t{t}"
        for u, m, r, t in zip(user, movie, data.rating, data.timestamp, strict=True)
    ]
    with file_of("\n".join(lines).encode()) as path:
        chunk, found = read_ratings(
            path, users=data.user_ids.tolist(), movies=data.movie_ids.tolist()
        )
    found.check()
    chunk, *repeated = keep_latest_rating(chunk)
    assert repeated == [0, 0]
    assert sorted(zip(chunk.user_id, chunk.movie_id, chunk.user_rating, strict=True)) == sorted(
        zip(user, movie, data.rating, strict=True)
    )
    split = splits.assign_splits(kind, chunk.user_id, chunk.movie_id, chunk.timestamp, seed)
    rows = dict(zip(SPLITS, np.bincount(split, minlength=3).tolist(), strict=True))
    assert sum(rows.values()) == len(user)
    if all(rows.values()):
        splits.check_rows(kind, rows)
    else:
        with pytest.raises(InputError, match=f"the {kind} split .* leaves no ratings for"):
            splits.check_rows(kind, rows)


def test_records_lack_the_rating_and_the_time_where_the_table_does():
    table = FeatureTable((raw.USER_ID, raw.MOVIE_ID))
    users = records.Side(pd.DataFrame({"user_id": ["a"]}), Owner.USER, table)
    movies = records.Side(pd.DataFrame({"movie_id": ["x"]}), Owner.MOVIE, table)
    user, movie = (np.array([text_key(text)]) for text in "ax")
    events = RatingsChunk(user, movie, np.zeros(1, np.float32), np.zeros(1, np.int64))
    [event] = records.rating_examples(events, users, movies)
    names = {"user_id", "movie_id"}
    assert dict(tf.train.Example.FromString(event).features.feature).keys() == names
    assert records.event_columns(events, users, movies)[1].keys() == names
