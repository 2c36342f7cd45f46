from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.errors import InputError
from ifguide.nouns import Corpus, Document, Selection, TokenScores
from ifguide.report import ranked
from ifguide.report.ranked import Piece, excerpt, ranked_documents

Run = tuple[Corpus, TokenScores, Selection]


def _by_hand(run: Run, number: int) -> list[tuple[str, float | None, int | None]]:
    """(text, score, rank) of a document's tokens, one at a time."""
    corpus, scores, _ = run
    every = scores.values[corpus.has_loss]
    text = corpus.documents[number].text
    found: list[tuple[str, float | None, int | None]] = []
    for row, column in zip(*np.nonzero(corpus.document == number), strict=True):
        token = text[corpus.start[row, column] : corpus.end[row, column]]
        score = scores.values[row, column]
        has_loss = bool(corpus.has_loss[row, column])
        rank = 1 + int((every > score).sum())
        if token or has_loss:
            found.append((token, float(score), rank) if has_loss else (token, None, None))
    return found


def test_scores_and_ranks_equal_those_found_by_hand(run: Run) -> None:
    corpus, scores, selection = run
    documents = ranked_documents(corpus, scores, selection, top=8)
    assert [document.rank for document in documents] == list(range(1, 9))
    for document, number in zip(documents, selection.ranking, strict=False):
        assert document.id == corpus.documents[int(number)].id
        own = [(piece.text, piece.score, piece.rank) for piece in document.pieces]
        assert own == _by_hand(run, int(number))
        assert document.selected == selection.suppress[corpus.document == number].sum()
        assert sum(piece.selected for piece in document.pieces) == document.selected


def test_slabs_change_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ranked_documents(*run, top=10_000)
    monkeypatch.setattr(ranked, "_SLAB_TOKENS", 50)
    assert ranked_documents(*run, top=10_000) == whole


def test_equal_scores_share_the_better_rank(run: Run) -> None:
    corpus, _, selection = run
    same = TokenScores(np.where(corpus.has_loss, 1.0, 0.0).astype(np.float32), corpus)
    (document,) = ranked_documents(corpus, same, selection, top=1)
    assert {piece.rank for piece in document.pieces} <= {1, None}


def test_documents_are_found_by_id_ranked_or_not(run: Run) -> None:
    corpus, scores, selection = run
    number = next(n for n in range(len(corpus.documents)) if n not in set(selection.ranking))
    wanted = [corpus.documents[number].id, "<b>evil</b>"]
    absent, evil = ranked_documents(corpus, scores, selection, top=0, ids=wanted)
    assert (absent.id, absent.rank, absent.value, absent.selected) == (wanted[0], None, 0.0, 0)
    assert evil.rank == selection.ranking.tolist().index(3) + 1
    assert any(piece.marked for piece in evil.pieces)


def test_an_unknown_id_is_named(run: Run) -> None:
    with pytest.raises(InputError, match="'nobody'"):
        ranked_documents(*run, top=1, ids=["post-1", "nobody"])


def test_scores_of_another_corpus_are_refused(run: Run) -> None:
    corpus, scores, selection = run
    other = dataclasses.replace(corpus, fingerprint="another")
    with pytest.raises(InputError, match="selection: made from another corpus"):
        ranked_documents(corpus, scores, dataclasses.replace(selection, corpus=other), top=1)


def test_an_empty_ranking_gives_no_documents(run: Run) -> None:
    corpus, scores, selection = run
    empty = dataclasses.replace(selection, ranking=np.zeros(0, int), rank_value=np.zeros(0))
    assert ranked_documents(corpus, scores, empty, top=5) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pieces_are_the_text_whatever_the_token_spans(make_run: Callable, data: Any) -> None:
    """Gaps, zero-width tokens and tokens that share characters included."""
    texts = data.draw(st.lists(st.text(max_size=12), min_size=1, max_size=3))
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    corpus, scores, selection = make_run(documents)
    start, end = corpus.start.copy(), corpus.end.copy()
    for number, text in enumerate(texts):
        own = corpus.document == number
        place = st.integers(0, len(text))
        spans = sorted(
            tuple(sorted(data.draw(st.tuples(place, place)))) for _ in range(int(own.sum()))
        )
        start[own], end[own] = np.array(spans).T
    corpus = dataclasses.replace(corpus, start=start, end=end)
    found = ranked_documents(corpus, scores, selection, top=0, ids=[d.id for d in documents])
    assert ["".join(piece.text for piece in document.pieces) for document in found] == texts
    best = max((p.score for d in found for p in d.pieces if p.score is not None), default=None)
    assert best == max(scores.values[corpus.has_loss].tolist(), default=None)


def test_tokens_that_share_a_character_become_one_piece(make_run: Callable) -> None:
    corpus, _, selection = make_run([Document("emoji", "a 🙂 b", ((2, 3),))])
    # "a", then three byte tokens of one character with the space in the first, then " b", the end.
    start, end = np.array([[0, 1, 2, 2, 3, 5]]), np.array([[1, 3, 3, 3, 5, 5]])
    corpus = dataclasses.replace(
        corpus,
        tokens=np.zeros_like(start),
        document=np.zeros_like(start),
        start=start,
        end=end,
        marked=np.array([[False, True, True, True, False, False]]),
    )
    scores = TokenScores(np.array([[0.0, 1.0, 3.0, 2.0, -1.0, 0.5]]), corpus)
    suppress = np.array([[False, False, False, True, False, False]])
    selection = dataclasses.replace(
        selection, suppress=suppress, ranking=np.array([0]), rank_value=np.array([1.0])
    )
    (document,) = ranked_documents(corpus, scores, selection, top=1)
    assert document.pieces == (
        Piece("a", None, None, selected=False, marked=False),
        Piece(" 🙂", 3.0, 1, selected=True, marked=True),
        Piece(" b", -1.0, 5, selected=False, marked=False),
        Piece("", 0.5, 4, selected=False, marked=False),
    )


def test_an_excerpt_keeps_the_highest_scores_and_counts_the_rest() -> None:
    pieces = [Piece(str(n), -1.0, n, selected=False, marked=False) for n in range(5000)]
    pieces[3210] = dataclasses.replace(pieces[3210], score=9.0)
    parts = list(excerpt(pieces))
    assert pieces[3210] in parts
    assert sum(part if isinstance(part, int) else 1 for part in parts) == 5000
    assert sum(not isinstance(part, int) for part in parts) < 700
    assert list(excerpt(pieces[:500])) == pieces[:500]
