"""Own tables: found, understood, cleaned and refused."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from movielens_files import ML_CSV, write
from table_data import events, write_csv, write_tables

from schema.features import Kind, Owner
from sources import columns, interactions, table_events
from sources.cleaning_log import AMBIGUOUS_DATE, UNLISTED, LossLimits
from sources.detect import detect, open_adapter
from sources.errors import InputError
from sources.layout import SYNONYMS, Layout
from sources.table_features import scale_of

LENIENT = LossLimits.of(1.0)
EVENT = b"user,item,stars,when\n"


def read(adapter, chunk_bytes=2**20):
    """All events as dictionaries, and the counts of what was dropped and repaired."""
    rows, counts = [], {}
    for part in adapter.parts(chunk_bytes):
        batch, log = adapter.interactions(part, None, None, LENIENT)
        assert batch.schema == interactions.INTERACTIONS
        rows += batch.to_pylist()
        for entry in log.files.values():
            for kind in ("dropped", "repaired"):
                for reason, count in entry.counts(kind).items():
                    counts[reason] = counts.get(reason, 0) + count
    return rows, counts


def table(tmp_path, content, name="interactions.csv"):
    return detect(write(tmp_path / "data", {name: content}), tmp_path)


def as_read(rows):
    return [
        {
            "user_id": row["user_id"],
            "item_id": row["item_id"],
            "rating": float(row["rating"]),
            "timestamp": row["timestamp"],
            "position": None,
        }
        for row in rows
    ]


def test_ids_of_any_text_users_and_items_are_read(tmp_path):
    rows = events()
    adapter = detect(write_tables(tmp_path / "data", rows), tmp_path)
    adapter.check()
    assert adapter.spec.name == "table"
    assert read(adapter) == (as_read(rows), {})
    assert adapter.spec.scale == (1, 5, 1)
    features = {f.name: f.kind for f in adapter.spec.features.owned_by(Owner.USER, Owner.MOVIE)}
    assert features == {
        "user_id": Kind.ID,
        "user_country": Kind.CATEGORY,
        "raw_user_age": Kind.AGE,
        "bucketized_user_age": Kind.AGE_BUCKET,
        "movie_id": Kind.ID,
        "movie_title": Kind.TITLE,
        "movie_genres": Kind.TAGS,
        "item_brand": Kind.CATEGORY,
        "item_price": Kind.NUMBER,
        "movie_year_release": Kind.YEAR,
    }
    assert not adapter.ignored


def test_who_is_only_rated_or_only_listed_is_known_and_an_id_stands_for_a_title(tmp_path):
    rows = events()
    adapter = detect(write_tables(tmp_path / "data", rows), tmp_path)
    users, _ = adapter.users(LossLimits(), "keep")
    assert set(users["user_id"]) == {row["user_id"] for row in rows} | {"nobody"}
    items, log = adapter.items(LossLimits())
    assert set(items["movie_id"]) == {row["item_id"] for row in rows} | {"unsold"}
    by_id = items.set_index("movie_id")
    first = min(row["item_id"] for row in rows)
    assert by_id.loc[first, "movie_title"] == first
    assert by_id.loc[first, "movie_genres"] == []
    untitled = by_id[by_id["movie_title"] == by_id.index]
    assert log.file("items.csv").missing == {"title": len(untitled) - 1}
    assert log.file("items.csv").repaired == {UNLISTED: 1}
    assert "Löwe, der große" in set(items["movie_title"])


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1000])
def test_parts_cover_every_event_once_wherever_they_end(tmp_path, chunk_bytes):
    rows = events(count=60)
    adapter = detect(write_tables(tmp_path / "data", rows), tmp_path)
    assert read(adapter, chunk_bytes)[0] == as_read(rows)


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_the_separator_is_found_out(tmp_path, separator):
    rows = events(count=20)
    write_csv(tmp_path / "data" / "ratings.tsv", rows, separator)
    assert read(detect(tmp_path / "data", tmp_path))[0] == as_read(rows)


def test_a_layout_comes_back_from_its_text_and_reads_the_same(tmp_path):
    adapter = detect(write_tables(tmp_path / "data", events()), tmp_path)
    text = adapter.layout_text
    assert Layout.from_json(text).to_json() == text
    again = open_adapter("table", adapter.folder, None, text)
    assert again.spec == adapter.spec
    assert read(again) == read(adapter)


def test_synonyms_of_columns_need_no_file(tmp_path):
    every = [(role, name) for role, names in SYNONYMS.items() if role != "event" for name in names]
    for number, (role, name) in enumerate(every):
        names = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
        names[role] = name.upper()
        header = ",".join(names.values()).encode()
        rows = header + b"\nu1,i1,3,1600000000\nu2,i2,4,1600000001\n"
        found, _ = read(table(tmp_path / str(number), rows))
        assert [row["user_id"] for row in found] == ["u1", "u2"], name
        assert [row["rating"] for row in found] == [3, 4], name
        assert found[0]["timestamp"] == 1_600_000_000, name


def test_movielens_stays_movielens_and_its_header_with_other_ids_is_an_own_table(tmp_path):
    assert detect(write(tmp_path / "ml", ML_CSV), tmp_path).spec.name == "ml-csv"
    own = b"userId,movieId,rating,timestamp\na1,m1,4.0,964982703\nb1,m2,1.0,964982703\n"
    adapter = detect(write(tmp_path / "own", ML_CSV, ratings_csv=own), tmp_path)
    assert adapter.spec.name == "table"
    no_movies = write(tmp_path / "no-movies", ML_CSV, movies_csv=None)
    assert detect(no_movies, tmp_path).spec.name == "table"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["interactions.csv"], "interactions.csv"),
        (["interactions/part-0.csv", "interactions/part-1.csv"], "interactions/"),
        (["plays-00009.csv", "plays-00010.csv"], "plays-*"),
    ],
)
def test_what_concerns_all_parts_is_named_by_their_folder_or_table(tmp_path, names, expected):
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(EVENT + f"u{number},i1,3,1600000000\n".encode() * 2)
    assert detect(tmp_path, tmp_path).interactions_name == expected


BAD_ROWS = {
    b"u,i,3": ("wrong number of columns", "'u,i,3'"),
    b",i,3,1600000000": ("missing value", "nothing"),
    b"u,nan,3,1600000000": ("missing value", "'nan', which counts as missing"),
    b"null,i,3,1600000000": ("missing value", "'null', which counts as missing"),
    b"u," + b"x" * 1001 + b",3,1600000000": ("unusable id", "a text that is too long"),
    b"u,i,,1600000000": ("missing value", "nothing"),
    b"u,i,three,1600000000": ("non-numeric rating", "'three'"),
    b"u,i,inf,1600000000": ("non-numeric rating", "'inf'"),
    b"u,i,1e99,1600000000": ("rating out of range", "'1e99'"),
    b"u,i,1e300,1600000000": ("rating out of range", "'1e300'"),
    b"u,i,N/A,1600000000": ("missing value", "'N/A', which counts as missing"),
    b"u,i,3,": ("missing value", "nothing"),
    b"u,i,3,soon": ("unreadable time", "'soon'"),
    b"u,i,3,0x10": ("unreadable time", "'0x10'"),
    b"u,i,3,05/06/2024": (AMBIGUOUS_DATE, "'05/06/2024'"),
    b"u,i,3,-1": ("timestamp out of range", "'-1'"),
    b'u,"i,3,1600000000': ("wrong number of columns", "'u,\"i,3,1600000000'"),
}


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS.items(), ids=map(repr, BAD_ROWS))
@pytest.mark.parametrize("chunk_bytes", [10, 10_000])
def test_a_bad_row_is_counted_with_its_number_and_the_others_stay(
    tmp_path, row, expected, chunk_bytes
):
    good = b"u1,i1,3,1600000000\n"
    adapter = table(tmp_path, EVENT + good + b"\n" + row + b"\nu2,i2,4,1600000001\n")
    logs = [adapter.interactions(p, None, None, LENIENT) for p in adapter.parts(chunk_bytes)]
    examples = [
        (reason, e.row, e.found)
        for _, log in logs
        for entry in log.files.values()
        for reason, found in entry.examples.items()
        for e in found
    ]
    assert examples == [(expected[0], 4, expected[1])]
    assert sum(batch.num_rows for batch, _ in logs) == 2
    assert sum(entry.rows for _, log in logs for entry in log.files.values()) == 3


def test_ids_lose_residue_and_decimals_and_the_repairs_are_counted(tmp_path):
    rows, counts = read(
        table(tmp_path, EVENT + b"b'7',\" i 1\",3,1\n 7.0 ,007,4,2\n7,\xe9t\xe9,4,3\n")
    )
    assert [(row["user_id"], row["item_id"]) for row in rows] == [
        ("7", "i 1"),
        ("7", "007"),
        ("7", "été"),
    ]
    assert counts == {"spaces, quotes, b'', .0 or control characters removed from an id": 2}


def test_a_quote_that_is_no_pair_belongs_to_the_id_and_to_the_category(tmp_path):
    plays = EVENT + b'5\',Tis,3,1\n5,\'Tis,4,2\n6,"""Tis",4,2\n'
    rows, counts = read(table(tmp_path / "a", plays))
    assert [(row["user_id"], row["item_id"]) for row in rows] == [
        ("5'", "Tis"),
        ("5", "'Tis"),
        ("6", '"Tis'),
    ]
    assert counts == {}
    decades = b'item_id,decade\nTis,80s\n\'Tis,\'80s\n"""Tis",80s\nx,\'80s\n'
    folder = write(tmp_path / "b", {"interactions.csv": plays, "items.csv": decades})
    items = detect(folder, tmp_path).items(LENIENT)[0]
    assert set(items["item_decade"]) == {"80s", "'80s"}


@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2099, 1, 1)))
def test_a_time_is_the_same_however_it_is_written(moment):
    moment = moment.replace(tzinfo=datetime.timezone.utc)
    seconds = int((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // (
        datetime.timedelta(seconds=1)
    ))  # fmt: skip
    berlin = moment.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
    texts = [
        str(seconds),
        moment.isoformat(),
        moment.isoformat().replace("+00:00", "Z"),
        moment.replace(tzinfo=None).isoformat(" "),
        moment.strftime("%d.%m.%Y %H:%M:%S"),
        berlin.isoformat(),
        moment.strftime("%Y-%m-%dT%H:%M:%S.25Z"),
        moment.strftime("%Y-%m-%d %H:%M:%S.123456789+00"),
        berlin.strftime("%Y-%m-%d %H:%M:%S%z"),
    ]
    if seconds > 5_000_000:
        texts += [str(seconds * 1000 + 7), str(seconds * 10**6 + 7), str(seconds * 10**9 + 7)]
    for text in texts:
        assert columns.times_of(pa.array([text])).values.tolist() == [seconds], text
    assert columns.times_of(pa.array(texts)).values.tolist() == [seconds] * len(texts)
    stamps = pa.array([moment.replace(tzinfo=None)], pa.timestamp("us"))
    assert columns.times_of(stamps).values.tolist() == [seconds]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (("20240203", "20000229"), [1_706_918_400, 951_782_400]),
        (("20240203101500", "20240203000000"), [1_706_955_300, 1_706_918_400]),
        (("202402031015", "20240203"), [1_706_955_300, 1_706_918_400]),
        (("20240203", "20000229", "20240230"), [1_706_918_400, 951_782_400]),
        (("20240203", "99991231", "20000229"), [1_706_918_400, 951_782_400]),
        (("20240203", "0", "20000229"), [1_706_918_400, 951_782_400]),
        (("20240203", "1706918400", "20000229"), [1_706_918_400, 951_782_400]),
        (("20240203", "20240230"), [20_240_203, 20_240_230]),
        (("1706918400", "20240203"), [1_706_918_400, 20_240_203]),
        (("1706918400", "1706918401", "20240203"), [1_706_918_400, 1_706_918_401, 20_240_203]),
    ],
)
def test_whole_numbers_are_dates_where_most_of_them_are(tmp_path, written, seconds):
    rows = "".join(f"u{i},i,3,{one}\n" for i, one in enumerate(written))
    adapter = table(tmp_path, EVENT + rows.encode())
    assert [row["timestamp"] for row in read(adapter)[0]] == seconds
    again = open_adapter("table", adapter.folder, None, adapter.layout_text)
    assert read(again) == read(adapter)


def test_a_bad_value_among_dates_is_lost_by_its_name(tmp_path):
    days = [20240101 + i % 28 for i in range(199)]
    rows = "".join(f"u{i},i,3,{one}\n" for i, one in enumerate([*days, 20240230]))
    adapter = table(tmp_path, EVENT + rows.encode())
    adapter.scan().found.check(LossLimits.of(0.01))
    with pytest.raises(InputError, match="unreadable time") as error:
        adapter.scan().found.check(LossLimits.of(0.001))
    assert (error.value.row, error.value.found) == (201, "'20240230'")
    assert error.value.expected == "a time in when: a date such as 20240203, as in most rows"


def test_only_ratings_that_are_no_numbers_are_measured(tmp_path, monkeypatch):
    measured = []

    def too_large(column, **how):
        measured.append(len(column))
        return columns.too_large(column, **how)

    monkeypatch.setattr(table_events, "too_large", too_large)
    rows = "".join(f"u{i},i,{i / 7},1600000000\n" for i in range(100))
    adapter = table(tmp_path, EVENT + rows.encode() + b"x,i,1e300,1\nx,j,1e300,1\nx,k,good,1\n")
    counts = read(adapter)[1]
    assert set(measured) == {3}
    assert counts == {"rating out of range": 2, "non-numeric rating": 1}


@pytest.mark.parametrize(
    ("times", "odd"),
    [
        ((0, 1, 1_700_000_000), ["2 of 3 times are in 1970, 1 of them are 0"]),
        ((1_600_000_000, 4_000_000_000), ["1 of 2 times are after today"]),
        ((1_706_918_400, 1_707_004_799), ["all times are on one day, 2024-02-03"]),
        ((1_706_918_400, 1_707_004_800), []),
    ],
)
def test_times_that_can_hardly_be_meant_are_odd(tmp_path, times, odd):
    rows = "".join(f"u{i},i,3,{one}\n" for i, one in enumerate(times))
    lines = [f"interactions.csv: column when: {one}" for one in odd]
    assert table(tmp_path, EVENT + rows.encode()).odd() == lines


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 3, 4], (1, 5, 1)),
        ([0.5, 4], (0.5, 5, 0.5)),
        ([0, 1], (0, 1, 1)),
        ([-1, 1], (-1, 1, 1)),
        ([0, 7], (0, 10, 1)),
        ([1, 10], (1, 10, 1)),
        ([-10, -2.5, 10], (-10, 10, 0.5)),
        ([0.1, 3.7], (0, 5, None)),
        ([3, 250], (3, 250, 1)),
    ],
)
def test_the_scale_is_the_smallest_in_use_that_has_all_ratings(values, scale):
    assert scale_of(values, min(values), max(values)) == scale


def test_two_ids_of_one_number_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(interactions, "text_key", lambda text: 7 if text == "x" else hash(text))
    adapter = table(tmp_path, EVENT + b"7,i1,3,1\nx,i1,4,2\n")
    with pytest.raises(InputError, match="two ids of user_id have the same 64-bit hash"):
        adapter.users(LossLimits(), "keep")


def test_a_second_row_of_an_id_is_refused_if_it_differs(tmp_path):
    users = b"user,country\nu1,DE\nu2,FR\nu1,DE\nu3,FR\n"
    content = {"interactions.csv": EVENT + b"u1,i1,3,1\nu2,i1,4,2\n", "users.csv": users}
    adapter = detect(write(tmp_path / "same", content), tmp_path)
    frame, log = adapter.users(LENIENT, "keep")
    assert frame["user_id"].tolist() == ["u1", "u2", "u3"]
    assert log.file("users.csv").dropped == {"exact duplicate": 1}
    content["users.csv"] = users + b"u2,DE\n"
    adapter = detect(write(tmp_path / "other", content), tmp_path)
    with pytest.raises(InputError, match="id u2 has a second row that differs"):
        adapter.users(LENIENT, "keep")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"interactions.csv": b"a,b,c\n1,x,2\n"}, "no column is recognised as the"),
        ({"interactions.csv": b"user,user,c\n1,x,2\n"}, "a column name twice"),
        ({"interactions.csv": b""}, "the file is empty"),
        ({"interactions.csv": b"\x00\x01\x02\x03"}, "this is no table"),
        (
            {"interactions.csv": EVENT + b"u,i,3,1\n", "ratings.tsv": EVENT},
            "in several files that are no parts of one",
        ),
        ({"interactions.csv": EVENT + b"u,i,3,1\n", "u.data": b"1\t1\t1\t1\n"}, "several formats"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        detect(write(tmp_path / "data", content), tmp_path)


def test_numbers_of_ids_are_those_of_movielens(tmp_path):
    rows, _ = read(table(tmp_path, EVENT + b"12,7,3,1\n13,8,4,2\n"))
    chunk = interactions.chunk_of(pa.RecordBatch.from_pylist(rows, interactions.INTERACTIONS))
    np.testing.assert_array_equal(chunk.user_id, [12, 13])
