"""The model: how it was trained, its vectors, recommendations for examples, and its errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.names import TEST
from components.report import charts
from components.report.context import Context
from components.report.evaluated import EvaluatedModel
from components.report.page import Block, Chart, Note, Row, Section, Table, Text, Tiles
from components.report.ratings import MOVIE, RATING, SPLIT, TITLE, USER, Ratings, catalogue_tags
from components.report.sections import percent, sources_of
from schema import features as raw
from schema.features import FeatureTable, Kind, Owner

FloatArray = npt.NDArray[np.float64]

LIKED = 4.0
"""Rating from which on a movie counts as liked."""

_FEWEST, _MOST = 20, 250
"""Ratings an example user has: enough to show a preference, and few enough to look through."""

_CANDIDATES = 500
"""Users among whom examples are chosen, so that the cost does not grow with ratings."""

_PRIOR = 10.0
"""Liked movies, spread over the genres as everybody's are, that are added to each user's own: a
preference that shows in a few movies counts little."""

_WELL_KNOWN, _NEIGHBOURS = 8, 5
_EXAMPLES, _SHOWN = 3, 8
_MAX_POINTS = 1200
_FEWEST_RATINGS = 5
"""The vector of a movie with fewer ratings says little."""

_GENRES = 7
"""Genres with a colour of their own: as many as the eye separates; the rest share one more."""

_OTHER = "other"
_BIN = 0.25
_FEW = 30


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="model",
        title="Model",
        lead="How it was trained, which movies it finds alike, what it recommends to three "
        "example users, and how far its predicted ratings are from those given.",
        sources=sources_of(context.sources, "model", "model_run", "movies", "ratings"),
        blocks=(
            *_training(context),
            *_crosses(context),
            *_movies(context),
            *_examples(context),
            *_errors(context),
        ),
    )


# --- training

# By the Trainer's name: title, what is measured. Means over an epoch only: what TFRS logs as
# `total_loss` and the like is that of the epoch's last batch, which varies widely.
_CURVES: Mapping[str, tuple[str, str]] = {
    "rmse": ("Rating network: error on the training ratings, per epoch", "RMSE"),
    "retrieval_loss": ("Towers: retrieval loss in training, per epoch", "Cross entropy"),
    "autoencoder_loss": ("Autoencoder: loss in training, per epoch", "Cross entropy"),
}


def _training(context: Context) -> Iterator[Block]:
    yield Text(
        "Training",
        "Losses on the ratings that the model is fitted to, training and validation together; "
        "the Evaluation section has the metrics on the test split.",
    )
    if not context.history:
        yield Note("No learning curves: the run did not get as far as training.", "warn")
    for part, reason in context.model.left_out.items() if context.model else ():
        yield Note(f"The model is without {part}: {reason}.", "warn")
    for name, values in context.history.items():
        if name in _CURVES and any(values):
            title, unit = _CURVES[name]
            rows = [{"Epoch": n, unit: value} for n, value in enumerate(values, 1)]
            formats = {unit: ".4f"}
            spec = charts.lines(rows, "Epoch", unit, height=200, from_zero=False)
            yield Chart(f"learning-{name}", title, _curve(values), spec, rows, formats)


def _curve(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f} after the only epoch."
    change = (values[-1] - values[-2]) / abs(values[-2]) if values[-2] else 0.0
    return (
        f"From {values[0]:.3f} after the first epoch to {values[-1]:.3f} after {len(values)}; "
        f"the last epoch changed it by {change:+.1%}."
    ).replace("%", "\u00a0%")


# --- crosses


def _crosses(context: Context) -> Iterator[Block]:
    if context.model is None:
        yield Note("No model to show: the run did not get as far as training one.", "warn")
        return
    found = context.model.cross_weights
    if found is None:
        yield Note("No cross weights: this model has no deep & cross network.")
        return
    names, norms = found
    labels = [_readable(name) for name in names]
    rows: list[Row] = [
        {"Feature": one, "Multiplied by": other, "Strength": float(norms[row, column])}
        for row, one in enumerate(labels)
        for column, other in enumerate(labels)
    ]
    yield Text(
        "What the cross layer multiplies",
        "The rating network is a deep & cross network, one layer of which multiplies every pair "
        "of features. The strength of a pair is how much it moves the layer's output on average "
        "over training ratings. Each step of the colours begins at twice the one before.",
    )
    yield Chart(
        "crosses",
        "Strength of each pair of features in the cross layer",
        _strongest(labels, norms),
        charts.heat(
            rows, "Multiplied by", "Feature", "Strength", height=26 * len(labels) + 150, log=True
        ),
        sorted(rows, key=lambda row: -row["Strength"])[:40],
        {"Strength": ".3f"},
        wide=True,
    )


def _readable(name: str) -> str:
    for ending in ("_index", "_indices", "_bucket"):
        name = name.removesuffix(ending)
    return name.replace("_", " ").replace(" x ", " × ")


def _strongest(labels: Sequence[str], norms: FloatArray) -> str:
    both = norms + norms.T
    pairs = sorted(
        ((float(both[a, b]), a, b) for a in range(len(labels)) for b in range(a)), reverse=True
    )
    if not pairs or pairs[0][0] <= 0:
        return "No pair moves it: all weights of the cross layer are 0."
    named = "; ".join(f"{labels[b]} with {labels[a]}" for _, a, b in pairs[:3])
    share = sum(value for value, _, _ in pairs[:3]) / sum(value for value, _, _ in pairs)
    return f"The strongest pairs of different features, {percent(share)} of all: {named}."


# --- movies


def _movies(context: Context) -> Iterator[Block]:
    model, catalogue, ratings = context.model, context.catalogue, context.ratings
    if model is None or catalogue is None or ratings is None:
        return
    totals = ratings.by_movie.sum(axis=1)
    movies = catalogue.assign(ratings=totals.reindex(catalogue.index).fillna(0).astype("int64"))
    yield Text(
        "Similar movies",
        "The model has a vector per movie; the vectors of movies that the same users like point "
        "in similar directions.",
    )
    tags = catalogue_tags(context.sources.features)
    genres = movies[tags[0].name] if tags else pd.Series([()] * len(movies), movies.index)
    yield _map(model, movies, genres)
    known = movies.nlargest(_WELL_KNOWN, "ratings").index.tolist()
    ids, cosines = model.similar(known, _NEIGHBOURS)
    rows = [
        {
            "Movie": context.title(movie),
            **{
                f"Nearest {n}": f"{context.title(other)} ({cosine:.2f})" if other >= 0 else None
                for n, (other, cosine) in enumerate(zip(*near, strict=True), 1)
            },
        }
        for movie, near in zip(known, zip(ids.tolist(), cosines.tolist(), strict=True), strict=True)
    ]
    caption = "The most rated movies and the movies most similar to them, with the cosine"
    yield Table("neighbours", caption, rows)


def _map(model: EvaluatedModel, movies: pd.DataFrame, genres: pd.Series) -> Block:
    ids = np.array(model.movie_ids())
    totals = movies["ratings"].reindex(ids).fillna(0).to_numpy()
    rows = np.flatnonzero(totals >= _FEWEST_RATINGS)
    rows = rows[np.argsort(-totals[rows], kind="stable")][:_MAX_POINTS]
    if len(rows) < 3:
        return Note(f"No map of movies: fewer than 3 have {_FEWEST_RATINGS} ratings.")
    places, shares = plane(model.similarity_vectors()[rows])
    chosen = ids[rows]
    one_genre = _genre_of_each(genres.loc[chosen].tolist())
    first, second = "First principal component", "Second principal component"
    points = [
        {"Movie": title, "Genres": ", ".join(of), "Ratings": n, "Genre": one, first: x, second: y}
        for title, of, n, one, (x, y) in zip(
            movies.loc[chosen, TITLE],
            genres.loc[chosen],
            totals[rows].astype(int).tolist(),
            one_genre,
            places.tolist(),
            strict=True,
        )
    ]
    points.sort(key=lambda point: point["Genre"] == _OTHER)
    return Chart(
        "embedding",
        f"The {len(rows):,} most rated movies; near each other where the same users like them",
        f"The two directions hold {percent(sum(shares))} of the variance between movies. Hover for "
        "titles, click a genre to see it alone.",
        charts.points(points, first, second, series="Genre", height=520),
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
    """Returns the rarest of each movie's frequent genres: it says more than "Drama" does."""
    times = Counter(genre for genres in listed for genre in genres)
    frequent = {genre for genre, _ in times.most_common(_GENRES)}
    return [
        min((g for g in genres if g in frequent), key=lambda genre: times[genre], default=_OTHER)
        for genres in listed
    ]


# --- recommendations for examples


def _examples(context: Context) -> Iterator[Block]:
    model, ratings, catalogue = context.model, context.ratings, context.catalogue
    if model is None or ratings is None:
        return
    known = ratings.rows[ratings.rows[SPLIT] != TEST]
    tags = catalogue_tags(context.sources.features)
    genres = catalogue[tags[0].name] if catalogue is not None and tags else pd.Series(dtype=object)
    chosen = choose(known, genres, _EXAMPLES)
    yield Text(
        "Example recommendations",
        "The users whose preference for a genre differs most from everybody's, with the movies "
        "that they liked and what the model recommends at their next visit. “Because of” is the "
        "movie they rated that raised the recommendation's score most; “In test” is their rating "
        "in the test split, which the model has not seen.",
    )
    if not chosen:
        yield Note(f"No user has {_FEWEST} to {_MOST} ratings, so there are no examples.")
        return
    users = [user for user, _ in chosen]
    ids, predicted = model.recommend(users, _SHOWN)
    reasons = model.because(users, ids)
    for row, (user, genre) in enumerate(chosen):
        found = zip(ids[row].tolist(), predicted[row].tolist(), reasons[row].tolist(), strict=True)
        yield _example(context, ratings, user, genre, list(found))


def choose(known: pd.DataFrame, genres: pd.Series, count: int) -> list[tuple[int, str]]:
    """Returns users who like a genre most beyond everybody's liking, with the genre.

    Args:
      known: ratings, with the columns of `Ratings.rows`.
      genres: a tuple of genres by movie id.
      count: how many users at most; all of different genres.
    """
    totals = known[USER].value_counts()
    users = totals[totals.between(_FEWEST, _MOST)].index.sort_values()[:_CANDIDATES]
    liked = known[known[USER].isin(users) & (known[RATING] >= LIKED)]
    pairs = liked[[USER, MOVIE]].join(genres.explode().dropna().rename("genre"), on=MOVIE)
    times = pd.crosstab(pairs[USER], pairs["genre"])
    if times.empty:
        return []
    everybody = times.sum() / times.to_numpy().sum()
    own = times + _PRIOR * everybody
    surplus = own.div(own.sum(axis=1), axis=0) - everybody
    chosen: list[tuple[int, str]] = []
    while len(chosen) < count and not surplus.empty:
        user, genre = surplus.stack().idxmax()
        chosen.append((int(user), str(genre)))
        surplus = surplus.drop(index=user, columns=genre)
    return chosen


def _example(
    context: Context,
    ratings: Ratings,
    user: int,
    genre: str,
    recommended: Sequence[tuple[int, float, int]],
) -> Table:
    own = ratings.rows[ratings.rows[USER] == user]
    later = own[own[SPLIT] == TEST].set_index(MOVIE)[RATING].to_dict()
    rated = own[own[SPLIT] != TEST].set_index(MOVIE)[RATING]
    popularity = ratings.by_movie.sum(axis=1).reindex(rated.index)
    order = pd.DataFrame({"rating": -rated, "popularity": -popularity})
    liked = rated.loc[order.sort_values(["rating", "popularity"], kind="stable").index]
    liked = liked[liked >= LIKED]
    rows = []
    for place in range(max(min(len(liked), _SHOWN), len(recommended))):
        movie, predicted, reason = (
            recommended[place] if place < len(recommended) else (-1, None, -1)
        )
        held = place < len(liked)
        rows.append(
            {
                "Liked": context.title(int(liked.index[place])) if held else None,
                "Rating": float(liked.iloc[place]) if held else None,
                "Recommended": context.title(movie) if movie >= 0 else None,
                "Predicted": predicted if movie >= 0 else None,
                "Because of": context.title(reason) if reason >= 0 else None,
                "In test": later.get(movie),
            }
        )
    profile = list(_profile(ratings.users.loc[user], context.sources.features))
    described = f" ({', '.join(profile)})" if profile else ""
    caption = (
        f"User {user}{described} likes {genre}: {len(rated)} ratings in training and validation, "
        f"{rated.mean():.1f} on average"
    )
    return Table(f"user-{user}", caption, rows, {"Predicted": ".1f", "In test": "g"})


def _profile(facts: Mapping[str, Any], table: FeatureTable) -> Iterator[str]:
    for feature in table.owned_by(Owner.USER):
        value: Any = facts.get(feature.name, raw.UNKNOWN)
        if feature.kind is Kind.AGE and value > 0:
            yield f"{value:.0f}"
        elif feature.kind in (Kind.GENDER, Kind.CATEGORY) and value not in ("", raw.UNKNOWN):
            yield str(value).lower() if feature.kind is Kind.GENDER else str(value)


# --- errors


def _errors(context: Context) -> Iterator[Block]:
    found = context.predictions
    if found is None:
        if context.model is not None:
            yield Note("Predictions are not compared: there are no test ratings.", "warn")
        return
    which = "" if found.share == 1 else f", those of {percent(found.share)} of the users"
    yield Text(
        "Errors of the predicted ratings",
        f"For {len(found.rating):,} test ratings{which}, at the next visit.",
    )
    scale = context.sources.features.scale
    predicted = np.clip(found.predicted, scale.low, scale.high)
    error = predicted - found.rating
    yield Tiles(
        (
            (percent(float(np.mean(np.abs(error) <= 0.5))), "within half a star", "of the rating"),
            (percent(float(np.mean(np.abs(error) > 1.5))), "off by more than 1.5", "stars"),
            (f"{predicted.std():.2f}", "standard deviation", "of the predicted ratings"),
            (f"{found.rating.std():.2f}", "standard deviation", "of the ratings given"),
        )
    )
    yield _calibration(found.rating, predicted, (scale.low, scale.high))
    yield _by_rating(found.rating, predicted)


def calibration(rating: FloatArray, predicted: FloatArray) -> list[Row]:
    """Returns mean prediction and mean rating per quarter star of the prediction.

    Args:
      rating: ratings given, `[rows]`.
      predicted: predicted ratings, `[rows]`.

    Returns:
      A row for each bin that has enough ratings, ascending.
    """
    number = np.floor(predicted / _BIN).astype(np.int64)
    bins = [(place, number == place) for place in np.unique(number)]
    return [
        {
            "Predicted, mean": float(predicted[inside].mean()),
            "Given, mean": float(rating[inside].mean()),
            "Ratings": int(inside.sum()),
            "Share of ratings": float(inside.mean()),
        }
        for _, inside in bins
        if inside.sum() >= min(_FEW, max(1, len(rating) // 20))
    ]


def _calibration(rating: FloatArray, predicted: FloatArray, ends: tuple[float, float]) -> Chart:
    rows = calibration(rating, predicted)
    x, y = "Predicted, mean", "Given, mean"
    total = max(sum(row["Ratings"] for row in rows), 1)
    off = sum(row["Ratings"] * abs(row[x] - row[y]) for row in rows) / total
    worst = max(rows, key=lambda row: abs(row[x] - row[y]))
    return Chart(
        "calibration",
        "Mean rating given, by the rating predicted",
        f"Off by {off:.2f} on average; most where {worst[x]:.1f} is predicted and the mean given "
        f"is {worst[y]:.2f}. On the dashed line both are equal.",
        charts.points(rows, x, y, diagonal=ends),
        rows,
    )


def _by_rating(rating: FloatArray, predicted: FloatArray) -> Chart:
    rows = [
        {
            "Rating": float(value),
            "RMSE": float(np.sqrt(np.mean((predicted[rating == value] - value) ** 2))),
            "Bias": float(np.mean(predicted[rating == value] - value)),
            "Ratings": int((rating == value).sum()),
        }
        for value in np.unique(rating)
    ]
    best, worst = min(rows, key=lambda row: row["RMSE"]), max(rows, key=lambda row: row["RMSE"])
    side = "too high" if worst["Bias"] > 0 else "too low"
    return Chart(
        "error-by-rating",
        "Error by the rating given",
        f"Predictions for ratings of {worst['Rating']:g} are {abs(worst['Bias']):.2f} {side} on "
        f"average; the smallest RMSE, {best['RMSE']:.2f}, is at ratings of {best['Rating']:g}.",
        charts.upright_bars(rows, "Rating", "RMSE", height=300),
        rows,
        {"Bias": "+.3f"},
    )
