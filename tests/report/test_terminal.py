from __future__ import annotations

import re
from typing import Any

from ifguide.report.ranked import Piece, RankedDocument, ranked_documents
from ifguide.report.terminal import inspect_lines

STYLE = re.compile(r"\x1b\[[\d;]*m")


def _document(*pieces: Piece, name: str = "post-1") -> RankedDocument:
    return RankedDocument(1, name, "posts", 0.5, sum(p.selected for p in pieces), pieces)


def _piece(text: str, score: float | None = 0.0, *, selected: bool = False) -> Piece:
    return Piece(text, score, None, selected=selected, marked=False)


def test_without_colour_selected_tokens_are_in_brackets() -> None:
    document = _document(
        _piece("You"),
        _piece(" idiot", 9.0, selected=True),
        _piece("\n", 9.0, selected=True),
        _piece("Bye"),
        _piece("", 0.1),
    )
    assert list(inspect_lines([document], 1.0, colour=False)) == [
        "#1  post-1  posts  value 0.500  2 selected tokens",
        "You [idiot][↵]",
        "Bye■",
        "",
    ]


def test_colours_show_sign_size_and_selection_and_end_with_the_line() -> None:
    document = _document(
        _piece("mild"), _piece(" bad\nworse", 9.0, selected=True), _piece(" good", -0.6)
    )
    header, first, second, _ = inspect_lines([document], 1.0, colour=True)
    assert STYLE.sub("", header).startswith("#1  post-1")
    assert first == "mild\x1b[38;5;16;48;5;202;1;4m bad\x1b[0m"
    assert second == "\x1b[38;5;16;48;5;202;1;4mworse\x1b[0m\x1b[38;5;16;48;5;153m good\x1b[0m"


def test_training_text_cannot_drive_the_terminal(run: Any) -> None:
    evil = ranked_documents(*run, top=0, ids=["<b>evil</b>"])
    name = _document(_piece("x\x1b]0;owned\x07\x9b2J"), name="id\x1b[2J\nnext")
    for colour in (False, True):
        text = "\n".join(inspect_lines([*evil, name], 1.0, colour))
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", STYLE.sub("", text))
        assert "id‹U+001B›[2J‹U+000A›next" in text


def test_a_document_without_a_rank_says_so() -> None:
    document = RankedDocument(None, "post", "", 0.0, 1, (_piece("hello"),))
    header = next(iter(inspect_lines([document], 1.0, colour=False)))
    assert header == "not ranked  post  value 0.000  1 selected token"
