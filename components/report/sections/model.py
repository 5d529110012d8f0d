"""The model: how it was trained, its vectors, recommendations for examples, and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.names import TEST
from components.report import charts
from components.report.context import Context, Words
from components.report.evaluated import EvaluatedModel
from components.report.page import Block, Chart, Note, Row, Section, Table, Text, Tiles
from components.report.ratings import (
    MOVIE,
    RATING,
    SPLIT,
    TITLE,
    USER,
    Ratings,
    catalogue_tags,
    in_order,
)
from components.report.sections import capital, percent, sources_of
from metrics import rating as rating_metrics
from schema import features as raw
from schema.dataset import number_of, plural
from schema.features import FeatureTable, Kind, Owner

FloatArray = npt.NDArray[np.float64]

_LIKED = 0.75
"""Share of the scale from which on a rating counts as liking: 4 of 1 to 5 stars."""
_BINS = 16
"""Bins of the scale: a quarter star each."""

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
_FEW = 30


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="model",
        title="Model",
        lead=f"How it was trained, which {context.words.items} it finds alike, what it recommends "
        "to three example users and, where the data has ratings, how far its predictions are off.",
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
    "sequence_loss": ("Sequence block: loss in training, per epoch", "Cross entropy"),
}


def _training(context: Context) -> Iterator[Block]:
    yield Text(
        "Training",
        f"Losses on the {context.words.events} that the model is fitted to, training and "
        "validation together; the Evaluation section has the metrics on the test split.",
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
    if not context.sources.features.has_rating:
        return
    if found is None:
        yield Note("No cross weights: this model has no deep & cross network.")
        return
    names, norms = found
    labels = [_readable(name, context.words) for name in names]
    strengths = pd.DataFrame(norms, pd.Index(labels, name="Feature"), labels)
    strengths = strengths.rename_axis(columns="Multiplied by")
    rows: list[Row] = strengths.stack().reset_index(name="Strength").to_dict("records")
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


def _readable(name: str, words: Words) -> str:
    for ending in ("_index", "_indices", "_bucket"):
        name = name.removesuffix(ending)
    name = name.replace("_", " ").replace(" x ", " × ")
    return name if words.item == "movie" else words.fit(name).replace("viewers", "users")


def _strongest(labels: Sequence[str], norms: FloatArray) -> str:
    first, second = np.tril_indices(len(labels), -1)
    both = (norms + norms.T)[first, second]
    order = np.argsort(-both, kind="stable")[:3]
    if not both.sum() > 0:
        return "No pair moves it: all weights of the cross layer are 0."
    named = "; ".join(f"{labels[second[n]]} with {labels[first[n]]}" for n in order)
    share = percent(both[order].sum() / both.sum())
    return f"The strongest pairs of different features, {share} of all: {named}."


# --- movies


def _movies(context: Context) -> Iterator[Block]:
    model, catalogue, ratings = context.model, context.catalogue, context.ratings
    if model is None or catalogue is None or ratings is None:
        return
    words = context.words
    totals = ratings.by_movie.sum(axis=1)
    movies = catalogue.assign(ratings=totals.reindex(catalogue.index).fillna(0).astype("int64"))
    yield Text(
        f"Similar {words.items}",
        f"The model has a vector per {words.item}; the vectors of {words.items} that the same "
        "users like point in similar directions.",
    )
    tags = catalogue_tags(context.sources.features)
    yield _map(model, movies, tags[0] if tags else None, words)
    known = movies.nlargest(_WELL_KNOWN, "ratings").index.tolist()
    ids, cosines = model.similar(known, _NEIGHBOURS)
    rows = [
        {
            capital(words.item): context.title(movie),
            **{
                f"Nearest {n}": f"{context.title(other)} ({cosine:.2f})" if other else None
                for n, (other, cosine) in enumerate(zip(*near, strict=True), 1)
            },
        }
        for movie, *near in zip(known, ids.tolist(), cosines.tolist(), strict=True)
    ]
    caption = (
        f"The {words.items} with most {words.events} and those most similar to them, with the "
        "cosine"
    )
    yield Table("neighbours", caption, rows)


def _map(
    model: EvaluatedModel, movies: pd.DataFrame, tags: raw.Feature | None, words: Words
) -> Block:
    ids = pd.Index(model.movie_ids())
    totals = movies["ratings"].reindex(ids).fillna(0).to_numpy()
    rows = np.flatnonzero(totals >= _FEWEST_RATINGS)
    rows = rows[np.argsort(-totals[rows], kind="stable")][:_MAX_POINTS]
    if len(rows) < 3:
        return Note(f"No map of {words.items}: fewer than 3 have {_FEWEST_RATINGS} {words.events}.")
    places, shares = plane(model.similarity_vectors()[rows])
    chosen = movies.loc[ids[rows]]
    found = pd.DataFrame(
        {capital(words.item): chosen[TITLE], capital(words.events): chosen["ratings"]}
    )
    series = ""
    if tags is not None:
        series = capital(tags.singular)
        found.insert(1, capital(plural(tags.singular)), chosen[tags.name].map(", ".join))
        found[series] = _rarest_of_each(chosen[tags.name])
    across, up = "First principal component", "Second principal component"
    found[[across, up]] = places
    if series:
        found = found.sort_values(series, key=lambda column: column == _OTHER, kind="stable")
    return Chart(
        "embedding",
        f"The {len(rows):,} {words.items} with most {words.events}; near each other where the "
        "same users like them",
        f"The two directions hold {percent(sum(shares))} of the variance between {words.items}. "
        "Hover for titles"
        + (f", click one of the {plural(tags.singular)} to see it alone." if tags else "."),
        charts.points(found.to_dict("records"), across, up, series=series, height=520),
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


def _rarest_of_each(listed: pd.Series) -> pd.Series:
    """Returns the rarest of each movie's frequent tags: it says more than "Drama" does."""
    times = listed.explode().value_counts()[:_GENRES]
    return listed.map(
        lambda tags: min((t for t in tags if t in times), key=times.get, default=_OTHER)
    )


# --- recommendations for examples


def _examples(context: Context) -> Iterator[Block]:
    model, ratings, catalogue = context.model, context.ratings, context.catalogue
    if model is None or ratings is None:
        return
    table, words = context.sources.features, context.words
    known = ratings.rows[ratings.rows[SPLIT] != TEST]
    tags = catalogue_tags(table)
    if catalogue is None or not tags:
        yield Note(
            f"No example recommendations: users are chosen by their preference for some tag of "
            f"{words.items}, such as a genre, and this data has none."
        )
        return
    own = "their rating" if ratings.values else "“yes” where the user chose it"
    yield Text(
        "Example recommendations",
        f"The users whose preference for a {tags[0].singular} differs most from everybody's, with "
        f"the {words.items} that they liked and what the model recommends at their next visit. "
        f"“Because of” is the {words.item} of theirs that raised the recommendation's score most; "
        f"“In test”, where there is any, is {own} in the test split, which the model has not seen.",
    )
    chosen = choose(known, catalogue[tags[0].name], _EXAMPLES, liked_from(table))
    if not chosen:
        yield Note(f"No user has {_FEWEST} to {_MOST} {words.events}, so there are no examples.")
        return
    users = [user for user, _ in chosen]
    ids, predicted = model.recommend(users, _SHOWN)
    reasons = model.because(users, ids)
    for row, (user, tag) in enumerate(chosen):
        recommended = pd.DataFrame({"movie": ids[row], "reason": reasons[row]})
        if predicted is not None:
            recommended["predicted"] = predicted[row]
        yield _example(context, ratings, user, tag, recommended[recommended["movie"] != ""])


def liked_from(table: FeatureTable) -> float | None:
    """Returns the rating from which on a movie counts as liked; None: every event does."""
    if not table.has_rating:
        return None
    return table.scale.low + _LIKED * (table.scale.high - table.scale.low)


def _liked(rows: pd.DataFrame, least: float | None) -> pd.DataFrame:
    return rows if least is None else rows[rows[RATING] >= least]


def choose(
    known: pd.DataFrame, tags: pd.Series, count: int, least: float | None
) -> list[tuple[str, str]]:
    """Returns users who like a tag, such as a genre, most beyond everybody's liking, with the tag.

    Args:
      known: ratings, with the columns of `Ratings.rows`.
      tags: a tuple of tags by movie id.
      count: how many users at most; all of different tags.
      least: rating from which on a movie counts as liked; None: every event.
    """
    totals = known[USER].value_counts()
    users = totals[totals.between(_FEWEST, _MOST)].index.astype(object)
    users = users.sort_values(key=in_order)[:_CANDIDATES]
    liked = _liked(known[known[USER].isin(users)], least)
    pairs = liked[[USER, MOVIE]].astype(object)
    pairs = pairs.join(tags.explode().dropna().rename("tag"), on=MOVIE)
    times = pd.crosstab(pairs[USER], pairs["tag"])
    if times.empty:
        return []
    times = times.sort_index(key=in_order)
    everybody = times.sum() / times.to_numpy().sum()
    own = times + _PRIOR * everybody
    surplus = own.div(own.sum(axis=1), axis=0) - everybody
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count and not surplus.empty:
        user, tag = surplus.stack().idxmax()
        chosen.append((str(user), str(tag)))
        surplus = surplus.drop(index=user, columns=tag)
    return chosen


def _example(
    context: Context, ratings: Ratings, user: str, tag: str, recommended: pd.DataFrame
) -> Table:
    words, table = context.words, context.sources.features
    own = ratings.rows[ratings.rows[USER] == user].set_index(MOVIE)
    given = own[RATING] if ratings.values else pd.Series("yes", own.index)
    later, rated = given[own[SPLIT] == TEST], own[own[SPLIT] != TEST]
    popularity = ratings.by_movie.sum(axis=1).reindex(rated.index)
    by = [RATING, "popularity"] if ratings.values else ["popularity"]
    liked = _liked(rated.assign(popularity=popularity), liked_from(table))
    liked = liked.sort_values(by, ascending=False, kind="stable")[:_SHOWN].reset_index()
    columns = {"Liked": liked[MOVIE].map(context.title)}
    if ratings.values:
        columns["Rating"] = liked[RATING]
    columns["Recommended"] = recommended["movie"].map(context.title)
    if "predicted" in recommended:
        columns["Predicted"] = recommended["predicted"]
    reasons = recommended["reason"]
    columns["Because of"] = reasons[reasons != ""].map(context.title)
    columns["In test"] = recommended["movie"].map(later.to_dict())
    shown = pd.DataFrame({name: column.astype(object) for name, column in columns.items()})
    profile = list(_profile(ratings.users.loc[user], table))
    described = f" ({', '.join(profile)})" if profile else ""
    caption = (
        f"User {user}{described} likes {tag}: {number_of(len(rated), words.event)} in training "
        "and validation"
    )
    if ratings.values:
        caption += f", {rated[RATING].mean():.1f} on average"
    rows = shown.where(shown.notna(), None).to_dict("records")
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
    found, table, words = context.predictions, context.sources.features, context.words
    if not table.has_rating:
        yield Note("This data has no ratings: the model predicts none.")
        return
    if found is None:
        if context.model is not None:
            yield Note("Predictions are not compared: there are no test ratings.", "warn")
        return
    which = "" if found.share == 1 else f", those of about {percent(found.share)} of the users"
    yield Text(
        "Errors of the predicted ratings",
        f"For {len(found.rating):,} test ratings{which}, at the next visit.",
    )
    low, high, _ = table.scale
    predicted = rating_metrics.clip(found.predicted, (low, high))
    error = np.abs(predicted - found.rating)
    # In stars, or in parts of a scale that is not one of stars.
    unit = 1.0 if words.in_stars else (high - low) / 4
    close, far = 0.5 * unit, 1.5 * unit
    within, stars = ("half a star", "stars") if words.in_stars else (f"{close:g}", "")
    yield Tiles(
        (
            (percent(float(np.mean(error <= close))), f"within {within}", "of the rating"),
            (
                percent(float(np.mean(error > far))),
                f"off by more than {far:g}",
                "stars" if words.in_stars else "",
            ),
            (f"{predicted.std():.2f}", "standard deviation", "of the predicted ratings"),
            (f"{found.rating.std():.2f}", "standard deviation", "of the ratings given"),
        )
    )
    yield _calibration(found.rating, predicted, (low, high))
    yield _by_rating(found.rating, predicted)


_X, _Y = "Predicted, mean", "Given, mean"


def calibration(rating: FloatArray, predicted: FloatArray, width: float) -> list[Row]:
    """Returns mean prediction and mean rating per bin of the prediction.

    Args:
      rating: ratings given, `[rows]`.
      predicted: predicted ratings, `[rows]`.
      width: of a bin, in units of the rating.

    Returns:
      A row for each bin that has enough ratings, ascending.
    """
    bins = pd.DataFrame({_X: predicted, _Y: rating}).groupby(np.floor(predicted / width))
    sizes = bins.size()
    found = bins.mean().assign(**{"Ratings": sizes, "Share of ratings": sizes / len(rating)})
    enough = sizes >= min(_FEW, max(1, len(rating) // 20))
    rows: list[Row] = found[enough].to_dict("records")
    return rows


def _calibration(rating: FloatArray, predicted: FloatArray, ends: tuple[float, float]) -> Chart:
    rows = calibration(rating, predicted, (ends[1] - ends[0]) / _BINS)
    total = max(sum(row["Ratings"] for row in rows), 1)
    off = sum(row["Ratings"] * abs(row[_X] - row[_Y]) for row in rows) / total
    worst = max(rows, key=lambda row: abs(row[_X] - row[_Y]))
    return Chart(
        "calibration",
        "Mean rating given, by the rating predicted",
        f"Off by {off:.2f} on average; most where {worst[_X]:.1f} is predicted and the mean given "
        f"is {worst[_Y]:.2f}. On the dashed line both are equal.",
        charts.points(rows, _X, _Y, diagonal=ends),
        rows,
    )


def _by_rating(rating: FloatArray, predicted: FloatArray) -> Chart:
    rows = [
        {
            "Rating": float(value),
            "RMSE": rating_metrics.rmse(predicted[same], rating[same]),
            "Bias": rating_metrics.bias(predicted[same], rating[same]),
            "Ratings": int(same.sum()),
        }
        for value in np.unique(rating)
        if (same := rating == value).any()
    ]
    best, worst = min(rows, key=lambda row: row["RMSE"]), max(rows, key=lambda row: row["RMSE"])
    side = "too high" if worst["Bias"] > 0 else "too low"
    return Chart(
        "error-by-rating",
        "Error by the rating given",
        f"Predictions for ratings of {worst['Rating']:g} are {abs(worst['Bias']):.2f} {side} on "
        f"average; the smallest RMSE, {best['RMSE']:.2f}, is at ratings of {best['Rating']:g}.",
        charts.bars(rows, "Rating", "RMSE", height=300, upright=True),
        rows,
        {"Bias": "+.3f"},
    )
