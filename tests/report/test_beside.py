"""Two runs beside each other: figures, settings, and the documents that both show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Document, Selection, TokenScores, TrainingCurve, TrainingPoint
from ifguide.report.beside import (
    FinishedRun,
    beside_tables,
    beside_text,
    notes,
    overlap,
    render_beside,
    shared_documents,
    side_by_side,
)
from ifguide.report.tables import Table

Run = tuple[Corpus, TokenScores, Selection]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\x1b[2J"
SETTINGS = {"selection.budget": 0.02, "seed": 0, HOSTILE: HOSTILE}


def finished(report: Report, run: Run, **changes: Any) -> FinishedRun:
    corpus, scores, selection = run
    made = FinishedRun(
        name=f"runs/{HOSTILE}",
        settings=SETTINGS,
        rests={"corpus": "c" * 64, "prompts": "d" * 64},
        report=report,
        corpus=corpus,
        scores=scores,
        selection=selection,
        top=200,
    )
    return replace(made, **changes)


@pytest.fixture
def first(report: Report, run: Run) -> FinishedRun:
    points = tuple(TrainingPoint(update=n, benign_loss=4 / n) for n in range(1, 30))
    trained = replace(report, training={"suppressed": TrainingCurve(points=points)})
    return finished(trained, run)


@pytest.fixture
def second(first: FinishedRun) -> FinishedRun:
    """The same run with every other selected token learnt after all, ranked the other way."""
    selection = first.selection
    rows, columns = np.nonzero(selection.suppress)
    suppress = np.array(selection.suppress)
    suppress[rows[::2], columns[::2]] = False
    turned = replace(
        selection,
        suppress=suppress,
        ranking=np.array(selection.ranking)[::-1][:20],
        rank_value=np.array(selection.rank_value)[::-1][:20],
    )
    settings = {"selection.budget": 0.01, "seed": 0, "objective.kl": 0.1, HOSTILE: HOSTILE}
    models = first.report.models
    better = replace(models["suppressed"], perplexity={"held_out": 10.25})
    report = replace(first.report, models={**models, "suppressed": better})
    return replace(first, name="runs/b", settings=settings, selection=turned, report=report)


def test_settings_that_differ_are_named(first: FinishedRun, second: FinishedRun) -> None:
    tables = {table.key: table for table in beside_tables(first, second)}
    assert tables["settings"].rows == (
        ("objective.kl", "–", "0.1"),
        ("selection.budget", "0.02", "0.01"),
    )
    assert "settings" not in {table.key for table in beside_tables(first, first)}


def test_each_model_s_figures_stand_beside_the_other_s(
    first: FinishedRun, second: FinishedRun
) -> None:
    tables = {table.title: table for table in beside_tables(first, second)}
    rows = {row[0]: row[1:] for row in tables["The suppressed model"].rows}
    assert tables["The suppressed model"].header == ("", "A", "B", "change")
    assert rows["Perplexity, held_out"] == ("20.50", "10.25", "-50.0%")
    assert rows["Perplexity, wikitext2"] == ("41.00", "–", "–")
    rows = {row[0]: row[1:] for row in tables["The baseline model"].rows}
    assert rows["Perplexity, held_out"] == ("20.00", "20.00", "+0.0%")


def test_columns_of_one_kind_stand_beside_each_other() -> None:
    a = Table("cost", "Cost", ("stage", "time"), (("fit", "1 s"), ("score", "2 s")))
    b = Table(
        "cost", "Cost", ("stage", "time", "tokens"), (("score", "3 s", "9"), ("new", "4 s", "8"))
    )
    both = side_by_side(a, b)
    assert both.header == ("stage", "time, A", "time, B", "tokens, A", "tokens, B")
    assert both.rows == (
        ("fit", "1 s", "–", "–", "–"),
        ("score", "2 s", "3 s", "–", "9"),
        ("new", "–", "4 s", "–", "8"),
    )
    one = side_by_side(replace(a, header=("", "value")), replace(a, header=("", "value"), rows=()))
    assert one.header == ("", "A", "B")
    assert one.rows[0] == ("fit", "1 s", "–")


def test_the_overlap_counts_tokens(first: FinishedRun, second: FinishedRun) -> None:
    a, b = (set(zip(*np.nonzero(run.selection.suppress), strict=True)) for run in (first, second))
    shown = [row[1] for row in overlap(first, second).rows]
    assert shown == [
        f"{len(a & b):,}",
        f"{len(a - b):,}",
        f"{len(b - a):,}",
        f"{len(a & b) / len(a | b):.1%}",
    ]
    assert [row[1] for row in overlap(second, first).rows][1] == "0"
    other = replace(second, corpus=replace(second.corpus, fingerprint="other"))
    assert overlap(first, other).rows == ()


def test_documents_that_both_show_are_paired(first: FinishedRun, second: FinishedRun) -> None:
    pairs = shared_documents(first, second)
    places = [int(number) for number in second.selection.ranking]
    expected = [number for number in first.selection.ranking if int(number) in places]
    assert len(pairs) == 20
    documents = first.corpus.documents
    for pair, number in zip(pairs, expected, strict=True):
        assert pair.first.id == pair.second.id == documents[int(number)].id
        assert pair.second.rank == places.index(int(number)) + 1
        selected = []
        for run in (first, second):
            at = (run.corpus.document == number) & run.selection.suppress
            spans = zip(run.corpus.start[at], run.corpus.end[at], strict=True)
            selected.append({place for begin, end in spans for place in range(begin, end)})
        assert pair.both == len(selected[0] & selected[1])
        assert pair.apart == len(selected[0] ^ selected[1])


def test_documents_of_another_corpus_are_known_by_their_source_id_and_text(
    report: Report, make_run: Any
) -> None:
    def posts(order: list[int], changed: int) -> list[Document]:
        said = {n: f"You idiot, number {n} of the town." for n in order}
        said[changed] += " And more."
        return [Document(f"post-{n}", said[n], ((4, 9),), "posts") for n in order]

    runs = [
        finished(report, make_run(posts(list(order), changed)))
        for order, changed in ((range(40), 39), (range(39, -1, -1), 38))
    ]
    runs[1] = replace(runs[1], corpus=replace(runs[1].corpus, fingerprint="other"))
    selection = replace(runs[1].selection, corpus=runs[1].corpus)
    scores = replace(runs[1].scores, corpus=runs[1].corpus)
    runs[1] = replace(runs[1], selection=selection, scores=scores)
    pairs = shared_documents(*runs)
    ids = [
        {run.corpus.documents[int(number)].id for number in run.selection.ranking} for run in runs
    ]
    assert {pair.first.id for pair in pairs} == (ids[0] & ids[1]) - {"post-39", "post-38"}
    assert pairs
    for pair in pairs:
        texts = ["".join(p.text for p in d.pieces) for d in (pair.first, pair.second)]
        assert texts[0] == texts[1]
    assert "corpora are not the same" in notes(*runs)[0]


def test_what_cannot_be_compared_is_said(first: FinishedRun, second: FinishedRun) -> None:
    assert notes(first, second) == []
    models = second.report.models
    turned = {
        name: replace(model, judges=dict(reversed(model.judges.items())))
        for name, model in models.items()
    }
    other = replace(
        second, report=replace(second.report, models=turned), rests={"corpus": "c" * 64}
    )
    judges, rests = notes(first, other)
    assert "'rules' in A and 'hatesonar' in B" in judges
    assert rests == "Mind: they rest on different prompts."


def test_the_terminal_gets_no_control_character(first: FinishedRun, second: FinishedRun) -> None:
    text = beside_text(first, replace(second, settings={HOSTILE: "\x07"}))
    assert "‹U+001B›" in text
    assert not {"\x1b", "\x07"} & set(text)


def test_a_page_of_runs_that_have_nothing_in_common(first: FinishedRun) -> None:
    none = replace(first.selection, ranking=np.zeros(0, int), rank_value=np.zeros(0))
    bare = replace(first.report, models={}, cost={}, training={})
    page = render_beside(first, replace(first, selection=none, report=bare))
    assert "0 documents are on both" in page
    assert 'id="documents"' not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(
    first: FinishedRun,
    second: FinishedRun,
    browse: Callable[..., Page],
    faults: Callable[[Page], list[str]],
    scheme: str,
) -> None:
    text = render_beside(first, second)
    assert render_beside(first, second) == text
    page = browse(text, color_scheme=scheme)
    pairs = shared_documents(first, second)
    assert page.locator("#count").inner_text() == f"1–{len(pairs)} of {len(pairs)} documents"
    page.locator("#sort").select_option(label="rank in B")
    shown = page.locator("article > .meta bdi:first-of-type")
    expected = [pair.first.id for pair in sorted(pairs, key=lambda pair: pair.second.rank)]
    assert shown.all_text_contents() == expected
    page.locator("#only").select_option(label="selected differently")
    assert shown.count() == sum(pair.apart > 0 for pair in pairs)
    page.locator("article i.s").first.hover()
    assert "selected" in page.locator("#readout").inner_text()
    assert page.title() == "Two runs beside each other"
    assert page.locator("img").count() == 0
    assert page.said == []
    page.locator("#from").fill("5")
    page.locator("#to").fill("9")
    assert faults(page) == []
