"""The exploration equals pandas on the raw files, and says in place what is missing."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from example_artifacts import needs_real_data, run_ratings
from raw_sample import read_movies, read_ratings, sample_folder

from components.report.capstone_table import COLUMNS, capstone_describe
from components.report.context import Context
from components.report.counts import count_ratings
from components.report.groups import binned, cumulative_shares, grouped, leading_share
from components.report.page import Figure, Note, Page, Table, render
from components.report.sections import exploration, films
from components.report.sources import Sources, find_sources
from schema.features import MOVIELENS, ZIP_CODE, Feature, FeatureTable, Kind, Owner
from schema.us_states import NAMES, STATES, state_of

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def context(run_output):
    return Context(find_sources(run_output))


@pytest.fixture(scope="module")
def section(context):
    return exploration.build(context)


@pytest.fixture(scope="module")
def raw(run_output):
    return read_ratings(sample_folder(run_output))


def block(section, key):
    (found,) = (b for b in section.blocks if getattr(b, "key", None) == key)
    return found


def frame(table):
    return pd.DataFrame(table.rows, columns=[column.title for column in table.columns])


def without(context, **changes):
    """Returns the section of a context that lacks something."""
    copy = Context(context.sources)
    for name in ("counts", "catalogue"):
        copy.__dict__[name] = changes.get(name, getattr(context, name))
    return exploration.build(copy)


def notes(section):
    return " ".join(b.text for b in section.blocks if isinstance(b, Note))


# --- the whole section


def test_every_figure_has_a_title_and_a_reading(section):
    figures = [b for b in section.blocks if isinstance(b, Figure)]
    assert {figure.key for figure in figures} >= {
        "stars", "gender-size", "gender-stars", "age-size", "age-mean", "occupation-size",
        "occupation-mean", "people-activity", "films-activity", "long-tail", "dates", "week",
        "hour", "weekday", "best-films", "worst-films", "films-relation", "years", "decades",
        "genres-size", "genres-mean", "by-director", "by-star", "state-map", "state-mean-map",
    }  # fmt: skip
    for figure in figures:
        assert figure.title[0].isupper()
        assert not figure.title.endswith(".")
        assert figure.reading.endswith(".")
        assert "nan" not in figure.reading


def test_title_with_markup_stays_text(context):
    planted = context.catalogue.copy()
    evil = "<script>alert(1)</script>"
    planted.loc[:, "title"] = [f"{evil} {n}" for n in range(len(planted))]
    html = render(Page("t", "s", Note("v"), (without(context, catalogue=planted),)))
    assert evil not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html  # in the tables
    assert "\\u003cscript\\u003ealert(1)" in html  # in the figures


# --- the capstone's table


def test_table_is_that_of_the_same_ratings_one_by_one(context, raw):
    people = context.counts.users.reset_index()
    rows = raw.merge(people, left_on="user", right_on="user_id", validate="many_to_one")
    rows = rows.assign(movie_id=rows["movie"], user_rating=rows["stars"])
    pd.testing.assert_frame_equal(exploration.describe(context.counts), capstone_describe(rows))


def test_table_on_the_page_has_the_columns_of_the_capstone_in_its_order(context, section):
    table = block(section, "describe")
    titles = [column.title.replace("\u200b", "") for column in table.columns]
    assert titles == ["Statistic", *COLUMNS]
    shown = {row[0]: row[1:] for row in table.rows}
    expected = exploration.describe(context.counts)
    assert list(shown) == ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]
    for statistic, values in shown.items():
        assert list(values) == expected.loc[statistic].tolist()


CAPSTONE = """
count 97914 97914 97914 97914 97914 97914 97914
mean 29.2 425.0 33.0 461.5 11.4 3.5 52179.2
std 12.1 330.4 11.6 265.6 6.5 1.1 30976.4
min 1 1 7 1 0 1 0
25% 18 175 24 256 6 3 22902
50% 25 321 30 445 12 4 55106
75% 35 630.8 40 682 17 4 80913
max 56 1681 73 943 21 5 99835
"""


@needs_real_data
def test_real_data_without_odd_zip_codes_gives_the_table_of_the_capstone(tmp_path):
    made = run_ratings(Path(os.environ["MOVIELENS_DIR"]), tmp_path, invalid_zip="drop")
    context = Context(dataclasses.replace(find_sources(tmp_path), ratings=made.folder))
    table = block(exploration.build(context), "describe")
    shown = [
        [row[0], *(c.show(v) for c, v in zip(table.columns[1:], row[1:], strict=True))]
        for row in table.rows
    ]
    expected = [line.split() for line in CAPSTONE.split("\n") if line]
    assert shown == expected


# --- groups of people


@pytest.mark.parametrize(
    ("key", "column", "names"),
    [
        ("occupation-numbers", "occupation", None),
        (
            "age-numbers",
            "age",
            ["under 18", "18–24", "25–34", "35–44", "45–49", "50–55", "56 and over"],
        ),
    ],
)
def test_groups_of_people_are_those_of_pandas(section, raw, key, column, names):
    figures = [b for b in section.blocks if isinstance(b, Figure) and b.table]
    (table,) = (frame(b.table) for b in figures if b.table.key == key)
    values = raw[column]
    if names:
        values = pd.cut(raw["age"], [0, 18, 25, 35, 45, 50, 56, 200], right=False, labels=names)
    by = raw.groupby(values.astype(str))
    found = table.set_index(table.columns[0])
    assert found["Ratings"].to_dict() == by.size().to_dict()
    assert found["People"].to_dict() == by["user"].nunique().to_dict()
    assert found["Mean stars"].to_dict() == pytest.approx(by["stars"].mean().to_dict())
    assert found["Share"].sum() == pytest.approx(1)


def test_ratings_by_state_are_those_of_the_zip_codes(context, raw):
    states = raw["zip"].map(state_of).dropna().map(NAMES)
    expected = states.value_counts().to_dict()
    assert {
        group.value: group.ratings for group in exploration.by_state(context.counts, ZIP_CODE)
    } == expected
    assert sum(expected.values()) < len(raw)  # some are in no state


def test_every_state_has_a_name_and_the_outline_shows_all_of_the_fifty_and_dc(section):
    assert set(NAMES) == set(STATES)
    elsewhere = {"AA", "AE", "AP", "GU", "PR", "VI"}
    from components.report.charts import outlines

    outline = outlines({"map": block(section, "state-map").spec})["us_states"]
    drawn = {shape["properties"]["name"] for shape in outline["objects"]["states"]["geometries"]}
    assert drawn == {name for state, name in NAMES.items() if state not in elsewhere}


def test_map_says_how_much_belongs_to_no_state(section, raw):
    outside = raw["zip"].map(state_of).isna().mean()
    assert f"{100 * outside:.1f}\u00a0% belong to no state" in block(section, "state-map").reading


def test_nobody_in_the_united_states_means_no_map(context):
    users = context.counts.users.assign(user_zip_code="T8H1N")
    found = without(context, counts=dataclasses.replace(context.counts, users=users))
    assert "No map" in notes(found)


# --- films


def test_best_and_worst_films_have_enough_ratings_and_the_extreme_means(section, context, raw):
    by_film = raw.groupby("movie")["stars"].agg(["size", "mean"])
    floor = int(np.clip(np.quantile(by_film["size"], 0.75), 5, 100))
    enough = by_film[by_film["size"] >= floor]["mean"]
    titles = context.catalogue["title"]
    best = frame(block(section, "best-films").table)
    worst = frame(block(section, "worst-films").table)
    assert f"at least {floor} ratings" in block(section, "best-films").title
    assert best["Mean stars"].tolist() == pytest.approx(enough.nlargest(12).tolist())
    assert worst["Mean stars"].tolist() == pytest.approx(enough.nsmallest(12).tolist())
    assert best["Film"][0] in set(titles[enough[enough == enough.max()].index])
    assert worst["Film"][0] in set(titles[enough[enough == enough.min()].index])


def test_films_per_rating_got_that_rating_more_often_than_any_other(section, context, raw):
    table = frame(block(section, "films-per-rating"))
    shares = pd.crosstab(raw["movie"], raw["stars"], normalize="index")
    sizes = raw["movie"].value_counts()
    floor = int(np.clip(np.quantile(sizes, 0.75), 5, 100))
    for stars, rows in table.groupby("Stars"):
        expected = shares[stars][sizes[sizes >= floor].index].nlargest(3)
        assert rows["Share of its ratings"].tolist() == pytest.approx(expected.tolist())


def test_films_of_the_same_title_are_told_apart(context):
    twins = context.catalogue.assign(title="Chasing Amy (1997)")
    labels = films.rated_films(context.counts, twins, MOVIELENS).label
    assert len(set(labels)) == len(labels)
    assert labels[0] == f"Chasing Amy (1997) [{context.counts.movie_ids[0]}]"


def test_films_by_year_are_those_of_the_raw_dates(section, run_output):
    movies, _ = read_movies(sample_folder(run_output))
    years = movies["date"].str[-4:].dropna().astype(int).value_counts()
    table = frame(block(section, "years").table)
    assert dict(zip(table["Year"], table["Films"], strict=True)) == years.to_dict()
    drawn = [row["year"] for row in block(section, "years").spec["data"]["values"]]
    assert drawn == list(range(years.index.min(), years.index.max() + 1))  # with empty years


def test_genres_are_those_of_the_raw_flags(section, raw, run_output):
    movies, genres = read_movies(sample_folder(run_output))
    flags = movies[genres].loc[raw["movie"]]
    expected = flags.sum()
    table = frame(block(section, "genres-mean").table).set_index("Genre")
    assert table["Ratings"].to_dict() == expected[expected > 0].to_dict()
    for genre in table.index:
        stars = raw["stars"].to_numpy()[flags[genre].to_numpy() == 1]
        assert table.loc[genre, "Mean stars"] == pytest.approx(stars.mean())


def test_directors_are_those_of_the_catalogue(section, context, raw):
    directors = raw["movie"].map(context.catalogue["director"])
    expected = directors[directors != "unknown"].value_counts()
    drawn = block(section, "by-director").spec["data"]["values"]
    assert [row["ratings"] for row in drawn] == expected.head(15).tolist()
    for row in drawn:
        assert row["ratings"] == expected[row["name"]]


# --- what is missing


def test_without_ratings_it_says_so(context):
    found = without(context, counts=None, catalogue=None)
    assert "did not get as far as reading ratings" in notes(found)
    assert not any(isinstance(b, Figure | Table) for b in found.blocks)


def test_without_a_catalogue_films_have_ids_and_it_says_what_is_not_shown(context):
    found = without(context, catalogue=None)
    assert "no catalogue" in notes(found)
    assert block(found, "best-films").table.rows[0][0].startswith("film ")


def test_without_film_metadata_directors_and_stars_are_said_to_be_unknown(context):
    plain = context.catalogue.assign(director="unknown", star="unknown")
    found = without(context, catalogue=plain)
    assert "directors are unknown" in notes(found)
    assert "lead actors are unknown" in notes(found)
    assert not any(getattr(b, "key", "") == "by-director" for b in found.blocks)


def test_counts_of_some_ratings_only_are_announced(context):
    part = dataclasses.replace(context.counts, complete=False)
    assert "the rest was not read" in notes(without(context, counts=part))


def test_a_handful_of_ratings_is_explored_as_well(context, tmp_path):
    from test_report_counts import example, write

    folder = write(tmp_path, [example(1, 1, 4.0), example(1, 2, 2.0)])
    found = without(context, counts=count_ratings(folder))
    assert "none is called good or bad" in notes(found)
    render(Page("t", "s", Note("v"), (found,)))


# --- another feature table


FAVOURITE = Feature("user_favourite_genre", Owner.USER, Kind.CATEGORY, "string")
MOOD = Feature("mood", Owner.MOVIE, Kind.TAGS, "string", multivalued=True)
TABLE = FeatureTable((*(f for f in MOVIELENS.features if f != ZIP_CODE), FAVOURITE, MOOD))


@pytest.fixture(scope="module")
def other_table(tmp_path_factory):
    """Ratings and films of a table with one user and one movie feature more, and no zip code."""
    from test_report_counts import example, write

    folder = tmp_path_factory.mktemp("other-table")
    favourites = ("Comedy", "Western", "Comedy", "Drama")
    rows = [
        example(user, movie, 1 + (user + movie) % 5, user_favourite_genre=favourites[user % 4])
        for user in range(1, 40)
        for movie in (1, 2, 3)
    ]
    movies = [
        example(1, movie, 3, movie_title=f"Film {movie}", mood=f"mood {movie % 2}")
        for movie in (1, 2, 3)
    ]
    return Sources(
        ratings=write(folder / "ratings", rows), movies=write(folder / "movies", movies),
        features=TABLE,
    )  # fmt: skip


def test_a_new_feature_of_users_is_charted_without_a_line_of_the_report(other_table):
    found = exploration.build(Context(other_table))
    sizes = frame(block(found, "user-favourite-genre-mean").table)
    ratings = dict(zip(sizes["User favourite genre"], sizes["Ratings"], strict=True))
    # Users 1 to 39 by their number modulo 4, three ratings each.
    assert ratings == {"Comedy": 3 * (9 + 10), "Western": 3 * 10, "Drama": 3 * 10}
    assert block(found, "user-favourite-genre-size").title.endswith("by user favourite genre")


def test_a_new_feature_of_films_is_charted_and_another_that_is_unknown_is_named(other_table):
    sections = exploration.build(Context(other_table))
    assert "The genres are not shown: no film has one." in notes(sections)
    moods = frame(block(sections, "mood-mean").table)
    found = dict(zip(moods["Mood"], moods["Films"], strict=True))
    assert found == {"mood 0": 1, "mood 1": 2}


def test_what_the_data_does_not_have_is_said_in_words(other_table):
    found = exploration.build(Context(other_table))
    assert "No map: the data has no zip code of users." in notes(found)
    assert "No groups by occupation: nobody's is known." in notes(found)
    table = block(found, "describe")
    assert "user_zip_code" not in [column.title.replace("\u200b", "") for column in table.columns]
    bare = FeatureTable(
        tuple(f for f in MOVIELENS.features if f.owner is not Owner.USER or f.kind is Kind.ID)
    )
    found = exploration.build(Context(dataclasses.replace(other_table, features=bare)))
    assert "No groups of people: the data has no gender, age or category" in notes(found)


# --- numbers behind the figures


def test_interval_of_members_with_equally_many_ratings_is_that_of_student():
    random = np.random.default_rng(1)
    stars = np.arange(1.0, 6.0)
    by_member = random.multinomial(20, [0.1, 0.1, 0.2, 0.4, 0.2], size=12)
    (group,) = grouped(["all"] * 12, np.arange(12), by_member, stars)
    means = by_member @ stars / 20
    expected = scipy.stats.t.interval(0.95, 11, means.mean(), scipy.stats.sem(means))
    assert (group.low, group.high) == pytest.approx(expected)
    assert group.mean == pytest.approx(means.mean())


def test_interval_of_unequal_members_is_near_that_of_drawing_them_anew():
    random = np.random.default_rng(2)
    stars = np.arange(1.0, 6.0)
    by_member = np.stack([random.multinomial(n, random.dirichlet([1, 1, 2, 4, 2]))
                          for n in random.integers(5, 200, 400)])  # fmt: skip
    (group,) = grouped(["all"] * 400, np.arange(400), by_member, stars)
    drawn = random.multinomial(400, np.full(400, 1 / 400), size=4000) @ by_member
    low, high = np.percentile(drawn @ stars / drawn.sum(axis=1), [2.5, 97.5])
    assert (group.low, group.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_member_may_be_in_several_groups_and_one_alone_has_no_interval():
    by_member = np.array([[1, 0], [0, 3]])
    both, one = grouped(["a", "b", "a"], np.array([0, 0, 1]), by_member, np.array([1.0, 2.0]))
    assert (both.members, both.ratings, both.mean) == (2, 4, 1.75)
    assert (one.members, one.ratings, one.mean) == (1, 1, 1.0)
    assert np.isnan(one.low)
    assert np.isnan(one.high)


def test_shares_of_the_largest():
    totals = np.array([1, 6, 2, 1])
    assert leading_share(totals, 0.25) == 0.6
    assert leading_share(totals, 0.01) == 0.6  # at least one
    assert cumulative_shares(totals) == [(0, 0), (0.25, 0.6), (0.5, 0.8), (0.75, 0.9), (1, 1)]


def test_bins_hold_every_part_once():
    totals = np.array([1, 2, 3, 5, 6, 10, 11, 700])
    assert binned(totals) == [
        (1, 2, 2), (3, 5, 2), (6, 10, 2), (11, 20, 1),
        (21, 50, 0), (51, 100, 0), (101, 200, 0), (201, 500, 0), (501, 1000, 1),
    ]  # fmt: skip
    assert binned(np.array([], int)) == []
