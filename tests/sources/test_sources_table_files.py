"""Tables in every form: the same rows come out, in parts, and damage is reported."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from movielens_files import write
from table_data import events
from test_sources_table import LENIENT, as_read, read

from sources.cleaning_log import LossLimits
from sources.detect import detect
from sources.errors import InputError
from sources.table_files import MOST_PARTS_COMPRESSED

ROWS = events(count=120)


def as_json(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in [rows[0], *map(dict.values, rows)])


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(data)
    return sink.getvalue().to_pybytes()


def parquet(rows, row_group_size=50, **types):
    found = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        place = found.schema.get_field_index(name)
        found = found.set_column(place, name, found.column(name).cast(kind))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(found, sink, row_group_size=row_group_size)
    return sink.getvalue().to_pybytes()


TEXT = as_csv(ROWS).encode()
HALVES = (ROWS[:70], ROWS[70:])
FORMS = {
    "csv": {"ratings.csv": TEXT},
    "crlf": {"ratings.csv": b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n")},
    "no last newline": {"ratings.csv": TEXT.rstrip()},
    "gzip": {"ratings.csv.gz": gzip.compress(TEXT)},
    "two gzip members": {"ratings.csv.gz": gzip.compress(TEXT[:999]) + gzip.compress(TEXT[999:])},
    "zstd": {"ratings.csv.zst": zstd(TEXT)},
    "json lines": {"interactions.jsonl": as_json(ROWS)},
    "json lines gzip": {"interactions.json.gz": gzip.compress(as_json(ROWS))},
    "parquet": {"interactions.parquet": parquet(ROWS)},
    "parquet of other types": {
        "interactions.parquet": parquet(
            ROWS,
            rating=pa.int8(),
            timestamp=pa.timestamp("s"),
            user_id=pa.large_string(),
        )
    },
    "parts of csv": {
        f"ratings-{n:05}-of-00002.csv": as_csv(half).encode() for n, half in enumerate(HALVES)
    },
    "parts of parquet": {
        f"interactions_{n}.parquet": parquet(half, 7) for n, half in enumerate(HALVES)
    },
    "the name of the file says something else": {"ratings.csv": parquet(ROWS)},
    "only one file": {"export.csv": TEXT},
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("chunk_bytes", [333, 2**20])
def test_every_form_gives_the_same_events_in_any_parts(tmp_path, content, chunk_bytes):
    adapter = detect(write(tmp_path / "data", content), tmp_path)
    adapter.check()
    assert len(adapter.parts(333)) >= MOST_PARTS_COMPRESSED - 4
    assert read(adapter, chunk_bytes) == (as_read(ROWS), {})


def test_a_folder_of_parts_is_a_table_and_what_spark_writes_beside_them_is_not(tmp_path):
    content = {"part-0000-1f3b2c4d.parquet": parquet(HALVES[0]), "_SUCCESS": b"", ".x.crc": b"1"}
    folder = write(tmp_path / "data" / "interactions", content)
    write(folder, {"part-0001-9a8b7c6d.parquet": parquet(HALVES[1])})
    for path in (tmp_path / "data", folder):
        assert read(detect(path, tmp_path))[0] == as_read(ROWS)


def test_json_lines_whose_values_change_their_type_are_read_one_by_one(tmp_path):
    lines = [
        {"user": 1, "item": "2020-05-31", "stars": 4, "when": "2020-05-31T00:00:00Z", "x": [1]},
        {"user": "u2", "item": "2020-05-31T00:00:00", "stars": "4.5", "when": 1590883200000},
        {"user": 2**63 + 1, "item": 7.0, "stars": True, "when": 1590883200},
    ]
    data = as_json(lines) + b"\n{broken\n[]\n" + as_json(lines[:1])
    adapter = detect(write(tmp_path / "data", {"ratings.json": data}), tmp_path)
    found, counts = read(adapter)
    ids = [(row["user_id"], row["item_id"], row["rating"], row["timestamp"]) for row in found]
    assert ids == [
        ("1", "2020-05-31", 4, 1590883200),
        ("u2", "2020-05-31T00:00:00", 4.5, 1590883200),
        (str(2**63 + 1), "7", 1, 1590883200),
        ("1", "2020-05-31", 4, 1590883200),
    ]
    assert counts == {
        "not a JSON object": 2,
        "spaces, quotes, b'', .0 or control characters removed from an id": 1,
    }
    [part] = adapter.parts(2**20)
    _, log = adapter.interactions(part, None, None, LENIENT)
    assert [e.row for e in log.file("ratings.json").examples["not a JSON object"]] == [5, 6]


def test_ids_that_read_like_times_stay_text_and_long_numbers_keep_their_digits(tmp_path):
    rows = [dict(row, item_id="2020-05-31") for row in ROWS[:3]]
    adapter = detect(write(tmp_path / "a", {"ratings.json": as_json(rows)}), tmp_path)
    assert {row["item_id"] for row in read(adapter)[0]} == {"2020-05-31"}
    rows = [dict(row, item_id=2**63 + n) for n, row in enumerate(ROWS[:3])]
    adapter = detect(write(tmp_path / "b", {"ratings.json": as_json(rows)}), tmp_path)
    assert [row["item_id"] for row in read(adapter)[0]] == [str(2**63 + n) for n in range(3)]


def test_lists_of_json_and_parquet_are_tags(tmp_path):
    items = [{"item_id": row["item_id"], "tags": ["a", "b c"]} for row in ROWS[:1]]
    for name, data in (("items.json", as_json(items)), ("items.parquet", parquet(items))):
        folder = write(tmp_path / name, {"ratings.csv": TEXT, name: data})
        frame, _ = detect(folder, tmp_path).items(LossLimits())
        assert frame.set_index("movie_id")["item_tags"][ROWS[0]["item_id"]] == ["a", "b c"]


def test_texts_of_items_may_have_line_breaks(tmp_path):
    items = b'item_id,title\nSKU-000,"Two\nlines, one title"\nSKU-001,One\n'
    adapter = detect(write(tmp_path / "data", {"ratings.csv": TEXT, "items.csv": items}), tmp_path)
    frame, log = adapter.items(LossLimits())
    assert frame["movie_title"].tolist()[:2] == ["Two lines, one title", "One"]
    assert log.file("items.csv").dropped == {}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("ratings.csv.gz", gzip.compress(TEXT)[:-500], "damaged or cut off"),
        ("ratings.csv.zst", zstd(TEXT)[:-100], "damaged or cut off"),
        ("ratings.parquet", parquet(ROWS)[:-100], "damaged or cut off"),
        ("ratings.json", b'[{"user": 1}]\n', "this is no table"),
        ("ratings.csv", TEXT + b"x" * (2**20 + 1), "longer than 1,048,576 bytes"),
        ("ratings.csv", TEXT * 10 + b"\0,i,3,1\n", "binary or damaged"),
        ("ratings.csv", "user,item\n".encode("utf-16"), "wrong encoding"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_reported(tmp_path, name, data, message):
    with pytest.raises(InputError, match=message):
        detect(write(tmp_path / "data", {name: data}), tmp_path)


def test_parts_with_other_columns_are_refused(tmp_path):
    content = {"ratings-1.csv": TEXT, "ratings-2.csv": b"user_id,item_id,when\n"}
    with pytest.raises(InputError, match="parts of one table have different columns"):
        detect(write(tmp_path / "data", content), tmp_path)


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "data", {"ratings.csv": TEXT})

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(InputError, match="cannot be read(.|\n)*Permission denied"):
        detect(tmp_path / "data", tmp_path)


def test_a_table_of_tensorflow_datasets_is_read_as_it_is(tmp_path):
    rated = [
        {
            "bucketized_user_age": 45.0,
            "movie_genres": [7, int(movie) % 3],
            "movie_id": movie.encode(),
            "movie_title": f"One Flew Over {movie} (1975)".encode(),
            "raw_user_age": 46.0 + int(user) % 9,
            "timestamp": 879024327 + int(user),
            "user_gender": user == "138",
            "user_id": user.encode(),
            "user_occupation_label": 4,
            "user_occupation_text": b"doctor" if int(movie) < 300 else b"writer",
            "user_rating": float(1 + (int(user) + int(movie)) % 5),
            "user_zip_code": b"53211",
        }
        for user in ("138", "92", "7")
        for movie in ("357", "709", "2")
    ]
    folder = write(tmp_path / "data", {"ratings.parquet": parquet(rated, 4)})
    adapter = detect(folder, tmp_path)
    assert adapter.spec.scale == (1, 5, 1)
    names = ("user_gender", "raw_user_age", "movie_title", "movie_genres")
    assert set(names) <= set(adapter.spec.features.names)
    users, _ = adapter.users(LossLimits(), "keep")
    assert dict(zip(users["user_id"], users["user_gender"], strict=True)) == {
        "138": "Male",
        "92": "Female",
        "7": "Female",
    }
    assert users["raw_user_age"].tolist() == [46.0 + int(user) % 9 for user in users["user_id"]]
    items, _ = adapter.items(LossLimits())
    assert items.set_index("movie_id")["movie_genres"].to_dict() == {
        "357": ["7", "0"],
        "709": ["7", "1"],
        "2": ["7", "2"],
    }
    assert read(adapter)[0][0] == {
        "user_id": "138",
        "item_id": "357",
        "rating": 1.0,
        "timestamp": 879024465,
        "position": None,
    }


def test_a_column_of_pickled_types_is_refused_and_nothing_in_it_is_run(tmp_path):
    """CVE-2023-47248: pyarrow before 14.0.1 unpickles such a type when it opens the file."""
    made = tmp_path / "made"

    class Type(pa.PyExtensionType):
        def __init__(self):
            pa.PyExtensionType.__init__(self, pa.string())

        def __reduce__(self):
            return os.mkdir, (str(made),)

    users = pa.ExtensionArray.from_storage(Type(), pa.array(["u", "v"]))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"user": users, "item": pa.array(["x", "y"])}), sink)
    folder = write(tmp_path / "data", {"interactions.parquet": sink.getvalue().to_pybytes()})
    with pytest.raises(InputError, match="a column has a type of Python's own") as error:
        detect(folder, tmp_path)
    assert "expected: columns of text, numbers, dates or lists" in str(error.value)
    assert not made.exists()
