"""The page as it is used: sorting, filtering, jumping, keys, colours, paper, screen readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hostile_names import HOSTILE, compared
from playwright.sync_api import Page

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Document, Selection, TokenScores, TrainingCurve, TrainingPoint
from ifguide.report.comparison import render_methods
from ifguide.report.page import render_page
from ifguide.report.ranked import RankedDocument, ranked_documents

Run = tuple[Corpus, TokenScores, Selection]
Browse = Callable[..., Page]
Faults = Callable[[Page], list[str]]
COUNT = 140
EVERYDAY = "The weather was mild, and people walked & sang along the river of towns 1 < 2"


@pytest.fixture(scope="module")
def run(make_run: Any) -> Run:
    """Documents of three sources, some marked; the scores that are marked are high."""
    documents = [
        Document(
            f"post-{number}",
            f"{EVERYDAY}. Word{number} you idiot {number}! " * (1 + number % 3),
            ((85, 105),) if number % 3 else (),
            ("forum", "mail", "<web>")[number % 3],
        )
        for number in range(COUNT)
    ]
    return make_run(documents)


@pytest.fixture(scope="module")
def documents(run: Run) -> list[RankedDocument]:
    return ranked_documents(*run, COUNT)


@pytest.fixture(scope="module")
def text(report: Report, run: Run) -> str:
    return render_page(report, *run)


@pytest.fixture
def page(text: str, browse: Browse) -> Page:
    return browse(text, viewport={"width": 1000, "height": 700})


def marked(document: RankedDocument) -> int:
    return sum(piece.marked for piece in document.pieces)


def shown(page: Page) -> list[str]:
    return page.locator(
        "article .meta bdi:first-of-type"
    ).all_text_contents()  # of what is out of sight, too


def every_shown(page: Page) -> list[str]:
    """The ids of all documents that are left, leaf by leaf from the one that is shown."""
    found = shown(page)
    while page.locator("#on").is_enabled():
        page.locator("#on").click()
        found += shown(page)
    return found


def ids(documents: Sequence[RankedDocument]) -> list[str]:
    return [document.id for document in documents]


def test_there_are_enough_documents(documents: list[RankedDocument]) -> None:
    assert len(documents) > 55
    for tried in (marked, lambda d: not marked(d)):
        assert any(map(tried, documents))


def test_documents_are_sorted(page: Page, documents: list[RankedDocument]) -> None:
    assert every_shown(page) == ids(documents)
    for name, key in {
        "source": lambda d: d.source,
        "selected": lambda d: -d.selected,
        "marked": lambda d: -marked(d),
    }.items():
        page.locator("#sort").select_option(label=name)
        expected = sorted(documents, key=key)  # which keeps the order of what is alike
        assert every_shown(page) == ids(expected), name


def test_documents_are_filtered(page: Page, documents: list[RankedDocument]) -> None:
    for name, is_left in {
        "with selected tokens": lambda d: d.selected,
        "without selected tokens": lambda d: not d.selected,
        "with marked tokens": marked,
        "without marked tokens": lambda d: not marked(d),
        "selected, none marked": lambda d: d.selected and not marked(d),
        "marked, none selected": lambda d: marked(d) and not d.selected,
    }.items():
        page.locator("#only").select_option(label=name)
        left = [document for document in documents if is_left(document)]
        assert f"{len(left)} documents" in page.locator("#count").inner_text()
        assert every_shown(page) == ids(left), name


def test_filters_hold_together(page: Page, documents: list[RankedDocument]) -> None:
    page.locator("#source").select_option("<web>")
    page.locator("#from").fill("5")
    page.locator("#to").fill("50")
    page.locator("#search").fill("sang along the river of towns 1 < 2")
    left = [d for d in documents if d.source == "<web>" and 5 <= d.rank <= 50]
    page.locator("#count", has_text=f"of {len(left)} documents").wait_for()
    assert every_shown(page) == ids(left)
    assert page.locator("#count").inner_text().endswith(f"({len(documents)} in all)")


def test_search_finds_what_is_not_an_element_yet(
    page: Page, documents: list[RankedDocument]
) -> None:
    last = documents[-1]
    number = last.id.partition("-")[2]
    page.locator("#search").fill(f"sang along the river of towns 1 < 2. word{number} ".upper())
    page.locator("#count", has_text="1–1 of 1 documents").wait_for()
    assert shown(page) == [last.id]
    page.locator("#search").fill("nowhere")
    page.locator("#count", has_text="0 documents").wait_for()
    assert shown(page) == []


def by_score(documents: Sequence[RankedDocument]) -> list[tuple[int, float, str]]:
    """Rank, score and document of every token on the page, from the highest score down."""
    found = [(p.rank, p.score, d.id) for d in documents for p in d.pieces if p.score is not None]
    return sorted(found, key=lambda token: token[0])


def read_out(page: Page) -> tuple[int, str]:
    """The rank of the token that is read out, and its document."""
    token = page.locator("i.now")
    title = token.get_attribute("title")
    assert title in page.locator("#readout").inner_text()
    card = page.locator("article", has=token)
    assert token.evaluate(
        "token => { const at = token.getBoundingClientRect(); "
        "return at.top >= 0 && at.bottom <= innerHeight; }"
    ), "the token is out of sight"
    rank = int(title.rpartition("rank ")[2].replace(",", ""))
    return rank, card.locator(".meta bdi").first.inner_text()


def test_tokens_are_gone_through_by_score(page: Page, documents: list[RankedDocument]) -> None:
    tokens = by_score(documents)
    page.keyboard.press("n")
    for rank, _, name in tokens[:12]:
        page.locator(f'i.now[title$="rank {rank:,}"]').wait_for()
        assert read_out(page) == (rank, name)
        page.locator("#lower").click()
    for rank, _, name in tokens[11:9:-1]:
        page.keyboard.press("p")
        page.locator(f'i.now[title$="rank {rank:,}"]').wait_for()
        assert read_out(page) == (rank, name)


def test_a_token_is_found_by_its_score_among_what_is_left(
    page: Page, documents: list[RankedDocument]
) -> None:
    page.locator("#source").select_option("mail")
    tokens = by_score([d for d in documents if d.source == "mail"])
    for wanted in (1.5, -0.75, 99.0):
        page.locator("#score").fill(str(wanted))
        page.locator("#jump button", has_text="Go").click()
        page.locator("i.now").wait_for()
        written = [(rank, float(f"{score:+.3g}"), name) for rank, score, name in tokens]
        rank, _, name = min(written, key=lambda token: (abs(token[1] - wanted), token[0]))
        page.locator(f'i.now[title$="rank {rank:,}"]').wait_for()
        assert read_out(page) == (rank, name)
    page.locator("#score").fill("")
    page.locator("#score").press("Enter")
    page.locator(f'i.now[title$="rank {tokens[0][0]:,}"]').wait_for()
    assert read_out(page)[0] == tokens[0][0]


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.querySelector('bdi')?.textContent")


def test_keys(page: Page, documents: list[RankedDocument]) -> None:
    names = ids(documents)
    for number in range(27):
        page.keyboard.press("j")
        assert focused(page) == names[number]
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert focused(page) == names[24]
    page.keyboard.press("ArrowRight")
    first, second = (page.locator("article:focus i[title]").nth(at) for at in (0, 1))
    assert first.evaluate("token => token.classList.contains('now')")
    page.keyboard.press("ArrowRight")
    assert second.evaluate("token => token.classList.contains('now')")
    page.keyboard.press("Escape")
    assert page.locator("i.now").count() == 0
    assert page.locator("#readout").inner_text() == ""
    page.keyboard.press("]")
    assert shown(page) == names[25:50]
    page.keyboard.press("[")
    assert shown(page) == names[:25]
    page.keyboard.press("/")
    page.keyboard.type("j/n]")
    assert page.locator("#search").input_value() == "j/n]"
    assert shown(page) == []


def test_keys_that_are_letters_can_be_turned_off(page: Page, documents: Any) -> None:
    page.locator("#keys summary").click()
    page.locator("#letters").uncheck()
    page.locator("h1").click()
    for key in "jn]/":
        page.keyboard.press(key)
    assert shown(page) == ids(documents[:25])
    assert page.locator("article:focus, i.now, #search:focus").count() == 0


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_colours_are_the_system_s_or_as_chosen_and_paper_is_white(
    page: Page, documents: Any
) -> None:
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert dark != light
    page.locator("#light").check()
    assert background(page) == light
    page.locator("#dark").check()
    page.emulate_media(color_scheme="light")
    assert background(page) == dark
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"
    assert not page.locator("#tools, .theme, #readout").locator("visible=true").count()
    assert page.locator("article:visible").count() == 25
    colour = "token => getComputedStyle(token).printColorAdjust"
    assert page.locator("article i.s").first.evaluate(colour) == "exact"
    assert page.pdf().startswith(b"%PDF")


def curves() -> dict[str, TrainingCurve]:
    points = tuple(
        TrainingPoint(update=n, benign_loss=4 / n, suppressed_loss=5.0, learning_rate=1e-3)
        for n in range(1, 60)
    )
    return dict.fromkeys(("baseline", "suppressed"), TrainingCurve(points=points))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    report: Report, run: Run, browse: Browse, faults: Faults, scheme: str
) -> None:
    text = render_page(replace(report, training=curves()), *run, top=6)
    page = browse(text, color_scheme=scheme)
    assert page.locator("h2", has_text="How training went").is_visible()
    assert faults(page) == []
    page.keyboard.press("n")
    page.locator("i.now").wait_for()
    assert faults(page) == []
    narrow = browse(text, color_scheme=scheme, viewport={"width": 420, "height": 800})
    assert faults(narrow) == []
    table = browse(render_methods(compared("".join(HOSTILE))), color_scheme=scheme)
    assert faults(table) == []


def test_axe_finds_what_is_bad(report: Report, run: Run, browse: Browse, faults: Faults) -> None:
    bad = render_page(report, *run, top=2).replace(' aria-label="Search these documents"', "", 1)
    bad = bad.replace(' placeholder="Search these documents"', "", 1)
    assert any(fault.startswith("label: ") for fault in faults(browse(bad)))
