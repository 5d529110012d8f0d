"""The page in a real browser, from a file and without a network."""

import dataclasses
import os
import re
import shutil

import pytest

from components.report import charts
from components.report.build import PARTS
from components.report.context import Context
from components.report.page import Chart, Note, Section, render

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NO_BROWSER = "There is no chromium (on Debian: apt install chromium), so the page is not tested."
SECTIONS = ("run", "statistics", "exploration", "model", "evaluation", "lineage")
LARGEST = 8_000_000

PLANTED = '<img src=x onerror="window.planted=1"><script>window.planted=1</script> & "Movie"'


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def opening(browser):
    """Opens a file as a double-click does; whatever the browser complains of fails the test."""
    opened, problems = [], []

    def open_(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        opened.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: problems.append(message.text)
            if message.type in ("error", "warning")
            else None,
        )
        page.on(
            "request",
            lambda request: (
                problems.append(request.url)
                if not request.url.startswith(("file://", "data:"))
                else None
            ),
        )
        page.goto(path.as_uri())
        return page

    yield open_
    for context in opened:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def path(run_output):
    return run_output / "report" / "index.html"


def draw_all(page, *keys):
    """Scrolls to every figure, or to those of some keys, and waits until each is drawn.

    Returns how many there are.
    """
    figures = page.locator(",".join(f"#{key} [data-spec]" for key in keys) or "[data-spec]")
    for number in range(figures.count()):
        figure = figures.nth(number)
        figure.scroll_into_view_if_needed()
        page.wait_for_function(
            "figure => figure.dataset.drawn || figure.textContent.includes('could not')",
            arg=figure.element_handle(),
        )
        assert figure.get_attribute("data-drawn") == "yes", figure.get_attribute("data-spec")
    return figures.count()


def test_page_is_small_enough_to_send(path):
    assert path.stat().st_size < LARGEST


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.mark.parametrize(
    "screen",
    [
        pytest.param(PHONE, id="phone"),
        # Some figures are drawn at this width in the standard tier too, by the tests below.
        pytest.param(DESKTOP, id="desktop", marks=pytest.mark.exhaustive),
    ],
)
def test_every_section_is_there_with_its_charts_drawn_and_described(opening, path, screen):
    page = opening(path, **screen)
    assert draw_all(page) >= 20
    width = screen["viewport"]["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [s.get_attribute("id") for s in page.locator("main > section").all()] == list(SECTIONS)
    for name in SECTIONS:
        section = page.locator(f"#{name}")
        assert section.locator("h2").is_visible(), name
        drawings = section.locator("figure svg")
        assert (drawings.count() == 0) == (name == "lineage")
        for drawing in drawings.all():
            box = drawing.bounding_box()
            assert 100 < box["width"] <= width, name
            assert box["height"] > 40, name
    for figure in page.locator("figure").all():
        title = figure.locator("figcaption strong").inner_text()
        reading = figure.locator("figcaption span").inner_text()
        assert len(reading) > 10, title
        label = figure.locator("[role=graphics-document]").first.get_attribute("aria-label")
        assert title in label, title


def test_page_may_load_nothing(path):
    text = path.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe-eval" not in policy
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r'<(?:img|link|iframe|object)[^>]*?(?:src|href)="([^"]*)', markup) == [
        "data:,"
    ]


def column(page, table, number):
    cells = page.locator(f"#{table} tbody tr:not([hidden]) td:nth-child({number})")
    return cells.all_inner_texts()


def numbers(texts):
    return [float(text.replace(",", "")) for text in texts if text != "–"]


def test_tables_are_sorted_by_a_click_on_their_headings(opening, path):
    page = opening(path)
    heading = page.locator("#slice-metrics th").nth(2)
    heading.get_by_role("button").click()
    down = numbers(column(page, "slice-metrics", 3))
    assert len(down) > 5
    assert down == sorted(down, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.get_by_role("button").click()
    up = numbers(column(page, "slice-metrics", 3))
    assert up == sorted(down)
    page.locator("#slice-metrics th").nth(1).get_by_role("button").click()
    names = column(page, "slice-metrics", 2)
    assert heading.get_attribute("aria-sort") is None
    assert sorted(names) == sorted(names, key=str.lower) or len(set(names)) == len(names)
    assert names == page.evaluate("names => [...names].sort((a, b) => a.localeCompare(b))", names)


def test_tables_are_filtered_by_all_words_of_a_search(opening, path):
    page = opening(path)
    table = page.locator("#slice-metrics")
    every = len(column(page, "slice-metrics", 1))
    table.get_by_label("Search").fill("GENDER female")
    assert column(page, "slice-metrics", 2) == ["Female"]
    assert table.locator(".count").inner_text() == f"1 of {every} rows"
    table.get_by_label("Search").fill("nothing like this")
    assert column(page, "slice-metrics", 2) == []
    table.get_by_label("Search").fill("")
    assert len(column(page, "slice-metrics", 2)) == every


def brightness(page, css, element="body"):
    red, green, blue = re.findall(
        r"[\d.]+",
        page.evaluate(
            "([css, e]) => getComputedStyle(document.querySelector(e))[css]", [css, element]
        ),
    )[:3]
    return (0.2126 * float(red) + 0.7152 * float(green) + 0.0722 * float(blue)) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_and_charts_follow_light_and_dark(opening, path, scheme):
    page = opening(path, color_scheme=scheme)
    label = "#evaluation figure svg text"
    page.locator("#evaluation figure").first.scroll_into_view_if_needed()
    page.locator(label).first.wait_for()
    dark = scheme == "dark"
    assert (brightness(page, "backgroundColor") < 0.2) == dark
    assert (brightness(page, "color") > 0.7) == dark
    assert (brightness(page, "fill", label) > 0.5) == dark


def test_everything_that_can_be_used_is_reached_by_keyboard(opening, path):
    page = opening(path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for name in SECTIONS:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.hash") == f"#{name}"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#lineage"
    button = page.locator("#metrics-next-visit th button").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#metrics-next-visit th").first.get_attribute("aria-sort") == "ascending"
    assert page.locator("#metrics-next-visit .scroll").get_attribute("tabindex") == "0"
    unreachable = page.evaluate(
        "[...document.querySelectorAll('button, a, input, summary')]"
        ".filter(e => e.tabIndex < 0).length"
    )
    assert unreachable == 0
    numbers_of = page.locator("#top-k summary")
    numbers_of.focus()
    page.keyboard.press("Enter")
    assert page.locator("#top-k table").is_visible()


def test_charts_have_their_numbers_below_without_scripts(browser, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "Charts need JavaScript" in page.locator("noscript").inner_text()
    page.locator("#top-k summary").click()
    assert page.locator("#top-k table").is_visible()
    context.close()


# --- what comes from data is text


def test_markup_in_a_title_stays_text(opening, context, tmp_path):
    dataset = {"name": PLANTED, "notice": PLANTED}
    copy = Context(dataclasses.replace(context.sources, dataset=dataset, kind=PLANTED))
    titles = PLANTED + " " + context.catalogue["title"]
    copy.__dict__.update(
        model=context.model,
        ratings=context.ratings,
        catalogue=context.catalogue.assign(title=titles),
    )
    sections = [part.build(copy) for part in PARTS if part.title != "Statistics"]
    html = render("Report", PLANTED, Note(PLANTED), tuple(sections))
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    page = opening(tmp_path / "index.html")
    # All whose marks, axes or hints show titles.
    assert draw_all(page, "best-movies", "worst-movies", "embedding") == 3
    assert PLANTED in page.locator("#neighbours td").first.inner_text()
    assert PLANTED in page.locator("header").inner_text()
    bars = page.locator("#best-movies svg path[aria-roledescription=bar]").all()
    width = "bar => bar.getBoundingClientRect().width"
    max(bars, key=lambda bar: bar.evaluate(width)).hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert "<script>" in page.locator("#vg-tooltip-element").inner_text()
    assert page.evaluate("window.planted") is None
    assert page.locator("img").count() == 0


def test_charts_of_half_stars_and_of_names_with_dots_are_drawn(opening, tmp_path):
    rows = [{"a.b[c]": "one", "0.5 stars": 0.25, "1 star": 0.75}]
    specs = [
        charts.stacked_bars(rows, "a.b[c]", ["0.5 stars", "1 star"]),
        charts.bars(rows, "a.b[c]", "0.5 stars"),
        charts.bars(rows, "a.b[c]", ["0.5 stars", "1 star"]),
    ]
    blocks = tuple(Chart(f"chart-{n}", "Title", "It says so.", s) for n, s in enumerate(specs))
    html = render("t", "s", Note("v"), (Section("section", "lead", (), blocks),))
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    page = opening(tmp_path / "index.html")
    assert draw_all(page) == len(specs)
    bars = page.locator("#chart-0 svg path[aria-roledescription=bar]")
    assert bars.count() == 2
    widths = [bar.bounding_box()["width"] for bar in bars.all()]
    assert max(widths) == pytest.approx(3 * min(widths), rel=0.05)


def test_states_without_users_are_grey(opening, tmp_path):
    rows = [{"State": "Texas", "Ratings": 5}, {"State": "Ohio", "Ratings": 9}]
    chart = Chart("map", "Title", "It says so.", charts.us_map(rows, "State", "Ratings"), rows)
    html = render("t", "s", Note("v"), (Section("section", "lead", (), (chart,)),))
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    page = opening(tmp_path / "index.html")
    assert draw_all(page) == 1
    states = page.locator("#map svg [aria-roledescription=geoshape]")
    fills = states.evaluate_all("all => all.map(state => state.getAttribute('fill'))")
    assert len(fills) == 51
    assert fills.count("var(--none)") == 49
    labels = states.evaluate_all("all => all.map(state => state.getAttribute('aria-label'))")
    assert any("State: Nevada" in label for label in labels)
