"""The movies explored: best and worst, years, tags such as genres, names such as directors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from components.report import charts
from components.report.context import Context, Words
from components.report.page import Block, Chart, Note, Row, Table, Text
from components.report.ratings import TITLE, YEAR, Ratings, grouped, of_movies
from components.report.sections import capital, percent
from components.report.sections.groups import group_charts
from schema import features as raw
from schema.dataset import plural
from schema.features import Feature, Kind
from sources.numbers import quarters

_LEAST, _MOST = 5, 100
_QUANTILE = 0.75
"""A movie is compared with others if it has as many ratings as the upper quarter has, but
between `_LEAST` and `_MOST`: what is fair to require depends on how many ratings there are."""

_BEST, _PER_RATING = 12, 3
_LISTED = 300
"""Movies in the table, those with most ratings: the page must not grow with the catalogue."""


def rated_movies(ratings: Ratings, catalogue: pd.DataFrame | None, words: Words) -> pd.DataFrame:
    """Returns the movies that were rated, as `grouped` by id, and their titles, made unique."""
    counts = ratings.by_movie
    known = {} if catalogue is None else catalogue[TITLE]
    titles = pd.Series(known, counts.index, object).fillna(raw.UNKNOWN)
    ids = pd.Series(counts.index.astype(str), counts.index)
    titles = titles.where(titles != raw.UNKNOWN, f"{words.item} " + ids)
    titles = titles.where(~titles.duplicated(keep=False), titles + " [" + ids + "]")
    found = grouped(ids, counts).reindex(counts.index).assign(title=titles)
    return found.sort_values("ratings", ascending=False, kind="stable")


def blocks(context: Context, ratings: Ratings) -> Iterator[Block]:
    """Yields what there is to say of the movies."""
    catalogue, words, table = context.catalogue, context.words, context.sources.features
    lines = "The lines are 95 % confidence intervals of means"
    drawn = f"{lines}; {words.items} count as drawn at random." if table.has_rating else ""
    yield Text(capital(words.items), drawn)
    rated = rated_movies(ratings, catalogue, words)
    if ratings.values:
        yield from _best_and_worst(rated, ratings, words)
    caption = f"All {words.items}, by number of {words.events}"
    if len(rated) > _LISTED:
        caption = f"The {_LISTED} {words.items} with most {words.events}"
    rows = _movie_rows(rated[:_LISTED], ratings, words)
    yield Table("movie-list", caption, rows, searchable=True)
    if catalogue is None:
        what = f"What is known of the {words.items}"
        yield Note(f"{what} is not shown: there is no catalogue.", "warn")
        return
    yield from years(context)
    for feature in of_movies(table, Kind.TAGS, Kind.CATEGORY):
        yield from _groups(feature, catalogue, ratings, words)
    for feature in of_movies(table, Kind.NUMBER):
        values = catalogue[feature.name]
        named = quarters([None if value != value else value for value in values])
        groups = grouped(pd.Series(named, values.index), ratings.by_movie).sort_index()
        of, who = feature.called, words.items
        yield from group_charts(feature.key, of, who, groups, ratings, words, ordered=True)
    kinds = {Kind.TITLE: "titles", Kind.YEAR: "release years", Kind.TAGS: "genres or other tags"}
    absent = [name for kind, name in kinds.items() if not of_movies(table, kind)]
    if absent:
        yield Note(f"This data has no {' and no '.join(absent)} of {words.items}.")


def _best_and_worst(movies: pd.DataFrame, ratings: Ratings, words: Words) -> Iterator[Block]:
    floor = int(np.clip(np.quantile(movies["ratings"], _QUANTILE), _LEAST, _MOST))
    enough = movies[movies["ratings"] >= floor].sort_values("mean", ascending=False, kind="stable")
    if enough.empty:
        yield Note(f"No {words.item} has {floor} ratings, so none is called good or bad.")
        return
    parts = [words.rated(value) for value in ratings.values]
    for word, found in (("best", enough), ("worst", enough[::-1])):
        rows, first = _movie_rows(found[:_BEST], ratings, words), found.iloc[0]
        yield Chart(
            f"{word}-movies",
            f"The {word} {words.items} by mean rating, of the {len(enough):,} with at least "
            f"{floor} ratings",
            f"{capital(word)}: {first['title']} with a mean of {first['mean']:.2f}.",
            charts.stacked_bars(rows, capital(words.item), parts),
        )
    most = [
        {
            "Rating": value,
            capital(words.item): movie["title"],
            "Share of its ratings": movie[value],
            "Ratings": movie["ratings"],
            "Mean rating": movie["mean"],
        }
        for value in ratings.values
        for _, movie in enough.nlargest(_PER_RATING, value).iterrows()
    ]
    caption = f"For each rating, the {words.items} that got it most often"
    yield Table("movies-per-rating", f"{caption} (at least {floor} ratings)", most)


def _movie_rows(movies: pd.DataFrame, ratings: Ratings, words: Words) -> list[Row]:
    columns = {capital(words.item): movies["title"], capital(words.events): movies["ratings"]}
    if ratings.values:
        columns["Mean rating"] = movies["mean"]
    columns |= {words.rated(value): movies[value] for value in ratings.values}
    return pd.DataFrame(columns).to_dict("records")


def years(context: Context) -> Iterator[Block]:
    """Yields the movies by year where they have any, and the ratings by decade."""
    catalogue, ratings, words = context.catalogue, context.ratings, context.words
    if catalogue is None or not of_movies(context.sources.features, Kind.YEAR):
        return
    known = catalogue[YEAR].dropna().astype("int64")
    if known.empty:
        yield Note(f"Release years are not shown: no {words.item} has one.", "warn")
        return
    counts, items = known.value_counts(), capital(words.items)
    span = range(int(known.min()), int(known.max()) + 1)
    rows = [{"Year": year, items: int(counts.get(year, 0))} for year in span]
    yield Chart(
        "years",
        f"{items} by year of release",
        f"Most are from {counts.idxmax()}, {counts.max():,} of {len(catalogue):,}; half are from "
        f"{int(known.median())} or later. Without a year: {len(catalogue) - len(known):,}.",
        charts.bars(rows, "Year", items, upright=True),
        wide=True,
    )
    decades, of = (known // 10 * 10).astype(str) + "s", "decade of release"
    if ratings is not None and known.index.isin(ratings.by_movie.index).any():
        groups = grouped(decades, ratings.by_movie).sort_index()
        yield from group_charts("decade", of, words.items, groups, ratings, words, ordered=True)


def _groups(
    feature: Feature, catalogue: pd.DataFrame, ratings: Ratings, words: Words
) -> Iterator[Block]:
    values = catalogue[feature.name].explode().dropna()
    values = values[values != raw.UNKNOWN]
    groups, of = grouped(values, ratings.by_movie), feature.singular
    if len(groups) < 2:
        what = f"no {words.item} has one"
        if len(groups):
            what = f"every {words.item} that has one has {groups.index[0]}"
        elif feature in (raw.DIRECTOR, raw.STAR):
            what = "no movie metadata was given (--metadata-dir), or it holds none of these movies"
        yield Note(f"The {plural(of)} are not shown: {what}.", "warn")
        return
    yield from group_charts(feature.key, of, words.items, groups, ratings, words)
    known = values.index.nunique()
    if known < len(catalogue):
        share = percent(known / len(catalogue), 1)
        yield Note(f"The {of} is known for {share} of the {words.items}.")
