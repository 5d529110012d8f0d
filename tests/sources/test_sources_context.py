"""Columns of events that `data.toml` declares as context features."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from movielens_files import write

from components.example_gen import spill
from schema.features import Kind, Owner
from sources import describe, description
from sources.cleaning_log import LossLimits
from sources.detect import detect, open_adapter
from sources.errors import InputError
from sources.ratings import RatingsChunk, concatenate
from sources.repeats import drop_exact_duplicates, keep_latest_rating

LENIENT = LossLimits.of(1.0)
HEAD = b"user,item,stars,when,device,price\n"
LOG = HEAD + b"".join(
    b"u%d,i%d,%d,%d,%s,%s\n"
    % (n % 7, n % 11, n % 5 + 1, 1_600_000_000 + n, (b"tv", b"Phone", b"")[n % 3], price)
    for n, price in enumerate([b"1.5", b"", b"30", b"NaN", b"2"] * 8)
)
DECLARED = b'[context]\ndevice = "category"\nprice = "number"\n'


def declared(tmp_path, log=LOG, text=DECLARED, **more):
    return detect(
        write(tmp_path / "data", {"interactions.csv": log, "data.toml": text, **more}), tmp_path
    )


def read(adapter, chunk_bytes=2**20):
    rows, found = [], []
    for part in adapter.parts(chunk_bytes):
        batch, log = adapter.interactions(part, None, None, LENIENT)
        rows += batch.to_pylist()
        found.append(log.file("interactions.csv"))
    return rows, found


@pytest.mark.parametrize("chunk_bytes", [100, 2**20])
def test_declared_columns_are_read_with_what_is_missing_counted(tmp_path, chunk_bytes):
    adapter = declared(tmp_path)
    rows, logs = read(
        open_adapter("table", adapter.folder, layout_text=adapter.layout_text), chunk_bytes
    )
    lines = [line.split(",") for line in LOG.decode().splitlines()[1:]]
    assert [row["context_device"] for row in rows] == [line[4] or "unknown" for line in lines]
    numbers = [None if line[5] in ("", "NaN") else float(line[5]) for line in lines]
    assert [row["context_price"] for row in rows] == numbers
    for column, values in (("device", ["unknown"]), ("price", [None])):
        missing = sum(row[f"context_{column}"] in values for row in rows)
        assert sum(log.missing.get(column, 0) for log in logs) == missing > 0
    found = {one.name: (one.owner, one.kind, one.called) for one in adapter.spec.features.context}
    assert found == {
        "context_device": (Owner.CONTEXT, Kind.CATEGORY, "device"),
        "context_price": (Owner.CONTEXT, Kind.NUMBER, "price"),
    }


def test_a_number_that_cannot_be_read_is_a_lost_value_of_a_kept_row(tmp_path):
    adapter = declared(tmp_path, LOG + b"u1,i5,3,1600000000,tv,cheap\n")
    rows, [log] = read(adapter)
    assert rows[-1]["context_price"] is None
    assert log.values_lost == {"no usable number in the column of numbers price": 1}


def test_decimal_commas_are_those_of_all_parts_or_of_none(tmp_path):
    lines = ["user;item;price", *(f"u{n};i{n % 3};{n},5" for n in range(30)), "u;i;1.5", "u;j;7"]
    text = b'[context]\nprice = "number"\n'
    for last, expected in ((2, [n + 0.5 for n in range(30)]), (0, [None] * 30 + [1.5, 7])):
        log = "\n".join(lines[: len(lines) - last]).encode()
        rows, _ = read(declared(tmp_path / str(last), log, text), 60)
        assert [row["context_price"] for row in rows] == expected


def test_a_column_named_as_a_users_is_of_the_event_where_it_is_declared(tmp_path):
    log = b"user,item,user_mood\n" + b"".join(
        b"u%d,i%d,%s\n" % (n % 5, n % 7, b"ab"[n % 2 :][:1]) for n in range(35)
    )
    plain = detect(write(tmp_path / "plain", {"interactions.csv": log}), tmp_path / "plain")
    assert [one.name for one in plain.spec.features.owned_by(Owner.USER)] == [
        "user_id",
        "user_mood",
    ]
    adapter = declared(tmp_path, log, b'[context]\nuser_mood = "category"\n')
    assert adapter.spec.features.names == ("user_id", "movie_id", "context_user_mood")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"context = 3", "context is wrong"),
        (b'[context]\ndevice = "tags"', "device has a kind that a column of events cannot have"),
        (b'[context]\ndevise = "category"', "names a column that is not there"),
        (b'[context]\nstars = "number"', "names the column of the rating"),
        (b'positive = "stars > 3"\n[context]\nstars = "number"', "the column of the rule positive"),
        (b'[features]\ndevice = "category"', r"to a column of the events(.|\n)*to \[context\]"),
        (DECLARED + b'[features]\nprice = "number"', "to a column of the events"),
    ],
)
def test_what_cannot_be_a_context_feature_is_refused_in_words(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        declared(tmp_path, text=text)
    assert str(tmp_path / "data" / "data.toml") in str(error.value)


def test_describe_offers_the_lines_for_columns_without_a_use(tmp_path):
    folder = write(tmp_path / "data", {"interactions.csv": LOG})
    lines = list(describe.describe(folder, tmp_path))
    path = folder / "data.toml"
    start = lines.index(
        "Not used as a context feature, which moves predicted ratings and lists within a session. "
        f"Known before the user chooses? Then add to {path}, without #:"
    )
    assert [line.strip() for line in lines[start + 1 : start + 4]] == [
        "# [context]                    # what events have beside their time",
        '# device = "category"',
        '# price = "category"',
    ]
    offered = "\n".join(line.strip(" #") for line in lines[start + 1 : start + 4])
    write(folder, {"data.toml": offered.encode()})
    lines = list(describe.describe(folder, tmp_path))
    assert (
        "Features of context: timestamp (time), context_device (category), context_price (category)"
        in lines
    )
    assert not [line for line in lines if line.startswith("Not used")]
    assert "  interactions.csv: 13 rows without a value: device" in lines


# --- batches of ratings


ROWS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 1), st.sampled_from([1.0, 4.0]), st.integers(0, 1),
        st.sampled_from(["tv", "unknown"]), st.sampled_from([None, 0.5, 7.0]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


def chunk_of(rows):
    *columns, device, price = zip(*rows, strict=True)
    types = (np.int64, np.int64, np.float32, np.int64)
    context = pa.table({"device": pa.array(device), "price": pa.array(price, pa.float32())})
    found = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return RatingsChunk(*found)._replace(context=context)


def rows_of(chunk):
    columns = [column.tolist() for column in chunk[:4]]
    context = [column.to_pylist() for column in chunk.context.columns]
    return list(zip(*columns, *context, strict=True))


@given(ROWS, st.randoms(use_true_random=False))
def test_the_latest_event_keeps_its_context_in_any_order_of_the_rows(rows, rng):
    chunk, exact, superseded = keep_latest_rating(chunk_of(rows))
    kept = rows_of(chunk)
    assert exact + superseded == len(rows) - len(kept)
    assert exact == len(rows) - len(set(rows))
    for row in kept:
        of_pair = [one for one in rows if one[:2] == row[:2]]
        assert (row[3], row[2]) == max((one[3], one[2]) for one in of_pair)
        assert row in of_pair
    rng.shuffle(rows)
    assert rows_of(keep_latest_rating(chunk_of(rows))[0]) == kept


@given(ROWS)
def test_events_of_two_contexts_are_no_exact_repeats(rows):
    chunk, dropped = drop_exact_duplicates(chunk_of(rows))
    assert sorted(map(repr, rows_of(chunk))) == sorted(map(repr, set(rows)))
    assert dropped == len(rows) - len(set(rows))


def test_spilled_ratings_come_back_with_their_context(tmp_path):
    rows = [
        (n, n % 3, 4.0, n, "tv" if n % 2 else "unknown", n if n % 4 else None) for n in range(40)
    ]
    places = list(spill.write(str(tmp_path / "part"), chunk_of(rows), 3))
    assert len(places) == 3
    back = concatenate([spill.read([place]) for _, place in places])
    assert sorted(map(repr, rows_of(back))) == sorted(
        repr((*row[:4], row[4], None if row[5] is None else float(row[5]))) for row in rows
    )


# --- what is said of columns


def table(names, *columns):
    """A table of 200 events with further columns."""
    rows = [(f"u{n % 9}", f"i{n % 13}", 1_600_000_000 + n) for n in range(200)]
    values = zip(*columns, strict=True)
    lines = [",".join(map(str, (*row, *more))) for row, more in zip(rows, values, strict=True)]
    return "\n".join([f"user,item,when,{names}", *lines]).encode()


@pytest.mark.parametrize(
    ("kind", "values", "odd"),
    [
        ("category", [f"id-{n}" for n in range(200)], "200 values in 200 events: nothing can be"),
        ("category", [f"id-{n // 2}" for n in range(200)], None),
        ("category", [f"id-{n * 2 // 3}" for n in range(200)], "133 values in 200 events, none of"),
        ("category", [f"id-{n}" for n in range(170)] + ["tv"] * 30, None),
        ("category", ["TV", " tv"] * 100, "'tv' is the value of all events: nothing can be"),
        ("category", ["", "None"] * 100, "every value is missing: nothing can be learned of it"),
        ("category", ["tv", ""] * 100, None),
        ("number", ["7"] * 200, "'7' is the value of all events: nothing can be learned of it"),
        ("number", list(range(200)), None),
    ],
)
def test_a_column_of_which_nothing_can_be_learned_is_odd(tmp_path, kind, values, odd):
    adapter = declared(tmp_path, table("many", values), f'[context]\nmany = "{kind}"\n'.encode())
    found = [line for line in adapter.odd() if "nothing can be learned" in line]
    assert len(found) == (odd is not None)
    assert not found or found[0].startswith(f"interactions.csv: column many: {odd}")


def test_a_described_column_of_users_with_one_value_is_odd(tmp_path):
    users = b"user,mood\n" + b"".join(b"u%d,fine\n" % n for n in range(9))
    adapter = declared(tmp_path, text=b'[features]\nmood = "category"\n', **{"users.csv": users})
    assert (
        "users.csv: column mood: 'fine' is the value of all rows: nothing can be learned of it"
        in (adapter.odd())
    )


def test_of_two_descriptions_the_one_that_is_not_followed_is_named(tmp_path):
    folder = write(tmp_path / "data", {"interactions.csv": LOG, "data.toml": DECLARED})
    output = write(tmp_path / "out", {"data.toml": b""})
    lines = list(describe.describe(folder, tmp_path, output))
    followed, other = output / "data.toml", folder / "data.toml"
    assert f"{other} is not followed: {followed} is" in lines
    assert "not followed" not in "\n".join(describe.describe(folder, tmp_path, folder))


def test_a_run_names_the_file_that_lines_are_written_to(tmp_path):
    adapter = declared(tmp_path, text=b"")
    again = open_adapter("table", adapter.folder, layout_text=adapter.layout_text)
    again.followed(description.find(tmp_path, adapter.folder))
    assert sorted(again.roles()[1:]) == sorted(adapter.roles()[1:])
    assert f"Then add to {tmp_path / 'data' / 'data.toml'}, without" in "".join(again.roles())


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"user,item,stars,when,", None),
        (
            b"user,item,stars,x,",
            "move predicted ratings alone, as there are no times",
        ),
        (b"user,item,x,when,", None),
        (b"user,item,x,y,", "change nothing, as there are neither ratings nor times"),
    ],
)
def test_it_is_said_where_context_counts_for_little(tmp_path, head, sentence):
    log = LOG.replace(b"user,item,stars,when,", head, 1)
    found = [one for one in declared(tmp_path, log).roles() if one.startswith("Context features")]
    assert len(found) == (sentence is not None)
    assert not found or sentence in found[0]
    table = declared(tmp_path / "offer", log, b"")
    [offered] = [one for one in table.roles() if one.startswith("Not used as a context feature")]
    assert ("moves predicted ratings" in offered) == table.spec.features.has_rating
    assert ("lists within a session" in offered) == table.spec.features.has_time
    assert ("moves nothing" in offered) == (head == b"user,item,x,y,")


def test_where_context_is_declared_the_offer_has_no_second_header(tmp_path):
    folder = write(tmp_path / "data", {"interactions.csv": LOG})
    for text, header in ((b"", True), (b"[context]\n", False)):
        write(folder, {"data.toml": text + b'device = "category"\n' * (not header)})
        lines = list(describe.describe(folder, tmp_path))
        start = next(n for n, line in enumerate(lines) if line.startswith("Not used"))
        assert f"{folder / 'data.toml'}, without #:" in lines[start]
        assert ("[context]" in lines[start + 1]) is header
        assert ("to [context] in" in lines[start]) is not header
    assert lines[start + 1] == '  # price = "category"'


def test_a_column_of_context_is_left_out_by_ignore_and_no_longer_offered(tmp_path):
    adapter = declared(tmp_path, text=b'[context]\ndevice = "ignore"\n')
    assert adapter.spec.features.context == ()
    assert adapter.ignored["interactions.csv, device"] == "data.toml says so"
    assert list(adapter.layout.offered) == ["price"]


def test_a_column_of_events_that_users_have_as_well_is_offered(tmp_path):
    users = b"user,device,x\n" + b"".join(b"u%d,%s,1\n" % (n, b"ab"[n % 2 :][:1]) for n in range(7))
    adapter = declared(tmp_path, text=b"", **{"users.csv": users})
    assert "user_device" in adapter.spec.features.names
    assert "interactions.csv, device" in adapter.ignored
    assert "device" in adapter.layout.offered


def test_names_of_features_are_ascii_short_and_different(tmp_path):
    columns = ["日本", "中国", "größe", "grüße", "Device", "device", "x" * 300]
    log = table(",".join(columns), *([["a", "b"] * 100] * len(columns)))
    text = "[context]\n" + "".join(f'"{one}" = "category"\n' for one in columns)
    names = [one.name for one in declared(tmp_path, log, text.encode()).spec.features.context]
    expected = ["column", "column_2", "grosse", "grusse", "device", "device_2", "x" * 100]
    assert names == [f"context_{one}" for one in expected]
    users = ",".join(["user", *columns]) + "\n"
    rows = "".join(f"u{n}," + ",".join(["ab"[n % 2]] * len(columns)) + "\n" for n in range(9))
    adapter = declared(tmp_path / "users", log, b"", **{"users.csv": (users + rows).encode()})
    of_users = [one.name for one in adapter.spec.features.owned_by(Owner.USER)]
    assert of_users == ["user_id", *(f"user_{one}" for one in expected)]


def test_what_counts_as_missing_is_the_same_for_every_kind(tmp_path):
    missing = ["", "None", "\\N", "-", "NaN", "NA", "N/A", "<NA>", "null", "none"] * 10
    log = table("device,price", [*missing, *["TV", "tv"] * 50], [*missing, *range(100)])
    rows, [found] = read(declared(tmp_path, log))
    assert {row["context_device"] for row in rows[:100]} == {"unknown"}
    assert {row["context_price"] for row in rows[:100]} == {None}
    assert (found.missing, found.values_lost) == ({"device": 100, "price": 100}, {})
    users = "user,mood\n" + "".join(
        f"u{n},{one}\n" for n, one in enumerate([*missing[:7], "x", "y"])
    )
    frame, _ = declared(
        tmp_path / "users", log, b'[features]\nmood = "category"\n', **{"users.csv": users.encode()}
    ).users(LENIENT, "keep")
    assert frame["user_mood"].tolist() == ["unknown"] * 7 + ["x", "y"]


@pytest.mark.parametrize("value", ["1e39", "inf", "-Infinity"])
def test_a_number_that_is_too_large_is_called_so(tmp_path, value):
    log = table("device,price", ["a"] * 200, [value, *range(199)])
    rows, [found] = read(declared(tmp_path, log))
    [[example]] = list(found.examples.values())
    assert example.expected == "a number of at most 3.4e+38, as this one is too large, or nothing"
    assert rows[0]["context_price"] is None


@pytest.mark.parametrize("value", ['["a", "b"]', '{"a": 1}'])
def test_lists_and_objects_are_refused(tmp_path, value):
    lines = [
        f'{{"user": "u{n % 5}", "item": "i{n % 7}", "device": {value if n == 3 else 7}}}'
        for n in range(20)
    ]
    with pytest.raises(InputError, match="values in device are lists, objects or bytes"):
        detect(
            write(
                tmp_path / "data",
                {
                    "interactions.jsonl": "\n".join(lines).encode(),
                    "data.toml": b'[context]\ndevice = "category"\n',
                },
            ),
            tmp_path,
        )


def test_bytes_that_are_no_text_are_refused(tmp_path):
    folder = write(tmp_path / "data", {"data.toml": b'[context]\ndevice = "category"\n'})
    columns = {"user": ["a", "b"] * 9, "item": ["x", "y", "z"] * 6}
    for device in (b"tv", b"\xff\x00"):
        values = pa.table({**columns, "device": pa.array([device] * 18, pa.binary())})
        pq.write_table(values, folder / "interactions.parquet")
        if device == b"tv":
            assert "context_device" in detect(folder, tmp_path).spec.features.names
            continue
        with pytest.raises(InputError, match="lists, objects or bytes"):
            detect(folder, tmp_path)
