"""The exploration equals pandas on the raw files, and names what is missing."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_artifacts import needs_real_data, run_ratings
from raw_sample import read_movies, read_ratings, sample_folder
from report_blocks import (
    assert_reads_well,
    block,
    charts,
    column,
    drawn,
    notes,
    rows,
    section_of,
    tables,
    words_of,
)

from components.report.context import Context
from components.report.page import Note, render
from components.report.ratings import read_ratings as read
from components.report.sections import exploration, movies
from components.report.sources import Sources, find_sources
from schema.dataset import DatasetLabel
from schema.features import (
    GENRES,
    MOVIE_ID,
    MOVIELENS,
    RATING,
    RELEASE_YEAR,
    TITLE,
    USER_ID,
    ZIP_CODE,
    Feature,
    FeatureTable,
    Kind,
    Owner,
    quarter_of,
)
from schema.us_states import NAMES, STATES, state_of
from sources.numbers import quarters

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def section(context):
    return section_of("Exploration", context)


@pytest.fixture(scope="module")
def raw(run_output):
    return read_ratings(sample_folder(run_output))


def without(context, **changes):
    """Returns the section of a context that lacks something."""
    copy = Context(context.sources)
    for name in ("ratings", "catalogue"):
        copy.__dict__[name] = changes.get(name, getattr(context, name))
    return section_of("Exploration", copy)


# --- the whole section


def test_every_chart_has_a_title_and_a_reading(section):
    found = charts(section)
    assert found.keys() >= {
        "stars", "gender-size", "gender-mean", "age-size", "age-mean", "occupation-size",
        "occupation-mean", "users-activity", "movies-activity", "dates", "week",
        "best-movies", "worst-movies", "years", "decade-mean", "genre-size", "genre-mean",
        "director-size", "star-size", "state-map", "state-mean",
    }  # fmt: skip
    for chart in found.values():
        assert chart.title[0].isupper()
        assert not chart.title.endswith(".")
        assert chart.reading.endswith(".")
        assert "nan" not in chart.reading


def test_title_with_markup_stays_text(context):
    evil = "<script>alert(1)</script>"
    planted = context.catalogue.assign(title=[f"{evil} {n}" for n in range(len(context.catalogue))])
    html = render("t", "s", Note("v"), (without(context, catalogue=planted),))
    assert evil not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html  # in the tables
    assert "\\u003cscript\\u003ealert(1)" in html  # in the charts


# --- the capstone's table


def test_summary_is_the_capstones_over_the_same_ratings(context, section, raw):
    users = context.ratings.users.reset_index().rename(columns={"index": "user"})
    joined = raw.merge(users, on="user", validate="many_to_one")
    joined = joined.assign(
        movie_id=joined["movie"], user_id=joined["user"], user_rating=joined["stars"]
    )
    columns = list(exploration.COLUMNS)
    numbers = joined[columns].apply(pd.to_numeric, errors="coerce")
    expected = numbers.astype("float64").describe()
    assert list(block(section, "describe").columns) == ["Statistic", *columns]
    shown = {row["Statistic"]: list(row.values())[1:] for row in rows(section, "describe")}
    assert list(shown) == ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]
    for statistic, values in shown.items():
        assert values == pytest.approx(expected.loc[statistic].tolist())


CAPSTONE = """
count 97,914 97,914 97,914 97,914 97,914 97,914 97,914
mean 29.2 425.0 33.0 461.5 11.4 3.5 52,179.2
std 12.1 330.4 11.6 265.6 6.5 1.1 30,976.4
min 1 1 7 1 0 1 0
25% 18 175 24 256 6 3 22,902
50% 25 321 30 445 12 4 55,106
75% 35 630.8 40 682 17 4 80,913
max 56 1,681 73 943 21 5 99,835
"""


@needs_real_data
def test_real_data_without_odd_zip_codes_gives_the_table_of_the_capstone(tmp_path):
    made = run_ratings(Path(os.environ["MOVIELENS_DIR"]), tmp_path, invalid_zip="drop")
    context = Context(dataclasses.replace(find_sources(tmp_path), ratings=made.folder))
    [table] = exploration._describe(context.ratings, MOVIELENS, context.words)
    shown = [[cell["text"] for cell in row] for row in table.cells()]
    assert shown == [line.split() for line in CAPSTONE.split("\n") if line]


# --- groups of users

AGES = ["under 18", "18–24", "25–34", "35–44", "45–49", "50–55", "56 and over"]


@pytest.mark.parametrize("name", ["Occupation", "Age"])
def test_groups_of_users_are_those_of_pandas(section, raw, name):
    values = raw["occupation"]
    if name == "Age":
        values = pd.cut(raw["age"], [0, 18, 25, 35, 45, 50, 56, 200], right=False, labels=AGES)
    by = raw.groupby(values.astype(str))
    found = pd.DataFrame(rows(section, f"{name.lower()}-mean")).set_index(name)
    assert found["Ratings"].to_dict() == by.size().to_dict()
    assert found["Users"].to_dict() == by["user"].nunique().to_dict()
    assert found["Mean rating"].to_dict() == pytest.approx(by["stars"].mean().to_dict())
    assert found["Share of ratings"].sum() == pytest.approx(1)
    if name == "Age":
        assert list(found.index) == [age for age in AGES if age in found.index]


def test_ratings_by_state_are_those_of_the_zip_codes(section, raw):
    states = raw["zip"].map(state_of)
    found = {row["State"]: row["Ratings"] for row in rows(section, "state-map")}
    assert found == states.dropna().map(NAMES).value_counts().to_dict()
    outside = f"{100 * states.isna().mean():.1f}\u00a0% belong to no state"
    assert outside in block(section, "state-map").reading


def test_every_state_has_a_name_and_the_outline_shows_all_of_the_fifty_and_dc(section):
    assert set(NAMES) == set(STATES)
    elsewhere = {"AA", "AE", "AP", "GU", "PR", "VI"}
    outline = drawn(section, "state-map")
    shown = {shape["properties"]["name"] for shape in outline["objects"]["states"]["geometries"]}
    assert shown == {name for state, name in NAMES.items() if state not in elsewhere}


def test_nobody_in_the_united_states_means_no_map(context):
    users = context.ratings.users.assign(user_zip_code="T8H1N")
    found = without(context, ratings=dataclasses.replace(context.ratings, users=users))
    assert "No map" in notes(found)


def test_hours_and_weekdays_are_those_of_the_raw_times(section, raw):
    times = pd.to_datetime(raw["time"], unit="s")
    expected = times.dt.strftime("%a %H").value_counts().to_dict()
    found = {f"{row['Day']} {row['Hour']}": row["Ratings"] for row in drawn(section, "week")}
    assert len(found) == 7 * 24
    assert {at: count for at, count in found.items() if count} == expected
    assert sum(row["Fri"] for row in rows(section, "week")) == (times.dt.dayofweek == 4).sum()


# --- movies


def test_best_and_worst_movies_have_enough_ratings_and_the_extreme_means(section, raw):
    by_movie = raw.groupby("movie")["stars"].agg(["size", "mean"])
    floor = int(np.clip(np.quantile(by_movie["size"], 0.75), 5, 100))
    enough = by_movie[by_movie["size"] >= floor]["mean"]
    assert f"at least {floor} ratings" in block(section, "best-movies").title
    best, worst = (column(section, f"{w}-movies", "Mean rating") for w in ("best", "worst"))
    assert best == pytest.approx(enough.nlargest(12).tolist())
    assert worst == pytest.approx(enough.nsmallest(12).tolist())


def test_movies_per_rating_got_that_rating_more_often_than_any_other(section, raw):
    table = pd.DataFrame(rows(section, "movies-per-rating"))
    shares = pd.crosstab(raw["movie"], raw["stars"], normalize="index")
    sizes = raw["movie"].value_counts()
    floor = int(np.clip(np.quantile(sizes, 0.75), 5, 100))
    for stars, found in table.groupby("Rating"):
        expected = shares[stars][sizes[sizes >= floor].index].nlargest(3)
        assert found["Share of its ratings"].tolist() == pytest.approx(expected.tolist())


def test_movies_of_the_same_title_are_distinguished(context):
    twins = context.catalogue.assign(title="Chasing Amy (1997)")
    found = movies.rated_movies(context.ratings, twins, context.words)["title"]
    assert found.is_unique
    assert found.iloc[0] == f"Chasing Amy (1997) [{found.index[0]}]"


def test_movies_by_year_are_those_of_the_raw_dates(section, run_output):
    found, _ = read_movies(sample_folder(run_output))
    years = found["date"].str[-4:].dropna().astype(int).value_counts()
    shown = {row["Year"]: row["Movies"] for row in drawn(section, "years")}
    assert {year: count for year, count in shown.items() if count} == years.to_dict()
    assert list(shown) == list(range(years.index.min(), years.index.max() + 1))


def test_genres_are_those_of_the_raw_flags(section, raw, run_output):
    found, genres = read_movies(sample_folder(run_output))
    flags = found[genres].loc[raw["movie"]]
    expected = flags.sum()
    table = pd.DataFrame(rows(section, "genre-mean")).set_index("Genre")
    assert table["Ratings"].to_dict() == expected[expected > 0].to_dict()
    for genre in table.index:
        stars = raw["stars"].to_numpy()[flags[genre].to_numpy() == 1]
        assert table.loc[genre, "Mean rating"] == pytest.approx(stars.mean())


def test_directors_are_those_of_the_catalogue(section, context, raw):
    directors = raw["movie"].map(context.catalogue["director"])
    expected = directors[directors != "unknown"].value_counts()
    # The table is below the last chart of a feature.
    found = rows(
        section, "director-mean" if "director-mean" in charts(section) else "director-size"
    )
    assert [row["Ratings"] for row in found] == expected.head(100).tolist()
    assert all(row["Ratings"] == expected[row["Director"]] for row in found)
    assert drawn(section, "director-size") == found[:25]


# --- what is missing


def test_without_ratings_it_says_so(context):
    found = without(context, ratings=None, catalogue=None)
    assert "did not get as far as reading ratings" in notes(found)
    assert not charts(found)
    assert not tables(found)


def test_a_catalogue_without_ratings_is_shown_by_year(context):
    found = without(context, ratings=None)
    assert "did not get as far as reading ratings" in notes(found)
    assert charts(found).keys() == {"years"}


def test_without_a_catalogue_movies_have_ids_and_it_says_what_is_not_shown(context):
    found = without(context, catalogue=None)
    assert "no catalogue" in notes(found)
    assert rows(found, "best-movies")[0]["Movie"].startswith("movie ")


def test_without_movie_metadata_directors_and_lead_actors_are_called_unknown(context):
    found = without(context, catalogue=context.catalogue.assign(director="unknown", star="unknown"))
    assert "The directors are not shown: no movie metadata" in notes(found)
    assert "The lead actors are not shown: no movie metadata" in notes(found)
    assert "director-size" not in charts(found)


def test_release_years_of_movies_that_nobody_rated_have_no_decades(context):
    unrated = pd.DataFrame({"title": ["New (2031)"], "year": [2031.0]}, ["new"])
    catalogue = pd.concat([context.catalogue.assign(year=np.nan)[["title", "year"]], unrated])
    table = FeatureTable((USER_ID, MOVIE_ID, TITLE, RELEASE_YEAR, RATING))
    copy = Context(dataclasses.replace(context.sources, features=table))
    copy.__dict__.update(ratings=context.ratings, catalogue=catalogue)
    found = section_of("Exploration", copy)
    assert [row["Year"] for row in drawn(found, "years")] == [2031]
    assert "decade-size" not in charts(found)


def test_one_genre_for_all_movies_is_a_sentence_and_no_chart(context):
    found = without(
        context,
        catalogue=context.catalogue.assign(movie_genres=[("none",)] * len(context.catalogue)),
    )
    assert "every movie that has one has none" in notes(found)
    assert not {"genre-size", "genre-mean"} & charts(found).keys()


def test_a_part_of_the_ratings_is_announced(context):
    part = dataclasses.replace(context.ratings, complete=False)
    assert "the rest was not read" in notes(without(context, ratings=part))


def test_a_handful_of_ratings_is_explored_as_well(context, tmp_path):
    from test_report_ratings import example, write

    folder = write(tmp_path, [example(1, 1, 4.0), example(1, 2, 2.0)])
    found = without(context, ratings=read(folder))
    assert "none is called good or bad" in notes(found)
    render("t", "s", Note("v"), (found,))


# --- another feature table


FAVOURITE = Feature("user_favourite_genre", Owner.USER, Kind.CATEGORY, "string")
MOOD = Feature("mood", Owner.MOVIE, Kind.TAGS, "string", multivalued=True)
PRICE = Feature("item_price", Owner.MOVIE, Kind.NUMBER, "float32", optional=True, label="price")
INCOME = Feature("user_income", Owner.USER, Kind.NUMBER, "float32", optional=True, label="income")
NEW = (FAVOURITE, MOOD, PRICE, INCOME, quarter_of(INCOME))
TABLE = FeatureTable((*(f for f in MOVIELENS.features if f != ZIP_CODE), *NEW))


@pytest.fixture(scope="module")
def other_table(tmp_path_factory):
    """Ratings and movies of a table with one user and one movie feature more, and no zip code."""
    from test_report_ratings import example, write

    folder = tmp_path_factory.mktemp("other-table")
    favourites = ("Comedy", "Western", "Comedy", "Drama")
    ratings = [
        example(
            user,
            movie,
            1 + (user + movie) % 5,
            user_favourite_genre=favourites[user % 4],
            user_income=float(user),
            user_income_quarter=quarters(range(1, 40))[user - 1],
        )
        for user in range(1, 40)
        for movie in (1, 2, 3)
    ]
    catalogue = [
        example(
            1,
            movie,
            3,
            movie_title=f"Movie {movie}",
            mood=f"mood {movie % 2}",
            item_price=movie / 2,
        )
        for movie in (1, 2, 3)
    ]
    return Sources(
        ratings=write(folder / "ratings", ratings), movies=write(folder / "movies", catalogue),
        features=TABLE,
    )  # fmt: skip


def test_new_features_of_users_and_movies_are_charted_without_a_change_of_the_report(other_table):
    found = section_of("Exploration", Context(other_table))
    sizes = rows(found, "user-favourite-genre-mean")
    ratings = {row["User favourite genre"]: row["Ratings"] for row in sizes}
    # Users 1 to 39 by their number modulo 4, three ratings each.
    assert ratings == {"Comedy": 3 * (9 + 10), "Western": 3 * 10, "Drama": 3 * 10}
    # Too few movies for a mean of each mood.
    sizes = drawn(found, "mood-size")
    assert {row["Mood"]: row["Movies"] for row in sizes} == {"mood 0": 1, "mood 1": 2}
    assert "The genres are not shown: no movie has one." in notes(found)
    # Three movies of 50 cents to 1.50: a third of them each.
    ratings = {row["Price"]: row["Ratings"] for row in drawn(found, "item-price-size")}
    assert ratings == {"1. at most 0.5": 39, "2. over 0.5 to 1": 39, "3. over 1": 39}
    found = rows(found, "user-income-quarter-mean")
    assert [row["Income"] for row in found] == [
        "1. at most 10", "2. over 10 to 20", "3. over 20 to 30", "4. over 30",
    ]  # fmt: skip


def test_what_the_data_does_not_have_is_named(other_table):
    found = section_of("Exploration", Context(other_table))
    assert "state-map" not in charts(found)
    assert "No groups by occupation: nobody's is known." in notes(found)
    assert "user_zip_code" not in block(found, "describe").columns
    # Nobody's is known: not the number that stands for none.
    assert "bucketized_user_age" not in block(found, "describe").columns
    bare = FeatureTable(
        tuple(f for f in MOVIELENS.features if f.owner is not Owner.USER or f.kind is Kind.ID)
    )
    found = section_of("Exploration", Context(dataclasses.replace(other_table, features=bare)))
    assert "This data has no features of users" in notes(found)
    assert "Users" not in [heading.heading for heading in found.headings]


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Loans of books by text ids: no ratings, no times, and nothing of the readers."""
    from test_report_ratings import example, write

    folder = tmp_path_factory.mktemp("events")
    loans = [(f"r-{user}", f"b{user * n % 12}") for user in range(30) for n in range(1, 8)]
    books = [
        example("", f"b{n}", movie_title=f"Book {n}", movie_genres=("Poems", "Plays")[n % 2])
        for n in range(12)
    ]
    ratings = write(folder / "r", [example(*pair, seconds=None) for pair in loans])
    movies = write(folder / "m", books)
    table = FeatureTable((USER_ID, MOVIE_ID, TITLE, GENRES))
    context = Context(Sources(ratings=ratings, movies=movies, features=table))
    context.label = DatasetLabel(item_noun="book")
    return context


def test_events_without_ratings_times_or_users_features_read_well(events):
    found = section_of("Exploration", events)
    assert_reads_well(found)
    assert charts(found).keys() == {
        "users-activity", "movies-activity", "genre-size",
    }  # fmt: skip
    assert tables(found) == ["movie-list"]
    for words in ("This data has no ratings", "no times", "no features of users", "no release"):
        assert words in notes(found)
    assert block(found, "movie-list").columns == ("Book", "Events")
    words = words_of(found).lower().replace("no ratings", "")
    assert not re.search(r"\b(movie|rating|star|gender|age)s?\b", words)


def test_the_sample_has_no_empty_chart_and_no_column_of_dashes(section):
    assert_reads_well(section)
