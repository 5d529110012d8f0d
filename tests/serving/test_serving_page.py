"""The page in a real browser: search, pick, recommend, similar, errors, keyboard, themes."""

import os
import shutil
import time

import handmade
import pytest
from serving_fixtures import Server

from serving.titles import display_title

small = pytest.fixture(scope="session")(handmade.small)

pytestmark = pytest.mark.xdist_group("serving")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NO_BROWSER = "There is no chromium (on Debian: apt install chromium), so the page is not tested."


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
def page(browser, server):
    opened = browser.new_page(base_url=server.url)
    opened.set_default_timeout(60_000)
    problems = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "console",
        lambda message: problems.append(message.text)
        if "Content Security" in message.text
        else None,
    )
    opened.on(
        "request",
        lambda request: problems.append(request.url)
        if not request.url.startswith(server.url)
        else None,
    )
    yield opened
    opened.close()
    assert problems == []


@pytest.fixture
def opened(page):
    page.goto("/")
    page.locator(".film").first.wait_for()
    return page


def shown(page):
    return [item.get_attribute("data-id") for item in page.locator(".film").all()]


def changes(page, action):
    """Does something and waits until other films are shown."""
    before = shown(page)
    action()
    page.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('.film')]"
        ".map(film => film.dataset.id)) !== JSON.stringify(before)"
        " && !document.querySelector('.waiting')",
        arg=before,
    )
    return shown(page)


def test_the_page_shows_films_the_version_and_how_good_it_was(opened, version_dir):
    assert opened.locator(".film").count() == 12
    assert "★" in opened.locator(".film .stars").first.inner_text()
    assert "Because you liked" in opened.locator(".film .why").first.inner_text()
    assert version_dir.name in opened.locator("#model").inner_text()
    opened.locator("#metrics summary").click()
    model = opened.locator("#metrics").inner_text()
    next_visit, in_session = model.index("next visit"), model.index("right after")
    assert next_visit < model.index("RMSE") < in_session < model.rindex("RMSE")


def test_a_film_is_searched_picked_and_changes_the_recommendations(opened, catalogue):
    title = display_title(catalogue[0]["title"])
    opened.get_by_label("Search movies").fill(title[:12])
    choice = opened.locator("#found button", has_text=title).first
    after = changes(opened, choice.click)
    assert catalogue[0]["movie_id"] not in after
    assert title in opened.locator("#liked").inner_text()
    removed = opened.get_by_role("button", name=f"Remove {title}")
    changes(opened, removed.click)
    assert opened.locator("#liked button").count() == 0


def test_a_film_of_the_search_is_history_and_one_liked_on_the_page_is_this_visit(opened, catalogue):
    requests = []
    opened.on(
        "request",
        lambda request: requests.append(request.post_data_json)
        if request.method == "POST"
        else None,
    )
    title = display_title(catalogue[0]["title"])
    opened.get_by_label("Search movies").fill(title[:12])
    changes(opened, opened.locator("#found button", has_text=title).first.click)
    assert requests[-1]["liked"] == [{"movie_id": catalogue[0]["movie_id"]}]
    assert "timestamp" not in requests[-1]
    first = shown(opened)[0]
    changes(opened, opened.get_by_role("button", name="I liked").first.click)
    searched, marked = requests[-1]["liked"]
    assert searched == {"movie_id": catalogue[0]["movie_id"]}
    assert marked["movie_id"] == first
    assert abs(marked["timestamp"] - time.time()) < 600
    assert marked["timestamp"] <= requests[-1]["timestamp"]


def test_titles_are_shown_with_the_article_in_front_wherever_they_appear(opened, catalogue):
    title = next(m["title"] for m in catalogue if "The " in display_title(m["title"])[:4])
    shown_as = display_title(title)
    opened.get_by_label("Search movies").fill(title)
    opened.locator("#found button", has_text=shown_as).first.wait_for()
    opened.get_by_label("Search movies").fill(shown_as)
    changes(opened, opened.locator("#found button", has_text=shown_as).first.click)
    assert shown_as in opened.locator("#liked").inner_text()
    opened.get_by_role("button", name="Show movies similar to").first.click()
    opened.locator("#similar-films li").first.wait_for()
    assert title != shown_as
    places = ".film h3, .film .why, #liked button, #similar-films li, #similar-title"
    text = " ".join(opened.locator(places).all_inner_texts())
    assert ", The (" not in text
    assert ", A (" not in text


def test_a_new_user_is_recommended_other_films(opened):
    changes(opened, opened.get_by_label("A new user").check)
    opened.get_by_role("spinbutton", name="Age").fill("12")
    opened.get_by_label("Gender").select_option("Female")
    assert opened.get_by_label("Occupation").locator("option").count() > 2
    opened.locator(".film").first.wait_for()
    assert not opened.get_by_role("alert").is_visible()


def test_a_film_can_be_refused_and_more_be_shown(opened):
    first = shown(opened)[0]
    after = changes(opened, opened.get_by_role("button", name="Do not recommend").first.click)
    assert first not in after
    more = changes(opened, opened.get_by_role("button", name="Show more").click)
    assert len(more) == 24


def test_seen_films_can_be_shown(opened):
    before = set(shown(opened))
    after = changes(opened, opened.get_by_label("Hide what I have seen").uncheck)
    assert set(after) - before


def test_similar_films_open_and_close_with_the_keyboard(opened):
    similar = opened.get_by_role("button", name="Show movies similar to").first
    similar.focus()
    opened.keyboard.press("Enter")
    opened.locator("#similar-films li").first.wait_for()
    assert opened.locator("#similar-films li").count() == 10
    opened.keyboard.press("Escape")
    assert not opened.locator("#similar").is_visible()
    assert similar.evaluate("button => button === document.activeElement")


def test_a_film_of_the_similar_ones_can_be_marked_as_liked(opened):
    opened.get_by_role("button", name="Show movies similar to").first.click()
    first = opened.locator("#similar-films li").first
    title = first.locator("span").first.inner_text()
    changes(opened, first.get_by_role("button", name=f"I liked {title}").click)
    assert first.get_by_role("button", pressed=True).inner_text() == "Liked ✓"
    assert title in opened.locator("#liked").text_content()


def test_everything_can_be_done_with_the_keyboard_alone(opened, catalogue):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.id") == "search":
            break
    opened.keyboard.type(display_title(catalogue[0]["title"])[:12])
    opened.locator("#found button").first.wait_for()
    opened.keyboard.press("ArrowDown")
    picked = opened.evaluate("document.activeElement.textContent")
    changes(opened, lambda: opened.keyboard.press("Enter"))
    assert picked in opened.locator("#liked").inner_text()
    assert opened.evaluate("document.activeElement.id") == "search"


def test_an_unknown_user_is_an_error_that_disappears(opened):
    opened.get_by_label("User", exact=True).fill("nobody")
    opened.get_by_role("alert").wait_for()
    assert "has no user 'nobody'" in opened.get_by_role("alert").inner_text()
    opened.get_by_label("User", exact=True).fill("1")
    opened.locator(".film").first.wait_for()
    assert not opened.get_by_role("alert").is_visible()


def test_a_search_without_results_has_a_message(opened):
    opened.get_by_label("Search movies").fill("qqqqzzzz")
    opened.get_by_text("No movie has these words in its title.").wait_for()


def test_a_server_that_does_not_respond_is_an_error(opened):
    opened.route("**/api/**", lambda route: route.abort())
    opened.get_by_label("Hide what I have seen").uncheck()
    opened.get_by_role("alert").wait_for()
    assert "does not respond" in opened.get_by_role("alert").inner_text()


def test_titles_are_text_and_never_html(opened):
    evil = "<img src=x onerror=document.title='owned'>"
    reason = {"movie_id": "2", "title": evil, "display_title": evil, "contribution": 1.0}
    film = {"movie_id": "1", "title": evil, "display_title": evil, "year": None, "genres": [evil]}
    film |= {"stars": 4.0, "score": 1.0, "reasons": [reason]}
    answer = {"model_version": "1", "user_id": evil, "recommendations": [film]}
    opened.route("**/api/recommendations", lambda route: route.fulfill(json=answer))
    opened.get_by_label("Hide what I have seen").uncheck()
    opened.get_by_role("heading", name=evil).wait_for()
    assert opened.locator("main img").count() == 0
    assert opened.title() == "Your next movie"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_enough_contrast_and_a_phone_needs_no_sideways_scrolling(
    browser, server, scheme
):
    page = browser.new_page(
        base_url=server.url, color_scheme=scheme, viewport={"width": 360, "height": 740}
    )
    page.goto("/")
    page.locator(".film").first.wait_for()
    assert page.locator(".film").first.bounding_box()["y"] < 740, "the list starts below the form"
    page.locator("#settings summary").click()
    page.get_by_label("Search movies").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for selector in (".film h3", ".film .why", ".film .stars", "#status", "header p", ".help", "a"):
        assert _contrast(page, selector) >= 4.5, selector
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')]"
        ".filter(field => !field.labels.length).map(field => field.id)"
    )
    assert unnamed == []
    page.close()


def _contrast(page, selector):
    """WCAG 2.1's contrast ratio of an element's text and what is behind it."""
    return page.evaluate(
        """selector => {
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const found = [...document.querySelectorAll(selector)].find(e => e.offsetParent);
          let behind = found;
          while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
            behind = behind.parentElement;
          const [one, other] = [light(parse(getComputedStyle(found).color)),
            light(parse(getComputedStyle(behind).backgroundColor))].sort((a, b) => b - a);
          return (one + 0.05) / (other + 0.05);
        }""",
        selector,
    )


def test_the_interactive_documentation_works_offline(page, server):
    page.goto("/docs")
    page.get_by_text("/api/users/{user_id}/recommendations").first.wait_for()


def test_the_page_has_a_form_for_the_token_and_keeps_it(browser, small):
    with Server(small, environment={"SERVING_TOKEN": "secret"}) as guarded:
        page = browser.new_page(base_url=guarded.url)
        page.goto("/")
        page.get_by_role("textbox", name="Token").fill("secret")
        page.get_by_role("button", name="Continue").click()
        page.locator(".film").first.wait_for()
        page.reload()
        page.locator(".film").first.wait_for()
        page.close()
