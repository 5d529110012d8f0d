"""Own tables: which files of a folder hold what, and which column plays which role."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schema.features import FeatureTable
from sources import files
from sources.cleaning_log import CleaningLog
from sources.description import FILE, ROLES, Description
from sources.errors import InputError
from sources.table_files import TableFile, look, parts, read_part
from sources.wrangling import parse_number

TABLES = ("interactions", "users", "items")

STEMS: Mapping[str, str] = {
    **dict.fromkeys(("interactions", "ratings"), "interactions"),
    "users": "users",
    **dict.fromkeys(("items", "movies"), "items"),
}
"""The table that a file holds, by its name without suffixes and without the number of a part."""

COMMON_STEMS: Mapping[str, str] = {
    **dict.fromkeys(
        ("customers", "members", "accounts", "subscribers", "readers", "listeners", "viewers"),
        "users",
    ),
    **dict.fromkeys(
        ("products", "books", "songs", "articles", "tracks", "videos", "films", "games"), "items"
    ),
    **dict.fromkeys(
        ("events", "plays", "clicks", "views", "listens", "purchases", "orders", "transactions"),
        "interactions",
    ),
}
"""The same, where the file has a column of ids of such a table and none of the other; events have
both. Events may have any name where no other file has both.
"""

_NO_ROLE = "it has no role that is known"
_NOT_READ = "not read; a table of users is called users.*, one of items items.* or movies.*"

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "user", "uid", "customer_id", "customer", "member_id", "member",
             "visitor_id", "visitor", "reviewer_id", "account_id", "account", "reader_id", "reader",
             "listener_id", "listener", "viewer_id", "viewer", "guest_id", "guest", "subscriber_id",
             "subscriber", "client_id", "client", "player_id", "player", "buyer_id", "buyer"),
    "item": ("item_id", "item", "movie_id", "movie", "product_id", "product", "sku", "asin",
             "book_id", "book", "isbn", "article_id", "article", "song_id", "song", "track_id",
             "track", "video_id", "video", "content_id", "content", "film_id", "film", "game_id",
             "game", "recipe_id", "recipe", "course_id", "course"),
    "rating": ("rating", "user_rating", "stars", "star", "score", "weight"),
    "time": ("timestamp", "ts", "time", "datetime", "date", "event_time", "when", "created_at"),
    "event": ("event_type", "event", "action", "behavior", "interaction_type", "type"),
}  # fmt: skip
"""Names of columns, whatever their case and signs; those before others are preferred."""

_SUFFIXES = frozenset(
    (".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")
)
_PACKED = frozenset((".gz", ".zst", ".zstd"))
_VALUE = re.compile(r"\W*|\d{4}-\d\d?-\d\d?.*|\d[\d./:-]*|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-.*")
FIRST_BYTES = 2**20
_NUMBERED = re.compile(r"(?:id|no|nr|number)$")
_PART = re.compile(r"(?:[-_.]?part)?[-_.]?\d+(?:-of-\d+)?(?:[-_.][0-9a-f-]{8,})?$")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is where in own tables: all that a worker needs to read them.

    Attributes:
      interactions: the files of events, all with the same columns.
      users: the files of users; none where there are none.
      items: the files of items; none where there are none.
      roles: the column of interactions for each role that there is.
      user_key: the column of `users` with the user's id.
      item_key: the column of `items` with the item's id.
      columns: the column that each feature is read from: of `users`, of `items`, or, where these
        are not there and of context features, of `interactions`.
      ignored: why a column is not read, by file and column.
      unread: the files of tables beside the interactions that hold none of these.
      dates: columns of events that have dates and no role, where none has that of the time.
      stars: columns of events with few different numbers and no role, where none has the ratings.
      unlearned: columns of features of which nothing can be learned, and why.
      offered: the kind that columns of events without a role could have as context features.
      features: the feature table.
      decimal_comma: whether the ratings are written as "4,5".
      compact_dates: whether the times are written as 20240203 or 20240203101500.
      context_commas: columns of context features whose numbers are written as "4,5".
      description: what the user says of the data.
    """

    interactions: tuple[TableFile, ...]
    users: tuple[TableFile, ...]
    items: tuple[TableFile, ...]
    roles: Mapping[str, str]
    user_key: str = ""
    item_key: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unread: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    stars: tuple[str, ...] = ()
    unlearned: tuple[str, ...] = ()
    offered: Mapping[str, str] = dataclasses.field(default_factory=dict)
    features: FeatureTable | None = None
    decimal_comma: bool = False
    compact_dates: bool = False
    context_commas: tuple[str, ...] = ()
    description: Description = dataclasses.field(default_factory=Description)

    @property
    def table(self) -> FeatureTable:
        """The features; a ValueError while they are not known."""
        if self.features is None:
            raise ValueError("expected a layout with features, received one without")
        return self.features

    @property
    def files(self) -> tuple[TableFile, ...]:
        """All files."""
        return (*self.interactions, *self.users, *self.items)

    def to_json(self) -> str:
        """Returns the layout as JSON text, the same for equal layouts."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for table in TABLES:
            values[table] = [dataclasses.asdict(file) for file in values[table]]
        values["features"] = None if self.features is None else self.features.to_json()
        values["description"] = self.description.to_json()
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Returns the layout that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        for table in TABLES:
            found = [{**file, "columns": tuple(file["columns"])} for file in values[table]]
            values[table] = tuple(TableFile(**file) for file in found)
        values |= {
            name: tuple(values[name])
            for name in ("unread", "dates", "stars", "unlearned", "context_commas")
        }
        values["description"] = Description.from_json(values["description"])
        if values["features"] is not None:
            values["features"] = FeatureTable.from_json(values["features"])
        return cls(**values)


def plain(name: str) -> str:
    """Returns a name of a column in lower case, without signs: "user_id" and "userId" are one."""
    return re.sub(r"[\W_]+", "", name).lower()


def table_of(name: str) -> str | None:
    """Returns the table that a file or folder holds by its name; None if it has another name."""
    return STEMS.get(_stem(name)) if is_table_name(name) or "." not in name else None


def is_table_name(name: str) -> bool:
    """Returns whether a file's name ends as those of tables do."""
    path = Path(name)
    if path.suffix.lower() in _PACKED:
        path = path.with_suffix("")
    return not name.startswith((".", "_")) and path.suffix.lower() in _SUFFIXES


def _stem(name: str) -> str:
    path = Path(name.lower())
    while path.suffix in _SUFFIXES | _PACKED:
        path = path.with_suffix("")
    return _PART.sub("", path.name)


def find_tables(folder: Path) -> dict[str, list[str]]:
    """Returns the names of the files of each table in a folder; no interactions if it has none.

    Beside them, as "unread", those of tables that are none of these.

    The interactions are `interactions.*` or `ratings.*`, their parts, or the files of a folder of
    that name; else the only table that there is, or the parts of one; else the only one with a
    column of users and one of items, those of a common name first.

    Raises:
      InputError: two files of one table that are no parts of it, or the folder cannot be read.
    """
    found: dict[str, list[str]] = {table: [] for table in TABLES}
    others: list[str] = []
    for path in _entries(folder):
        table = table_of(path.name)
        if path.is_dir():
            inner = _entries(path) if table is not None else []
            names = [f"{path.name}/{one.name}" for one in inner if is_table_name(one.name)]
            found[table or "users"] += names
        elif table is not None:
            found[table].append(path.name)
        elif is_table_name(path.name):
            others.append(path.name)
    others = [name for name in others if ".txt" not in name.lower()]  # README.txt and the like
    if not found["interactions"] and len({_stem(name) for name in others}) == 1:
        found["interactions"], others = others, []
    if not found["interactions"]:
        events = [name for name in others if _has_both(folder, name)]
        common = [name for name in events if COMMON_STEMS.get(_stem(name)) == "interactions"]
        found["interactions"] = common or events
    for table in ("users", "items"):
        if found["interactions"] and not found[table]:
            found[table] = [name for name in others if _holds(folder, name, table)]
    for table, names in found.items():
        kinds = {(str(Path(name).parent), _stem(name), Path(name).suffix) for name in names}
        in_folder = all("/" in name for name in names)
        if len(kinds) > 1 and not (in_folder and len({(k[0], k[2]) for k in kinds}) == 1):
            raise InputError(
                f"the {table} are in several files that are no parts of one",
                file=str(folder),
                expected=f"one file such as {table}.csv, or parts such as {table}-00001.csv",
                found=", ".join(names[:5]),
                action="leave one of them in the folder, or give the file itself",
            )
    read = {name for names in found.values() for name in names}
    return {**found, "unread": [name for name in others if name not in read]}


def _holds(folder: Path, name: str, table: str) -> bool:
    """Returns whether a file holds users or items by a common name of theirs and its columns."""
    owner = {"users": {"user"}, "items": {"item"}}[table]
    return COMMON_STEMS.get(_stem(name)) == table and _owners(folder, name) == owner


def _has_both(folder: Path, name: str) -> bool:
    """Returns whether a file has a column of users and one of items, and is none of either."""
    of_events = COMMON_STEMS.get(_stem(name), "interactions") == "interactions"
    return of_events and _owners(folder, name) == {"user", "item"}


def _owners(folder: Path, name: str) -> set[str]:
    """Returns of whom a file has a column of ids: "user", "item", both or none."""
    try:
        columns = look(folder, name).columns
    except InputError:
        return set()
    return {role for role in ("user", "item") if first_of(columns, SYNONYMS[role]) is not None}


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise files.unreadable(str(folder), error) from error


def layout_of(
    folder: Path, tables: Mapping[str, Iterable[str]], description: Description
) -> Layout:
    """Returns files and roles of own tables, without features.

    Args:
      folder: of the files.
      tables: their names, by table.
      description: what the user says of them.

    Raises:
      InputError: a file is no table, parts have different columns, or there is no column of
        users or items, or none that the description names.
    """
    looked = {
        table: tuple(look(folder, name) for name in tables.get(table, ())) for table in TABLES
    }
    for found in looked.values():
        for other in found[1:]:
            if set(other.columns) != set(found[0].columns):
                raise InputError(
                    "parts of one table have different columns",
                    file=other.name,
                    expected=f"the columns of {found[0].name}: {', '.join(found[0].columns)}",
                    found=", ".join(other.columns),
                    action="give these parts the same columns",
                )
    events = looked["interactions"][0]
    _refuse_other_data(events, description)
    roles = _roles(folder, events, description)
    keys = {}
    for table, role in (("users", "user"), ("items", "item")):
        for file in looked[table][:1]:
            key = first_of(file.columns, (roles[role], *SYNONYMS[role], "id"))
            if key is None:
                raise InputError(
                    f"no column of {file.name} is recognised as the {role}'s id",
                    file=file.name,
                    expected=f"a column named {roles[role]}, as in {events.name}, or id",
                    found=", ".join(file.columns),
                    action="rename the column of ids",
                )
            keys[table] = key
    return Layout(
        looked["interactions"],
        looked["users"],
        looked["items"],
        roles=roles,
        user_key=keys.get("users", ""),
        item_key=keys.get("items", ""),
        unread=tuple(tables.get("unread", ())),
        description=description,
    )


def _roles(folder: Path, events: TableFile, description: Description) -> dict[str, str]:
    """Returns the column of each role that there is: as described, else by its name."""
    roles: dict[str, str] = {}
    for role in ROLES:
        name = description.columns.get(role)
        if name is None:
            name = first_of(events.columns, SYNONYMS[role]) or ""
        elif name and name not in events.columns:
            raise InputError(
                f"{FILE} names a column that is not there",
                file=events.name,
                expected=f"the column of the {role}: one of {', '.join(events.columns)}",
                found=files.shorten(name),
                action=f"correct {description.path}",
            )
        if name:
            roles[role] = name
    if missing := [role for role in ("user", "item") if role not in roles]:
        raise _no_column(missing, folder, events, roles, description)
    _refuse_contradictions(roles, events, description)
    if not description.events:
        roles.pop("event", None)
    if description.positive is not None or description.repeats == "count":
        roles.pop("rating", None)
    for rule in (description.positive, *description.drop):
        if rule is not None and rule.column not in (*events.columns, *roles, "rating"):
            raise InputError(
                f"a rule of {FILE} names a column that is not there",
                file=events.name,
                expected=f"one of {', '.join(events.columns)}",
                found=f"{rule}",
                action=f"correct {description.path}",
            )
    return roles


def _refuse_other_data(events: TableFile, description: Description) -> None:
    """Refuses a description that was written for events with other columns.

    These lack a column that it names, or have one of a known name whose role it leaves out. Other
    columns may come and go.
    """
    if not description.of_columns:
        return
    rules = (description.positive, *description.drop)
    named = {*description.columns.values(), *description.context}
    named |= {rule.column for rule in rules if rule}
    lacking = (named & set(description.of_columns)) - set(events.columns)
    left_out = {plain(n) for r, c in description.columns.items() if not c for n in SYNONYMS[r]}
    new = [
        one
        for one in events.columns
        if one not in description.of_columns and plain(one) in left_out and one not in named
    ]
    if lacking or new:
        leaves_out = f", which {FILE} leaves out unseen" if new else ""
        raise InputError(
            f"{FILE} was written for other data",
            file=description.path,
            expected=f"events with the columns {', '.join(description.of_columns)}",
            found=f"{events.name} with {', '.join(new or events.columns)}{leaves_out}",
            action="if the file is meant for this data as well, correct its [columns] and rules, "
            "and remove its line of_columns; if not, move it away, or give another --output-dir",
        )


def _refuse_contradictions(
    roles: Mapping[str, str], events: TableFile, description: Description
) -> None:
    """Refuses a column that plays two roles, and weights of events without their column."""
    players: dict[str, list[str]] = {}
    for role, name in roles.items():
        players.setdefault(name, []).append(role)
    for name, of_it in players.items():
        if len(of_it) > 1:
            raise InputError(
                f"column {name} plays two roles: {' and '.join(of_it)}",
                file=events.name,
                expected="a column for each role",
                found=f"columns {', '.join(events.columns)}",
                action=f"correct [columns] in {description.path}",
            )
    if description.events and "event" not in roles:
        raise InputError(
            "[events] has weights, and no column with the type of an event is recognised",
            file=events.name,
            expected=f"a column named {', '.join(SYNONYMS['event'])}",
            found=", ".join(events.columns),
            action=lines_to_write(
                {"event": next(iter(_free(events.columns, roles.values())), "...")}, description
            ),
        )


def column_of(layout: Layout, name: str) -> str:
    """Returns the column of events that a rule names, by itself or by its role."""
    events = layout.interactions[0]
    if name in events.columns:
        return name
    role = layout.roles.get(name) or first_of(events.columns, SYNONYMS.get(name, ()))
    return role or name


def first_of(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """Returns the column that has the first of some names, None if none has any."""
    by_name = {plain(column): column for column in reversed(list(columns))}
    return next((by_name[plain(name)] for name in names if plain(name) in by_name), None)


def _no_column(
    missing: Sequence[str],
    folder: Path,
    events: TableFile,
    roles: Mapping[str, str],
    description: Description,
) -> InputError:
    """Returns the error of events without users or items, with all lines that may be missing."""
    other = lines_to_write(_likely(folder, events, roles, missing, description), description)
    hint = "write the names of the columns as the first row; else " if _is_data(events) else ""
    names = (f"a column named {', '.join(SYNONYMS[role][:6])} or the like" for role in missing)
    both = len(missing) > 1
    which = "see which is which, as user and item may be the other way round, and " if both else ""
    return InputError(
        "no column is recognised as "
        + ", and none as ".join(f"the {role}'s id" for role in missing)
        + ("; the first row looks like values, not like a header" if hint else ""),
        file=events.name,
        expected="; and ".join(names),
        found=", ".join(events.columns),
        action=f"{hint}rename the column{'s' * both} (docs/guides/own-data.md has all names), or "
        f"{which}{other}",
    )


_COUNTS = {1: "this line", 2: "these two lines", 3: "these three lines", 4: "these four lines"}


def lines_to_write(columns: Mapping[str, str], description: Description) -> str:
    """Returns what to do so that columns play roles ("": none does), in words.

    The line of a role that has one is changed: a key that is there twice is no TOML.
    """
    lines = {role: f"{role} = {_toml(name)}" for role, name in columns.items()}
    there = [role for role in lines if role in description.columns]
    new = [line for role, line in lines.items() if role not in there]
    steps = []
    if new:
        new = new if description.columns else ["[columns]", *new]
        where = "below [columns] in" if description.columns else "to"
        count = _COUNTS.get(len(new), "these lines")
        steps.append("\n    ".join([f"write {count} {where} {description.path}:", *new]))
    if there:
        what = f"change the line{'s' * (len(there) > 1)} of {' and '.join(there)} below [columns]"
        of_it = [lines[role] for role in there]
        steps.append("\n    ".join([f"{what} in {description.path} to:", *of_it]))
    return "\n  and ".join(steps)


def _free(columns: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Returns the columns of no known name that play no role, those of ids first."""
    known = {plain(name) for names in SYNONYMS.values() for name in names}
    free = [one for one in columns if one not in taken and plain(one) not in known]
    return sorted(free, key=lambda one: not plain(one).endswith("id"))


def _likely(
    folder: Path,
    events: TableFile,
    roles: Mapping[str, str],
    missing: Iterable[str],
    description: Description,
) -> dict[str, str]:
    """Returns the columns that may be meant by roles that none plays, those of ids first."""
    free = _free(events.columns, roles.values())
    dates, stars = unused(folder, events, free)
    ids = sorted(free, key=lambda one: (one in dates, one in stars))
    found = {role: ids.pop(0) if ids else "..." for role in missing}
    if lacks_ratings(roles, description) and (left := [one for one in stars if one in ids]):
        found["rating"] = left[0]
    if lacks_times(roles, description) and (left := [one for one in dates if one in ids]):
        found["time"] = left[0]
    return found


def lacks_ratings(roles: Mapping[str, str], description: Description) -> bool:
    """Returns whether the ratings may be in a column that is not recognised."""
    is_described = "rating" in description.columns or description.repeats == "count"
    return "rating" not in roles and not is_described and description.positive is None


def lacks_times(roles: Mapping[str, str], description: Description) -> bool:
    """Returns whether the times may be in a column that is not recognised."""
    return "time" not in roles and "time" not in description.columns


def unused(folder: Path, events: TableFile, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns which columns have dates, and which numbers as ratings have, in their first rows.

    Where several have dates, whole numbers that repeat as ids do, or are called so, are none: a
    customer's number may have ten digits as well.
    """
    # Arrow is loaded for data that can be read.
    from sources.columns import are_dates, are_like_ratings, are_repeated_numbers

    try:
        first = parts(folder, events, FIRST_BYTES)[:1]
        rows = [read_part(folder, events, one, columns, CleaningLog()).columns for one in first]
    except InputError:  # what cannot be read is refused where it is needed
        return [], []
    found = rows[0] if rows and columns else {}
    dates = [name for name, values in found.items() if are_dates(values)]
    ids = [one for one in dates if _NUMBERED.search(plain(one)) or are_repeated_numbers(found[one])]
    dates = [one for one in dates if one not in ids] or dates
    return dates, [name for name, values in found.items() if are_like_ratings(values)]


def _is_data(events: TableFile) -> bool:
    """Returns whether a first row looks like values: a number, a date or a long id is in it."""
    if events.kind != "text":
        return False
    return any(parse_number(one) is not None or _VALUE.fullmatch(one) for one in events.columns)


def odd(layout: Layout) -> list[str]:
    """Returns what is beside the events and is not read, though it looks as if it were meant."""
    file = layout.interactions[0].name
    return [
        *(f"{name}: {_NOT_READ}" for name in layout.unread),
        *layout.unlearned,
        *(f"{file}: {hint}" for hint in _hints(layout)),
    ]


_HINTS = {
    "rating": ("few different numbers", "the ratings"),
    "time": ("dates or times", "the times of the events"),
}


def _hints(layout: Layout) -> Iterator[str]:
    """Yields which columns may be ratings and times; one file gets all lines, so these are one."""
    for pair in itertools.zip_longest(layout.stars, layout.dates):
        found = {role: name for role, name in zip(_HINTS, pair, strict=True) if name}
        columns = ", ".join(f"column {name} has {_HINTS[role][0]}" for role, name in found.items())
        meant = " and ".join(_HINTS[role][1] for role in found)
        unread = "neither is read" if len(found) > 1 else "is not read"
        yield (
            f"{columns} and {unread}; "
            f"if they are {meant}, {lines_to_write(found, layout.description)}"
        )


def questions(layout: Layout) -> list[str]:
    """Returns what can be understood in several ways, and how it was, in words."""
    events, description = layout.interactions[0], layout.description
    found = []
    for role, names in SYNONYMS.items():
        fitting = [column for column in events.columns if plain(column) in map(plain, names)]
        if role in description.columns or not fitting:
            continue
        if role == "event":
            if not description.events:
                found.append(f"Every event counts the same, whatever its {fitting[0]}.")
        elif len(fitting) > 1:
            taken = layout.roles.get(role, "none")
            found.append(f"Column of the {role}: one of {', '.join(fitting)}; taken: {taken}")
    return found


def _toml(value: str | tuple[str, ...]) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def why_unused(column: str, layout: Layout) -> str:
    """Returns why a column of events has no role, in words."""
    description = layout.description
    if column in description.context:
        return f"{FILE} says so"
    names = {role: first_of(layout.interactions[0].columns, SYNONYMS[role]) for role in ROLES}
    role = next((role for role, name in names.items() if name == column), None)
    if role is None or role in layout.roles:
        return "it has neither a role nor a kind" if column in layout.offered else _NO_ROLE
    if description.columns.get(role) == "":
        return f'{FILE} says {role} = ""'
    if role == "event":
        return f"[events] in {FILE} gives no weights to types of events"
    positive = description.positive
    why = f"positive = {_toml(str(positive))}" if positive else 'repeats = "count"'
    return f"with {why} in {FILE} there are no ratings of events"


def offer(layout: Layout) -> list[str]:
    """Returns the lines of `data.toml`, as comments, that make context features of columns.

    The header is among them where the file has none: one that is there twice is no TOML.
    """
    if not layout.offered:
        return []
    lines = [f"# {_key(name)} = {_toml(kind)}" for name, kind in layout.offered.items()]
    header = "# [context]                    # what events have beside their time"
    return lines if layout.description.has_context else [header, *lines]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def draft(layout: Layout) -> str:
    """Returns a `data.toml` that says what was understood, and in comments what else it can."""
    events = layout.interactions[0]
    # A role without a column is left to be found out, so that ratings of other data stay.
    roles = {"event": "", **layout.roles}
    lines = [
        f"# What the columns of {events.name} are. Everything here can be left out.",
        '# item_noun = "book"           # what people call an item',
        '# positive = "rating >= 4"     # these events count; the ratings themselves are left out',
        '# drop = ["rating == 0"]       # events that are left out',
        "# scale = [1, 5]               # the least and the greatest rating",
        '# repeats = "latest"           # of one user and item; or "count", or "keep" all',
        f"of_columns = {_toml(events.columns)}  # data without those that are used is refused",
        "[columns]",
        *(f"{role} = {_toml(roles[role])}" for role in ROLES if role in roles),
        "# [events]                     # weights of types of events; others are left out",
        "# purchase = 1",
        *offer(layout),
        '# [features]                   # kinds of columns of users and items, or "ignore"',
        '# country = "category"',
    ]
    return "\n".join(lines) + "\n"
