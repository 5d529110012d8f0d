"""Makes the screenshots of the page: `.venv/bin/python docs/serving_screenshots.py [MODEL_DIR]`.

Serves the model, opens the page in chromium (on Debian: apt install chromium) and writes
serving.png and serving-dark-phone.png beside this file. Meant for a model of the generated
sample, whose films are invented.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Writes both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", nargs="?", default="output/serving_model")
    model_dir = parser.parse_args().model_dir
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is missing (on Debian: apt install chromium).")
    server = subprocess.Popen(
        [sys.executable, "-m", "serving", "--model-dir", model_dir, "--port", "0"],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        if found is None:
            raise SystemExit("The server did not start; run 'make serve' to see why.")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            desktop = browser.new_page(viewport={"width": 1180, "height": 860})
            picture(desktop, found.group(), "serving.png", pick=True)
            phone = browser.new_page(
                viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2
            )
            picture(phone, found.group(), "serving-dark-phone.png", pick=False)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def picture(page: Page, url: str, name: str, pick: bool) -> None:
    """Takes a picture of the page, with `pick` after a film was searched and picked."""
    page.goto(url)
    page.locator(".film").first.wait_for()
    if pick:
        page.get_by_label("Search movies").fill("the")
        page.locator("#found button").first.click()
        page.locator("#liked button").wait_for()
    page.wait_for_function("() => !document.querySelector('.waiting')")
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=str(HERE / name))


if __name__ == "__main__":
    main()
