"""`dataset.json`: what people call a data set and its items."""

import json

import pytest

from schema.dataset import DatasetLabel, in_words_of, number_of, plural, read_label
from sources import movielens_dat


def test_the_label_is_read_from_a_whole_specification(tmp_path):
    spec = movielens_dat.ML_1M
    (tmp_path / "dataset.json").write_text(json.dumps(spec.to_json()), encoding="utf-8")
    label = read_label(tmp_path / "dataset.json")
    assert (label.name, label.title, label.item_noun) == ("ml-1m", spec.title, "movie")
    assert (label.licence, label.citation) == (spec.licence, spec.citation)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[1]", '{"item_noun": 3}', '{"item_noun": " "}', '{"colour": "red"}', "\xff"],
)
def test_what_is_damaged_costs_words_only(tmp_path, text):
    path = tmp_path / "dataset.json"
    assert read_label(path) == DatasetLabel()
    path.write_bytes(text.encode("latin-1"))
    assert read_label(path) == DatasetLabel(item_noun="movie")


def test_plurals_follow_the_sound_of_the_last_letters():
    nouns = ("movie", "story", "play", "bus", "match", "brooch", "epoch")
    assert [plural(noun) for noun in nouns] == (
        ["movies", "stories", "plays", "buses", "matches", "brooches", "epochs"]
    )
    assert [plural(noun) for noun in ("песня", "本", "café")] == ["песня", "本", "cafés"]
    assert [number_of(count, "epoch") for count in (0, 1, 1200)] == (
        ["0 epochs", "1 epoch", "1,200 epochs"]
    )


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("movie", "Movies: 2 movies, one movie_id of /api/movies"),
        ("book", "Books: 2 books, one movie_id of /api/movies"),
        ("story", "Stories: 2 stories, one movie_id of /api/movies"),
    ],
)
def test_texts_for_people_have_the_noun_of_the_data_and_names_stay(noun, expected):
    assert in_words_of("Movies: 2 movies, one movie_id of /api/movies", noun) == expected


def test_the_article_is_that_of_the_noun():
    text = "A movie or a movie, movies a movie's"
    assert in_words_of(text, "item") == "An item or an item, items an item's"
    assert in_words_of(text, "book") == "A book or a book, books a book's"
