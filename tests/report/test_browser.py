"""The page in a real browser, from disk. Needs Chromium; in CI its absence is a failure."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hostile_names import HOSTILE, compared

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.comparison import render_methods
from ifguide.report.page import render_page

Run = tuple[Corpus, TokenScores, Selection]
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
OWNED = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
PROBE = """<script>
const box = document.getElementById("search");
box.value = "EVIL";
box.dispatchEvent(new Event("input"));
const token = document.querySelector("article:not([hidden]) i.s");
token.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
const seen = selector => [...document.querySelectorAll(selector)].filter(
  element => element.getBoundingClientRect().width * element.getBoundingClientRect().height > 0
).length;
document.body.dataset.probe = JSON.stringify({
  cards: seen("article"), rows: seen("#comparison tbody tr"), bars: seen(".bars rect"),
  columns: seen("#histogram rect"),
  colour: getComputedStyle(token).backgroundColor,
  readout: document.getElementById("readout").textContent,
  wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
});
</script>"""

pytestmark = pytest.mark.skipif(
    BROWSER is None and os.environ.get("CI") != "true", reason="Chromium is not installed"
)


@pytest.fixture
def page(report: Report, run: Run) -> str:
    return render_page(report, *run, title="Findings")


def _browse(page: str, folder: Path, *options: str) -> str:
    """What Chromium prints for the page, opened from disk without network."""
    return _opened(page, folder, *options).stdout


def _violations(page: str, folder: Path) -> list[str]:
    """What the page's policy kept from running or loading, as Chromium's console has it."""
    log = _opened(page, folder, "--dump-dom", "--enable-logging=stderr").stderr
    return [line for line in log.splitlines() if "Content Security Policy" in line]


def _opened(page: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None, f"none of {NAMES} is installed; the page's tests need one"
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    quiet = ("gpu", "quic", "background-networking", "component-update", "sync", "extensions")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        *(f"--disable-{name}" for name in quiet),
        f"--user-data-dir={folder / 'profile'}",
        *options,
        path.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def test_hostile_text_does_nothing(page: str, tmp_path: Path) -> None:
    dom = _browse(page, tmp_path, "--dump-dom")
    assert "<title>Findings</title>" in dom
    assert "<img" not in dom
    assert dom.count("<script") == 1
    assert dom.count("<h1") == 1
    cards = re.search(
        r"(\d+) of \1 documents", dom
    )  # written by our script: the policy lets it run
    assert cards is not None
    assert dom.count("<article") == int(cards[1])


def test_the_policy_holds_where_escaping_would_fail(page: str, tmp_path: Path) -> None:
    dom = _browse(page.replace("</main>", f"{OWNED}</main>"), tmp_path, "--dump-dom")
    assert "<img" in dom
    assert "<title>Findings</title>" in dom


def test_the_policy_lets_all_of_our_own_page_through(page: str, tmp_path: Path) -> None:
    assert _violations(page, tmp_path) == []
    assert len(_violations(page.replace("</main>", f"{OWNED}</main>"), tmp_path)) >= 2


def test_a_comparison_of_hostile_names_does_nothing(tmp_path: Path) -> None:
    page = render_methods(compared("".join(HOSTILE)))
    assert _violations(page, tmp_path) == []
    dom = _browse(page, tmp_path, "--dump-dom")
    assert "<title>Methods compared</title>" in dom
    assert "<img" not in dom
    assert "<script" not in dom


@pytest.mark.parametrize("width", [500, 1200])
def test_search_readout_and_everything_that_should_show(
    page: str, tmp_path: Path, width: int
) -> None:
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    probed = open_page.replace("</body>", f"{PROBE}</body>")
    dom = _browse(probed, tmp_path, f"--window-size={width},900", "--dump-dom")
    found = re.search(r'data-probe="([^"]*)"', dom)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    assert seen["cards"] == 1
    assert seen["rows"] == 9
    assert seen["bars"] == 8
    assert seen["columns"] > 10
    assert seen["colour"] != "rgba(0, 0, 0, 0)"
    assert re.search(r"score \+[\d.]+ · rank [\d,]+ of [\d,]+ · selected", seen["readout"])
    assert not seen["wide"], "the page scrolls sideways"


def test_the_screenshot_shows_the_page(page: str, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    _browse(page, tmp_path, "--window-size=1200,2600", f"--screenshot={shot}")
    png = shot.read_bytes()
    assert struct.unpack(">II", png[16:24]) == (1200, 2600)
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    pixels = zlib.decompress(data)
    assert len(set(pixels)) > 100, "a blank page has few byte values"
    assert len(png) > 40_000
