"""The raw files of a sample as pandas reads them: what the counts are held against."""

from pathlib import Path

import pandas as pd


def sample_folder(output):
    """Returns the folder of raw files that a run on a sample read."""
    (folder,) = (Path(output) / "data").iterdir()
    return folder


def read_ratings(folder):
    """Returns the ratings that the cleanup keeps, joined with their users; ids are text."""
    ratings = pd.read_csv(
        folder / "u.data",
        sep="\t",
        names=["user", "movie", "stars", "time"],
        dtype={"user": str, "movie": str},
    )
    ratings = ratings[ratings["stars"].between(1, 5)].drop_duplicates()
    return ratings.merge(read_users(folder), on="user", validate="many_to_one")


def read_users(folder):
    """Returns the users, one row each."""
    names = ["user", "age", "gender", "occupation", "zip"]
    users = pd.read_csv(folder / "u.user", sep="|", names=names, dtype={"user": str, "zip": str})
    return users.drop_duplicates()


def read_movies(folder):
    """Returns the movies that were read without repair, with title, date and 19 genre flags."""
    genres = [line.split("|")[0] for line in (folder / "u.genre").read_text().split() if line]
    names = ["movie", "title", "date", "video", "url", *genres]
    movies = pd.read_csv(
        folder / "u.item",
        sep="|",
        names=names,
        encoding="latin-1",
        quoting=3,
        dtype={"movie": str},
    )
    return movies.drop_duplicates().set_index("movie"), genres
