"""`data.toml`: what it says is done, what it cannot say is refused, and a draft of it is true."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from movielens_files import write
from table_data import events, write_tables
from test_sources_table import read

from schema.features import Kind
from sources import describe as descriptions
from sources import description
from sources.__main__ import main
from sources.columns import are_like_ratings
from sources.description import Description
from sources.detect import detect, open_adapter
from sources.errors import InputError
from sources.layout import SYNONYMS, Layout, lines_to_write

LOG = (
    b"who,sku,stars,score,day,type\n"
    b"u1,a,5,0.1,2024-01-01,view\n"
    b"u1,b,1,0.2,2024-01-02,buy\n"
    b"u2,a,0,0.3,2024-01-03,view\n"
    b"u2,a,4,0.4,2024-01-04,other\n"
)
COLUMNS = '[columns]\nuser = "who"\nitem = "sku"\nrating = "stars"\ntime = "day"\n'


def described(tmp_path, text, **more):
    content = {"interactions.csv": LOG, "data.toml": text.encode(), **more}
    return detect(write(tmp_path / "data", content), tmp_path, tmp_path / "output")


def words(*where):
    return "\n".join(descriptions.describe(*where))


def roles_of(adapter):
    return Layout.from_json(adapter.layout_text).roles


def pairs(adapter):
    return [(row["user_id"], row["item_id"], row["rating"]) for row in read(adapter)[0]]


def test_columns_of_any_name_play_the_roles_they_are_given(tmp_path):
    adapter = described(tmp_path, COLUMNS)
    assert pairs(adapter) == [("u1", "a", 5), ("u1", "b", 1), ("u2", "a", 0), ("u2", "a", 4)]
    assert adapter.spec.scale == (0, 5, 1)
    again = open_adapter("table", adapter.folder, None, adapter.layout_text)
    assert again.layout_text == adapter.layout_text
    assert read(again) == read(adapter)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('drop = ["rating == 0"]\n' + COLUMNS, [("u1", "a", 5), ("u1", "b", 1), ("u2", "a", 4)]),
        ('drop = ["score < 0.3", "sku == b"]\n' + COLUMNS, [("u2", "a", 0), ("u2", "a", 4)]),
        ('drop = ["type != view"]\n' + COLUMNS, [("u1", "a", 5), ("u2", "a", 0)]),
        ('positive = "rating >= 4"\n' + COLUMNS, [("u1", "a", None), ("u2", "a", None)]),
        ('positive = "stars >= 4"\n' + COLUMNS, [("u1", "a", None), ("u2", "a", None)]),
        (
            'repeats = "count"\n' + COLUMNS + "[events]\nview = 1\nbuy = 3.5\nother = 0\n",
            [("u1", "a", 1), ("u1", "b", 3.5), ("u2", "a", 1)],
        ),
        (COLUMNS + "[events]\nbuy = 1\nother = 1\n", [("u1", "b", 1), ("u2", "a", 4)]),
        ("scale = [1, 10]\n" + COLUMNS, [("u1", "a", 5), ("u1", "b", 1), ("u2", "a", 4)]),
        (
            COLUMNS.replace("stars", ""),
            [("u1", "a", None), ("u1", "b", None), ("u2", "a", None), ("u2", "a", None)],
        ),
    ],
)
def test_rules_weights_and_scale_say_which_events_are_read(tmp_path, text, expected):
    adapter = described(tmp_path, text)
    assert pairs(adapter) == expected
    assert adapter.spec.features.has_rating is (expected[0][2] is not None)
    if "scale" in text:
        assert adapter.spec.scale == (1, 10, 1)


def test_kinds_of_columns_and_the_name_of_an_item_are_as_described(tmp_path):
    folder = write_tables(tmp_path / "data", events())
    text = (
        'item_noun = "book"\n[features]\nprice = "category"\nbrand = "ignore"\ncountry = "gender"\n'
    )
    write(folder, {"data.toml": text.encode()})
    adapter = detect(folder, tmp_path)
    kinds = {f.name: f.kind for f in adapter.spec.features.features}
    assert kinds["item_price"] is Kind.CATEGORY
    assert kinds["user_gender"] is Kind.GENDER
    assert "item_brand" not in kinds
    assert adapter.ignored["items.csv, brand"] == "data.toml says so"
    assert adapter.spec.item_noun == "book"
    write(folder, {"data.toml": b'[features]\ncountry = "tags"\n'})
    with pytest.raises(InputError, match="a kind that its table cannot have"):
        detect(folder, tmp_path)


def test_the_output_folder_comes_before_the_data(tmp_path):
    write(tmp_path / "output", {"data.toml": COLUMNS.replace("stars", "score").encode()})
    adapter = described(tmp_path, COLUMNS)
    assert roles_of(adapter)["rating"] == "score"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns = ", "cannot be read"),
        ('colour = "red"', "unknown key colour"),
        ('[columns]\nbuyer = "who"', "unknown role buyer"),
        ('[columns]\nuser = "whom"', "names a column that is not there"),
        ("[columns]\nuser = 1", "columns is wrong"),
        ('[features]\nx = "amount"', "unknown kind of feature x"),
        (COLUMNS + '[features]\nx = "category"', "a kind to a column that is not there"),
        (COLUMNS + '[features]\nscore = "number"', "the kind number to a column of the events"),
        ('positive = "good"', "positive is no rule"),
        ('positive = "goodness > 1"\n' + COLUMNS, "a rule of data.toml names a column"),
        ("drop = 3", "drop is wrong"),
        ('drop = ["price <> 3"]', r"<> in drop is no operator(.|\n)*one of ==, !=, <=, >=, <, >"),
        ('positive = "stars => 3"', "=> in positive is no operator"),
        ('positive = "stars === 3"', "=== in positive is no operator"),
        ('positive = "stars = 3"', "= in positive is no operator"),
        ('positive = "stars >="', "positive is no rule"),
        ("scale = [5, 1]", "scale does not rise"),
        ('scale = [1, "5"]', "scale is wrong"),
        ('repeats = "sum"', "repeats is wrong"),
        ("[events]\nbuy = -1", "events is wrong"),
        ("[events]\nbuy = 0", "events is wrong"),
        ('item_noun = "<b>"', "item_noun is wrong"),
        ('[columns]\nuser = "sku"', "column sku plays two roles: user and item"),
        (COLUMNS + 'event = "stars"\n[events]\nbuy = 1', "two roles: rating and event"),
        (COLUMNS + 'event = ""\n[events]\nbuy = 1', "no column with the type of an event"),
        (COLUMNS + "[events]\nrent = 1", "leaves out every event"),
        (COLUMNS + '[features]\nshelf = "age"', "a kind that its table cannot have"),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        described(tmp_path, text, **{"items.csv": b"id,shelf\na,x\nb,y\n"})
    assert str(tmp_path / "data" / "data.toml") in str(error.value)


def test_a_draft_is_written_where_something_is_ambiguous_and_says_what_was_understood(tmp_path):
    log = LOG.replace(b"who", b"user").replace(b"day", b"date")
    folder = write(tmp_path / "data", {"interactions.csv": log})
    output = tmp_path / "output"
    text = words(folder, tmp_path, output)
    for line in (
        "Column of the rating: one of stars, score; taken: stars",
        "Every event counts the same, whatever its type.",
        f"Written: {output / 'data.toml'}, to be corrected where this is wrong",
    ):
        assert line in text.splitlines()
    assert [path.name for path in folder.iterdir()] == ["interactions.csv"]
    draft = description.read(output / "data.toml")
    roles = {"user": "user", "item": "sku", "rating": "stars", "time": "date", "event": ""}
    columns = ("user", "sku", "stars", "score", "date", "type")
    assert draft == Description(columns=roles, of_columns=columns)
    before = roles_of(detect(folder, tmp_path))
    assert roles_of(detect(folder, tmp_path, output)) == before
    # It is there now, and answers.
    assert "Written" not in words(folder, tmp_path, output)


def test_a_draft_of_other_data_is_refused_and_keeps_its_content(tmp_path):
    played = write(tmp_path / "a", {"interactions.csv": b"user,item,artist\nu1,a,x\nu2,b,y\n"})
    both = write(tmp_path / "b", {"interactions.csv": b"user,member,song\nu1,m,a\nu2,n,b\n"})
    typed = write(tmp_path / "c", {"interactions.csv": b"user,member,song,type\nu,m,a,buy\n"})
    words(both, tmp_path, tmp_path)
    draft = (tmp_path / "data.toml").read_bytes()
    for other in (played, typed):
        with pytest.raises(InputError, match=r"data\.toml was written for other data") as error:
            detect(other, tmp_path, tmp_path)
        assert error.value.action.startswith("if the file is meant for this data as well, ")
        assert (tmp_path / "data.toml").read_bytes() == draft
    assert "type, which data.toml leaves out unseen" in error.value.found
    write(tmp_path, {"data.toml": re.sub(b"(?m)^of_columns.*", b"", draft)})
    assert detect(typed, tmp_path, tmp_path)


@pytest.mark.parametrize("more", ["", ",shop", ",type,shop,score", ",stars"])
def test_a_draft_is_followed_where_columns_that_it_does_not_use_come_and_go(tmp_path, more):
    header, values = "user,item,stars,type", "u1,a,3,buy"
    folder = write(tmp_path / "a", {"plays.csv": f"{header},hint\n{values},x\n".encode()})
    words(folder, tmp_path, tmp_path)
    header = header.replace(",stars" if more == ",stars" else ",type", "") + more
    rows = [",".join(f"{one}{i}" if one != "stars" else str(i) for one in header.split(","))
            for i in range(3)]  # fmt: skip
    other = write(tmp_path / "b", {"plays.csv": "\n".join([header, *rows]).encode()})
    assert roles_of(detect(other, tmp_path, tmp_path)) == {
        "user": "user", "item": "item", "rating": "stars"
    }  # fmt: skip


def test_no_draft_comes_before_a_description_beside_the_data(tmp_path):
    described(tmp_path, 'drop = ["sku == b"]\n' + COLUMNS)
    assert "Every event counts the same" in words(tmp_path / "data", tmp_path, tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_a_draft_has_columns_of_any_name(tmp_path):
    folder = write(
        tmp_path / "data", {"plays.csv": "user,item,type,\U0001f600\n1,2,x,3\n".encode()}
    )
    words(folder, tmp_path, tmp_path)
    assert description.read(tmp_path / "data.toml").of_columns[3] == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[columns]\nrating = ""', 'data.toml says rating = ""'),
        ('repeats = "count"', 'with repeats = "count" in data.toml there are no ratings of events'),
        ('positive = "stars != kö"', 'with positive = "stars != kö" in data.toml there are no '
         "ratings of events"),
        ('positive = "stars > 1"', 'with positive = "stars > 1" in data.toml there are no ratings '
         "of events"),
    ],
)  # fmt: skip
def test_ratings_that_the_description_leaves_out_are_not_read_for_that_reason(tmp_path, text, why):
    assert detect(rated(tmp_path, (1, 2, 3), text=text), tmp_path).ignored == {
        "events.csv, stars": why
    }


@pytest.mark.parametrize("ids", [b'{"id": 3}', b"[3]"])
def test_ids_that_are_objects_or_lists_are_refused(tmp_path, ids):
    rows = b'{"user": %s, "item": 5}\n' % ids
    with pytest.raises(InputError, match="the ids in user are objects or lists"):
        detect(write(tmp_path / "data", {"interactions.jsonl": rows}), tmp_path)


def test_clicks_without_ratings_and_times_are_a_table_of_ids_alone(tmp_path):
    clicks = b"user,item\nu1,a\nu1,b\nu2,a\n"
    adapter = detect(write(tmp_path / "data", {"clicks.csv": clicks}), tmp_path)
    assert adapter.spec.features.names == ("user_id", "movie_id")
    assert adapter.spec.scale is None
    text = words(tmp_path / "data", tmp_path)
    assert "Usable events: 3" in text
    assert "Times: none, so --split random alone can be used" in text
    assert "The order of" not in text
    assert "Features of context: none" in text.splitlines()


def test_ratings_that_are_all_the_same_are_none(tmp_path):
    plays = b"user,item,stars\nu1,a,1\nu1,b,1\nu2,a,1\n"
    adapter = detect(write(tmp_path / "data", {"plays.csv": plays}), tmp_path)
    assert not adapter.spec.features.has_rating
    assert adapter.ignored == {"plays.csv, stars": "it has the same value in every row"}
    assert pairs(adapter) == [("u1", "a", None), ("u1", "b", None), ("u2", "a", None)]


WORDS = ("good", "bad", "so so")


def rated(tmp_path, values, separator=",", text=""):
    """Two users' events with ratings as given, in a column `stars`."""
    rows = [f"u{i % 2},{i},{value}" for i, value in enumerate(values)]
    lines = [line.replace(",", separator, 2) for line in ("user,item,stars", *rows)]
    content = {"events.csv": "\n".join(lines).encode(), "data.toml": text.encode()}
    return write(tmp_path / "data", content)


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (("'4,5'", "'3,0'", "'1,5'"), "|"),
        (("4 stars", "3 stars", "1 star"), ","),
        (("4/5", "3/5", ""), ","),
        (("★★★", "★"), ","),
        (("A", "B", "C"), ","),
        (("", "good", *WORDS), ","),
        (("5", "5", "good"), ","),
        (("4,5", "3.5", "x"), ";"),
    ],
)
def test_ratings_that_differ_and_cannot_be_read_are_refused(tmp_path, values, separator):
    folder = rated(tmp_path, values, separator)
    if separator == "|":
        adapter = detect(folder, tmp_path)
        assert [one[2] for one in pairs(adapter)] == [4.5, 3, 1.5]
        return
    with pytest.raises(InputError) as error:
        list(descriptions.describe(folder, tmp_path, tmp_path / "output"))
    assert error.value.file == "events.csv"
    first = next(
        (row, repr(value))
        for row, value in enumerate(values, start=2)
        if value and not value.replace(".", "", 1).isdecimal()
    )
    assert (error.value.row, error.value.found) == first


def test_the_refusal_of_ratings_says_how_to_leave_them_out(tmp_path):
    folder = rated(tmp_path, WORDS)
    with pytest.raises(InputError, match="the ratings in column stars cannot be read") as error:
        detect(folder, tmp_path, tmp_path)
    expected = f'these two lines to {folder / "data.toml"}:\n    [columns]\n    rating = ""'
    assert error.value.action.endswith(expected)
    adapter = detect(rated(tmp_path, WORDS, text='[columns]\nrating = ""'), tmp_path, tmp_path)
    assert pairs(adapter) == [("u0", "0", None), ("u1", "1", None), ("u0", "2", None)]


def test_a_line_for_a_file_that_has_columns_already_comes_without_their_header(tmp_path):
    folder = rated(tmp_path, WORDS, text='[columns]\nitem = "item"\n')
    with pytest.raises(InputError, match="the ratings in column stars cannot be read") as error:
        detect(folder, tmp_path, tmp_path)
    expected = f'this line below [columns] in {folder / "data.toml"}:\n    rating = ""'
    assert error.value.action.endswith(expected)
    (folder / "data.toml").write_text('[columns]\nitem = "item"\nrating = "stars"\n')
    with pytest.raises(InputError, match="the ratings in column stars cannot be read") as error:
        detect(folder, tmp_path)
    there = f"change the line of rating below [columns] in {folder / 'data.toml'} to:"
    assert error.value.action.endswith(f'{there}\n    rating = ""')
    assert "write" not in error.value.action


def test_lines_that_are_there_are_changed_and_the_others_written():
    one = Description(columns={"user": "", "time": ""}, path="data.toml")
    assert lines_to_write({"user": "a", "item": "b", "time": "c"}, one) == (
        'write this line below [columns] in data.toml:\n    item = "b"\n'
        "  and change the lines of user and time below [columns] in data.toml to:\n"
        '    user = "a"\n    time = "c"'
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (("", "", ""), "it is empty"),
        (("yay", "", "yay"), "it has the same value in every row"),
        (("1", "", "1.0"), "it has the same value in every row"),
    ],
)
def test_a_column_of_ratings_that_says_nothing_is_not_read(tmp_path, values, why):
    adapter = detect(rated(tmp_path, values), tmp_path)
    assert adapter.ignored == {"events.csv, stars": why}
    assert len(pairs(adapter)) == 3


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_all_ratings_have_them(tmp_path, separator):
    text = 'drop = ["rating < 2"]'
    folder = rated(tmp_path, ("4,5", "3", "", "1,5"), separator, text)
    adapter = detect(folder, tmp_path)
    assert pairs(adapter) == [("u0", "0", 4.5), ("u1", "1", 3)]
    again = open_adapter("table", adapter.folder, None, adapter.layout_text)
    assert read(again) == read(adapter)
    assert "Ratings have decimal commas: 4,5 is 4.5" in adapter.roles()


def test_a_rule_loses_what_it_cannot_compare(tmp_path):
    folder = rated(tmp_path, ("4,5", "5", "3"), ";", 'positive = "stars >= 4"')
    with pytest.raises(InputError, match="no number, which a rule compares") as error:
        list(descriptions.describe(folder, tmp_path))
    assert (error.value.row, error.value.found) == (2, "'4,5'")


@pytest.mark.parametrize(
    ("values", "text", "message"),
    [
        ((), "", "there are no events"),
        ((1, 2), 'positive = "stars > 5"', "data.toml leaves out every event"),
        ((1, 2), 'drop = ["stars < 9"]', "data.toml leaves out every event"),
    ],
)
def test_data_without_an_event_is_refused_at_the_first_look(tmp_path, values, text, message):
    with pytest.raises(InputError, match=message):
        detect(rated(tmp_path, values, text=text), tmp_path)


def test_losses_are_judged_as_in_a_run_after_everything_is_printed(tmp_path):
    events = b"user,item,stars,date\nu1,a,1,05/06/2024\nu1,b,2,2024-06-05\n"
    folder = write(tmp_path / "data", {"events.csv": events})
    lines = []
    with pytest.raises(InputError, match="day or month first.*1 of 2 rows are lost") as error:
        lines.extend(descriptions.describe(folder, tmp_path))
    assert (error.value.row, error.value.found) == (2, "'05/06/2024'")


def test_the_first_row_that_is_lost_is_odd(tmp_path, capsys):
    events = b"user,item,stars,date\nu1,a,1,05/06/2024\nu1,b,2,2024-06-05\n"
    folder = write(tmp_path / "data", {"events.csv": events})
    assert main(["describe", str(folder), "--output-dir", str(tmp_path / "output")]) == 2
    assert (
        "  events.csv: 1 row dropped: ambiguous date (day or month first?) (first row 2: expected "
        "a time in date: seconds or milliseconds since 1970, or a date, found '05/06/2024')"
    ) in capsys.readouterr().out.splitlines()


def test_times_that_are_all_lost_are_named_and_not_the_ratings(tmp_path):
    events = b"user,item,stars,date\nu1,a,1,05/06/2024\nu1,b,2,06/06/2024\n"
    with pytest.raises(InputError, match="ambiguous date"):
        detect(write(tmp_path / "data", {"events.csv": events}), tmp_path)


def test_a_column_that_is_not_recognised_is_named_as_the_guide_spells_it(tmp_path):
    folder = write(tmp_path / "data", {"loans.csv": b"date,stars,patron_id,isbn\n,1,a,b\n"})
    with pytest.raises(InputError, match="no column is recognised as the user's id") as error:
        detect(folder, tmp_path, tmp_path / "output")
    assert error.value.expected.startswith("a column named user_id, user, uid, customer_id,")
    path = tmp_path / "output" / "data.toml"
    assert f'to {path}:\n    [columns]\n    user = "patron_id"' in error.value.action
    assert "header" not in str(error.value)


@pytest.mark.parametrize("first", [b"anna,ISBN7,5", b"a,b,2024-05-31T18:00:00Z"])
def test_a_first_row_of_values_hints_at_a_missing_header(tmp_path, first):
    with pytest.raises(InputError, match="looks like values, not like a header"):
        detect(write(tmp_path / "data", {"loans.csv": first + b"\nu,i,1\n"}), tmp_path)


def test_the_guide_lists_every_name_that_is_recognised():
    guide = (Path(__file__).parents[2] / "docs/guides/own-data.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in guide.splitlines() if line[:1] == "|"}
    for role, names in SYNONYMS.items():
        assert tuple(re.findall(r"`(\w+)`", rows[f"`{role}`"].split("|", 2)[2])) == names


def test_the_description_that_is_followed_is_named(tmp_path):
    described(tmp_path, COLUMNS)
    followed = f"Followed: {tmp_path / 'data' / 'data.toml'}"
    assert followed in words(tmp_path / "data", tmp_path, tmp_path / "output").splitlines()


def test_ids_that_programs_write_for_nothing_are_missing(tmp_path):
    rows = b"user,item\nNone,a\nu,-\n-,None\nu,none such\n"
    adapter = detect(write(tmp_path / "data", {"plays.csv": rows}), tmp_path)
    assert pairs(adapter) == [("u", "none such", None)]


SALES = b"customer_id,product_id\nu1,a\nu1,b\nu2,a\n"


def test_tables_of_a_common_name_are_read_where_their_ids_are_recognised(tmp_path):
    tables = {
        "interactions.csv": SALES,
        "customers.csv": b"customer_id,city\nu1,Bonn\nu2,Bonn\n",
        "products.csv": b"product_id,name,price,category\na,A,1,x\nb,B,2,x\n",
    }
    adapter = detect(write(tmp_path / "data", tables), tmp_path)
    assert (adapter.users_file, adapter.items_file) == ("customers.csv", "products.csv")
    assert adapter.odd() == []


@pytest.mark.parametrize("events", ["plays.csv", "orders.csv", "log of 2024.csv"])
def test_events_of_any_name_are_read_where_one_table_has_users_and_items(tmp_path, events):
    tables = {
        events: SALES,
        "customers.csv": b"customer_id,city\nu1,Bonn\nu2,Bonn\n",
        "songs.csv": b"song_id,name,artist\na,A,x\nb,B,x\n",
        "shops.csv": b"shop,city\n1,Bonn\n",
    }
    adapter = detect(write(tmp_path / "data", tables), tmp_path)
    assert [file.name for file in Layout.from_json(adapter.layout_text).interactions] == [events]
    assert (adapter.users_file, adapter.items_file) == ("customers.csv", "songs.csv")
    assert [odd.split(":")[0] for odd in adapter.odd()] == ["shops.csv"]


@pytest.mark.parametrize(
    ("tables", "words_of_it"),
    [
        ({"views.csv": SALES, "orders.csv": SALES}, "orders.csv, views.csv"),
        ({"plays.csv": b"kunde,lied\nu1,a\n", "customers.csv": b"id\nu1\n"}, "[columns] user = "),
    ],
    ids=["several", "not recognised"],
)
def test_events_that_are_not_recognised_are_refused_with_what_to_do(tmp_path, tables, words_of_it):
    with pytest.raises(InputError, match=re.escape(words_of_it)):
        detect(write(tmp_path / "data", tables), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("customers.csv", b"code,city\nu1,Bonn\n"),
        ("products.csv", b"customer_id,product_id\nu1,b\n"),
        ("shops.csv", b"customer_id,city\nu1,Bonn\n"),
        ("customers.csv", b""),
    ],
)
def test_other_tables_beside_the_interactions_are_odd(tmp_path, name, content):
    folder = write(tmp_path / "data", {"interactions.csv": SALES, name: content})
    lines = words(folder, tmp_path).splitlines()
    odd = (
        f"  {name}: not read; a table of users is called users.*, one of items items.* or movies.*"
    )
    assert lines[lines.index("Odd:") + 1] == odd
    text = detect(folder, tmp_path).layout_text
    assert Layout.from_json(text).unread == (name,)
    assert Layout.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("values", "is_odd"),
    [
        (("2024-05-31", "", "2024-06-01T10:00:00Z"), True),
        (("31.05.2024", "01.06.2024", "N/A"), True),
        (("2024-05-31", "", "soon"), False),
        (("05/06/2024", "06/06/2024", "07/06/2024"), False),
        (("1", "2.5", "3"), False),
        (("", "", ""), False),
    ],
)
def test_dates_without_a_role_are_odd_where_there_are_no_times(tmp_path, values, is_odd):
    rows = "".join(f"u{i},i{i},{value}\n" for i, value in enumerate(values))
    content = {"sales.csv": f"user,item,ordered_at\n{rows}".encode()}
    folder, output = write(tmp_path / "data", content), tmp_path / "output"
    text = words(folder, tmp_path, output)
    hint = (
        "  sales.csv: column ordered_at has dates or times and is not read; if they are the times "
        f"of the events, write these two lines to {output / 'data.toml'}:\n"
        '    [columns]\n    time = "ordered_at"'
    )
    assert (hint in text) is is_odd
    for answer in ("", "ordered_at") if is_odd else ():
        output.mkdir(exist_ok=True)
        (output / "data.toml").write_text(f'[columns]\ntime = "{answer}"\n')
        assert detect(folder, tmp_path, output).odd() == []


STARRED = b"Sterne,Datum,Kunde,Artikel\n" + b"".join(
    f"{i % 3 + 2},{1700000000 + 3600 * i},K{i % 7},A{i % 11}\n".encode() for i in range(40)
)
FOUR_LINES = 'user = "Kunde"\n    item = "Artikel"\n    rating = "Sterne"\n    time = "Datum"'


def test_all_lines_that_may_be_missing_are_offered_at_the_first_error(tmp_path):
    folder, output = write(tmp_path / "data", {"sales.csv": STARRED}), tmp_path / "output"
    with pytest.raises(InputError, match="the user's id, and none as the item's id") as error:
        detect(folder / "sales.csv", tmp_path, output)
    assert error.value.action.endswith(f"{output / 'data.toml'}:\n    [columns]\n    {FOUR_LINES}")
    output.mkdir()
    (output / "data.toml").write_text("[columns]\n" + FOUR_LINES)
    adapter = detect(folder / "sales.csv", tmp_path, output)
    assert set(roles_of(adapter)) == {"user", "item", "rating", "time"}
    assert adapter.odd() == []


def test_customers_of_ten_digits_are_no_times_and_may_be_the_items(tmp_path):
    rows = "".join(f"{1700000000 + 3600 * i},{1000000000 + i % 7},A{i % 11}\n" for i in range(40))
    folder = write(tmp_path / "data", {"sales.csv": f"Zeit,Kunde,Artikel\n{rows}".encode()})
    with pytest.raises(InputError, match="see which is which, as user and item may be") as error:
        detect(folder / "sales.csv", tmp_path)
    assert error.value.action.endswith('user = "Kunde"\n    item = "Artikel"\n    time = "Zeit"')
    (folder / "data.toml").write_text('[columns]\nuser = "Kunde"\nitem = "Artikel"\n')
    numbered = "Zeit,Kunde,Artikel,Beleg\n" + rows.replace(",A", ",1000000001,A")
    numbered = numbered.replace("Kunde,Artikel,Beleg", "Beleg,Artikel,Kunde")
    write(folder, {"sales.csv": numbered.encode()})
    assert Layout.from_json(detect(folder, tmp_path).layout_text).dates == ("Zeit",)


def test_likely_ratings_and_times_that_are_not_read_are_odd_with_lines_for_one_file(tmp_path):
    folder = write(tmp_path / "data", {"interactions.csv": STARRED})
    (folder / "data.toml").write_text('[columns]\nuser = "Kunde"\nitem = "Artikel"\n')
    [odd] = detect(folder, tmp_path).odd()
    assert odd == (
        "interactions.csv: column Sterne has few different numbers, column Datum has dates or "
        "times and neither is read; if they are the ratings and the times of the events, write "
        f"these two lines below [columns] in {folder / 'data.toml'}:\n"
        '    rating = "Sterne"\n    time = "Datum"'
    )
    (folder / "data.toml").write_text(
        '[columns]\nuser = "Kunde"\nitem = "Artikel"\nrating = ""\ntime = ""\n'
    )
    assert detect(folder, tmp_path).odd() == []


@pytest.mark.parametrize(
    ("values", "are_like"),
    [
        ("1 2 3 1 2 3", True),
        ("4,5 3 2,5 3 2,5 4,5", True),
        ("0 1 0 1 0 1", False),
        ("1 2 3 4 5 6", False),
        ("1 2 3 1 2 x", False),
        ("1 2 999 1 2 999", False),
        (" ".join(map(str, [*range(30)] * 2)), False),
    ],
)
def test_few_different_numbers_are_like_ratings(values, are_like):
    assert are_like_ratings(pa.array([*values.split(), None])) is are_like


def test_dates_of_items_are_no_times_of_events(tmp_path):
    rows = b"user_id,item_id,item_date\nu1,a,2024-05-31\nu1,b,2024-06-01\n"
    assert detect(write(tmp_path / "data", {"sales.csv": rows}), tmp_path).odd() == []


TWICE = b"user,item,when\nu1,a,1\nu1,a,2\nu1,a,2\nu1,b,3\nu2,a,4\n"


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("latest", "the latest of each pair counts, which leaves 3"),
        ("count", "those of a pair count as one, rated with their number times their weights, "
         "which leaves 3"),
        ("keep", "all count but exact repeats, which leaves 4"),
    ],
)  # fmt: skip
def test_repeats_are_counted_with_what_becomes_of_them(tmp_path, policy, line):
    toml = f'repeats = "{policy}"\n'.encode()
    folder = write(tmp_path / "data", {"plays.csv": TWICE, "data.toml": toml})
    lines = words(folder, tmp_path).splitlines()
    assert lines[
        lines.index("Usable events: 5" if policy != "count" else "Usable ratings: 5") + 1
    ] == (f'Repeats: 2, of 3 different pairs of user and item; repeats = "{policy}": {line}')
    assert ("Ratings by value: 1: 2, 3: 1" in lines) is (policy == "count")


@pytest.mark.parametrize(
    ("stars", "one"), [(b",stars", "the highest rating"), (b"", "one")], ids=["ratings", "ids"]
)
def test_of_repeats_without_times_none_is_called_the_latest(tmp_path, stars, one):
    rows = [b"u,a,1", b"u,a,2", b"u,b,3"]
    lines = [b"user,item" + stars, *(row if stars else row[:3] for row in rows)]
    folder = write(tmp_path / "data", {"plays.csv": b"\n".join(lines)})
    line = f"{one} of each pair counts, as there are no times, which leaves 2"
    assert line in words(folder, tmp_path)


def test_without_repeats_there_is_no_line_of_them(tmp_path):
    assert "Repeats" not in words(write(tmp_path / "data", {"plays.csv": SALES}), tmp_path)


@pytest.mark.parametrize("header", ["[columns]", "[features]", "[context]", "[events]"])
@pytest.mark.parametrize("line", ['drop = ["stars == 0"]', 'repeats = "count"', "scale = [1, 5]"])
def test_a_key_of_the_file_below_a_header_is_refused_with_where_it_belongs(tmp_path, header, line):
    key = line.split()[0]
    (tmp_path / "data.toml").write_text(f"{header}\n{line}\n")
    with pytest.raises(InputError) as error:
        description.read(tmp_path / "data.toml")
    assert f"{key} is below {header}" in str(error.value)
    assert "above the first line in square brackets" in str(error.value)


def test_a_column_may_be_called_as_a_key_is(tmp_path):
    (tmp_path / "data.toml").write_text('[context]\nscale = "number"\n[events]\ndrop = 1\n')
    assert description.read(tmp_path / "data.toml").context == {"scale": "number"}
