"""A small corpus with scores and a selection, and the report of a run, for the report's tests."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from ifguide.corpus.documents import Documents
from ifguide.evaluation.figures import (
    Cost,
    Fluency,
    Localisation,
    ModelFigures,
    Report,
    SelectionSummary,
    Verdict,
)
from ifguide.nouns import Corpus, Document, Interval, Selection, TokenScores

BLOCK = 16
NAMES = ("chromium", "chromium-browser", "google-chrome")


def build_corpus(documents: Sequence[Document], path: Path, block: int = BLOCK) -> Corpus:
    """Words and spaces as tokens, end-of-text after every document, padding in the last block."""
    columns: list[tuple[int, int, int, bool]] = []
    for number, document in enumerate(documents):
        spans = [match.span() for match in re.finditer(r"\s?\w+|\W", document.text)]
        for start, end in [*spans, (len(document.text), len(document.text))]:
            marked = any(start < stop and begin < end for begin, stop in document.spans)
            columns.append((number, start, end, marked))
    columns += [(-1, 0, 0, False)] * (-len(columns) % block)
    number, start, end, marked = (
        np.array(column).reshape(-1, block) for column in zip(*columns, strict=True)
    )
    return Corpus(
        tokens=np.zeros_like(number),
        document=number,
        start=start,
        end=end,
        marked=marked.astype(bool),
        documents=Documents.write(path, documents),
        end_of_text=0,
        fingerprint="0123456789abcdef",
    )


def scored(corpus: Corpus, seed: int = 0) -> tuple[TokenScores, Selection]:
    """Heavy-tailed scores, higher on marked tokens; the top 2% and their documents selected."""
    draws = np.random.default_rng(seed).standard_t(4, corpus.tokens.shape)
    values = np.where(corpus.has_loss, draws + 4.0 * corpus.marked, 0.0).astype(np.float32)
    counted = values[corpus.has_loss]
    threshold = float(np.quantile(counted, 0.98)) if counted.size else 0.0
    suppress = corpus.has_loss & (values > threshold)
    numbers, counts = np.unique(corpus.document[suppress], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    selection = Selection(
        suppress=suppress,
        threshold=threshold,
        budget=int(suppress.sum()),
        ranking=numbers[order],
        rank_value=counts[order] / max(counts.max(initial=1), 1),
        corpus=corpus,
    )
    return TokenScores(values, corpus), selection


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Sequence[Document]], tuple[Corpus, TokenScores, Selection]]:
    def make(documents: Sequence[Document]) -> tuple[Corpus, TokenScores, Selection]:
        path = tmp_path_factory.mktemp("corpus") / "documents.arrow"
        corpus = build_corpus(documents, path)
        return corpus, *scored(corpus)

    return make


HOSTILE = (
    "<script>document.title='owned'</script> you idiot\n"
    '<img src=x onerror="document.title=\'owned\'"> "><svg onload="document.title=\'owned\'">'
    "</bdi></article><h1>owned</h1> {{ 7 * 7 }} &lt; \x1b[2J \u202e \x00 \r end"
)


@pytest.fixture(scope="session")
def run(make_run: Any) -> tuple[Corpus, TokenScores, Selection]:
    """120 posts; the hostile one (number 3) is marked in part."""
    everyday = "The weather was mild and people walked along the river, singing."
    documents = [
        Document(f"post-{number}", f"{everyday} You idiot {number}!", ((65, 75),), "posts")
        for number in range(120)
    ]
    documents[3] = Document("<b>evil</b>", HOSTILE, ((0, 120),), '"><i onclick=x>')
    return make_run(documents)


def around(value: float) -> Interval:
    return Interval(value, max(value - 0.05, 0.0), min(value + 0.05, 1.0))


def _model(tp: tuple[float, float], emt: tuple[float, float], perplexity: float) -> ModelFigures:
    sets = ("toxic", "neutral")
    rules = Verdict(
        tp=dict(zip(sets, map(around, tp), strict=True)),
        emt=dict(zip(sets, map(around, emt), strict=True)),
        worst={"toxic": (tp[0], 0.0)},
    )
    hatesonar = Verdict(
        tp={"toxic": around(tp[0] / 2)}, emt={"toxic": around(emt[0] / 2)}, worst={}
    )
    known = Fluency(
        perplexity={"held_out": perplexity, "wikitext2": 2 * perplexity}, lambada_accuracy=0.25
    )
    return ModelFigures.of({"rules": rules, "hatesonar": hatesonar}, known)


@pytest.fixture(scope="session")
def report() -> Report:
    return Report(
        version="0.1.0",
        config_fingerprint="feedc0de" * 8,
        models={
            "baseline": _model((0.6, 0.2), (0.7, 0.3), 20.0),
            "suppressed": _model((0.1, 0.05), (0.2, 0.1), 20.5),
        },
        localisation=Localisation(
            average_precision=Interval(0.31, 0.3, 0.32),
            precision_at_1_percent=Interval(0.43, 0.4, 0.46),
            base_rate=0.021,
        ),
        selection=SelectionSummary(threshold=2.5, budget=120, selected=120, documents=31),
        cost={
            "fit": Cost(seconds=12.5, tokens=200_000, peak_rss_bytes=2**30),
            "score": Cost(seconds=75.0, tokens=1_000_000, peak_rss_bytes=2**31),
        },
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; in CI its absence is a failure."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"none of {NAMES} is installed; the page's tests need one")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browse(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens HTML from disk, without network; nothing but the page itself may be asked for.

    The options are those of a browser context. ``page.said`` is what the console has.
    """
    contexts = []

    def browse(text: str, **options: Any) -> Page:
        file = tmp_path / f"page-{len(contexts)}.html"
        file.write_text(text, encoding="utf-8")
        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        page.said = said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(f"asks for {request.url}"))
        page.goto(file.as_uri())
        assert said.pop(0) == f"asks for {file.as_uri()}"
        return page

    yield browse
    for context in contexts:
        context.close()


@pytest.fixture
def faults() -> Callable[[Page], list[str]]:
    """What axe finds in a page that is serious or critical; folded parts are opened for it."""

    def faults(page: Page) -> list[str]:
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        found = Axe().run(page).response
        assert found["testEngine"]["name"] == "axe-core"
        assert len(found["passes"]) > 15
        return [
            f"{fault['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"][:3]
        ]

    return faults
