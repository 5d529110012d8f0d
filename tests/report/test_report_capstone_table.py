from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_files import needs_real_data, read_ratings

from components.report.capstone_table import COLUMNS, capstone_describe, describe_counted
from sources.ratings import keep_latest_rating
from sources.tables import read_movies, read_users

# The table of the capstone, at the digits it shows.
CAPSTONE = {
    "count": ["97914"] * 7,
    "mean": ["29.2", "425.0", "33.0", "461.5", "11.4", "3.5", "52179.2"],
    "std": ["12.1", "330.4", "11.6", "265.6", "6.5", "1.1", "30976.4"],
    "min": ["1", "1", "7", "1", "0", "1", "0"],
    "25%": ["18", "175", "24", "256", "6", "3", "22902"],
    "50%": ["25", "321", "30", "445", "12", "4", "55106"],
    "75%": ["35", "630.8", "40", "682", "17", "4", "80913"],
    "max": ["56", "1681", "73", "943", "21", "5", "99835"],
}


@pytest.fixture(scope="module")
def movielens():
    """MovieLens-100K as `--invalid-zip drop` reads it, and the reports."""
    directory = Path(os.environ["MOVIELENS_DIR"])
    users, of_users = read_users(directory, "drop")
    movies, of_movies = read_movies(directory)
    chunk, of_ratings = read_ratings(
        directory / "u.data",
        users=users["user_id"],
        movies=movies["movie_id"],
        dropped_users=of_users.dropped_ids["u.user"],
        dropped_movies=of_movies.dropped_ids["u.item"],
    )
    chunk, exact, superseded = keep_latest_rating(chunk)
    assert (exact, superseded) == (0, 0)
    joined = pd.DataFrame(chunk._asdict()).merge(users, on="user_id").merge(movies, on="movie_id")
    return joined, of_users.merge(of_movies).merge(of_ratings)


@needs_real_data
def test_dropping_invalid_zip_codes_leaves_the_rows_of_the_capstone(movielens):
    joined, found = movielens
    assert len(joined) == 97_914
    assert found.file("u.user").dropped == {"invalid zip code": 18}
    assert found.file("u.data").dropped == {"invalid zip code": 2_086}
    found.check()


@needs_real_data
@pytest.mark.parametrize("statistic", CAPSTONE)
def test_every_figure_of_the_capstone_is_reproduced(movielens, statistic):
    ours = capstone_describe(movielens[0]).loc[statistic]
    digits = [len(figure.partition(".")[2]) for figure in CAPSTONE[statistic]]
    shown = [f"{value:.{n}f}" for value, n in zip(ours, digits, strict=True)]
    assert shown == CAPSTONE[statistic]


def test_zip_codes_that_are_no_numbers_and_missing_labels_are_left_out():
    rows = pd.DataFrame({name: [1, 2, 3] for name in COLUMNS})
    rows["user_zip_code"] = ["00501", "T8H1N", ""]
    rows["user_occupation_label"] = pd.array([4, None, None], dtype="Int64")
    table = capstone_describe(rows)
    assert tuple(table.columns) == COLUMNS
    assert table.loc["count"].tolist() == [3, 3, 3, 3, 1, 3, 1]
    assert table.loc["max", "user_zip_code"] == 501


@given(
    st.lists(
        st.tuples(st.one_of(st.integers(-5, 90), st.just("T8H1N")), st.integers(0, 6)),
        min_size=1,
        max_size=30,
    )
)
def test_counted_values_are_described_as_the_column_that_they_stand_for(pairs):
    values = pd.Series([value for value, _ in pairs], dtype=object)
    counts = np.array([count for _, count in pairs])
    column = pd.to_numeric(values.repeat(counts), errors="coerce").astype("float64")
    pd.testing.assert_series_equal(
        describe_counted(values, counts), column.describe(), check_names=False, rtol=1e-9
    )
