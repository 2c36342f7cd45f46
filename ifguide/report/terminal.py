"""The highest-ranked documents as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ifguide.report.display import colour_scale, score_level, visible_text, visible_token
from ifguide.report.ranked import Piece, RankedDocument, excerpt

# Backgrounds of the 256-colour palette, deeper from level 1 to 5; the text on them is black.
_MORE_TOXIC = (224, 223, 216, 209, 202)
_LESS_TOXIC = (195, 153, 117, 75, 39)
_RESET = "\x1b[0m"


def inspect_lines(
    documents: Sequence[RankedDocument], threshold: float, colour: bool
) -> Iterator[str]:
    """A header line and the text's lines for each document, then an empty line.

    With ``colour``, tokens are tinted by score (orange = learning it makes the model more toxic,
    blue = less; both in multiples of the threshold), selected ones bold and underlined, marked
    ones in italics. Without, selected tokens stand in [brackets]. Long documents are cut to what
    surrounds their highest scores. Control characters of the text are spelled out, so that no
    training text can drive the terminal.
    """
    largest = max(
        (abs(p.score) for d in documents for p in d.pieces if p.score is not None), default=0.0
    )
    scale = colour_scale(threshold, largest)
    for document in documents:
        header = _header(document)
        yield f"\x1b[1m{header}{_RESET}" if colour else header
        body = "".join(
            f" … {part:,} tokens not shown … "
            if isinstance(part, int)
            else (_coloured(part, scale) if colour else _bracketed(part))
            for part in excerpt(document.pieces)
        )
        yield from body.split("\n")
        yield ""


def _header(document: RankedDocument) -> str:
    rank = "not ranked" if document.rank is None else f"#{document.rank}"
    tokens = "token" if document.selected == 1 else "tokens"
    parts = (
        rank,
        visible_text(document.id, one_line=True),
        visible_text(document.source, one_line=True),
        f"value {document.value:.3f}",
        f"{document.selected:,} selected {tokens}",
    )
    return "  ".join(part for part in parts if part)


def _coloured(piece: Piece, scale: float) -> str:
    """The piece in its colours, which never reach past the end of a line."""
    shown = _shown(piece)
    level = 0 if piece.score is None else score_level(piece.score, scale)
    codes = []
    if level:
        palette = _MORE_TOXIC if level > 0 else _LESS_TOXIC
        codes += ["38;5;16", f"48;5;{palette[abs(level) - 1]}"]
    if piece.selected:
        codes += ["1", "4"]
    if piece.marked:
        codes.append("3")
    if not codes:
        return shown
    start = f"\x1b[{';'.join(codes)}m"
    return "\n".join(f"{start}{part}{_RESET}" if part else "" for part in shown.split("\n"))


def _bracketed(piece: Piece) -> str:
    """The piece, in brackets where it is selected; spaces around a token stay outside."""
    shown = _shown(piece)
    if not piece.selected:
        return shown
    core = shown.strip()
    if not core:
        return f"[{shown}]"
    before, _, after = shown.partition(core)
    return f"{before}[{core}]{after}"


def _shown(piece: Piece) -> str:
    return visible_token(piece.text, selected=piece.selected)
