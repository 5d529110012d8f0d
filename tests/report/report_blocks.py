"""Access to the blocks of a section by key."""

from components.report.build import PARTS
from components.report.page import Chart, Note, Table, render


def section_of(title, context):
    """Returns the section of a title."""
    [part] = (part for part in PARTS if part.title == title)
    return part.build(context)


def block(section, key):
    """Returns the one chart or table with a key."""
    (found,) = (b for b in section.blocks if getattr(b, "key", None) == key)
    return found


def rows(section, key):
    """Returns the rows of a table, or of a chart's numbers."""
    found = block(section, key)
    return list((found if isinstance(found, Table) else found.table).rows)


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


def fields(spec):
    """Returns the fields that a specification draws, in any layer; of paths, nothing."""
    if isinstance(spec, list):
        return {name for each in spec for name in fields(each)}
    if not isinstance(spec, dict):
        return set()
    own = {spec["field"].replace("\\", "")} if isinstance(spec.get("field"), str) else set()
    return own | fields([value for key, value in spec.items() if key != "data"])


def assert_reads_well(section):
    """It is rendered, no chart is empty or draws what is not there, no column has dashes alone."""
    for each in section.blocks:
        if isinstance(each, Chart):
            data = each.spec["data"]
            assert data["values"], each.key
            assert "nan" not in each.reading, each.reading
            # A map draws outlines; its rows are looked up.
            held = {"series", "value", "place", *(() if "format" in data else data["values"][0])}
            assert "format" in data or fields(each.spec) <= held, each.key
        if isinstance(each, Table) or (isinstance(each, Chart) and each.table):
            table = each if isinstance(each, Table) else each.table
            for number, name in enumerate(table.columns):
                shown = {cells[number]["text"] for cells in table.cells()}
                assert shown - {"–", ""}, (table.key, name)
    render("t", "s", Note("v"), (section,))


def words_of(section):
    """Returns everything that the page says of its own: titles, readings, notes and headings."""
    texts = [section.title, section.lead]
    for each in section.blocks:
        texts += [str(getattr(each, name, "")) for name in ("title", "reading", "caption", "text")]
        texts += [str(getattr(each, "heading", "")), *getattr(each, "columns", ())]
    return " ".join(texts)
