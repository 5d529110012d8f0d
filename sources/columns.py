"""What the values of own tables mean: ids, ratings and times, whatever type they are written in.

Each function takes a column as it was read and returns values beside a mask of those that are none;
distinct values are looked at once, since ids and ratings repeat.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources import files, text, wrangling
from sources.ratings import TIMESTAMP_END

MAX_ID_CHARS = 1000

_BoolArray = npt.NDArray[np.bool_]
# Nothing of it is missing, residue or a decimal: "nan", b'1' and "7.0" are looked at.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_:@/+-]{1,100}", re.ASCII)
_PLAIN_NUMBER = r"^-?[0-9]{1,18}$"
_FRACTION = re.compile(r"(:\d\d)[.,]\d+", re.ASCII)
_ZONE = re.compile(r"(:\d\d[+-]\d\d)(\d\d)?$", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d{1,40}(?:,\d{1,40})?", re.ASCII)
_DECIMAL_ID = re.compile(r"(-?\d{1,18})\.0+", re.ASCII)
_MOST_STARS = 21
_ANY_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?)(?:[eE][+-]?\d{1,9})?", re.ASCII)
MOST_RATING = float(np.finfo(np.float32).max)
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "up": 1.0, "down": 0.0}
# Of 05/06/2024 nobody knows which is the month.
_AMBIGUOUS_DATE = r"^\s*[\"']?[0-9]{1,2}[/-][0-9]{1,2}[/-][0-9]{4}([^0-9]|$)"
_DATE = r"^\W*[0-9]+[-./][0-9]+[-./][0-9]"
# Seconds or milliseconds of 2001 to 2033.
_MOMENT = r"^1[0-9]{9}([0-9]{3})?$"
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(?:\.0)?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)", re.ASCII | re.DOTALL)


class Ids(NamedTuple):
    """The ids of a column.

    Attributes:
      values: `[n]` dictionary of text; null where there is no usable id.
      repaired: `[n]` whether an id lost quotes, blanks, controls or decimals.
      missing: `[n]` whether there is none at all.
    """

    values: pa.DictionaryArray
    repaired: _BoolArray
    missing: _BoolArray


class Numbers(NamedTuple):
    """The ratings or the times of a column.

    Attributes:
      values: `[n]` numbers; 0 where there is none.
      missing: `[n]` whether there is no value.
      bad: `[n]` whether the value is no number, or no time.
    """

    values: npt.NDArray[Any]
    missing: _BoolArray
    bad: _BoolArray


def texts(column: pa.Array) -> pa.Array:
    """Returns a column of any single values as text; whole numbers without decimals."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return texts(column.cast(kind.value_type))
    if pa.types.is_floating(kind):
        values = column.to_numpy(zero_copy_only=False)
        known = values[~np.isnan(values)]
        if (np.abs(known) < 2**53).all() and (known == np.floor(known)).all():
            whole = pa.array(np.nan_to_num(values), mask=np.isnan(values)).cast(pa.int64())
            return whole.cast(pa.string())
    if pa.types.is_duration(kind):
        return column.cast(pa.int64()).cast(pa.string())
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_nested(kind):
        return pa.array([_joined(one) for one in column.to_pylist()], pa.string())
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that are no UTF-8
        return pa.array([_text(one) for one in column.to_pylist()], pa.string())


def _joined(value: object) -> str | None:
    if isinstance(value, list):
        return "|".join(str(_text(one)) for one in value)
    return None if value is None else str(value)


def _text(value: object) -> str | None:
    if value is None:
        return None
    return text.decode_row(value)[0] if isinstance(value, bytes) else str(value)


def ids_of(column: pa.Array) -> Ids:
    """Returns the ids of a column: without blanks, pairs of quotes and controls around them."""
    if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
        encoded = column  # as Parquet has it
    else:
        encoded = texts(column).dictionary_encode()
    before = encoded.dictionary.to_pylist()
    after = [_clean_id(one) for one in before]
    places = _places(encoded)
    changed = np.array([*(a != b for a, b in zip(after, before, strict=True)), False])
    missing = np.array([*(is_missing(one) for one in before), True])
    unusable = np.array([*(one is None for one in after), True])
    if changed.any():
        indices = pa.array(places, mask=unusable[places], type=pa.int64())
        kept = pa.array([one or "" for one in after], pa.string())
        encoded = pa.DictionaryArray.from_arrays(indices, kept)
    repaired = changed & ~unusable
    return Ids(encoded, repaired[places], missing[places])


def _clean_id(value: str) -> str | None:
    if _PLAIN_ID.fullmatch(value) and not is_missing(value):
        return value
    if len(value) > MAX_ID_CHARS:
        return None
    cleaned = text.remove_controls(wrangling.clean_text(value)).strip()
    if is_missing(cleaned):
        return None
    decimal = _DECIMAL_ID.fullmatch(cleaned)
    return decimal.group(1) if decimal else cleaned


def is_missing(value: str) -> bool:
    """Returns whether a value stands for none, as Python and spreadsheets write it as well."""
    return wrangling.is_missing(value) or value.strip().lower() in ("none", "-")


def describe_missing_value(value: object) -> str:
    """Returns what was found where a value is missing, for messages."""
    shown = "" if value is None else str(value)
    return f"{files.shorten(shown)}, which counts as missing" if shown.strip() else "nothing"


def too_large(column: pa.Array, *, decimal_comma: bool = False) -> _BoolArray:
    """Returns which values are numbers that single precision cannot hold, such as 1e300."""
    encoded = texts(column).dictionary_encode()
    found = [False] * (len(encoded.dictionary) + 1)
    for place, value in enumerate(encoded.dictionary.to_pylist()):
        cleaned = wrangling.clean_token(value[:MAX_ID_CHARS])
        cleaned = cleaned.replace(",", ".") if decimal_comma else cleaned
        if _ANY_NUMBER.fullmatch(cleaned):
            found[place] = abs(float(cleaned)) > MOST_RATING
    return np.array(found, np.bool_)[_places(encoded)]


def _places(encoded: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """Returns `[n]` the place of each value in its dictionary; the place after it where null."""
    places = encoded.indices.to_numpy(zero_copy_only=False)
    return np.nan_to_num(places, nan=len(encoded.dictionary)).astype(np.int64)


def ratings_of(column: pa.Array, *, decimal_comma: bool = False) -> Numbers:
    """Returns the ratings of a column; true and false are 1 and 0.

    Args:
      column: `[n]` values.
      decimal_comma: whether "4,5" is 4.5; a number with a point is none then.
    """
    kind = column.type
    if decimal_comma:
        return _each(texts(column), number_with_comma, np.float64)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        missing = column.is_null().to_numpy(zero_copy_only=False)
        # Arrow has no cast from boolean to float64 for every version.
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        missing = missing | np.isnan(values)
        bad = ~missing & ~_fits(values)
        return Numbers(np.where(missing | bad, 0.0, values), missing, bad)
    try:
        values = texts(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        if _fits(values).all():
            return Numbers(values, np.zeros(len(values), np.bool_), np.zeros(len(values), np.bool_))
    except pa.ArrowInvalid:
        pass
    return _each(texts(column), _rating, np.float64)


def _rating(value: str) -> float | None:
    word = _WORDS.get(value.lower())
    return number(value) if word is None else word


def number(value: str) -> float | None:
    """Returns the number that a text is, with a decimal point; None if it is none."""
    found = wrangling.parse_number(wrangling.clean_token(value[:MAX_ID_CHARS]))
    return found if found is not None and abs(found) <= MOST_RATING else None


def number_with_comma(value: str) -> float | None:
    """Returns the number that a text such as "4" or "4,5" is; None if it is none."""
    value = wrangling.clean_token(value[:MAX_ID_CHARS])
    return number(value.replace(",", ".")) if _DECIMAL_COMMA.fullmatch(value) else None


def are_like_ratings(column: pa.Array) -> bool:
    """Returns whether all values that there are are few different numbers, as ratings are.

    These are from 3 to 21 (0 to 10 in halves) numbers from -10 to 100, each in two rows on average.
    """
    if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type):
        return False
    known = [one for one in texts(column).to_pylist() if one is not None and not is_missing(one)]
    different = set(known)
    if not 3 <= len(different) <= _MOST_STARS or 2 * len(different) > len(known):
        return False
    numbers = [number_with_comma(one) if "," in one else number(one) for one in different]
    return all(one is not None and -10 <= one <= 100 for one in numbers)


def are_dates(column: pa.Array) -> bool | None:
    """Returns whether all values that there are are dates or moments; None where there are none.

    Whole numbers are where all of them would be seconds or milliseconds of 2001 to 2033.
    """
    if column.null_count == len(column):
        return None
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return True
    values = texts(column).drop_null().unique()
    dated = pc.match_substring_regex(values, _DATE).to_numpy(zero_copy_only=False)
    missing = np.array([is_missing(one) for one in values.to_pylist()], np.bool_)
    if missing.all():
        return None
    moments = pc.match_substring_regex(values, _MOMENT).to_numpy(zero_copy_only=False)
    if (moments | missing).all():
        return True
    return bool((dated | missing).all()) and not times_of(values).bad.any()


def are_repeated_numbers(column: pa.Array) -> bool:
    """Returns whether all values that there are are whole numbers, each in two rows on average."""
    values = texts(column).drop_null()
    different = values.unique()
    are_numbers = pc.match_substring_regex(different, _PLAIN_NUMBER).to_numpy(zero_copy_only=False)
    return bool(are_numbers.all()) and 2 * len(different) <= len(values)


def ambiguous_dates(column: pa.Array) -> _BoolArray:
    """Returns which values are dates such as 05/06/2024, of which either can be the month."""
    found = pc.match_substring_regex(texts(column), _AMBIGUOUS_DATE).fill_null(False)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _fits(values: npt.NDArray[np.float64]) -> _BoolArray:
    """Returns which values are finite numbers of single precision."""
    return np.asarray(np.abs(values) <= MOST_RATING)


def times_of(column: pa.Array) -> Numbers:
    """Returns unix seconds: of numbers of seconds, milli-, micro- or nanoseconds, or of dates.

    Which of these a number counts follows from its size: a time in seconds is before the year 2100.
    Dates without a zone are UTC.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        missing = column.is_null().to_numpy(zero_copy_only=False)
        stamps = column.cast(pa.timestamp("us"), safe=False) if kind != pa.date32() else column
        micro = stamps.cast(pa.timestamp("us")).cast(pa.int64())
        values = micro.to_numpy(zero_copy_only=False)
        seconds = np.floor_divide(np.nan_to_num(values).astype(np.int64), 1_000_000)
        return Numbers(seconds, missing, np.zeros(len(missing), np.bool_))
    if pa.types.is_integer(kind) and not column.null_count:
        return _of_numbers(column.cast(pa.int64()).to_numpy(zero_copy_only=False))
    values = texts(column)
    for parse in (_as_numbers, _as_dates):
        try:
            return parse(values)
        except pa.ArrowInvalid:
            continue
    return _each(values, _time, np.int64)


def _as_numbers(values: pa.Array) -> Numbers:
    # Arrow reads hexadecimal numbers as well.
    if values.null_count or not pc.all(pc.match_substring_regex(values, _PLAIN_NUMBER)).as_py():
        raise pa.ArrowInvalid("a value is missing or no plain number")
    return _of_numbers(values.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _as_dates(values: pa.Array) -> Numbers:
    if values.null_count:
        raise pa.ArrowInvalid("a value is missing")
    try:
        stamps = values.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        stamps = values.cast(pa.timestamp("us", tz="UTC"))
    micro = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False)
    none = np.zeros(len(values), np.bool_)
    return Numbers(np.floor_divide(micro, 1_000_000), none, none)


def _of_numbers(values: npt.NDArray[np.int64]) -> Numbers:
    none = np.zeros(len(values), np.bool_)
    return Numbers(seconds_of(values), none, none)


def seconds_of(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns seconds of numbers of seconds, milli-, micro- or nanoseconds, by their size."""
    for _ in range(3):
        values = np.where(np.abs(values) >= TIMESTAMP_END, values // 1000, values)
    return values


def _time(value: str) -> int | None:
    number = wrangling.parse_number(value)
    if number is not None:
        return int(seconds_of(np.array([int(np.clip(number, -(2.0**62), 2.0**62))]))[0])
    if day := _DAY_FIRST.fullmatch(value):
        date, month, year, rest = day.groups()
        value = f"{year}-{month:>02}-{date:>02}{rest}"
    value = re.sub(r"[zZ]$| ?UTC$", "+00:00", _FRACTION.sub(r"\1", value.replace("/", "-")))
    value = _ZONE.sub(lambda zone: f"{zone[1]}:{zone[2] or '00'}", value)
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(np.floor(moment.timestamp()))


def compact_times_of(column: pa.Array) -> Numbers:
    """Returns unix seconds of dates without signs: 20240203 or 20240203101500, in UTC."""
    return _each(texts(column), _compact_time, np.int64)


def _compact_time(value: str) -> int | None:
    match = _COMPACT.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(one or 0) for one in match.groups())
    try:
        moment = datetime.datetime(
            year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc
        )
    except ValueError:
        return None
    return int(moment.timestamp())


def _each(
    values: pa.Array, parse: Callable[[str], float | int | None], dtype: type[np.generic]
) -> Numbers:
    """Returns what a function makes of each distinct text, once cleaned."""
    encoded = values.dictionary_encode()
    cleaned = [wrangling.clean_token(one[:MAX_ID_CHARS]) for one in encoded.dictionary.to_pylist()]
    found = [None if is_missing(one) else parse(one) for one in cleaned]
    places = _places(encoded)
    missing = np.array([*(is_missing(one) for one in cleaned), True])
    bad = np.array([*(one is None for one in found), True]) & ~missing
    number = np.array([*(0 if one is None else one for one in found), 0]).astype(dtype)
    return Numbers(number[places], missing[places], bad[places])
