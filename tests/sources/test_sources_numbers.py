"""Columns of numbers, such as prices: inferred or described, read, and refused in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from movielens_files import write

from schema import features as raw
from schema.features import Kind
from sources.cleaning_log import LossLimits
from sources.detect import detect
from sources.errors import InputError
from sources.numbers import quarters

EVENTS = "user_id,item_id\n" + "".join(f"u{n},i{n}\n" for n in range(40))


def shop(tmp_path, users="", items="", toml=""):
    tables = {"interactions.csv": EVENTS, "users.csv": users, "items.csv": items}
    tables["data.toml"] = toml
    folder = write(
        tmp_path / "data", {name: text.encode() for name, text in tables.items() if text}
    )
    return detect(folder, tmp_path)


def column(name, values, key="item_id", letter="i", separator=","):
    head = f"{key}{separator}{name}\n"
    return head + "".join(f"{letter}{n}{separator}{value}\n" for n, value in enumerate(values))


def values_of(frame, name):
    return [None if value != value else value for value in frame[name].tolist()]


@pytest.mark.parametrize(
    ("separator", "written", "read"),
    [
        (",", "12.5", 12.5),
        (",", "-3e2", -300.0),
        (";", "12,5", 12.5),
        ("\t", "1,234", 1.234),
    ],
)
def test_a_column_of_numbers_is_a_number_and_what_is_empty_is_missing(
    tmp_path, separator, written, read
):
    values = [written, "", "N/A", *range(30)]
    adapter = shop(tmp_path, items=column("price", values, separator=separator))
    feature = adapter.spec.features["item_price"]
    assert (feature.kind, feature.dtype, feature.optional) == (Kind.NUMBER, "float32", True)
    items, log = adapter.items(LossLimits())
    by_id = dict(zip(items["movie_id"], values_of(items, "item_price"), strict=True))
    assert by_id["i0"] == pytest.approx(read)
    assert by_id["i1"] is by_id["i2"] is by_id["i39"] is None  # the last has no row
    assert by_id["i7"] == 4.0
    assert log.files["items.csv"].missing["price"] == 2


@pytest.mark.parametrize("name", ["tmdbId", "postal_code", "phone"])
def test_numbers_that_name_something_are_no_amounts(tmp_path, name):
    adapter = shop(tmp_path, items=column(name, range(100, 140)))
    assert adapter.ignored == {f"items.csv, {name}": "nearly every row has a value of its own"}
    toml = f'[features]\n{name} = "number"\n'
    described = shop(tmp_path / "described", items=column(name, range(100, 140)), toml=toml)
    assert [f.kind for f in described.spec.features.of_kind(Kind.NUMBER)] == [Kind.NUMBER]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([*range(26), "n.V.", *range(26, 38), "?"],
         "2 of 40 values are no numbers, the first in row 28: 'n.V.'"),
        ([*(f"{n}.37 €" for n in range(40))],
         "40 of 40 values are no numbers, the first in row 2: '0.37 €'"),
        ([*(f"{n} Stk" for n in range(39)), "4 kg"],
         "40 of 40 values are no numbers, the first in row 2: '0 Stk'"),
        ([*(f"{n} {'g' if n % 2 else 'kg'}" for n in range(40))],
         "40 of 40 values are no numbers, the first in row 2: '0 kg'"),
        ([*(f"{4700 + n}{'ABC'[n % 3]}" for n in range(40))], "nearly every row has a value of"),
        ([*(f"{1200 + n} A{'BCV'[n % 3]}" for n in range(40))], "nearly every row has a value of"),
        ([*(f"{123456789 + n}{'' if n % 11 else 'X'}" for n in range(40))], "nearly every row has"),
        ([*(f"{n} Angry Men" for n in range(40))], "nearly every row has a value of its own"),
        ([*(f"2024-05-{n}" for n in range(40))], "nearly every row has a value of its own"),
    ],
)  # fmt: skip
def test_a_column_with_values_that_are_no_numbers_names_the_first(tmp_path, values, reason):
    [why] = shop(tmp_path, items=column("price", values)).ignored.values()
    assert why.startswith(reason)
    assert ("write numbers such as 12.5" in why) is ("no numbers" in reason)


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        (["male", "female", "non-binary", "d"], "user_gender_category", Kind.CATEGORY),
        (["male", "F", "", "m"], "user_gender", Kind.GENDER),
    ],
)
def test_only_genders_of_known_spelling_have_the_name_of_movielens(tmp_path, values, name, kind):
    users = column("gender", values * 10, key="user_id", letter="u")
    features = shop(tmp_path, users=users).spec.features
    assert features[name].kind is kind
    assert (features[name].label or "gender") == "gender"
    assert ("user_gender" in features.names) is (kind is Kind.GENDER)


def test_few_different_numbers_are_a_category_unless_data_toml_has_another_kind(tmp_path):
    items = column("floor", [n % 5 for n in range(40)])
    assert shop(tmp_path, items=items).spec.features["item_floor"].kind is Kind.CATEGORY
    toml = '[features]\nfloor = "number"\n'
    described = shop(tmp_path / "described", items=items, toml=toml)
    assert described.spec.features["item_floor"].kind is Kind.NUMBER


def test_text_in_a_column_of_numbers_is_refused_with_its_row(tmp_path):
    values = [*range(20), "cheap", "dear", *range(18)]
    adapter = shop(tmp_path, items=column("price", values), toml='[features]\nprice = "number"\n')
    with pytest.raises(InputError) as error:
        adapter.items(LossLimits())
    message = str(error.value)
    assert "items.csv, row 22: no usable number in the column of numbers price" in message
    assert "expected: a number such as 12.5, or nothing" in message
    assert "cheap" in message
    assert 'or give the column another kind (or "ignore") in data.toml' in message
    items, log = adapter.items(LossLimits.of(0.1))
    assert values_of(items, "item_price").count(None) == 2
    assert log.files["items.csv"].values_lost == {
        "no usable number in the column of numbers price": 2
    }


def test_a_column_of_prices_with_the_kind_year_is_refused_by_its_name(tmp_path):
    prices = [f"{price}.95" for price in range(40)]
    adapter = shop(tmp_path, items=column("price", prices), toml='[features]\nprice = "year"\n')
    with pytest.raises(InputError) as error:
        adapter.items(LossLimits())
    message = str(error.value)
    assert "items.csv, row 2: no year in the column of years price" in message
    assert "expected: a year from 1000 to 2100, or nothing" in message
    assert "found: '0.95'" in message
    assert 'correct these values, or give the column another kind (or "ignore") in data.' in message
    assert "release date" not in message


def test_text_of_its_own_in_every_row_may_be_the_title(tmp_path):
    adapter = shop(tmp_path, items=column("Bezeichnung", [f"Thing {n}" for n in range(40)]))
    assert adapter.ignored["items.csv, Bezeichnung"].endswith(
        "if it is the title, give it that kind in data.toml"
    )


def test_a_number_of_users_has_quarters_for_slices(tmp_path):
    adapter = shop(tmp_path, users=column("income", range(0, 4000, 100), "user_id", "u"))
    number, table = adapter.spec.features["user_income"], adapter.spec.features
    quarter = raw.quarter_of(number)
    assert quarter in table.sliced
    assert not quarter.is_model_input
    users, _ = adapter.users(LossLimits(), "keep")
    assert sorted(users[quarter.name].unique()) == [
        "1. at most 900", "2. over 900 to 1,900", "3. over 1,900 to 2,900", "4. over 2,900",
    ]  # fmt: skip
    assert users[quarter.name].value_counts().tolist() == [10] * 4


@given(st.lists(st.none() | st.floats(-1e6, 1e6, width=32), max_size=60))
def test_quarters_are_ordered_as_the_numbers_are_and_equal_numbers_are_together(values):
    names = quarters(values)
    assert [name == raw.UNKNOWN for name in names] == [value is None for value in values]
    known = sorted((v, name) for v, name in zip(values, names, strict=True) if v is not None)
    places = [int(name.split(".")[0]) for _, name in known]
    assert places == sorted(places)
    assert len({(v, name) for v, name in known}) == len({v for v, _ in known})
    if known:
        # The first holds at most a quarter of all below its largest number, which many may equal.
        first = [v for (v, _), place in zip(known, places, strict=True) if place == 1]
        assert sum(v < first[-1] for v in first) <= math.ceil(len(known) / 4)
