"""The films explored: best and worst, years, tags such as genres, names such as directors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.report import charts
from components.report.charts import Channel
from components.report.context import Context
from components.report.counts import (
    RatingCounts,
    catalogue_names,
    catalogue_tags,
    empty_catalogue,
)
from components.report.groups import FloatArray, Group, IntArray, grouped
from components.report.page import Block, Column, Figure, Note, Table, Text
from components.report.sections import percent
from components.report.sections.figures import (
    group_table,
    mean_dots,
    number_of,
    size_bars,
    star_bars,
    stars_text,
    whole,
)
from schema import features as raw
from schema.features import Feature, FeatureTable

_LEAST, _MOST = 5, 100
_QUANTILE = 0.75
"""A film is compared with others if it has as many ratings as the upper quarter has, but
between `_LEAST` and `_MOST`: what is fair to ask for depends on how many ratings there are."""

_BEST = 12
_PER_STAR = 3
_LISTED = 300
"""Films in the table, those with most ratings: the page must not grow with the catalogue."""
_DRAWN = 1000
"""Films in the scatter plot; of more, evenly chosen ones by number of ratings."""
_NAMES = 15
_TICKS = tuple(digit * 10**power for power in range(7) for digit in (1, 2, 5))


@dataclasses.dataclass(frozen=True)
class Films:
    """The films that were rated.

    Attributes:
      label: title of each, with its id where several films have it, `[films]`.
      facts: their rows of the catalogue (missing values for a film that it lacks).
      counts: ratings by stars, `[films, levels]`.
      ratings: how many, `[films]`.
      mean: mean stars, `[films]`.
      stars: `[levels]`.
      floor: how many ratings a film needs to be called good or bad.
    """

    label: tuple[str, ...]
    facts: pd.DataFrame
    counts: IntArray
    ratings: IntArray
    mean: FloatArray
    stars: FloatArray
    floor: int

    @property
    def enough(self) -> IntArray:
        """Rows of the films with enough ratings, best first."""
        rows = np.flatnonzero(self.ratings >= self.floor)
        return rows[np.lexsort((-self.ratings[rows], -self.mean[rows]))]


def rated_films(counts: RatingCounts, catalogue: pd.DataFrame | None, table: FeatureTable) -> Films:
    """Returns the films that were rated, in the order of `counts`."""
    ratings = counts.by_movie.sum(axis=1)
    if catalogue is None:
        catalogue = empty_catalogue(table)
    facts = catalogue.reindex(counts.movie_ids)
    titles = [
        title if isinstance(title, str) and title != raw.UNKNOWN else f"film {movie}"
        for movie, title in zip(counts.movie_ids.tolist(), facts["title"], strict=True)
    ]
    twice = pd.Series(titles).duplicated(keep=False)
    return Films(
        label=tuple(
            f"{title} [{movie}]" if again else title
            for title, movie, again in zip(titles, counts.movie_ids.tolist(), twice, strict=True)
        ),
        facts=facts,
        counts=counts.by_movie,
        ratings=ratings,
        mean=counts.mean(counts.by_movie),
        stars=counts.stars,
        floor=int(np.clip(np.quantile(ratings, _QUANTILE), _LEAST, _MOST)),
    )


def blocks(context: Context) -> Iterator[Block]:
    """Yields what there is to say of the films."""
    counts, catalogue = context.counts, context.catalogue
    if counts is None and catalogue is None:
        return
    yield Text("Films", "Intervals are 95 % and take films as drawn at random.")
    table = context.sources.features
    films = None if counts is None else rated_films(counts, catalogue, table)
    if films is not None:
        yield from _best_and_worst(films)
        yield _relation(films)
        yield _table(films)
    if catalogue is None:
        yield Note("Years, genres and names are not shown: there is no catalogue.", "warn")
        return
    yield from _years(catalogue, films)
    for column, feature in catalogue_tags(table).items():
        yield from _tags(column, feature, catalogue, films)
    for feature in catalogue_names(table):
        yield from _names(feature, catalogue, films)


# --- best and worst


def _best_and_worst(films: Films) -> Iterator[Block]:
    rows = films.enough
    if not len(rows):
        yield Note(f"No film has {films.floor} ratings, so none is called good or bad.")
        return
    many = f"of the {len(rows):,} with at least {films.floor} ratings"
    best, worst = rows[:_BEST], rows[::-1][:_BEST]
    yield _film_bars("best-films", f"The best films by mean stars, {many}", "Best", best, films)
    yield _film_bars("worst-films", f"The worst films by mean stars, {many}", "Worst", worst, films)
    yield _per_star(rows, films)


def _film_bars(key: str, title: str, word: str, rows: IntArray, films: Films) -> Figure:
    first = int(rows[0])
    top, low = films.counts[first, -1], films.counts[first, 0]
    count, level = (top, films.stars[-1]) if word == "Best" else (low, films.stars[0])
    return star_bars(
        key,
        title,
        f"{word}: {films.label[first]} with a mean of {films.mean[first]:.2f}; "
        f"{percent(count / films.ratings[first])} gave it {stars_text(level)}.",
        "Film",
        [(films.label[row], films.counts[row]) for row in rows],
        films.stars,
        _film_table(f"{key}-numbers", title, rows, films),
    )


def _film_table(
    key: str, caption: str, rows: IntArray, films: Films, *, searchable: bool = False
) -> Table:
    return Table(
        key,
        caption,
        (
            Column("Film"),
            Column("Ratings", "number"),
            Column("Mean stars", "number"),
            *(Column(stars_text(level), "share", 0) for level in films.stars),
        ),
        tuple(
            (
                films.label[row],
                int(films.ratings[row]),
                float(films.mean[row]),
                *(int(count) / int(films.ratings[row]) for count in films.counts[row]),
            )
            for row in rows
        ),
        searchable=searchable,
    )


def _per_star(rows: IntArray, films: Films) -> Table:
    """Returns the films that got each number of stars more often than any other film."""
    found = []
    for level, stars in enumerate(films.stars):
        share = films.counts[rows, level] / films.ratings[rows]
        for row in rows[np.argsort(-share, kind="stable")[:_PER_STAR]]:
            count, total = int(films.counts[row, level]), int(films.ratings[row])
            found.append(
                (
                    whole(stars),
                    films.label[row],
                    count / total,
                    count,
                    total,
                    float(films.mean[row]),
                )
            )
    return Table(
        "films-per-rating",
        f"For each number of stars, the films that got it most often (at least {films.floor} "
        "ratings)",
        (
            Column("Stars", "number", 1),
            Column("Film"),
            Column("Share of its ratings", "share", 1),
            Column("Times", "number"),
            Column("Ratings", "number"),
            Column("Mean stars", "number"),
        ),
        tuple(found),
    )


# --- all of them


def _relation(films: Films) -> Figure:
    order = np.argsort(-films.ratings, kind="stable")
    chosen = order[:: max(1, -(-len(order) // _DRAWN))]
    rows = [
        {"film": films.label[n], "ratings": int(films.ratings[n]), "mean": float(films.mean[n])}
        for n in chosen
    ]
    correlation = pd.Series(films.ratings).rank().corr(pd.Series(films.mean).rank())
    word = "more" if correlation > 0 else "fewer"
    return Figure(
        "films-relation",
        "Number of ratings and mean stars of each film",
        f"Films that are rated more often get {word} stars on average: the rank correlation is "
        f"{correlation:.2f}."
        if abs(correlation) >= 0.1
        else f"The number of ratings says little of the stars: rank correlation {correlation:.2f}.",
        charts.scatter(
            rows,
            Channel(
                "ratings",
                "ratings",
                format="~s",
                log=True,
                domain=(1, int(films.ratings.max())),
                values=_TICKS,
            ),
            Channel("mean", "mean stars", format=".1f", zero=False),
            tips=(
                Channel("film", "Film", "nominal"),
                Channel("ratings", "Ratings", format=charts.WHOLE),
                Channel("mean", "Mean stars", format=".2f"),
            ),
            height=320,
        ),
        wide=True,
    )


def _table(films: Films) -> Table:
    rows = np.argsort(-films.ratings, kind="stable")[:_LISTED]
    which = "All films" if len(rows) == len(films.ratings) else f"The {len(rows)} most rated films"
    return _film_table("films", f"{which}, by number of ratings", rows, films, searchable=True)


# --- years


def _years(catalogue: pd.DataFrame, films: Films | None) -> Iterator[Block]:
    known = catalogue["year"].dropna().astype("int64")
    if not len(known):
        yield Note("Release years are not shown: no film has one.", "warn")
        return
    counts = known.value_counts()
    span = range(int(known.min()), int(known.max()) + 1)
    rows = [{"year": year, "films": int(counts.get(year, 0))} for year in span]
    most = max(rows, key=lambda row: row["films"])
    yield Figure(
        "years",
        "Films by year of release",
        f"Most are from {most['year']}, {most['films']:,} of {len(catalogue):,}; half are from "
        f"{int(known.median())} or later. Without a year: {len(catalogue) - len(known):,}.",
        charts.columns(
            rows,
            Channel("year", "year of release", "ordinal"),
            Channel("films", "films", format=charts.WHOLE),
        ),
        Table(
            "years-numbers",
            "Films by year of release",
            (Column("Year", "number", grouped=False), Column("Films", "number")),
            tuple((row["year"], row["films"]) for row in rows if row["films"]),
        ),
    )
    if films is None:
        return
    rows_known = np.flatnonzero(films.facts["year"].notna())
    decades = [f"{int(year) // 10 * 10}s" for year in films.facts["year"].iloc[rows_known]]
    groups = sorted(_grouped(decades, rows_known, films), key=lambda group: group.value)
    yield mean_dots(
        "decades",
        "Mean stars by decade of release",
        "Decade",
        groups,
        _overall(films),
        group_table("decades-numbers", "Ratings by decade", "Decade", "Films", groups, films.stars),
    )


def _grouped(values: Sequence[str], rows: IntArray, films: Films) -> list[Group]:
    return grouped(values, rows, films.counts, films.stars)


def _overall(films: Films) -> float:
    counts = films.counts.sum(axis=0)
    return float(counts @ films.stars / counts.sum())


# --- tags, such as genres


def _tags(
    column: str, feature: Feature, catalogue: pd.DataFrame, films: Films | None
) -> Iterator[Block]:
    called, key = feature.called, column.replace("_", "-")
    if not catalogue[column].map(len).any():
        yield Note(f"The {called}s are not shown: no film has one.", "warn")
        return
    if films is None:
        return
    pairs = [
        (row, tag)
        for row, tags in enumerate(films.facts[column])
        if isinstance(tags, tuple)
        for tag in tags
    ]
    rows = np.array([row for row, _ in pairs], np.int64)
    groups = _grouped([tag for _, tag in pairs], rows, films)
    groups.sort(key=lambda group: -group.ratings)
    table = group_table(
        f"{key}-numbers",
        f"Ratings by {called}",
        called.capitalize(),
        "Films",
        groups,
        films.stars,
    )
    yield size_bars(
        f"{key}-size",
        f"Films and ratings by {called}; a film counts in each of its {called}s",
        called,
        "films",
        groups,
        members=len(films.label),
        ratings=int(films.ratings.sum()),
    )
    groups = sorted(groups, key=lambda group: -group.mean)
    title = f"Mean stars by {called}"
    yield mean_dots(f"{key}-mean", title, called.capitalize(), groups, _overall(films), table)


# --- names, such as directors


def _names(feature: Feature, catalogue: pd.DataFrame, films: Films | None) -> Iterator[Block]:
    known = int((catalogue[feature.name] != raw.UNKNOWN).sum())
    if not known:
        yield Note(
            f"The {feature.called}s are unknown: the run was given no film metadata "
            "(--metadata-dir), or it holds none of these films.",
        )
    elif films is not None:
        yield _most_rated(feature, known / len(catalogue), films)


def _most_rated(feature: Feature, known: float, films: Films) -> Figure:
    names = films.facts[feature.name]
    called, key = feature.called, f"by-{feature.key.replace('_', '-')}"
    rows = np.flatnonzero(names.notna() & (names != raw.UNKNOWN))
    groups = sorted(_grouped(names.iloc[rows].tolist(), rows, films), key=lambda g: -g.ratings)
    shown = groups[:_NAMES]
    enough = [g for g in groups if g.ratings >= films.floor and g.members > 1]
    best = max(enough, key=lambda group: group.mean, default=None)
    reading = (
        f"Most: {shown[0].value}, {number_of(shown[0].ratings, 'rating')} of "
        f"{number_of(shown[0].members, 'film')}. "
        + (f"Highest mean with two films or more: {best.value}, {best.mean:.2f}. " if best else "")
        + f"Known for {percent(known)} of the films."
    )
    bars: list[dict[str, Any]] = [
        {"name": g.value, "ratings": g.ratings, "films": g.members, "mean": g.mean} for g in shown
    ]
    return Figure(
        key,
        f"The {called}s with most ratings",
        reading,
        charts.bars(
            bars,
            Channel("name", called.capitalize(), "nominal", sort=[g.value for g in shown]),
            Channel("ratings", "ratings", format="~s"),
            more=(
                Channel("films", "Films", format=charts.WHOLE),
                Channel("mean", "Mean stars", format=".2f"),
            ),
        ),
        group_table(
            f"{key}-numbers",
            f"Ratings by {called}",
            called.capitalize(),
            "Films",
            groups[:100],
            films.stars,
        ),
    )
