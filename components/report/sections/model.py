"""The model looked into: how it learned, what it knows, what it says and how wrong that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.report import charts
from components.report.charts import Channel
from components.report.context import Context
from components.report.page import Block, Column, Figure, Note, Section, Table, Text, Tiles
from components.report.people import Person, find_people
from components.report.sections import percent, sources_of
from components.report.served import Predictions, ServedModel
from schema import features as raw
from schema.features import FeatureTable, Kind, Owner, RatingScale

FloatArray = npt.NDArray[np.float64]

_WELL_KNOWN = 8
_NEIGHBOURS = 5
_PEOPLE = 3
_SHOWN = 8
_MAX_POINTS = 1200
_FEWEST_RATINGS = 5
"""The vector of a film with fewer ratings says little."""

_GENRES = 7
"""Genres with a colour of their own: what people can tell apart; the rest is one more."""

_OTHER = "other"
_BIN = 0.25
_FEW = 30


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="model",
        title="Model",
        lead="How it learned, what it has made of films and people, what it recommends, and how "
        "far its stars are from those people gave.",
        sources=sources_of(context.sources, "model", "model_run", "movies", "ratings"),
        blocks=(
            *_learning(context),
            *_crosses(context),
            *_films(context),
            *_people(context),
            *_errors(context),
        ),
    )


# --- learning

# By the Trainer's name: title, what is measured. Means over an epoch only: what TFRS logs as
# `total_loss` and the like is that of the epoch's last batch, and jumps about.
_CURVES: Mapping[str, tuple[str, str]] = {
    "rmse": ("Rating network: error on the training ratings, per epoch", "RMSE in stars"),
    "retrieval_loss": ("Towers: retrieval loss in training, per epoch", "cross entropy"),
    "autoencoder_loss": ("Autoencoder: loss in training, per epoch", "cross entropy"),
}


def _learning(context: Context) -> Iterator[Block]:
    yield Text(
        "Learning",
        "Losses on what the model is fitted on, training and validation together; what it is "
        "worth on other ratings is in the evaluation.",
    )
    if not context.history:
        yield Note("No learning curves: the run did not get as far as training.", "warn")
        return
    for name, values in context.history.items():
        if name in _CURVES and any(values):
            yield _curve(name, values)


def _curve(name: str, values: Sequence[float]) -> Figure:
    title, unit = _CURVES[name]
    rows = [{"epoch": number + 1, "loss": value} for number, value in enumerate(values)]
    return Figure(
        f"learning-{name}",
        title,
        _learned(values),
        charts.lines(
            rows,
            Channel("epoch", "epoch", format=".0f", zero=False, values=_ticks(len(values))),
            Channel("loss", unit, zero=False, format=".3~f"),
            height=200,
            points=len(values) <= 20,
        ),
        Table(
            f"learning-{name}-numbers",
            title,
            (Column("Epoch", "number"), Column(unit, "number", 4)),
            tuple((row["epoch"], row["loss"]) for row in rows),
        ),
    )


def _ticks(epochs: int) -> list[int]:
    step = max(1, math.ceil(epochs / 10))
    return list(range(1, epochs + 1)) if step == 1 else [1, *range(step, epochs + 1, step)]


def _learned(values: Sequence[float]) -> str:
    first, last = values[0], values[-1]
    if len(values) == 1:
        return f"{first:.3f} after the only epoch."
    change = (last - values[-2]) / abs(values[-2]) if values[-2] else 0.0
    return (
        f"From {first:.3f} after the first epoch to {last:.3f} after {len(values)}; "
        f"the last one changed it by {change:+.1%}."
    ).replace("%", "\u00a0%")


# --- crosses


def _crosses(context: Context) -> Iterator[Block]:
    if context.model is None:
        yield Note("No model to look into: the run did not get as far as training one.", "warn")
        return
    found = context.model.cross_weights
    if found is None:
        yield Note("No cross weights: this model has no deep & cross network.")
        return
    names, norms = found
    yield Text(
        "What the cross layer multiplies",
        "The rating network is a deep & cross network: one layer multiplies every pair of "
        "features. The strength of a pair is how much it moves the layer's output on average, "
        "over training ratings. Each step of the colours begins at twice the one before.",
    )
    labels = [_readable(name) for name in names]
    rows: list[dict[str, Any]] = [
        {"of": labels[row], "by": labels[column], "strength": float(norms[row, column])}
        for row in range(len(labels))
        for column in range(len(labels))
    ]
    yield Figure(
        "crosses",
        "Strength of each pair of features in the cross layer",
        _strongest(labels, norms),
        _turned(
            charts.heat(
                rows,
                Channel("by", "multiplied by", "nominal", sort=labels),
                Channel("of", "feature", "nominal", sort=labels),
                Channel("strength", "strength", format=".2f"),
                height=26 * len(labels) + 150,
                doubling=True,
            )
        ),
        Table(
            "crosses-numbers",
            "Strength by pair",
            (Column("Feature"), Column("Multiplied by"), Column("Strength", "number", 3)),
            tuple(
                (row["of"], row["by"], row["strength"])
                for row in sorted(rows, key=lambda row: -row["strength"])[:40]
            ),
        ),
        wide=True,
    )


def _readable(name: str) -> str:
    for ending in ("_index", "_indices", "_bucket"):
        name = name.removesuffix(ending)
    return name.replace("_", " ").replace(" x ", " × ")


def _turned(spec: charts.Spec) -> charts.Spec:
    """Returns the heat map with slanted labels below, none left out."""
    encoding = spec["encoding"]
    axis = {**encoding["x"]["axis"], "labelAngle": -45, "labelOverlap": False}
    return {**spec, "encoding": {**encoding, "x": {**encoding["x"], "axis": axis}}}


def _strongest(labels: Sequence[str], norms: FloatArray) -> str:
    both = norms + norms.T
    pairs = sorted(
        ((float(both[a, b]), a, b) for a in range(len(labels)) for b in range(a)), reverse=True
    )
    if not pairs or pairs[0][0] <= 0:
        return "No pair moves it: the cross layer has learned nothing yet."
    told = "; ".join(f"{labels[b]} with {labels[a]}" for _, a, b in pairs[:3])
    share = sum(value for value, _, _ in pairs[:3]) / sum(value for value, _, _ in pairs)
    return f"The strongest pairs of different features, {percent(share)} of all: {told}."


# --- films


def _films(context: Context) -> Iterator[Block]:
    model, catalogue = context.model, context.catalogue
    if model is None or catalogue is None or context.counts is None:
        return
    counts = context.counts
    ratings = pd.Series(counts.by_movie.sum(axis=1), index=counts.movie_ids)
    films = catalogue.assign(ratings=ratings).fillna({"ratings": 0})
    yield Text(
        "What it makes of films",
        "Each film has a vector; those of films that the same people like point the same way.",
    )
    yield from _embedding(model, films)
    yield from _neighbours(context, model, films)


def _embedding(model: ServedModel, films: pd.DataFrame) -> Iterator[Block]:
    ids = model.catalogue_ids(films)
    known = films.reindex(ids)
    enough = known["ratings"].to_numpy() >= _FEWEST_RATINGS
    rows = np.flatnonzero(enough)
    rows = rows[np.argsort(-known["ratings"].to_numpy()[rows], kind="stable")][:_MAX_POINTS]
    if len(rows) < 3:
        yield Note(f"No map of films: fewer than 3 have {_FEWEST_RATINGS} ratings.")
        return
    places, shares = plane(model.similarity_vectors[rows])
    shown = known.iloc[rows]
    genres = _genre_of_each(list(shown["genres"]))
    domain = [*(name for name, _ in Counter(genres).most_common() if name != _OTHER)]
    domain += [_OTHER] if _OTHER in genres else []
    points = [
        {"x": x, "y": y, "film": film, "genre": genre, "genres": ", ".join(listed), "ratings": n}
        for (x, y), film, genre, listed, n in zip(
            places.tolist(), shown["title"], genres, shown["genres"], shown["ratings"], strict=True
        )
    ]
    yield Figure(
        "embedding",
        f"The {len(rows):,} most rated films, near each other where the same people like them",
        f"{_farthest_genres(places, genres)} The two directions hold {percent(sum(shares))} of the "
        "variance between films; hover for titles, click a genre to see it alone.",
        charts.scatter(
            points,
            Channel("x", "first principal component", zero=False, format=".1f"),
            Channel("y", "second principal component", zero=False, format=".1f"),
            Channel("genre", "", "nominal", domain=domain),
            tips=(
                Channel("film", "Film", "nominal"),
                Channel("genres", "Genres", "nominal"),
                Channel("ratings", "Ratings", format=charts.WHOLE),
            ),
            height=520,
        ),
        wide=True,
    )


def plane(vectors: FloatArray) -> tuple[FloatArray, tuple[float, float]]:
    """Returns vectors in the plane of their two leading principal components.

    Args:
      vectors: `[points, dims]`, at least two of each.

    Returns:
      `[points, 2]` coordinates, and each direction's share of the variance. A component's
      sign is arbitrary: it is taken so that its coordinate of largest size is positive.
    """
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = left[:, :2] * sizes[:2]
    largest = places[np.abs(places).argmax(axis=0), np.arange(2)]
    places = places * np.where(largest < 0, -1.0, 1.0)
    variance = sizes**2
    first, second = (variance[:2] / max(float(variance.sum()), 1e-12)).tolist()
    return places, (first, second)


def _genre_of_each(listed: Sequence[Sequence[str]]) -> list[str]:
    """Returns the rarest of each film's frequent genres: it says more than "Drama" does."""
    times = Counter(genre for genres in listed for genre in genres)
    frequent = {genre for genre, _ in times.most_common(_GENRES)}
    return [
        min((g for g in genres if g in frequent), key=lambda genre: times[genre], default=_OTHER)
        for genres in listed
    ]


def _farthest_genres(places: FloatArray, genres: Sequence[str]) -> str:
    """Says which two genres' centres are farthest from each other."""
    of = np.array(genres)
    centres = {
        name: places[of == name].mean(axis=0)
        for name, count in Counter(genres).items()
        if name != _OTHER and count >= 5
    }
    pairs = [
        (float(np.linalg.norm(centres[a] - centres[b])), a, b)
        for a in sorted(centres)
        for b in sorted(centres)
        if a < b
    ]
    if not pairs:
        return "There are too few films to tell genres apart."
    _, one, other = max(pairs)
    return f"Of the genres, {one} and {other} lie farthest apart."


def _neighbours(context: Context, model: ServedModel, films: pd.DataFrame) -> Iterator[Block]:
    if "similar" not in model.signatures:
        return
    known = films.sort_values("ratings", ascending=False, kind="stable").index[:_WELL_KNOWN]
    movies = [int(movie) for movie in known]
    found = model.similar(movies, _NEIGHBOURS)
    width = found.movie_id.shape[1]
    rows = [
        (
            context.title(movie),
            *(
                f"{context.title(int(other))} ({cosine:.2f})" if other >= 0 else None
                for other, cosine in zip(others, cosines, strict=True)
            ),
        )
        for movie, others, cosines in zip(
            movies, found.movie_id.tolist(), found.similarity.tolist(), strict=True
        )
    ]
    yield Table(
        "neighbours",
        "The most rated films and those nearest to them, with the cosine of their vectors",
        (Column("Film"), *(Column(f"Nearest {number + 1}") for number in range(width))),
        tuple(rows),
    )


# --- people


def _people(context: Context) -> Iterator[Block]:
    model, counts, folder = context.model, context.counts, context.sources.ratings
    if model is None or counts is None or folder is None:
        return
    catalogue = context.catalogue
    genres = {} if catalogue is None else dict(catalogue["genres"].items())
    people = find_people(folder, genres, _PEOPLE, context.sources.features)
    yield Text(
        "What it recommends",
        f"{len(people)} people whose liking for a genre is farthest from everybody's, asked "
        "today: what they liked, what the model would show them next, the film they rated that "
        "speaks most for it, and the stars they gave it in the test split.",
    )
    if not people:
        yield Note("Nobody has enough ratings to be an example.")
        return
    found = model.recommend([person.user for person in people], _SHOWN)
    because = model.because(found) if "explain" in model.signatures else None
    popularity = dict(
        zip(counts.movie_ids.tolist(), counts.by_movie.sum(axis=1).tolist(), strict=True)
    )
    for row, person in enumerate(people):
        reasons = because[row].tolist() if because is not None else None
        yield _person(
            context,
            person,
            person.liked(popularity)[:_SHOWN],
            list(zip(found.movie_id[row].tolist(), found.stars[row].tolist(), strict=True)),
            reasons,
        )


def _person(
    context: Context,
    person: Person,
    liked: Sequence[int],
    recommended: Sequence[tuple[int, float]],
    reasons: Sequence[int] | None,
) -> Table:
    columns = [
        Column("Liked"),
        Column("Stars", "number", 1),
        Column("Recommended"),
        Column("Predicted", "number", 1),
    ]
    if reasons is not None:
        columns.append(Column("Because of"))
    columns.append(Column("In test", "number", 1))
    rows: list[tuple[str | float | None, ...]] = []
    for place in range(max(len(liked), len(recommended))):
        movie = liked[place] if place < len(liked) else None
        best, stars = recommended[place] if place < len(recommended) else (-1, math.nan)
        reason = reasons[place] if reasons is not None and place < len(reasons) else -1
        rows.append(
            (
                None if movie is None else context.title(movie),
                None if movie is None else person.rated[movie],
                context.title(best) if best >= 0 else None,
                stars if best >= 0 else None,
                *(() if reasons is None else (context.title(reason) if reason >= 0 else None,)),
                person.later.get(best),
            )
        )
    return Table(f"person-{person.user}", _who(context, person), tuple(columns), tuple(rows))


def _who(context: Context, person: Person) -> str:
    assert context.counts is not None
    facts = context.counts.users.loc[person.user]
    told = list(_facts(facts, context.sources.features))
    mean = sum(person.rated.values()) / len(person.rated)
    described = f" ({', '.join(told)})" if told else ""
    return (
        f"User {person.user}{described} likes {person.genre}: "
        f"{len(person.rated)} ratings that the model knows, {mean:.1f} stars on average"
    )


def _facts(facts: Mapping[str, Any], table: FeatureTable) -> Iterator[str]:
    for feature in table.owned_by(Owner.USER):
        if feature.kind is Kind.AGE and facts[feature.name] > 0:
            yield f"{facts[feature.name]:.0f}"
        elif feature.kind in (Kind.GENDER, Kind.CATEGORY):
            value = str(facts[feature.name])
            if value and value != raw.UNKNOWN:
                yield value.lower() if feature.kind is Kind.GENDER else value


# --- errors


def _errors(context: Context) -> Iterator[Block]:
    found = context.predictions
    if found is None:
        if context.model is not None:
            yield Note("Predictions are not compared: there are no test ratings.", "warn")
        return
    sample = (
        f"the {len(found.rating):,} test ratings"
        if found.share == 1
        else f"{len(found.rating):,} test ratings, those of {percent(found.share, 1)} of people"
    )
    yield Text(
        "How far its stars are off",
        f"Predictions for {sample} at the next visit, clipped to the scale.",
    )
    scale = context.sources.features.scale
    predicted = np.clip(found.predicted, scale.low, scale.high)
    yield _tiles(found, predicted)
    yield _calibration(found.rating, predicted, scale)
    yield _by_stars(found.rating, predicted)
    yield _distribution(found.rating, predicted, scale)


def _tiles(found: Predictions, predicted: FloatArray) -> Tiles:
    error = predicted - found.rating
    within = float(np.mean(np.abs(error) <= 0.5))
    far = float(np.mean(np.abs(error) > 1.5))
    return Tiles(
        (
            (f"{np.sqrt(np.mean(error**2)):.3f}", "RMSE in stars", "root mean square error"),
            (f"{np.mean(error):+.3f}", "bias in stars", "predicted minus given, on average"),
            (percent(within), "within half a star", "of the rating given"),
            (percent(far), "off by more than 1.5", "stars"),
        )
    )


def calibration(rating: FloatArray, predicted: FloatArray) -> list[dict[str, float]]:
    """Returns mean prediction and mean rating per quarter star of the prediction.

    Args:
      rating: given stars, `[rows]`.
      predicted: predicted stars, `[rows]`.

    Returns:
      `predicted`, `rating` and `rows` of each bin that has enough rows, ascending.
    """
    number = np.floor(predicted / _BIN).astype(np.int64)
    bins = []
    for place in np.unique(number):
        inside = number == place
        if inside.sum() >= min(_FEW, max(1, len(rating) // 20)):
            bins.append(
                {
                    "predicted": float(predicted[inside].mean()),
                    "rating": float(rating[inside].mean()),
                    "rows": int(inside.sum()),
                }
            )
    return bins


def _calibration(rating: FloatArray, predicted: FloatArray, scale: RatingScale) -> Figure:
    bins = calibration(rating, predicted)
    rows = sum(each["rows"] for each in bins)
    off = sum(each["rows"] * abs(each["predicted"] - each["rating"]) for each in bins) / max(
        rows, 1
    )
    worst = max(bins, key=lambda each: abs(each["predicted"] - each["rating"]), default=None)
    reading = (
        f"Off by {off:.2f} stars on average; most where it says {worst['predicted']:.1f} and "
        f"people gave {worst['rating']:.2f}. On the dashed line it would be right."
        if worst
        else "There are too few rows to say."
    )
    ends = (scale.low, scale.high)
    return Figure(
        "calibration",
        "Mean stars people gave, by the stars predicted",
        reading,
        charts.scatter(
            bins,
            Channel("predicted", "predicted stars", format=".1f", zero=False, domain=ends),
            Channel("rating", "mean of the stars given", format=".1f", zero=False, domain=ends),
            tips=(
                Channel("predicted", "Predicted", format=".2f"),
                Channel("rating", "Given, mean", format=".2f"),
                Channel("rows", "Ratings", format=charts.WHOLE),
            ),
            height=300,
            diagonal=True,
            size=60,
        ),
        Table(
            "calibration-numbers",
            "Calibration",
            (
                Column("Predicted, mean", "number"),
                Column("Given, mean", "number"),
                Column("Ratings", "number"),
            ),
            tuple((each["predicted"], each["rating"], each["rows"]) for each in bins),
        ),
    )


def _by_stars(rating: FloatArray, predicted: FloatArray) -> Figure:
    rows = []
    for stars in np.unique(rating):
        error = predicted[rating == stars] - stars
        rows.append(
            {
                "stars": float(stars),
                "rmse": float(np.sqrt(np.mean(error**2))),
                "bias": float(error.mean()),
                "rows": len(error),
            }
        )
    best = min(rows, key=lambda row: row["rmse"])
    worst = max(rows, key=lambda row: row["rmse"])
    side = "too high" if worst["bias"] > 0 else "too low"
    return Figure(
        "error-by-stars",
        "Error by the stars people gave",
        f"Films that got {worst['stars']:g} are rated {abs(worst['bias']):.2f} {side} on average; "
        f"those that got {best['stars']:g} are rated best, with RMSE {best['rmse']:.2f}.",
        charts.columns(
            rows,
            Channel("stars", "stars given", "ordinal"),
            Channel("rmse", "RMSE in stars", format=".2f"),
            height=300,
            more=(
                Channel("bias", "Predicted minus given", format="+.2f"),
                Channel("rows", "Ratings", format=charts.WHOLE),
            ),
        ),
        Table(
            "error-by-stars-numbers",
            "Error by stars",
            (
                Column("Stars", "number", 1),
                Column("RMSE", "number", 3),
                Column("Predicted minus given", "number", 3),
                Column("Ratings", "number"),
            ),
            tuple((row["stars"], row["rmse"], row["bias"], row["rows"]) for row in rows),
        ),
    )


def _distribution(rating: FloatArray, predicted: FloatArray, scale: RatingScale) -> Figure:
    edges = np.arange(scale.low, scale.high + _BIN, _BIN)
    counted, _ = np.histogram(predicted, edges)
    rows = [
        {"stars": float(low), "share": count / len(predicted)}
        for low, count in zip(edges[:-1].tolist(), counted.tolist(), strict=True)
    ]
    return Figure(
        "predicted-stars",
        "How often each quarter star is predicted",
        f"Predictions spread less than ratings do (standard deviation {predicted.std():.2f} "
        f"against {rating.std():.2f}): where it knows little, the model stays near the mean.",
        charts.columns(
            rows,
            Channel("stars", "predicted stars, from", "ordinal", format=".2f"),
            Channel("share", "share of predictions", format=charts.PERCENT),
            height=200,
        ),
        wide=True,
    )
