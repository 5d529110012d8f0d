"""What the page says of the cleanup."""

import types

from components.report.page import Note, Table
from components.report.sections.run import _cleanup


def blocks(**files):
    return list(_cleanup(types.SimpleNamespace(wrangling={"files": files, "metadata": {}})))


def test_a_cleanup_that_found_nothing_says_so():
    (note,) = blocks(**{"u.user": {"rows": 65, "dropped": {}, "repaired": {}}})
    assert isinstance(note, Note)
    assert "dropped and repaired nothing" in note.text


def test_what_is_missing_is_said_in_words_and_what_is_lost_is_not_called_repaired():
    users = {
        "rows": 68,
        "dropped": {"invalid zip code": 3},
        "repaired": {"control characters removed": 2},
        "values_lost": {"age out of range": 1},
        "missing": {"gender": 58},
        "examples": {},
    }
    note, table = blocks(**{"u.user": users})
    assert "58 of 65 users have no gender" in note.text
    assert isinstance(table, Table)
    assert [row[1:4] for row in table.rows] == [
        ("dropped", "invalid zip code (asked for: --invalid-zip drop)", 3),
        ("value lost", "age out of range", 1),
        ("repaired", "control characters removed", 2),
    ]
