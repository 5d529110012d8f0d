"""Makes the screenshots of the report: `.venv/bin/python docs/report_screenshots.py [OUTPUT]`.

Opens the page in chromium (on Debian: apt install chromium) and writes report.png and
report-dark-phone.png beside this file. Meant for a run on the generated sample, whose films
are invented: MovieLens may not be redistributed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Writes both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=Path("output"))
    output = parser.parse_args().output.resolve()
    report = output / "report" / "index.html"
    if not report.is_file():
        raise SystemExit(f"{report} is missing; run the pipeline first: make run.")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is missing (on Debian: apt install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        desktop = browser.new_page(viewport={"width": 1280, "height": 1080})
        picture(desktop, report, "#gender-size", "report.png")
        phone = browser.new_page(
            viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2
        )
        picture(phone, report, "header", "report-dark-phone.png")
        browser.close()


def picture(page: Page, report: Path, first: str, name: str) -> None:
    """Scrolls to an element, waits for the figures in sight and takes a picture."""
    page.goto(report.as_uri())
    page.add_style_tag(content="html { scroll-behavior: auto !important }")
    page.locator(first).evaluate("element => element.scrollIntoView()")
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-spec]')].every(figure => {
          const box = figure.getBoundingClientRect();
          return box.bottom < 0 || box.top > innerHeight || figure.dataset.drawn;
        })"""
    )
    page.locator(first).evaluate("element => element.scrollIntoView()")
    page.screenshot(path=str(HERE / name))


if __name__ == "__main__":
    main()
