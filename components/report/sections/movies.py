"""The movies explored: best and worst, years, tags such as genres, names such as directors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from components.report import charts
from components.report.context import Context, Words
from components.report.page import Block, Chart, Note, Row, Table, Text
from components.report.ratings import (
    TITLE,
    YEAR,
    Ratings,
    catalogue_names,
    catalogue_numbers,
    catalogue_tags,
    grouped,
)
from components.report.sections import capital, percent
from components.report.sections.groups import group_charts
from schema import features as raw
from schema.dataset import plural
from schema.features import Feature, Kind, Owner
from sources.numbers import quarters

_LEAST, _MOST = 5, 100
_QUANTILE = 0.75
"""A movie is compared with others if it has as many ratings as the upper quarter has, but
between `_LEAST` and `_MOST`: what is fair to require depends on how many ratings there are."""

_BEST = 12
_PER_RATING = 3
_LISTED = 300
"""Movies in the table, those with most ratings: the page must not grow with the catalogue."""


def rated_movies(ratings: Ratings, catalogue: pd.DataFrame | None, words: Words) -> pd.DataFrame:
    """Returns the movies that were rated, most ratings first, by id.

    Columns: `title`, with the id where several movies have it; `ratings`; where the data has
    ratings also `mean` and the share of each rating, by its value.
    """
    counts = ratings.by_movie
    totals = counts.sum(axis=1)
    titles = pd.Series(raw.UNKNOWN, counts.index)
    if catalogue is not None:
        titles = catalogue[TITLE].reindex(counts.index).fillna(raw.UNKNOWN)
    ids = pd.Series(counts.index.astype(str), counts.index)
    titles = titles.where(titles != raw.UNKNOWN, f"{words.item} " + ids)
    titles = titles.where(~titles.duplicated(keep=False), titles + " [" + ids + "]")
    found = pd.DataFrame({"title": titles, "ratings": totals})
    if ratings.values:
        found["mean"] = counts @ np.array(ratings.values) / totals
        found = found.join(counts.div(totals, axis=0))
    return found.sort_values("ratings", ascending=False, kind="stable")


def blocks(context: Context) -> Iterator[Block]:
    """Yields what there is to say of the movies."""
    ratings, catalogue, words = context.ratings, context.catalogue, context.words
    table = context.sources.features
    if ratings is None and catalogue is None:
        return
    drawn = f"Intervals are 95 % and take {words.items} as drawn at random."
    yield Text(capital(words.items), drawn if table.has_rating else "")
    if ratings is not None:
        yield from _rated(rated_movies(ratings, catalogue, words), ratings, words)
    if catalogue is None:
        yield Note(
            f"What is known of the {words.items} is not shown: there is no catalogue.", "warn"
        )
        return
    if any(f.kind is Kind.YEAR for f in table.owned_by(Owner.MOVIE)):
        yield from _years(catalogue, ratings, words)
    if ratings is not None:
        for feature in (*catalogue_tags(table), *catalogue_names(table)):
            yield from _groups(feature, catalogue, ratings, words)
        for feature in catalogue_numbers(table):
            values = catalogue[feature.name]
            named = quarters([None if value != value else value for value in values])
            groups = grouped(pd.Series(named, values.index), ratings.by_movie).sort_index()
            key, of = feature.key.replace("_", "-"), feature.called
            yield from group_charts(key, of, words.items, groups, ratings, words, ordered=True)
    absent = _absent(context)
    if absent:
        yield Note(f"This data has no {absent} of {words.items}.")


def _absent(context: Context) -> str:
    """Returns the kinds of features of movies that the data lacks, in words."""
    owned = {f.kind for f in context.sources.features.owned_by(Owner.MOVIE)}
    kinds = {Kind.TITLE: "titles", Kind.YEAR: "release years", Kind.TAGS: "genres or other tags"}
    return " and no ".join(words for kind, words in kinds.items() if kind not in owned)


# --- all rated movies, the best and the worst


def _rated(movies: pd.DataFrame, ratings: Ratings, words: Words) -> Iterator[Block]:
    if ratings.values:
        yield from _best_and_worst(movies, ratings, words)
    which = f"All {words.items}"
    if len(movies) > _LISTED:
        which = f"The {_LISTED} {words.items} with most {words.events}"
    rows = _movie_rows(movies[:_LISTED], ratings, words)
    yield Table("movie-list", f"{which}, by number of {words.events}", rows, searchable=True)


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
        enough.nlargest(_PER_RATING, v).assign(rating=v, share=enough[v]) for v in ratings.values
    ]
    columns = {
        "rating": "Rating",
        "title": capital(words.item),
        "share": "Share of its ratings",
        "ratings": "Ratings",
        "mean": "Mean rating",
    }
    yield Table(
        "movies-per-rating",
        f"For each rating, the {words.items} that got it most often (at least {floor} ratings)",
        pd.concat(most)[list(columns)].rename(columns=columns).to_dict("records"),
    )


def _movie_rows(movies: pd.DataFrame, ratings: Ratings, words: Words) -> list[Row]:
    columns = {capital(words.item): movies["title"], capital(words.events): movies["ratings"]}
    if ratings.values:
        columns["Mean rating"] = movies["mean"]
    columns |= {words.rated(value): movies[value] for value in ratings.values}
    return pd.DataFrame(columns).to_dict("records")


# --- years


def _years(catalogue: pd.DataFrame, ratings: Ratings | None, words: Words) -> Iterator[Block]:
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
    if ratings is not None:
        decades = (known // 10 * 10).astype(str) + "s"
        groups, of = grouped(decades, ratings.by_movie).sort_index(), "decade of release"
        yield from group_charts("decade", of, words.items, groups, ratings, words, ordered=True)


# --- tags, such as genres, and names, such as directors


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
    key = feature.key.replace("_", "-")
    yield from group_charts(key, of, words.items, groups, ratings, words)
    known = values.index.nunique()
    if known < len(catalogue):
        share = percent(known / len(catalogue), 1)
        yield Note(f"The {of} is known for {share} of the {words.items}.")
