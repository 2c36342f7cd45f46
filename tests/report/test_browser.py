"""The page in a real browser, from disk: hostile text, the policy, and what a reader sees."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_names import HOSTILE, compared
from playwright.sync_api import Page

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.comparison import render_methods
from ifguide.report.page import render_page

Run = tuple[Corpus, TokenScores, Selection]
Browse = Callable[..., Page]
OWNED = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def page(report: Report, run: Run) -> str:
    return render_page(report, *run, title="Findings")


def _leaf_through(page: Page) -> None:
    """Make elements of every document."""
    while page.locator("#on").is_enabled():
        page.locator("#on").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["script", "no script"])
def test_hostile_text_does_nothing(page: str, browse: Browse, run: Run, scripts: bool) -> None:
    opened = browse(page, java_script_enabled=scripts)
    ranked = len(run[2].ranking)
    if scripts:
        assert f"1–25 of {ranked} documents" in opened.locator("#count").inner_text()
        assert opened.locator("article").count() == 25
        _leaf_through(opened)
    else:
        assert opened.locator("article:visible").count() == ranked
        assert not opened.locator("#tools").is_visible()
    assert opened.title() == "Findings"
    for tag, count in {"img": 0, "script": 1, "h1": 1, "b": 0, "svg[onload]": 0}.items():
        assert opened.locator(tag).count() == count, tag
    assert opened.said == []


def test_the_policy_holds_where_escaping_would_fail(page: str, browse: Browse) -> None:
    opened = browse(page.replace("</main>", f"{OWNED}</main>"))
    assert opened.locator("img").count() == 1
    assert opened.title() == "Findings"
    kept = [line for line in opened.said if "Content Security Policy" in line]
    assert len(kept) >= 2


def test_the_policy_holds_for_documents_that_are_opened_later(page: str, browse: Browse) -> None:
    last = page.rindex("</article></noscript>")
    opened = browse(f"{page[:last]}{OWNED}{page[last:]}")
    assert opened.locator("img").count() == 0
    _leaf_through(opened)
    assert opened.locator("img").count() == 1
    assert opened.title() == "Findings"
    assert [line for line in opened.said if "Content Security Policy" in line]


def test_a_comparison_of_hostile_names_does_nothing(browse: Browse) -> None:
    opened = browse(render_methods(compared("".join(HOSTILE))))
    assert opened.title() == "Methods compared"
    assert opened.locator("img, script").count() == 0
    assert opened.said == []


@pytest.mark.parametrize("width", [500, 1200])
def test_search_readout_and_everything_that_should_show(
    page: str, browse: Browse, width: int
) -> None:
    opened = browse(page, viewport={"width": width, "height": 900})
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not opened.evaluate(wide), "the page scrolls sideways"
    opened.locator("#search").fill("EVIL")
    opened.locator("#count", has_text="1–1 of 1 documents").wait_for()
    assert opened.locator("article:visible").count() == 1
    token = opened.locator("article i.s").first
    token.hover()
    colour = "token => getComputedStyle(token).backgroundColor"
    assert token.evaluate(colour) != "rgba(0, 0, 0, 0)"
    readout = opened.locator("#readout").inner_text()
    assert re.search(r"score \+[\d.]+ · rank [\d,]+ of [\d,]+ · selected", readout)
    assert opened.locator("#comparison tbody tr:visible").count() == 9
    assert opened.locator(".bars rect:visible").count() == 8
    assert opened.locator("#histogram rect:visible").count() > 10
    assert opened.said == []


def test_the_screenshot_shows_the_page(page: str, browse: Browse, tmp_path: Path) -> None:
    opened = browse(page, viewport={"width": 1200, "height": 2600})
    png = opened.screenshot()
    assert struct.unpack(">II", png[16:24]) == (1200, 2600)
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    assert len(set(zlib.decompress(data))) > 100, "a blank page has few byte values"
    assert len(png) > 40_000
