"""Documents as the pages write them: each token in its score's colour, with its score and rank.

Every text goes through ``visible_text`` and is escaped here; nothing that a document says is ever
markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from ifguide.report.display import colour_scale, score_level, visible_text, visible_token
from ifguide.report.ranked import Piece, RankedDocument, excerpt

SHOWN_AT_ONCE = 25
"""Documents on one leaf of a page; those of later leaves are made elements when they are shown."""


@dataclass(frozen=True)
class ShownDocument:
    """A document as a template writes it; ``text`` is its tokens, cut where it is long."""

    rank: int | None
    id: str
    source: str
    value: float
    selected: int
    marked: int
    text: Markup


def shown_document(document: RankedDocument, scale: float) -> ShownDocument:
    """Return a document with its tokens coloured in units of ``scale``."""
    return ShownDocument(
        rank=document.rank,
        id=visible_text(document.id, one_line=True),
        source=visible_text(document.source, one_line=True),
        value=document.value,
        selected=document.selected,
        marked=sum(piece.marked for piece in document.pieces),
        text=Markup("").join(_part(part, scale) for part in excerpt(document.pieces)),
    )


def scale_of(documents: Iterable[RankedDocument], threshold: float) -> float:
    """Return the score that one unit of colour stands for on a page of these documents."""
    scores = (abs(p.score) for d in documents for p in d.pieces if p.score is not None)
    return colour_scale(threshold, max(scores, default=0.0))


def sources_of(documents: Iterable[RankedDocument]) -> list[str]:
    """Return the sources' names, as the documents show them."""
    return sorted({visible_text(document.source, one_line=True) for document in documents})


def _part(part: Piece | int, scale: float) -> Markup:
    if isinstance(part, int):
        return Markup(f'<span class="gap">… {part:,} tokens not shown …</span>')
    text = escape(visible_token(part.text, selected=part.selected))
    flags = " ".join(["s"] * part.selected + ["m"] * part.marked)
    if part.score is None:
        return Markup(f'<i class="{flags}">{text}</i>') if flags else text
    level = score_level(part.score, scale)
    colour = f"p{level}" if level > 0 else f"n{-level}" if level else ""
    names = " ".join(name for name in (colour, flags, "" if part.text else "end") if name)
    css = f' class="{names}"' if names else ""
    return Markup(f'<i{css} title="{_score(part.score)} · rank {part.rank:,}">{text}</i>')


def _score(score: float) -> str:
    """Three digits, or as many as there are before the point."""
    return f"{score:+.0f}" if abs(score) >= 1000 else f"{score:+.3g}"
