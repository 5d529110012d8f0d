"""The columns of own tables as features: which kind each is, and its values."""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from schema import features as raw
from schema.features import Feature, Kind, Owner
from sources import cleaning_log, files, wrangling
from sources.cleaning_log import CleaningLog, RowExample
from sources.columns import (
    MOST_RATING,
    is_missing,
    number,
    number_with_comma,
    texts,
    too_large,
)
from sources.description import FILE, IGNORE, Description
from sources.errors import InputError
from sources.layout import plain
from sources.records import MAX_TEXT_CHARS, mend
from sources.table_files import Rows, TableFile
from sources.tables import AGE_MAX, AGE_MIN

YEAR_MIN, YEAR_MAX = 1000, 2100
MOST_VALUES = 1000
"""Of a column of text that is a category; one of more values needs `tags` or names people."""

MOST_ALWAYS_KNOWN = 100
"""Values of a category that are in its vocabulary however rare; of more, the frequent ones."""

MOST_NAME_CHARS = 100
"""Of a column in the name of its feature, of which names of files are made."""

MOST_COUNTED = 1_000_000
"""Different values whose rows are counted; of more, the first."""

MOST_SLICED = 25
"""Of a user's category whose values slice the evaluation."""

_FEW_NUMBERS = 20
"""Numbers of at most so many different values, each in two rows, are a category."""

_NAMES_OF_CODES = ("id", "code", "zip", "phone", "isbn", "ean", "sku")
"""Ends of names of columns whose numbers name something: no amount."""

_NAMES: Mapping[Owner, Mapping[str, Feature]] = {
    Owner.USER: {
        **dict.fromkeys(("gender", "sex", "usergender"), raw.GENDER),
        **dict.fromkeys(("age", "userage", "rawuserage"), raw.AGE),
        **dict.fromkeys(("occupation", "useroccupation", "useroccupationtext"), raw.OCCUPATION),
        **dict.fromkeys(("zip", "zipcode", "userzipcode"), raw.ZIP_CODE),
    },
    Owner.MOVIE: {
        **dict.fromkeys(
            ("title", "name", "movietitle", "itemname", "itemtitle", "productname"), raw.TITLE
        ),
        **dict.fromkeys(("genres", "genre", "moviegenres"), raw.GENRES),
        **dict.fromkeys(("year", "releaseyear", "movieyearrelease"), raw.RELEASE_YEAR),
    },
}
# A number with a short sign or unit: "1.37 €", "$5", "12 min"; no date, no title.
_AMOUNT = re.compile(r"\W{0,3}\d+(?:[.,']\d{3})*(?:[.,]\d+)?(\D{0,4})", re.ASCII)
_UNITS = re.compile(
    r"eur|usd|gbp|chf|jpy|pln|sek|nok|dkk|czk|huf|cny|inr|m?g|kg|lbs?|oz|[mck]?m|in|ft|[mc]?l|"
    r"m?s|sec|min|h|hrs?"
)
_YEAR = re.compile(r"\s*(-?\d{1,4})(?:\.0*)?(?:-\d{1,2}-\d{1,2}.*)?\s*", re.ASCII | re.DOTALL)


_OF_OTHERS = frozenset(("bucketizeduserage", "useroccupationlabel"))
"""What TensorFlow Datasets makes of columns that are there as well."""


def belongs_to(column: str, role: str) -> bool:
    """Returns whether a column of events says something of the user, or the item, by its name."""
    name = plain(column)
    if role == "user":
        return name not in _OF_OTHERS and name.startswith(("user", "rawuser"))
    return name.startswith(("movie", "item", "product"))


class Attribute(NamedTuple):
    """A feature that is read from a column."""

    feature: Feature
    column: str


def attributes_of(
    rows: Rows, owner: Owner, description: Description, file: TableFile
) -> tuple[list[Attribute], dict[str, str]]:
    """Returns the features that columns make, and why the other columns make none.

    Args:
      rows: the columns without that of the ids.
      owner: whose they are.
      description: what the user says of the data.
      file: their file.

    Raises:
      InputError: a column cannot be of the kind that the user says.
    """
    found: list[Attribute] = []
    ignored: dict[str, str] = {}
    for name, column in rows.columns.items():
        known = _NAMES[owner].get(plain(name))
        feature: Feature | str | None = None
        if name in description.features:
            feature = _described(name, column, owner, description, file.name)
        elif known is not None and known.name not in {one.feature.name for one in found}:
            feature = known if _fits(known, column) else None
        if feature is None:
            feature = _guess(name, column, owner, file.separator, rows.number)
        if isinstance(feature, Feature):
            feature = _of_own_name(feature)
        if isinstance(feature, str):
            ignored[name] = feature
            continue
        taken = {one.name for one in derived(found)}
        if feature not in _NAMES[owner].values():
            feature = with_free_name(feature, taken)
        if feature.name in taken:
            ignored[name] = f"another column is the feature {feature.name}"
        else:
            found.append(Attribute(feature, name))
    return found, ignored


def _of_own_name(feature: Feature) -> Feature:
    """Returns a feature whose name is not that of MovieLens's feature of another kind.

    A category of genders is `user_gender_category`: `user_gender` is one of three known values.
    """
    kinds = {one.name: one.kind for one in raw.MOVIELENS.features}
    if kinds.get(feature.name, feature.kind) is feature.kind:
        return feature
    return dataclasses.replace(feature, name=f"{feature.name}_{feature.kind.value}")


def _fits(feature: Feature, column: pa.Array) -> bool:
    """Returns whether most values of a column are of the kind that its name promises."""
    if feature.kind is Kind.TITLE:
        return not pa.types.is_list(column.type)
    if feature.kind is Kind.TAGS:
        return True
    known = [one for one in texts(column).unique().to_pylist() if not _is_missing(one)]
    if feature.kind is Kind.GENDER:
        values = {wrangling.normalize_gender(one) for one in known}
        return values <= {"Male", "Female", raw.UNKNOWN}
    if feature.kind is Kind.AGE:
        right = [age for one in known if (age := wrangling.parse_number(one)) is not None]
        return 2 * len(right) > len(known)
    if feature.kind is Kind.YEAR:
        years = [_year(one) for one in known]
        return all(year is None or 1870 <= year <= 2100 for year in years) and any(years)
    if feature.kind is Kind.ZIP_CODE:
        return 2 * sum(map(wrangling.is_valid_zip, known)) > len(known)
    return 0 < len(known) <= MOST_VALUES


def _described(
    name: str, column: pa.Array, owner: Owner, description: Description, file: str
) -> Feature | str:
    """Returns the feature that the user says a column is.

    Raises:
      InputError: users have no such feature, or items have none.
    """
    kind = description.features[name]
    if kind == IGNORE:
        return f"{FILE} says so"
    fixed = {one.kind.value: one for one in _NAMES[owner].values() if one.kind in _OF_ITS_OWN}
    lists = (Kind.TAGS.value, Kind.YEAR.value) if owner is Owner.MOVIE else ()
    known = {Kind.CATEGORY.value, Kind.NUMBER.value, *lists, *fixed}
    if kind not in known:
        raise InputError(
            f"{FILE} gives column {name} a kind that its table cannot have",
            file=file,
            expected=f"one of {', '.join(sorted(known))}, {IGNORE}",
            found=kind,
            action=f"correct {description.path}",
        )
    full, label = _feature_name(name, owner)
    if kind in fixed:
        return fixed[kind]
    if kind == Kind.TAGS.value:
        return Feature(full, owner, Kind.TAGS, "string", multivalued=True, label=label)
    if kind == Kind.YEAR.value:
        return Feature(full, owner, Kind.YEAR, "int64", optional=True, label=label)
    if kind == Kind.NUMBER.value:
        return _number(full, owner, label)
    return _category(full, owner, label, len(texts(column).unique()))


_OF_ITS_OWN = (Kind.TITLE, Kind.AGE, Kind.GENDER, Kind.ZIP_CODE)
"""Kinds of which an owner has one feature, whose name is fixed."""


def _category(name: str, owner: Owner, label: str, values: int) -> Feature:
    return Feature(
        name,
        owner,
        Kind.CATEGORY,
        "string",
        min_ratings=raw.WORD_MIN_RATINGS if values > MOST_ALWAYS_KNOWN else 0,
        sliced=owner is Owner.USER and values <= MOST_SLICED,
        label=label,
    )


def _number(name: str, owner: Owner, label: str) -> Feature:
    return Feature(name, owner, Kind.NUMBER, "float32", optional=True, label=label)


_PREFIXES = {Owner.USER: "user", Owner.MOVIE: "item", Owner.CONTEXT: "context"}


def context_feature(column: str, kind: str, values: int) -> Feature:
    """Returns the context feature that a column of events becomes.

    Args:
      column: its name.
      kind: "category" or "number".
      values: how many different ones it has.
    """
    full, label = _feature_name(column, Owner.CONTEXT)
    if kind == Kind.NUMBER.value:
        return _number(full, Owner.CONTEXT, label)
    return _category(full, Owner.CONTEXT, label, values)


class Variety:
    """How many different values a column has, as Transform compares them.

    Args:
      kind: "category" or another kind, of which two values suffice.
    """

    def __init__(self, kind: str) -> None:
        self._is_category = kind == Kind.CATEGORY.value
        self._counts: collections.Counter[str] = collections.Counter()
        self._rows = self._uncounted = 0
        self._suffices = False

    def add(self, column: pa.Array) -> None:
        """Counts `[n]` further values; none once it is known that they suffice."""
        self._rows += len(column)
        if self._suffices:
            return
        for entry in texts(column).value_counts().to_pylist():
            value, count = entry["values"], entry["counts"]
            key = raw.UNKNOWN if _is_missing(value) else value.strip().lower()
            if key in self._counts or len(self._counts) < MOST_COUNTED:
                self._counts[key] += count
            else:
                self._uncounted += 1
        most = max(self._counts.values(), default=0)
        enough = most >= raw.WORD_MIN_RATINGS or not self._is_category
        self._suffices = len(self._counts) > 1 and enough

    def problem(self, rows: str) -> str | None:
        """Returns why nothing can be learned of the values, in words; None where something can.

        Args:
          rows: what the rows are, such as "events".
        """
        different, end = len(self._counts), "nothing can be learned of it"
        if self._suffices or not self._rows:
            return None
        if different == 1:
            [value] = self._counts
            shown = "every value is missing" if value == raw.UNKNOWN else files.shorten(value)
            one = shown if value == raw.UNKNOWN else f"{shown} is the value of all {rows}"
            return f"{one}: {end}"
        most = max(self._counts.values())
        if not self._is_category or (most > 1 and different <= MOST_ALWAYS_KNOWN):
            return None
        more = "more than " if self._uncounted else ""
        least = f", none of them in {raw.WORD_MIN_RATINGS} {rows}" if most > 1 else ""
        return f"{more}{different:,} values in {self._rows:,} {rows}{least}: {end}"


def context_kind(name: str, column: pa.Array, separator: str) -> str | None:
    """Returns the kind that a column of events could have as a context feature; None if none."""
    found = _guess(name, column, Owner.CONTEXT, separator, lambda place: None)
    kinds = [one.value for one in raw.CONTEXT_KINDS]
    return found.kind.value if isinstance(found, Feature) and found.kind.value in kinds else None


def comma_numbers(column: pa.Array) -> tuple[bool, bool]:
    """Returns whether a value has a comma, and whether all are numbers as "4" or "4,5" is."""
    known = [one for one in texts(column).unique().to_pylist() if not _is_missing(one)]
    fit = all(number_with_comma(one) is not None for one in known)
    return any("," in one for one in known), fit


def with_free_name(feature: Feature, taken: Collection[str]) -> Feature:
    """Returns a feature whose name is none of those taken: with 2, 3 and so on behind it."""
    names = (feature.name, *(f"{feature.name}_{n}" for n in range(2, len(taken) + 2)))
    return dataclasses.replace(feature, name=next(one for one in names if one not in taken))


def _feature_name(column: str, owner: Owner) -> tuple[str, str]:
    """Returns the name of the feature that a column becomes, and what it is called in words.

    The name is one of a tensor and of files: ASCII letters, digits and "_", not too many. Letters
    with signs lose these (größe is grosse); those of other scripts have none.
    """
    prefix = _PREFIXES[owner]
    decomposed = unicodedata.normalize("NFKD", column.casefold())
    letters = "".join(one for one in decomposed if not unicodedata.combining(one))
    readable = re.sub(r"\W+", "_", letters, flags=re.ASCII).strip("_")
    readable = readable[:MOST_NAME_CHARS].strip("_") or "column"
    full = readable if readable.startswith(f"{prefix}_") else f"{prefix}_{readable}"
    return full, column.replace("_", " ").strip()


def _guess(
    name: str, column: pa.Array, owner: Owner, separator: str, number: RowNumber
) -> Feature | str:
    """Returns the feature of a column that no name is known of; why there is none, else.

    Args:
      name: of the column.
      column: `[n]` values.
      owner: whose they are.
      separator: of the columns of the file.
      number: the row in the file of a value's place.
    """
    full, label = _feature_name(name, owner)
    if pa.types.is_list(column.type):
        return _tags(full, owner, label)
    values = texts(column)
    different = values.unique().to_pylist()
    known = [one for one in different if not _is_missing(one)]
    rows = len(column) - values.null_count
    # "none" beside "premium" is no value that is known, and says something.
    written = sum(one is not None and not wrangling.is_missing(one) for one in different)
    if not known or written < 2:
        return "it has the same value in every row"
    if owner is Owner.MOVIE and any("|" in one for one in known):
        return _tags(full, owner, label)
    parse = _number_parser(known, separator)
    numbers = all(parse(one) is not None for one in known)
    if numbers and plain(name).endswith("year"):
        return Feature(full, owner, Kind.YEAR, "int64", optional=True, label=label)
    are_many = len(known) > _FEW_NUMBERS or 2 * len(known) > rows
    if numbers and are_many and not plain(name).endswith(_NAMES_OF_CODES):
        return _number(full, owner, label)
    if len(known) > MOST_VALUES or 2 * len(known) > rows:
        if _are_amounts(known) and not numbers and not plain(name).endswith(_NAMES_OF_CODES):
            return _no_numbers(values, parse, number)
        reason = "nearly every row has a value of its own"
        is_title = owner is Owner.MOVIE and not numbers
        return (
            f"{reason}; if it is the title, give it that kind in data.toml" if is_title else reason
        )
    return _category(full, owner, label, len(known))


def _are_amounts(known: Sequence[str]) -> bool:
    """Returns whether most texts have one number in them, as "1.37 €" and "$5" do.

    Letters behind it are a known unit, or those of most of the texts: "4711B" and "1234 AB" are
    codes. So is the ISBN "123456789X": a column with one code in 20 has no amounts.
    """
    found = (_AMOUNT.fullmatch(one[:MAX_TEXT_CHARS]) for one in known)
    ends = collections.Counter(match[1].strip(" .").lower() for match in found if match)
    codes = sum(
        count
        for end, count in ends.items()
        if any(map(str.isalpha, end)) and not _UNITS.fullmatch(end) and 2 * count <= len(known)
    )
    return 2 * (ends.total() - codes) > len(known) and 20 * codes < len(known)


def _no_numbers(values: pa.Array, parse: Callable[[str], float | None], number: RowNumber) -> str:
    """Returns that a column looks like numbers, and the first value that is none."""
    bad = [
        (place, one)
        for place, one in enumerate(values.to_pylist())
        if not _is_missing(one) and parse(one) is None
    ]
    place, first = bad[0]
    row = number(place)
    where = "" if row is None else f" in row {row}"
    return (
        f"{len(bad):,} of {len(values):,} values are no numbers, the first{where}: "
        f"{files.shorten(first)}; write numbers such as 12.5, and nothing where there is none"
    )


def _number_parser(known: Sequence[str], separator: str) -> Callable[[str], float | None]:
    """Returns how the numbers of a column are read: with decimal commas where all can be so."""
    commas = separator not in ("", ",") and any("," in one for one in known)
    if commas and all(number_with_comma(one) is not None for one in known):
        return number_with_comma
    return number


def _tags(name: str, owner: Owner, label: str) -> Feature | str:
    if owner is Owner.USER:
        return "lists of values are features of items alone"
    return Feature(name, owner, Kind.TAGS, "string", multivalued=True, label=label)


def _is_missing(value: str | None) -> bool:
    return value is None or is_missing(value)


def derived(attributes: Sequence[Attribute]) -> Iterator[Feature]:
    """Yields the features, each with those that are made of it.

    An age has its bucket, and another number of users its quarter.
    """
    for one in attributes:
        yield one.feature
        if one.feature == raw.AGE:
            yield raw.AGE_BUCKET
        if one.feature.kind is Kind.NUMBER and one.feature.owner is Owner.USER:
            yield raw.quarter_of(one.feature)


class _Column:
    """One column on its way to values, which counts what was missing, lost and repaired."""

    def __init__(
        self, file: str, name: str, column: pa.Array, number: RowNumber, found: CleaningLog
    ) -> None:
        self.file, self.name, self.column, self.number = file, name, column, number
        self.found = found

    def missed(self, values: Sequence[object]) -> None:
        self.found.miss(self.file, self.name, sum(value is None for value in values))

    def each(self, parse: Callable[[str], Any]) -> list[Any]:
        """Returns what a function makes of each distinct text; None where there is none."""
        encoded = texts(self.column).dictionary_encode()
        made = [
            None if wrangling.is_missing(one) else parse(one)
            for one in encoded.dictionary.to_pylist()
        ]
        return [None if place is None else made[place] for place in encoded.indices.to_pylist()]

    def lose(
        self, reason: str, expected: str | Callable[[str], str], values: Sequence[object]
    ) -> None:
        """Counts the values that are not empty and could not be read.

        What was expected may depend on the value.
        """
        before = texts(self.column).to_pylist()
        lost = [
            (row, one)
            for row, (one, value) in enumerate(zip(before, values, strict=True))
            if value is None and not _is_missing(one)
        ]
        examples = [
            RowExample(
                self.number(row),
                expected if isinstance(expected, str) else expected(one),
                files.shorten(one),
            )
            for row, one in lost[:3]
        ]
        self.found.lose(self.file, reason, len(lost), examples)
        missing = sum(value is None for value in values) - len(lost)
        self.found.miss(self.file, self.name, missing)


RowNumber: TypeAlias = Callable[[int], "int | None"]
"""The row in the file of a value's place; None where it is not known."""


def values_of(
    attribute: Attribute, column: pa.Array, file: TableFile, number: RowNumber, found: CleaningLog
) -> dict[str, list[Any]]:
    """Returns the values `[n]` of a feature by name, and of those that are made of it.

    Text that is not known is "unknown", but a title None; a number that is not known is None.

    Args:
      attribute: the feature and its column's name.
      column: `[n]` values.
      file: where they are from.
      number: the row in the file of each place.
      found: log to which what is lost and missing is added.
    """
    feature = attribute.feature
    kind, read = feature.kind, _Column(file.name, attribute.column, column, number, found)
    if kind is Kind.TAGS:
        tags = _tag_values(column, read)
        found.miss(file.name, attribute.column, sum(not one for one in tags))
        return {feature.name: tags}
    if kind is Kind.AGE:
        ages = read.each(_age)
        read.lose(cleaning_log.AGE_RANGE, f"an age from {AGE_MIN:g} to {AGE_MAX:g} years", ages)
        buckets = [None if age is None else wrangling.age_bucket(age) for age in ages]
        return {feature.name: ages, raw.AGE_BUCKET.name: buckets}
    if kind is Kind.YEAR:
        years = read.each(_year)
        reason = f"{cleaning_log.NOT_A_YEAR} {attribute.column}"
        read.lose(reason, f"a year from {YEAR_MIN} to {YEAR_MAX}, or nothing", years)
        return {feature.name: years}
    if kind is Kind.NUMBER:
        known = [one for one in texts(column).unique().to_pylist() if not _is_missing(one)]
        values = read.each(_number_parser(known, file.separator))
        reason = f"{cleaning_log.NOT_A_NUMBER} {attribute.column}"
        read.lose(reason, _expected_number, values)
        return {feature.name: values}
    clean = wrangling.normalize_gender if kind is Kind.GENDER else _clean
    values = read.each(clean if kind is not Kind.TITLE else _clean_title)
    read.missed(values)
    if kind is Kind.TITLE:
        return {feature.name: values}
    return {feature.name: [raw.UNKNOWN if one is None else one for one in values]}


def _expected_number(value: str) -> str:
    """Returns what was expected in place of a text that is no number, or a number too large."""
    is_infinite = value.strip().lower().lstrip("+-") in ("inf", "infinity")
    if is_infinite or too_large(pa.array([value]))[0]:
        return f"a number of at most {MOST_RATING:.2g}, as this one is too large, or nothing"
    return "a number such as 12.5, or nothing"


def _tag_values(column: pa.Array, read: _Column) -> list[list[str]]:
    if not pa.types.is_list(column.type):
        return [value or [] for value in read.each(_tag_list)]
    return [
        list(dict.fromkeys(tag for one in row or () if (tag := _clean(str(one)))))
        for row in column.to_pylist()
    ]


def _tag_list(value: str) -> list[str]:
    if value == "(no genres listed)":
        return []
    return list(dict.fromkeys(tag for one in value.split("|") if (tag := _clean(one))))


def _age(value: str) -> float | None:
    age = wrangling.parse_number(wrangling.clean_token(value))
    return age if age is not None and AGE_MIN <= age <= AGE_MAX else None


def _year(value: str) -> int | None:
    match = _YEAR.fullmatch(wrangling.clean_token(value[:MAX_TEXT_CHARS]))
    year = int(match.group(1)) if match else None
    return year if year is not None and YEAR_MIN <= year <= YEAR_MAX else None


def _clean(value: str) -> str | None:
    cleaned = mend(wrangling.clean_text(value[:MAX_TEXT_CHARS]))[0].strip()
    return None if is_missing(cleaned) else cleaned


def _clean_title(value: str) -> str | None:
    # "None" is a film as well.
    cleaned = mend(wrangling.clean_text(value[:MAX_TEXT_CHARS]))[0].strip()
    return None if wrangling.is_missing(cleaned) else cleaned
