"""The model: how it was trained, its vectors, recommendations for examples, and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.names import TEST
from components.report import charts
from components.report.context import Context, Words
from components.report.evaluated import EvaluatedModel
from components.report.page import Block, Chart, Note, Row, Table, Text
from components.report.ratings import MOVIE, RATING, SPLIT, USER, Ratings, in_order, of_movies
from components.report.sections import capital, percent
from components.report.sources import read_json, splits
from metrics import rating as rating_metrics
from schema import features as raw
from schema.dataset import in_words_of, number_of, plural
from schema.features import FeatureTable, Kind, Owner

FloatArray = npt.NDArray[np.float64]

_LIKED = 0.75
"""Share of the scale from which on a rating counts as liking: 4 of 1 to 5 stars."""
_BINS, _FEW = 16, 30
"""Bins of the scale, a quarter star each, and the ratings that a bin needs to be drawn."""

_MAX_PREDICTED = 5_000
"""Test ratings that are predicted; of more, those of about one in n users."""

_WELL_KNOWN, _NEIGHBOURS, _SHOWN = 8, 5, 8
_MAX_POINTS = 1200
_FEWEST_RATINGS = 5
"""The vector of a movie with fewer ratings says little."""

_GENRES = 7
"""Genres with a colour of their own: as many as the eye separates; the rest share one more."""
_OTHER = "other"
_HISTORY_FILE = "history.json"  # the Trainer's


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    yield from _training(context)
    yield from _crosses(context)
    yield from _movies(context)
    yield from _examples(context)
    yield from _errors(context)


# By the Trainer's name: title, what is measured. Means over an epoch only: what TFRS logs as
# `total_loss` and the like is that of the epoch's last batch, which varies widely.
_CURVES: Mapping[str, tuple[str, str]] = {
    "retrieval_loss": ("Two towers (session retrieval): loss per epoch", "Cross entropy"),
    "rmse": ("Rating network: error on the ratings it is fitted to, per epoch", "RMSE"),
    "autoencoder_loss": ("Autoencoder (long-term retrieval): loss per epoch", "Cross entropy"),
    "sequence_loss": ("Sequence block (session retrieval): loss per epoch", "Cross entropy"),
}


def _training(context: Context) -> Iterator[Block]:
    yield Text(
        "Training",
        f"Losses of the model's parts on the {context.words.events} that they are fitted to, "
        "training and validation together: they should fall and then level off. The Evaluation "
        "section has the metrics on the test split.",
    )
    folder = context.sources.model_run
    history: Mapping[str, list[float]] = read_json(folder / _HISTORY_FILE if folder else None)
    if not history:
        yield Note("No learning curves: the run did not get as far as training.", "warn")
    for part, reason in context.model.left_out.items() if context.model else ():
        text = f"The model is without {part}: {reason}."
        yield Note(in_words_of(text, context.words.item))
    for name, (title, unit) in _CURVES.items():
        values = history.get(name, [])
        if len(values) == 1 and any(values):
            yield Note(f"{title}, {values[0]:.4f} after the only one.")
        elif any(values):
            first, last, count = values[0], values[-1], len(values)
            reading = f"From {first:.3f} after the first epoch to {last:.3f} after {count}."
            rows = [{"Epoch": n, unit: value} for n, value in enumerate(values, 1)]
            spec, formats = charts.lines(rows, "Epoch", unit), {unit: ".4f"}
            yield Chart(f"learning-{name}", title, reading, spec, formats=formats)


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
    strengths = pd.DataFrame(norms, labels, labels).rename_axis("Feature")
    long = strengths.rename_axis(columns="Multiplied by").stack().reset_index(name="Strength")
    rows: list[Row] = long.to_dict("records")
    ordered = sorted(rows, key=lambda row: -row["Strength"])
    pairs = [f"{r['Feature']} with {r['Multiplied by']}" for r in ordered if r["Strength"] > 0]
    yield Text(
        "What the cross layer multiplies",
        "The rating network is a deep & cross network, one layer of which multiplies every pair "
        "of features. The strength of a pair is how much it moves the layer's output on average "
        "over training ratings.",
    )
    strongest = f"The strongest pairs: {'; '.join(pairs[:3])}."
    yield Chart(
        "crosses",
        "Strength of each pair of features in the cross layer",
        strongest if pairs else "No pair moves it: all weights of the cross layer are 0.",
        charts.heat(rows, "Multiplied by", "Feature", "Strength"),
        ordered[:40],
        wide=True,
    )


def _readable(name: str, words: Words) -> str:
    for ending in ("_index", "_indices", "_bucket"):
        name = name.removesuffix(ending)
    name = name.replace("_", " ").replace(" x ", " × ")
    return name if words.item == "movie" else words.fit(name).replace("viewers", "users")


def _movies(context: Context) -> Iterator[Block]:
    model, catalogue, ratings = context.model, context.catalogue, context.ratings
    if model is None or catalogue is None or ratings is None:
        return
    words = context.words
    totals = ratings.by_movie.sum(axis=1).reindex(catalogue.index, fill_value=0)
    movies = catalogue.assign(ratings=totals)
    yield Text(
        f"Similar {words.items}",
        f"The model has a vector per {words.item}; the vectors of {words.items} that the same "
        "users like point in similar directions.",
    )
    yield _map(context, model, movies)
    known = movies.nlargest(_WELL_KNOWN, "ratings").index.tolist()
    rows = []
    for movie, ids, cosines in zip(known, *model.similar(known, _NEIGHBOURS), strict=True):
        row: dict[str, str | None] = {capital(words.item): context.title(movie)}
        for n, (other, cosine) in enumerate(zip(ids, cosines, strict=True), 1):
            row[f"Nearest {n}"] = f"{context.title(other)} ({cosine:.2f})" if other else None
        rows.append(row)
    most = f"The {words.items} with most {words.events}"
    how = "with the cosine of their vectors, 1 at most"
    yield Table("neighbours", f"{most} and those most similar to them, {how}", rows)


def _map(context: Context, model: EvaluatedModel, movies: pd.DataFrame) -> Block:
    words, vectors = context.words, pd.DataFrame(model.similarity_vectors(), model.movie_ids())
    known = movies.reindex(vectors.index).query(f"ratings >= {_FEWEST_RATINGS}")
    chosen = known.sort_values("ratings", ascending=False, kind="stable")[:_MAX_POINTS]
    if len(chosen) < 3:
        return Note(f"No map of {words.items}: fewer than 3 have {_FEWEST_RATINGS} {words.events}.")
    places, shares = plane(vectors.loc[chosen.index].to_numpy())
    titles = chosen.index.map(context.title)
    found = pd.DataFrame(
        {capital(words.item): titles, capital(words.events): chosen["ratings"].astype(int)}
    )
    across, up = "First principal component", "Second principal component"
    found[[across, up]] = places
    series = hint = ""
    for tags in of_movies(context.sources.features, Kind.TAGS)[:1]:
        series = capital(tags.singular)
        found.insert(1, capital(plural(tags.singular)), chosen[tags.name].map(", ".join))
        found.insert(3, series, _rarest_of_each(chosen[tags.name]))
        found = found.sort_values(series, key=lambda column: column == _OTHER, kind="stable")
        hint = f", click one of the {plural(tags.singular)} to see it alone"
    return Chart(
        "embedding",
        f"The {len(chosen):,} {words.items} with most {words.events}; near each other where the "
        "same users like them",
        f"The two directions hold {percent(sum(shares))} of the variance between {words.items}. "
        f"Hover for titles{hint}.",
        charts.points(found.to_dict("records"), across, up, series),
        rows=(),
        wide=True,
    )


def plane(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns `[points, dims]` vectors in the plane of their two leading principal components.

    Returns:
      `[points, 2]` coordinates, and each direction's share of the variance. A component's
      sign is arbitrary: it is taken so that its coordinate of largest size is positive.
    """
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    places = left[:, :2] * sizes[:2]
    largest = places[np.abs(places).argmax(axis=0), [0, 1]]
    variance = sizes**2
    return places * np.where(largest < 0, -1, 1), variance[:2] / max(variance.sum(), 1e-12)


def _rarest_of_each(listed: pd.Series) -> pd.Series:
    """Returns the rarest of each movie's frequent tags: it says more than "Drama" does."""
    times = listed.explode().value_counts()[:_GENRES]
    frequent = listed.map(lambda tags: [tag for tag in tags if tag in times])
    return frequent.map(lambda tags: min(tags, key=times.get, default=_OTHER))


def _examples(context: Context) -> Iterator[Block]:
    model, ratings, words = context.model, context.ratings, context.words
    if model is None or ratings is None:
        return
    own = "their rating" if ratings.values else "“yes” where the user chose it"
    yield Text(
        "Example recommendations",
        f"Users at the quartiles of the number of {words.events}: with few, a middling number and "
        f"many of them. Each has the {words.items} that they liked and what the model recommends "
        f"at their next visit. “Because of” is the {words.item} of theirs that raised the "
        f"recommendation's score most; “In test”, where there is any, is {own} in the test split, "
        "which the model has not seen.",
    )
    users = choose(ratings.rows[ratings.rows[SPLIT] != TEST])
    ids, predicted = model.recommend(users, _SHOWN)
    reasons = model.because(users, ids)
    for row, user in enumerate(users):
        stars = None if predicted is None else predicted[row]
        found = {"movie": ids[row], "reason": reasons[row], "predicted": stars}
        recommended = pd.DataFrame(found).replace("", None)
        yield _example(context, ratings, user, recommended[recommended["movie"].notna()])


def choose(known: pd.DataFrame) -> list[str]:
    """Returns the users at the quartiles of the number of ratings, fewest first, each once."""
    totals = known[USER].value_counts()
    ordered = totals[totals > 0].sort_index(key=in_order).sort_values(kind="stable").index
    places = np.linspace(0, len(ordered) - 1, 5).round().astype(int)[1:-1]
    return list(dict.fromkeys(str(ordered[place]) for place in places))


def liked_from(table: FeatureTable) -> float | None:
    """Returns the rating from which on a movie counts as liked; None: every event does."""
    if not table.has_rating:
        return None
    return table.scale.low + _LIKED * (table.scale.high - table.scale.low)


def _example(context: Context, ratings: Ratings, user: str, recommended: pd.DataFrame) -> Table:
    words, table = context.words, context.sources.features
    own = ratings.rows[ratings.rows[USER] == user].set_index(MOVIE)
    given = own[RATING] if ratings.values else pd.Series("yes", own.index)
    later, rated = given[own[SPLIT] == TEST], own[own[SPLIT] != TEST]
    popularity = ratings.by_movie.sum(axis=1).reindex(rated.index)
    by = [RATING, "popularity"] if ratings.values else ["popularity"]
    liked = rated.assign(popularity=popularity).sort_values(by, ascending=False, kind="stable")
    least = liked_from(table)
    liked = (liked if least is None else liked[liked[RATING] >= least])[:_SHOWN].reset_index()
    columns = {
        "Liked": liked[MOVIE].map(context.title),
        "Rating": liked.get(RATING),
        "Recommended": recommended["movie"].map(context.title),
        "Predicted": recommended["predicted"],
        "Because of": recommended["reason"].map(context.title, na_action="ignore"),
        "In test": recommended["movie"].map(later.to_dict()),
    }
    shown = pd.DataFrame(columns).astype(object)
    profile = ", ".join(_profile(ratings.users.loc[user], table))
    caption = f"User {user} ({profile}): " if profile else f"User {user}: "
    caption += f"{number_of(len(rated), words.event)} in training and validation"
    if ratings.values:
        caption += f", {rated[RATING].mean():.1f} on average"
    return Table(f"user-{user}", caption, shown.where(shown.notna(), None).to_dict("records"))


def _profile(facts: Mapping[str, Any], table: FeatureTable) -> Iterator[str]:
    for feature in table.owned_by(Owner.USER):
        value: Any = facts.get(feature.name, raw.UNKNOWN)
        if feature.kind is Kind.AGE and value > 0:
            yield f"{value:.0f}"
        elif feature.kind is Kind.NUMBER and value == value:
            yield f"{feature.called} {value:g}"
        elif feature.kind in (Kind.GENDER, Kind.CATEGORY) and value not in ("", raw.UNKNOWN):
            yield str(value)


def _errors(context: Context) -> Iterator[Block]:
    model, ratings, table = context.model, context.ratings, context.sources.features
    if model is None or ratings is None or not table.has_rating:
        return
    rows, test = int((ratings.rows[SPLIT] == TEST).sum()), splits(context.sources.ratings).get(TEST)
    every = max(1, -(-rows // _MAX_PREDICTED))
    given, predicted = model.predict(test, every, table) if test else (np.zeros(0), np.zeros(0))
    if not given.size:
        yield Note("Predictions are not compared: there are no test ratings.", "warn")
        return
    which = "" if every == 1 else f", those of about {percent(1 / every)} of the users"
    text = f"For {len(given):,} test ratings{which}, at the next visit."
    yield Text("Errors of the predicted ratings", text)
    scale = (table.scale.low, table.scale.high)
    predicted = rating_metrics.clip(predicted, scale)
    yield _calibration(given, predicted, (scale[1] - scale[0]) / _BINS)
    yield _by_rating(given, predicted)


_PREDICTED, _GIVEN, _SAME = "Predicted, mean", "Given, mean", "Equal"


def calibration(rating: FloatArray, predicted: FloatArray, width: float) -> list[Row]:
    """Returns mean prediction and mean rating per bin of the prediction that has enough ratings.

    Bins are `width` units of the rating wide, and ascend.
    """
    frame = pd.DataFrame({_PREDICTED: predicted, _GIVEN: rating, _SAME: predicted})
    bins = frame.groupby(np.floor(predicted / width))
    sizes = bins.size()
    found = bins.mean().assign(**{"Ratings": sizes, "Share of ratings": sizes / len(rating)})
    return found[sizes >= min(_FEW, max(1, len(rating) // 20))].to_dict("records")


def _calibration(rating: FloatArray, predicted: FloatArray, width: float) -> Chart:
    rows = calibration(rating, predicted, width)
    worst = max(rows, key=lambda row: abs(row[_PREDICTED] - row[_GIVEN]))
    return Chart(
        "calibration",
        "Mean rating given, by the rating predicted",
        f"They differ most where {worst[_PREDICTED]:.1f} is predicted: the mean given is "
        f"{worst[_GIVEN]:.2f}. The line “{_SAME}” is where they do not differ.",
        charts.lines(rows, _PREDICTED, (_GIVEN, _SAME), title="rating"),
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
        for same in (rating == value,)
    ]
    best, worst = min(rows, key=lambda row: row["RMSE"]), max(rows, key=lambda row: row["RMSE"])
    side = "too high" if worst["Bias"] > 0 else "too low"
    return Chart(
        "error-by-rating",
        "Error by the rating given",
        f"Predictions for ratings of {worst['Rating']:g} are {abs(worst['Bias']):.2f} {side} on "
        f"average; the smallest RMSE, {best['RMSE']:.2f}, is at ratings of {best['Rating']:g}.",
        charts.bars(rows, "Rating", "RMSE", upright=True),
        formats={"Bias": "+.3f"},
    )
