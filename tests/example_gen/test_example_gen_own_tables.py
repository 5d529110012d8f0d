"""Own tables through the ExampleGens: ids stay text, and what the data lacks is not written."""

import json

import pytest
from example_artifacts import run_movies, run_ratings

from components.examples.events import event_files, map_events
from components.names import DATASET_SPEC
from sources.detect import detect

pytestmark = pytest.mark.xdist_group("example_gen")

PLAYS = [(f"käse-{user}", f"ISBN {item:03}") for user in range(30) for item in range(10)]


def written(tmp_path, text, **more):
    """The ratings' and the movies' Examples of an own table, by what is beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in {"interactions.csv": text, **more}.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    adapter = detect(folder, tmp_path)
    options = {
        "format": "table",
        "layout": adapter.layout_text,
        "features": adapter.spec.features,
        "chunk_bytes": 2000,
    }
    return adapter, options, folder


def rows_of(found):
    return {split: found.rows(split) for split in found.splits}


def test_ids_alone_are_written_as_text_in_three_splits(tmp_path):
    text = "user,item\n" + "".join(f"{user},{item}\n" for user, item in [*PLAYS, PLAYS[0]])
    _, options, folder = written(tmp_path, text, items_csv="item,name\nISBN 001,Π\nunsold,\n")
    ratings = run_ratings(folder, tmp_path / "ratings", title="Käse und Bücher", **options)
    label = json.loads(ratings.artifact.get_string_custom_property(DATASET_SPEC))
    assert label["title"] == "Käse und Bücher"
    rows = rows_of(ratings)
    assert all(rows.values())
    found = [row for split in rows.values() for row in split]
    assert {tuple(sorted(row)) for row in found} == {("movie_id", "movie_title", "user_id")}
    assert sorted((*row["user_id"], *row["movie_id"]) for row in found) == sorted(PLAYS)
    assert ratings.report["files"]["interactions.csv"]["dropped"] == {"exact duplicate": 1}
    movies = run_movies(folder, tmp_path / "movies", **options).rows("movies")
    titles = {row["movie_id"][0]: row["movie_title"][0] for row in movies}
    assert titles == {
        **{item: item for _, item in PLAYS},
        "ISBN 001": "Π",
        "unsold": "unsold",
    }


def test_of_kept_repeats_none_of_a_training_pair_is_in_test(tmp_path):
    lines = [
        f"{user},{item[:-1]}{number % 10 - (again == 2 and number % 4 == 1)},{number % 5 + 1},"
        f"{1_600_000_000 + number * 100 + again * 7 * 10**6}\n"
        for again in range(3)
        for number, (user, item) in enumerate(PLAYS)
        if number % 2
    ]
    text = "user,item,stars,when\n" + "".join(lines)
    _, options, folder = written(tmp_path, text, data_toml='repeats = "keep"\n')
    ratings = run_ratings(folder, tmp_path / "ratings", split="timeline", **options)
    pairs = {
        split: {(row["user_id"][0], row["movie_id"][0]) for row in rows}
        for split, rows in rows_of(ratings).items()
    }
    total = sum(len(rows) for rows in rows_of(ratings).values())
    dropped = ratings.report["files"]["interactions.csv"]["dropped"]
    assert not pairs["train"] & pairs["test"]
    assert dropped == {"repeats a user and item of an earlier split": len(lines) - total}


def test_invalid_zip_drop_removes_users_with_their_events(tmp_path):
    text = "user,item\n" + "".join(f"{user},{item}\n" for user, item in PLAYS)
    codes = ["12345", "123", "", "55105", "94043"]
    rows = "".join(f"käse-{user},{codes[user % 5]}\n" for user in range(25))  # five are not listed
    _, options, folder = written(tmp_path, text, users_csv=f"user,zip\n{rows}")
    ratings = run_ratings(folder, tmp_path / "ratings", invalid_zip="drop", **options)
    found = {row["user_id"][0] for rows in rows_of(ratings).values() for row in rows}
    assert found == {f"käse-{user}" for user in range(25) if user % 5 in (0, 3, 4)}
    files = ratings.report["files"]
    assert files["users.csv"]["dropped"] == {"invalid zip code": 10}
    assert files["interactions.csv"]["dropped"] == {"invalid zip code": 10 * 15}


def test_each_event_has_its_context_in_the_records_and_in_the_event_files(tmp_path):
    devices, prices = ("tv", "Phone", ""), ("1.5", "", "20")
    given = {
        pair: (devices[number % 3], prices[number % 5 % 3]) for number, pair in enumerate(PLAYS)
    }
    lines = "".join(f"{u},{i},{device},{price}\n" for (u, i), (device, price) in given.items())
    _, options, folder = written(
        tmp_path,
        f"user,item,device,price\n{lines}",
        data_toml='[context]\ndevice = "category"\nprice = "number"\n',
    )
    ratings = run_ratings(folder, tmp_path / "ratings", **options)
    expected = {
        pair: (device or "unknown", float(price) if price else None)
        for pair, (device, price) in given.items()
    }
    of_records = {
        (row["user_id"][0], row["movie_id"][0]): (
            row["context_device"][0],
            row.get("context_price", [None])[0],
        )
        for rows in rows_of(ratings).values()
        for row in rows
    }
    assert of_records == expected
    names = ("user_id", "movie_id", "context_device", "context_price")
    of_events = {}
    for split in ratings.splits:
        for path in event_files(ratings.folder, split):
            columns = [map_events(path).column(name).to_pylist() for name in names]
            for user, item, *context in zip(*columns, strict=True):
                of_events[user.decode(), item.decode()] = tuple(context)
    assert of_events == expected
    missing = ratings.report["files"]["interactions.csv"]["missing"]
    assert missing == {
        "device": sum(not device for device, _ in given.values()),
        "price": sum(not price for _, price in given.values()),
    }
