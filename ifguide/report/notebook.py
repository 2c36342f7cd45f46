"""What nouns look like in a notebook: a fragment of HTML, everything in it escaped."""

from __future__ import annotations

from dataclasses import dataclass

from ifguide.evaluation.figures import Report
from ifguide.nouns import Selection
from ifguide.report.display import visible_text, visible_token
from ifguide.report.ranked import RankedDocument, excerpt, ranked_documents
from ifguide.report.tables import report_tables
from ifguide.report.templates import template

_TOP = 5


@dataclass(frozen=True)
class _Piece:
    """A piece of text as the template writes it, or the number of tokens that are left out."""

    text: str = ""
    selected: bool = False
    marked: bool = False
    skipped: int = 0


@dataclass(frozen=True)
class _Shown:
    """A document as the template writes it."""

    rank: int | None
    id: str
    source: str
    selected: int
    pieces: tuple[_Piece, ...]


def selection_html(selection: Selection, top: int = _TOP) -> str:
    """Return the first documents of the ranking, selected tokens tinted, marked ones underlined."""
    documents = ranked_documents(selection.corpus, None, selection, top)
    tokens, selected = int(selection.corpus.has_loss.sum()), int(selection.suppress.sum())
    caption = (
        f"{selected:,} of {tokens:,} tokens are selected, in documents of which "
        f"{len(selection.ranking):,} have one above the threshold. The first {len(documents)}:"
    )
    return template("notebook.html").render(
        caption=caption, documents=[_shown(document) for document in documents], tables=()
    )


def report_html(report: Report) -> str:
    """Return the tables of a report."""
    return template("notebook.html").render(caption="", documents=(), tables=report_tables(report))


def _shown(document: RankedDocument) -> _Shown:
    pieces = (
        _Piece(skipped=part)
        if isinstance(part, int)
        else _Piece(visible_token(part.text, selected=part.selected), part.selected, part.marked)
        for part in excerpt(document.pieces)
    )
    return _Shown(
        rank=document.rank,
        id=visible_text(document.id, one_line=True),
        source=visible_text(document.source, one_line=True),
        selected=document.selected,
        pieces=tuple(pieces),
    )
