"""Photograph a run's page, in light and dark, and pages of the built site, in headless Chromium.

python docs/screenshots.py --page runs/demo/report.html --out docs/images
python docs/screenshots.py --site build/site --out build/pictures
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCHEMES = ("light", "dark")
SIZE = {"width": 960, "height": 1240}
DOCUMENTS = 460  # pixels of the page's height that are of its documents
SITE = ("index", "guides/find", "usage", "reference/settings", "results")


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="the page of a run")
    parser.add_argument("--site", type=Path, help="the folder of the built site")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the pictures")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"screenshots: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if given.page is not None:
            for file in of_a_run(browser, given.page, given.out):
                print(file)
        if given.site is not None:
            for file in of_the_site(browser, given.site, given.out):
                print(file)
        browser.close()


def of_a_run(browser: Browser, page: Path, out: Path) -> Iterator[Path]:
    """Photograph the head of the page, and its documents at a token of a high score."""
    for scheme in SCHEMES:
        opened = browser.new_page(color_scheme=scheme, viewport=SIZE)
        opened.goto(page.resolve().as_uri())
        yield _written(opened.screenshot(), out / f"report-{scheme}.png")
        opened.set_viewport_size({**SIZE, "height": DOCUMENTS + 240})
        opened.locator("h2", has_text="documents").evaluate("title => title.scrollIntoView()")
        opened.keyboard.press("n")
        opened.locator("i.now").wait_for()
        yield _written(opened.screenshot(), out / f"documents-{scheme}.png")


def of_the_site(browser: Browser, site: Path, out: Path) -> Iterator[Path]:
    """Photograph some of the site's pages."""
    for scheme in SCHEMES:
        for name in SITE:
            file = site / ("index.html" if name == "index" else f"{name}/index.html")
            opened = browser.new_page(color_scheme=scheme, viewport=SIZE)
            opened.goto(file.resolve().as_uri())
            yield _written(opened.screenshot(), out / f"{name.replace('/', '-')}-{scheme}.png")


def _written(picture: bytes, file: Path) -> Path:
    file.write_bytes(picture)
    return file


if __name__ == "__main__":
    main()
