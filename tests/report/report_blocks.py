"""Access to the blocks of a section by key."""

from components.report.page import Chart, Note, Table


def block(section, key):
    """Returns the one chart or table with a key."""
    (found,) = (b for b in section.blocks if getattr(b, "key", None) == key)
    return found


def rows(section, key):
    """Returns the rows of a table, or of a chart's numbers."""
    return list(block(section, key).rows)


def column(section, key, name):
    """Returns a column of a table, or of a chart's numbers."""
    return [row[name] for row in rows(section, key)]


def drawn(section, key):
    """Returns the values that a chart draws."""
    return block(section, key).spec["data"]["values"]


def charts(section):
    """Returns the charts by key."""
    return {b.key: b for b in section.blocks if isinstance(b, Chart)}


def tables(section):
    """Returns the keys of the tables."""
    return [b.key for b in section.blocks if isinstance(b, Table)]


def notes(section):
    """Returns the text of all notes."""
    return " ".join(b.text for b in section.blocks if isinstance(b, Note))
