"""The report as one self-contained HTML page.

Training text is hostile: the template escapes everything it is given, control characters are
spelled out, and a content security policy lets only this page's own script and style (by their
hashes) run, and nothing load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.display import colour_scale, score_level, visible_text, visible_token
from ifguide.report.figures import STYLE, histogram, score_figure, toxicity_bars
from ifguide.report.learning import learning_figures
from ifguide.report.ranked import Piece, RankedDocument, excerpt, ranked_documents
from ifguide.report.tables import MEASURES, headlines, measure_of, names_in, report_tables
from ifguide.report.templates import template

_BINS = 60


@dataclass(frozen=True)
class _Token:
    """A piece as the template writes it; without ``title`` it is plain text."""

    text: str
    css: str = ""
    title: str = ""
    skipped: int = 0


@dataclass(frozen=True)
class _Card:
    """A document as the template writes it."""

    rank: int | None
    id: str
    source: str
    value: float
    selected: int
    marked: int
    tokens: tuple[_Token, ...]


def render_page(
    report: Report,
    corpus: Corpus,
    scores: TokenScores,
    selection: Selection,
    top: int = 200,
    title: str = "What made the model toxic",
) -> str:
    """The page of a run: tables, figures and the ``top`` documents of the ranking.

    The same arguments give the same page.

    Raises:
        InputError: the scores or the selection belong to another corpus.
    """
    documents = ranked_documents(corpus, scores, selection, top)
    largest = max(
        (abs(p.score) for d in documents for p in d.pieces if p.score is not None), default=0.0
    )
    scale = colour_scale(selection.threshold, largest)
    models, tables = report.models, report_tables(report)
    return template("page.html").render(
        title=visible_text(title, one_line=True),
        version=report.version,
        fingerprint=report.config_fingerprint[:12],
        headlines=headlines(models),
        tables={table.key: table for table in tables},
        model_names=list(models),
        bars=[
            (name, toxicity_bars(models, measure))
            for measure, name in MEASURES.items()
            if names_in(measure_of(model, measure) for model in models.values())
        ],
        learning=learning_figures(report.training),
        scores_figure=_scores_figure(corpus, scores, selection),
        has_marks=bool(np.any(corpus.marked)),
        cards=[_card(document, scale) for document in documents],
        ranked_count=len(selection.ranking),
        token_count=int(corpus.has_loss.sum()),
        document_start=[visible_text(name) for name in report.corpus.document_start],
        figure_style=Markup(STYLE),
    )


def _scores_figure(corpus: Corpus, scores: TokenScores, selection: Selection) -> Markup:
    """The histogram of all scores, and of the marked tokens' where the corpus has marks."""
    counts = histogram(scores.values, corpus.has_loss, _BINS)
    marked = None
    if np.any(corpus.marked):
        both = corpus.has_loss & np.asarray(corpus.marked)
        marked = histogram(scores.values, both, _BINS, edges=counts.edges)
    return score_figure(counts, marked, selection.threshold)


def _card(document: RankedDocument, scale: float) -> _Card:
    """A document with its tokens coloured; cut where it is long."""
    tokens = [
        _Token("", skipped=part) if isinstance(part, int) else _token(part, scale)
        for part in excerpt(document.pieces)
    ]
    return _Card(
        rank=document.rank,
        id=visible_text(document.id, one_line=True),
        source=visible_text(document.source, one_line=True),
        value=document.value,
        selected=document.selected,
        marked=sum(piece.marked for piece in document.pieces),
        tokens=tuple(tokens),
    )


def _token(piece: Piece, scale: float) -> _Token:
    shown = visible_token(piece.text, selected=piece.selected)
    if piece.score is None:
        return _Token(shown, css=_flags(piece))
    level = score_level(piece.score, scale)
    colour = f"p{level}" if level > 0 else f"n{-level}" if level else ""
    css = " ".join(part for part in (colour, _flags(piece), "" if piece.text else "end") if part)
    return _Token(shown, css, title=f"{piece.score:+.3g} · rank {piece.rank:,}")


def _flags(piece: Piece) -> str:
    return " ".join(["s"] * piece.selected + ["m"] * piece.marked)
