"""The movies explored: best and worst, years, tags such as genres, names such as directors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from components.report import charts
from components.report.context import Context
from components.report.page import Block, Chart, Note, Row, Table, Text
from components.report.ratings import (
    TITLE,
    YEAR,
    Ratings,
    catalogue_names,
    catalogue_tags,
    grouped,
)
from components.report.sections import number_of, percent
from components.report.sections.groups import (
    group_charts,
    group_rows,
    star_formats,
    star_shares,
    stars,
)
from schema import features as raw
from schema.features import Feature

_LEAST, _MOST = 5, 100
_QUANTILE = 0.75
"""A movie is compared with others if it has as many ratings as the upper quarter has, but
between `_LEAST` and `_MOST`: what is fair to require depends on how many ratings there are."""

_BEST = 12
_PER_STAR = 3
_LISTED = 300
"""Movies in the table, those with most ratings: the page must not grow with the catalogue."""
_DRAWN = 1000
"""Movies in the scatter plot; of more, evenly chosen ones by number of ratings."""
_NAMES = 15


def rated_movies(ratings: Ratings, catalogue: pd.DataFrame | None) -> pd.DataFrame:
    """Returns the movies that were rated, most ratings first, by id.

    Columns: `title`, with the id where several movies have it; `ratings`; `mean`; and the share
    of each rating, by its value.
    """
    counts = ratings.by_movie
    totals = counts.sum(axis=1)
    titles = pd.Series(raw.UNKNOWN, counts.index)
    if catalogue is not None:
        titles = catalogue[TITLE].reindex(counts.index).fillna(raw.UNKNOWN)
    ids = pd.Series(counts.index.astype(str), counts.index)
    titles = titles.where(titles != raw.UNKNOWN, "movie " + ids)
    titles = titles.where(~titles.duplicated(keep=False), titles + " [" + ids + "]")
    mean = counts @ counts.columns.to_numpy(np.float64) / totals
    found = pd.DataFrame({"title": titles, "ratings": totals, "mean": mean})
    shares = counts.div(totals, axis=0)
    return found.join(shares).sort_values("ratings", ascending=False, kind="stable")


def blocks(context: Context) -> Iterator[Block]:
    """Yields what there is to say of the movies."""
    ratings, catalogue = context.ratings, context.catalogue
    if ratings is None and catalogue is None:
        return
    yield Text("Movies", "Intervals are 95 % and take movies as drawn at random.")
    if ratings is not None:
        yield from _rated(rated_movies(ratings, catalogue), ratings)
    if catalogue is None:
        yield Note("Years, genres and names are not shown: there is no catalogue.", "warn")
        return
    yield from _years(catalogue, ratings)
    if ratings is not None:
        table = context.sources.features
        for feature in catalogue_tags(table):
            yield from _tags(feature, catalogue, ratings)
        for feature in catalogue_names(table):
            yield from _names(feature, catalogue, ratings)


# --- all rated movies, the best and the worst


def _rated(movies: pd.DataFrame, ratings: Ratings) -> Iterator[Block]:
    floor = int(np.clip(np.quantile(movies["ratings"], _QUANTILE), _LEAST, _MOST))
    enough = movies[movies["ratings"] >= floor].sort_values("mean", ascending=False, kind="stable")
    formats = star_formats(ratings)
    if enough.empty:
        yield Note(f"No movie has {floor} ratings, so none is called good or bad.")
    else:
        many = f"of the {len(enough):,} with at least {floor} ratings"
        values = ratings.by_movie.columns
        for word, found, value in (
            ("best", enough, values[-1]),
            ("worst", enough[::-1], values[0]),
        ):
            rows = _movie_rows(found[:_BEST], values)
            first = found.iloc[0]
            yield Chart(
                f"{word}-movies",
                f"The {word} movies by mean rating, {many}",
                f"{word.capitalize()}: {first['title']} with a mean of {first['mean']:.2f}; "
                f"{percent(first[value])} gave it {stars(value)}.",
                charts.stacked_bars(rows, "Movie", [stars(value) for value in values]),
                rows,
                formats,
            )
        yield Table(
            "movies-per-rating",
            f"For each rating, the movies that got it most often (at least {floor} ratings)",
            [
                {
                    "Rating": float(value),
                    "Movie": movie["title"],
                    "Share of its ratings": movie[value],
                    "Ratings": int(movie["ratings"]),
                    "Mean rating": movie["mean"],
                }
                for value in values
                for _, movie in enough.nlargest(_PER_STAR, value).iterrows()
            ],
        )
    yield _relation(movies)
    which = "All movies" if len(movies) <= _LISTED else f"The {_LISTED} most rated movies"
    rows = _movie_rows(movies[:_LISTED], ratings.by_movie.columns)
    yield Table("movie-list", f"{which}, by number of ratings", rows, formats, searchable=True)


def _movie_rows(movies: pd.DataFrame, values: pd.Index) -> list[Row]:
    return [
        {
            "Movie": movie["title"],
            "Ratings": int(movie["ratings"]),
            "Mean rating": movie["mean"],
            **star_shares(movie, values),
        }
        for _, movie in movies.iterrows()
    ]


def _relation(movies: pd.DataFrame) -> Chart:
    chosen = movies[:: max(1, -(-len(movies) // _DRAWN))]
    rows = _movie_rows(chosen, pd.Index([]))
    correlation = movies["ratings"].corr(movies["mean"], method="spearman")
    word = "higher" if correlation > 0 else "lower"
    return Chart(
        "movies-relation",
        "Number of ratings and mean rating of each movie",
        f"Movies that are rated more often are rated {word} on average: the rank correlation is "
        f"{correlation:.2f}."
        if abs(correlation) >= 0.1
        else "The number of ratings says little of the mean rating."
        + ("" if np.isnan(correlation) else f" The rank correlation is {correlation:.2f}."),
        charts.points(rows, "Ratings", "Mean rating", log=True, height=320),
        wide=True,
    )


# --- years


def _years(catalogue: pd.DataFrame, ratings: Ratings | None) -> Iterator[Block]:
    known = catalogue[YEAR].dropna().astype("int64")
    if known.empty:
        yield Note("Release years are not shown: no movie has one.", "warn")
        return
    counts = known.value_counts()
    span = range(int(known.min()), int(known.max()) + 1)
    rows = [{"Year": year, "Movies": int(counts.get(year, 0))} for year in span]
    yield Chart(
        "years",
        "Movies by year of release",
        f"Most are from {counts.idxmax()}, {counts.max():,} of {len(catalogue):,}; half are from "
        f"{int(known.median())} or later. Without a year: {len(catalogue) - len(known):,}.",
        charts.upright_bars(rows, "Year", "Movies"),
        rows,
    )
    if ratings is not None:
        decades = (known // 10 * 10).astype(str) + "s"
        groups = grouped(decades, ratings.by_movie).sort_index()
        yield from group_charts(
            "decade", "decade of release", "movies", groups, ratings, ordered=True
        )


# --- tags, such as genres, and names, such as directors


def _tags(feature: Feature, catalogue: pd.DataFrame, ratings: Ratings) -> Iterator[Block]:
    tags = catalogue[feature.name].explode().dropna()
    groups = grouped(tags, ratings.by_movie)
    if len(groups) < 2:
        what = (
            f"every movie that has one has {groups.index[0]}" if len(groups) else "no movie has one"
        )
        yield Note(f"The {feature.called}s are not shown: {what}.", "warn")
        return
    key = feature.key.replace("_", "-")
    yield from group_charts(key, feature.called, "movies", groups, ratings)


def _names(feature: Feature, catalogue: pd.DataFrame, ratings: Ratings) -> Iterator[Block]:
    names = catalogue[feature.name]
    names = names[names != raw.UNKNOWN]
    groups = grouped(names, ratings.by_movie)
    if groups.empty:
        yield Note(
            f"The {feature.called}s are unknown: the run was given no movie metadata "
            "(--metadata-dir), or it holds none of these movies."
        )
        return
    called = feature.called
    rows = group_rows(groups[:100], called.capitalize(), "movies", ratings)
    first = rows[0]
    yield Chart(
        f"by-{feature.key.replace('_', '-')}",
        f"The {called}s with most ratings",
        f"Most: {first[called.capitalize()]}, {number_of(first['Ratings'], 'rating')} of "
        f"{number_of(first['Movies'], 'movie')}. Known for {percent(len(names) / len(catalogue))} "
        "of the movies.",
        charts.bars(rows[:_NAMES], called.capitalize(), "Ratings"),
        rows,
        star_formats(ratings),
    )
