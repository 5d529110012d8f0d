"""Links between the pages, and the files that they name, exist."""

import re

import pytest
from docs_commands import PAGES, ROOT

FOLDERS = tuple(f"{path.name}/" for path in ROOT.iterdir() if (path / "__init__.py").exists())
OWN_FOLDERS = (*FOLDERS, "tests/", "requirements/", "docs/", ".github/", ".ci/")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    """The page without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^[ >]*```.*?^[ >]*```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The names of a page's headings, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


def broken_links(page):
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", re.sub(r"`[^`]*`", "`", prose(page)))
    for target in (one or other for one, other in links):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: no such heading; there are {sorted(anchors(file))}"


@pages
def test_every_link_leads_somewhere(page):
    assert list(broken_links(page)) == []


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "upgrade.md"],  # which has former names
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_file_that_is_named_exists(page):
    named = re.findall(r"`([\w./-]+/[\w./-]*\.?\w+)`", prose(page))
    missing = [
        name for name in named if name.startswith(OWN_FOLDERS) and not (ROOT / name).exists()
    ]
    assert missing == []


def test_a_broken_link_and_a_heading_that_is_not_there_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One `word`\n[a](other.md) [b](#one-word) [c](#two) ![d](e.png) `[f](g.md)`\n"
    )
    assert [link.split(":")[0] for link in broken_links(page)] == ["other.md", "#two", "e.png"]
