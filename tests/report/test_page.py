from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ifguide.evaluation.figures import (
    CorpusSummary,
    Localisation,
    Report,
    read_report,
    write_report,
)
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.display import visible_text
from ifguide.report.page import render_page

Run = tuple[Corpus, TokenScores, Selection]
VOID = {"meta", "input", "br", "link", "img"}


class _Page(HTMLParser):
    """What a reader of the page meets: tags, attributes, scripts and the documents' text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append("#text" if ("class", "text") in attrs else tag)
        if tag in self.inside:
            self.inside[tag].append("")
        if ("class", "text") in attrs:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() in {tag, "#text"}, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]][-1] += data
        elif "#text" in self.open:
            self.texts[-1] += data


@pytest.fixture
def page(report: Report, run: Run) -> str:
    last = report.models["suppressed"]
    named = replace(last, perplexity={**last.perplexity, "<img src=x onerror=alert(1)>": 3.0})
    report = replace(report, models={**report.models, "suppressed": named})
    return render_page(report, *run, title="Findings <script>alert(1)</script>")


def test_only_our_script_and_no_event_attributes(page: str) -> None:
    found = _Page(page)
    assert found.open == []
    assert found.tags.count("script") == 1
    assert not {"img", "iframe", "object", "link", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [name for name, _ in found.attributes if name in {"src", "href", "style"}]
    assert found.inside["title"][0] == "Findings <script>alert(1)</script>"


def test_the_policy_names_our_script_and_style_by_hash(page: str) -> None:
    found = _Page(page)
    policy = next(value for name, value in found.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = hashlib.sha256(found.inside[kind][0].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_every_document_is_there_to_the_letter(page: str, run: Run) -> None:
    corpus, _, selection = run
    shown = _Page(page).texts
    assert len(shown) == len(selection.ranking)
    for text, number in zip(shown, selection.ranking, strict=True):
        assert text.removesuffix("■") == visible_text(corpus.documents[int(number)].text)


def test_tokens_carry_their_score_rank_and_flags(page: str, run: Run) -> None:
    corpus, scores, selection = run
    best = float(scores.values[corpus.has_loss].max())
    assert f'title="{best:+.3g} · rank 1"' in page
    assert len(re.findall(r'<i class="[pn]\d s( m)?( end)?" title', page)) == selection.budget


def test_the_same_run_gives_the_same_page(report: Report, run: Run) -> None:
    assert render_page(report, *run) == render_page(report, *run)


def test_top_limits_the_documents(report: Report, run: Run) -> None:
    assert _Page(render_page(report, *run, top=3)).tags.count("article") == 3


def test_a_page_without_marks_models_or_ranked_documents(report: Report, run: Run) -> None:
    corpus, scores, _ = run
    nothing = Selection(
        suppress=np.zeros_like(corpus.marked),
        threshold=float("nan"),
        budget=0,
        ranking=np.zeros(0, int),
        rank_value=np.zeros(0),
        corpus=corpus,
    )
    empty = replace(report, models={}, localisation=Localisation(), cost={})
    page = render_page(empty, corpus, scores, nothing)
    assert "No token lies above the threshold" in page
    assert _Page(page).open == []


def test_what_stands_before_every_text_is_said(report: Report, run: Run) -> None:
    assert "Every text" not in render_page(report, *run)
    started = replace(report, corpus=CorpusSummary(document_start=("<s>", "<b>")))
    page = render_page(started, *run)
    assert "follows <code>&lt;s&gt;</code><code>&lt;b&gt;</code>, which is not scored." in page
    assert _Page(page).open == []


def test_a_report_keeps_what_stands_before_every_text(report: Report, tmp_path: Path) -> None:
    started = replace(report, corpus=CorpusSummary(document_start=("<s>",)))
    write_report(tmp_path / "report.json", started)
    assert read_report(tmp_path / "report.json") == started
    older = json.loads((tmp_path / "report.json").read_text())
    del older["corpus"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    assert read_report(tmp_path / "older.json").corpus == CorpusSummary()
