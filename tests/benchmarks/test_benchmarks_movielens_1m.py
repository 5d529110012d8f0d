"""MovieLens-1M in the formats of MovieLens-100K: what the cleanup makes of it."""

import numpy as np
import pytest

from benchmarks.compare import data, movielens_1m
from components.example_gen import splits
from schema import features
from sources import ratings, tables
from sources.cleaning_log import CleaningLog
from sources.errors import InputError

RATINGS = ("7::3952::5::978300760", "7::1::3::978300760", "12::260::4::978301000")
USERS = ("12::F::1::10::48067", "7::M::56::16::98107-2117")
MOVIES = (
    "1::Toy Story (1995)::Animation|Children's|Comedy",
    "260::Star Wars: Episode IV - A New Hope (1977)::Action|Sci-Fi",
    "3952::Contender, The (2000)::Drama|Thriller",
)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder in the formats of MovieLens-1M, named by the environment."""
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    for name, lines in zip(movielens_1m.FILES, (RATINGS, USERS, MOVIES), strict=True):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="latin-1")
    monkeypatch.setenv(movielens_1m.VARIABLE, str(folder))
    return folder


@pytest.fixture
def converted(source, tmp_path):
    movielens_1m.convert(source, tmp_path / "converted")
    return tmp_path / "converted"


def test_users_are_read_with_ages_occupations_and_zip_codes(converted):
    users, found = tables.read_users(converted, "keep")
    assert users[features.USER_ID.name].tolist() == [7, 12]
    assert users[features.AGE_BUCKET.name].tolist() == [56, 1]
    assert users[features.GENDER.name].tolist() == ["Male", "Female"]
    assert users[features.OCCUPATION.name].tolist() == ["self-employed", "K-12 student"]
    assert users[features.ZIP_CODE.name].tolist() == ["98107", "48067"]
    assert found.file("u.user").dropped == {}


def test_movies_are_read_with_genres_and_the_year_of_their_title(converted):
    movies, found = tables.read_movies(converted)
    assert movies[features.TITLE.name].tolist() == [line.split("::")[1] for line in MOVIES]
    assert movies[features.RELEASE_YEAR.name].tolist() == [1995, 1977, 2000]
    assert movies[features.GENRES.name].tolist() == [
        ["Animation", "Children's", "Comedy"],
        ["Action", "Sci-Fi"],
        ["Drama", "Thriller"],
    ]
    assert found.file("u.item").dropped == {}


def test_ratings_keep_their_order(converted):
    path = converted / "u.data"
    users = ratings.KnownIds("u.user", np.array([7, 12]))
    movies = ratings.KnownIds("u.item", np.array([1, 260, 3952]))
    chunk, found = ratings.read_ratings_chunk(
        path, 0, path.stat().st_size, users, movies, positions=True
    )
    rows = zip(*(column.tolist() for column in chunk if column is not None), strict=True)
    expected = [tuple(map(float, line.split("::"))) for line in RATINGS]
    assert [tuple(map(float, row)) for row in rows] == [
        (*row, place) for place, row in enumerate(expected)
    ]
    assert isinstance(found, CleaningLog)


def test_the_comparison_reads_rows_by_id_and_places_in_the_file(source, tmp_path):
    loaded = data.load(dataset="ml-1m", scratch=tmp_path / "scratch")
    assert loaded.user_ids[loaded.users].tolist() == [7, 7, 12]
    assert loaded.movie_ids[loaded.movies].tolist() == [3952, 1, 260]
    assert loaded.position.tolist() == [0, 1, 2]
    assert loaded.shape == (2, 3)
    assert loaded.user_labels[0] == (*loaded.user_labels[0][:1], "M", "self-employed")
    # The pipeline's split function puts what the file has last behind what is of its second.
    found = splits.leave_one_out_splits(
        np.zeros(3, np.int64), loaded.movies, np.zeros(3, np.int64), 42, loaded.position
    )
    assert found.tolist() == [0, 1, 2]


def test_movielens_100k_has_no_places_in_the_file(movielens):
    loaded = data.load()
    assert loaded.position is None
    assert (loaded.user_ids == np.arange(len(loaded.user_ids)) + 1).all()


def test_a_folder_without_the_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(movielens_1m.VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"missing: ratings\.dat, users\.dat, movies\.dat"):
        data.load(dataset="ml-1m", scratch=tmp_path / "scratch")
    monkeypatch.delenv(movielens_1m.VARIABLE)
    with pytest.raises(InputError, match="MOVIELENS_1M_DIR is not set"):
        data.load(dataset="ml-1m", scratch=tmp_path / "scratch")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("ratings.dat", "1::2::3", "wrong number of columns"),
        ("movies.dat", "1::Film (1990)::Opera", "unknown genres: Opera"),
    ],
)
def test_a_row_that_is_not_as_published_is_refused(source, tmp_path, file, line, message):
    (source / file).write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        movielens_1m.convert(source, tmp_path / "converted")
