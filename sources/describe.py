"""What is understood of data at a path, in words, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from schema.dataset import number_of, plural
from schema.features import DIRECTOR, STAR, Feature, Kind, Owner
from sources import cleaning_log
from sources.adapter import DatasetAdapter
from sources.cleaning_log import CleaningLog, FileLog, LossLimits
from sources.description import FILE, Repeats, find
from sources.detect import detect
from sources.interactions import chunk_of, id_keys
from sources.ratings import KnownIds, RatingsChunk, concatenate
from sources.repeats import count_events, without_repeats
from sources.staging import writable
from sources.table_events import day_of
from storage import paths as storage

_CHUNK_BYTES = 16 * 2**20
_LOOK = LossLimits.of(1.0)
_OWNERS = {Owner.USER: "users", Owner.MOVIE: "movies", Owner.CONTEXT: "context"}


def describe(
    path: Path,
    unpack_to: Path,
    output_dir: Path | None = None,
    limits: LossLimits = LossLimits(),  # noqa: B008
    refuse: Callable[[DatasetAdapter], None] = lambda adapter: None,
) -> Iterator[str]:
    """Yields lines of what is understood: files, columns, counts, scale, times and what is odd.

    Args:
      path: of the data; see `detect`.
      unpack_to: where a zip file is unpacked.
      output_dir: where a `data.toml` is looked for; where something of own tables can be
        understood in several ways and there is none, one is written there to be corrected.
      limits: what may be lost, as in a run.
      refuse: called at the end; raises an InputError for data that no run can end well with.

    Raises:
      InputError: the data is not recognised, a file of it cannot be read, or, after all lines,
        more is lost than `limits` allow or the data is refused.
    """
    adapter = detect(path, unpack_to, output_dir)
    adapter.check()
    found = CleaningLog()
    users = adapter.users(_LOOK, "keep")
    items, log = adapter.items(_LOOK)
    found.merge(log)
    if users is not None:
        found.merge(users[1])
    known = KnownIds(adapter.users_file, None)
    if users is not None:
        known = _known(adapter.users_file, users[0]["user_id"], found)
    movies = _known(adapter.items_file, items["movie_id"], found)
    chunks = []
    for part in adapter.parts(_CHUNK_BYTES):
        batch, log = adapter.interactions(part, known, movies, _LOOK)
        chunks.append(chunk_of(batch))
        found.merge(log)
    ratings = concatenate(chunks)
    unmatched: list[str] = []
    if adapter.layout_text:
        counts = [(adapter.items_file, ratings.movie_id, items, plural(adapter.spec.item_noun))]
        if users is not None:
            counts.append((adapter.users_file, ratings.user_id, users[0], "users"))
        for file, ids, rows, noun in counts:
            unmatched += _listed_lines(file, len(np.unique(ids)), len(rows), noun, found)
    yield from _format_lines(adapter, output_dir)
    yield from _feature_lines(adapter)
    yield from _count_lines(adapter, ratings, None if users is None else len(users[0]), len(items))
    yield from _odd_lines(adapter, found, unmatched)
    yield from _questions(adapter, output_dir)
    found.read(adapter.ratings_file, 0)  # an empty file has no part
    found.check(limits)
    refuse(adapter)


def _known(file: str, ids: pd.Series, found: CleaningLog) -> KnownIds:
    keys = np.sort(id_keys(pa.array(ids.astype(str), pa.string())))
    return KnownIds(file, keys, found.dropped_ids.get(file, {}))


def _format_lines(adapter: DatasetAdapter, output_dir: Path | None) -> Iterator[str]:
    spec = adapter.spec
    yield f"Format: {spec.title} ({spec.name})"
    if spec.licence:
        yield f"Terms of {spec.title}: {spec.licence}"
        yield f"Cite: {spec.citation}"
    yield "Files:"
    for name, form in adapter.formats.items():
        yield f"  {name}: {form.expected}"
    for name, why in sorted(adapter.ignored.items()):
        yield f"  {name}: not read, {why}"
    if adapter.layout_text:
        yield from find(output_dir, adapter.folder).shown()
    yield from adapter.roles()


def _feature_lines(adapter: DatasetAdapter) -> Iterator[str]:
    table = adapter.spec.features
    for owner, noun in {**_OWNERS, Owner.MOVIE: plural(adapter.spec.item_noun)}.items():
        features = [f for f in table.owned_by(owner) if f.kind is not Kind.ID]
        columns = ", ".join(f"{f.name} ({f.kind.value}{_needs(adapter, f)})" for f in features)
        none = "none" if owner is Owner.CONTEXT else "none: only their ids are known"
        yield f"Features of {noun}: {columns or none}"
    if table.has_rating:
        scale = table.scale.describe()
        yield f"Ratings: {table.rating.name}, {scale}; {adapter.spec.positive} counts"
    else:
        yield f"Ratings: none, so {adapter.spec.positive} counts and nothing predicts ratings"
    if not table.has_time:
        yield "Times: none, so --split random alone can be used, and nothing predicts sessions"
        return
    order = "is" if adapter.spec.file_order_is_time else "is not"
    what = "ratings were given" if table.has_rating else "events happened"
    yield f"The order of a user's rows {order} the order in which the {what}."


def _needs(adapter: DatasetAdapter, feature: Feature) -> str:
    """Returns what a feature that is in no file of the data takes."""
    of_metadata = not adapter.layout_text and feature in (DIRECTOR, STAR)
    return ", with --metadata-dir" if of_metadata else ""


def _count_lines(
    adapter: DatasetAdapter, ratings: RatingsChunk, users: int | None, items: int
) -> Iterator[str]:
    table, noun = adapter.spec.features, adapter.spec.item_noun
    what = "ratings" if table.has_rating else "events"
    rated_by = len(np.unique(ratings.user_id))
    rated = len(np.unique(ratings.movie_id))
    listed = "in all" if adapter.layout_text else "listed"
    of_users = "no file of users" if users is None else f"{users:,} {listed}"
    yield f"Users: {rated_by:,} with {what}, {of_users}"
    yield f"{plural(noun).capitalize()}: {rated:,} with {what}, {items:,} {listed}"
    yield f"Usable {what}: {len(ratings.user_id):,}"
    whole, _ = without_repeats(ratings, adapter.repeats)
    yield from _repeat_lines(adapter, ratings, whole)
    if len(ratings.user_id) and table.has_rating:
        values = ", ".join(
            f"{value:g}: {count:,}"
            for value, count in zip(*np.unique(whole.user_rating, return_counts=True), strict=True)
        )
        yield f"Ratings by value: {values}"
    if len(ratings.user_id) and table.has_time:
        first, last = (day_of(int(t)) for t in (ratings.timestamp.min(), ratings.timestamp.max()))
        yield f"Time: {first} to {last}"


_REPEATS: Mapping[Repeats, str] = {
    "latest": "{one} of each pair counts",
    "count": "those of a pair count as one, rated with their number times their weights",
    "keep": "all count but exact repeats",
}


def _repeat_lines(
    adapter: DatasetAdapter, ratings: RatingsChunk, whole: RatingsChunk
) -> Iterator[str]:
    """Yields how many events are of a pair that has another one, and what becomes of them."""
    rows, left, policy = len(ratings.user_id), len(whole.user_id), adapter.repeats
    pairs = len(count_events(whole)[0].user_id) if policy == "keep" else left
    table = adapter.spec.features
    one = "the latest" if table.has_time else "the highest rating" if table.has_rating else "one"
    what = _REPEATS[policy].format(one=one) + ("" if table.has_time else ", as there are no times")
    if rows > pairs:
        key = f'repeats = "{policy}": ' if adapter.layout_text else ""
        yield (
            f"Repeats: {rows - pairs:,}, of {pairs:,} different pairs of user and "
            f"{adapter.spec.item_noun}; {key}{what}, which leaves {left:,}"
        )


def _questions(adapter: DatasetAdapter, output_dir: Path | None) -> Iterator[str]:
    """Yields what can be understood in several ways; writes a `data.toml` to answer it in."""
    questions = adapter.questions()
    yield from questions
    # One beside the data is followed; another in the output folder would come before it.
    if not questions or output_dir is None or find(output_dir, adapter.folder).is_read:
        return
    with writable(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        storage.write_text(output_dir / FILE, adapter.draft())
    yield f"Written: {output_dir / FILE}, to be corrected where this is wrong"


def _listed_lines(file: str, seen: int, known: int, noun: str, found: CleaningLog) -> Iterator[str]:
    """Yields whether more than half of the ids with events have no row, or of the rows no event.

    Args:
      file: of users or items; "" where there is none.
      seen: the number of ids with events.
      known: the number of all ids.
      noun: what those with the ids are called, in the plural.
      found: what was dropped and repaired.
    """
    if not file:
        return
    unlisted = found.file(file).repaired.get(cleaning_log.UNLISTED, 0)
    listed = known - unlisted
    without = known - seen
    as_text = "ids are compared as text: 007 is not 7"
    if 2 * without > listed:
        yield f"  {file}: {without:,} of its {listed:,} ids have no event; {as_text}"
    if 2 * unlisted > seen:
        yield f"  {file}: {unlisted:,} of {seen:,} {noun} with events have no row; {as_text}"


def _odd_lines(adapter: DatasetAdapter, found: CleaningLog, unmatched: list[str]) -> Iterator[str]:
    odd = [*(f"  {line}" for line in adapter.odd()), *unmatched]
    odd += [
        f"  {name}: {number_of(count, what)} {how}: {reason}{_first(entry, kind, reason)}"
        for name, entry in sorted(found.files.items())
        for kind, (what, how) in _KINDS.items()
        for reason, count in sorted(entry.counts(kind).items())
    ]
    yield "Odd:" if odd else "Odd: nothing"
    yield from odd


def _first(entry: FileLog, kind: str, reason: str) -> str:
    """Returns the first row that was lost for a reason, in words."""
    first = entry.first_of([reason]) if kind in ("dropped", "values_lost") else None
    if first is None:
        return ""
    example = first[1]
    place = "" if example.row is None else f"row {example.row}: "
    return f" (first {place}expected {example.expected}, found {example.found})"


_KINDS = {
    "dropped": ("row", "dropped"),
    "repaired": ("row", "repaired"),
    "values_lost": ("value", "of no use"),
    "missing": ("row", "without a value"),
}
