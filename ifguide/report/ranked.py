"""The highest-ranked documents, cut into pieces that carry their tokens' scores.

Works on memory-mapped corpora: whole arrays are only ever walked in slabs of blocks, by numpy,
and Python touches the tokens of the documents that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.arrays import AnyArray
from ifguide.errors import InputError
from ifguide.nouns import Corpus, Document, Selection, TokenScores

_SLAB_TOKENS = 1 << 22
_SHOWN_PIECES = 500  # of one document; a longer one is cut to the surroundings of its top scores
_SURROUNDINGS = 40
_SHORTEST_GAP = 20


@dataclass(frozen=True)
class Piece:
    """A stretch of a document's text: a token, or the characters between two tokens.

    ``score`` and ``rank`` (1 = the highest score of all tokens that have a loss; equal scores
    share the better rank) are None between tokens and for a token without a loss. End-of-text is
    a piece without text.
    """

    text: str
    score: float | None
    rank: int | None
    selected: bool
    marked: bool


@dataclass(frozen=True)
class RankedDocument:
    """A document, its place in the selection's ranking (1-based) and its scored pieces.

    ``rank`` is None, and ``value`` 0, when no token of the document lies above the threshold;
    ``selected`` counts its suppressed tokens. The pieces' texts joined are the document's text.
    """

    rank: int | None
    id: str
    source: str
    value: float
    selected: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The n tokens of one document, in reading order."""

    start: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    rank: Int[np.ndarray, " n"]
    has_loss: Bool[np.ndarray, " n"]
    selected: Bool[np.ndarray, " n"]
    marked: Bool[np.ndarray, " n"]

    def at(self, where: Int[np.ndarray, " k"]) -> _Tokens:
        """The tokens at these positions."""
        return _Tokens(*(values[where] for values in vars(self).values()))


def ranked_documents(
    corpus: Corpus,
    scores: TokenScores | None,
    selection: Selection,
    top: int,
    ids: Sequence[str] = (),
) -> list[RankedDocument]:
    """The ``top`` documents of the selection's ranking, or the documents with these ``ids``.

    Without ``scores`` no piece has one. With ``ids``, documents come in the order asked for (every
    one of them where several carry the same id) and ``top`` is not used.

    Raises:
        InputError: an id that the corpus does not have, or scores or a selection of another corpus.
    """
    _require_same_corpus(corpus, scores, selection)
    ranking = np.asarray(selection.ranking)
    numbers = _numbers_of(corpus.documents, ids) if ids else ranking[: max(top, 0)].tolist()
    place = {int(number): index for index, number in enumerate(ranking)}
    tokens, bounds = _tokens_of(corpus, scores, selection, np.array(numbers, dtype=np.int64))
    ranked = []
    for number, (first, last) in zip(numbers, bounds, strict=True):
        document: Document = corpus.documents[number]
        own = tokens.at(np.arange(first, last))
        index = place.get(number)
        ranked.append(
            RankedDocument(
                rank=None if index is None else index + 1,
                id=document.id,
                source=document.source,
                value=0.0 if index is None else float(selection.rank_value[index]),
                selected=int(own.selected.sum()),
                pieces=tuple(_pieces(document.text, own)),
            )
        )
    return ranked


def token_ranks(
    scores: Float[AnyArray, "N T"],
    has_loss: Bool[np.ndarray, "N T"],
    wanted: Float[np.ndarray, " n"],
) -> Int[np.ndarray, " n"]:
    """The rank that each wanted score has among all tokens with a loss: 1 + how many are higher."""
    higher = np.zeros(wanted.shape, dtype=np.int64)
    for rows in _slabs(scores.shape):
        counted = np.sort(scores[rows][has_loss[rows]])
        higher += counted.size - np.searchsorted(counted, wanted, side="right")
    return higher + 1


def excerpt(pieces: Sequence[Piece]) -> Iterator[Piece | int]:
    """The pieces to show of a document: all of them, or of a long one what surrounds its highest
    scores, with the number of pieces left out wherever some are.
    """
    shown = np.full(len(pieces), len(pieces) <= _SHOWN_PIECES)
    scored = [index for index, piece in enumerate(pieces) if piece.score is not None]
    for index in sorted(scored, key=lambda index: -(pieces[index].score or 0.0)):
        if shown.sum() >= _SHOWN_PIECES:
            break
        shown[max(0, index - _SURROUNDINGS) : index + _SURROUNDINGS + 1] = True
    for is_shown, run in groupby(range(len(pieces)), key=lambda index: bool(shown[index])):
        places = list(run)
        if is_shown or len(places) < _SHORTEST_GAP:
            yield from (pieces[place] for place in places)
        else:
            yield len(places)


def _require_same_corpus(corpus: Corpus, scores: TokenScores | None, selection: Selection) -> None:
    others = {"selection": selection.corpus} | ({} if scores is None else {"scores": scores.corpus})
    for name, other in others.items():
        if other.fingerprint != corpus.fingerprint:
            raise InputError(
                f"{name}: made from another corpus ({other.fingerprint[:12]}, this one is "
                f"{corpus.fingerprint[:12]}); make them again from this one"
            )


def _numbers_of(documents: Sequence[Document], ids: Sequence[str]) -> list[int]:
    """The numbers of the documents with these ids, in the order of ``ids``."""
    found: dict[str, list[int]] = {wanted: [] for wanted in ids}
    for number, document in enumerate(documents):
        if document.id in found:
            found[document.id].append(number)
    for wanted, numbers in found.items():
        if not numbers:
            raise InputError(
                f"document id {wanted!r}: the corpus has no such document; use an id that "
                "`ifguide inspect` shows"
            )
    return [number for numbers in found.values() for number in numbers]


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of whole blocks, each of a bounded number of tokens."""
    blocks, length = shape
    step = max(1, _SLAB_TOKENS // max(length, 1))
    for first in range(0, blocks, step):
        yield slice(first, min(first + step, blocks))


def _tokens_of(
    corpus: Corpus,
    scores: TokenScores | None,
    selection: Selection,
    numbers: Int[np.ndarray, " k"],
) -> tuple[_Tokens, list[tuple[int, int]]]:
    """All tokens of these documents, and where each document's tokens lie among them."""
    wanted = np.zeros(len(corpus.documents) + 1, dtype=bool)  # the last stands for padding (-1)
    wanted[numbers] = True
    found = [np.zeros(0, dtype=np.int64)]
    owners = [np.zeros(0, dtype=np.int64)]
    for rows in _slabs(corpus.document.shape):
        document = np.asarray(corpus.document[rows]).reshape(-1)
        where = np.flatnonzero(wanted[document])
        found.append(where + rows.start * corpus.document.shape[1])
        owners.append(document[where].astype(np.int64))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    at = np.concatenate(found)[order]
    row, column = np.divmod(at, max(corpus.document.shape[1], 1))
    if scores is None:
        score, rank = np.zeros(at.size, np.float32), np.zeros(at.size, np.int64)
    else:
        score = scores.values[row, column]
        rank = token_ranks(scores.values, corpus.has_loss, score)
    tokens = _Tokens(
        start=corpus.start[row, column],
        end=corpus.end[row, column],
        score=score,
        rank=rank,
        has_loss=corpus.has_loss[row, column] & (scores is not None),
        selected=selection.suppress[row, column],
        marked=corpus.marked[row, column],
    )
    first = np.searchsorted(owner[order], numbers, side="left").tolist()
    last = np.searchsorted(owner[order], numbers, side="right").tolist()
    return tokens, list(zip(first, last, strict=True))


def _pieces(text: str, tokens: _Tokens) -> Iterator[Piece]:
    """The pieces that cover the text; tokens that share characters become one piece."""
    tokens = tokens.at(np.lexsort((tokens.end, tokens.start)))
    lists = {name: values.tolist() for name, values in vars(tokens).items()}
    cursor = 0
    for first, last in _groups(tokens.start, tokens.end):
        begin, stop = lists["start"][first], max(lists["end"][first:last])
        if begin > cursor:
            yield Piece(text[cursor:begin], None, None, selected=False, marked=False)
        piece = _merged(text[begin:stop], lists, range(first, last))
        if piece.text or piece.score is not None:
            yield piece
        cursor = stop
    if cursor < len(text):
        yield Piece(text[cursor:], None, None, selected=False, marked=False)


def _groups(start: Int[np.ndarray, " n"], end: Int[np.ndarray, " n"]) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of tokens, sorted by start, that share characters with one another."""
    if start.size == 0:
        return
    reach = np.maximum.accumulate(end)
    cuts = (np.flatnonzero(start[1:] >= reach[:-1]) + 1).tolist()
    yield from zip([0, *cuts], [*cuts, start.size], strict=True)


def _merged(text: str, tokens: Mapping[str, Sequence[Any]], places: range) -> Piece:
    """One piece of tokens that share characters: the highest score, and any of the flags.

    ``tokens`` are the fields of ``_Tokens`` as lists, of which ``places`` are the piece's.
    """
    counted = [place for place in places if tokens["has_loss"][place]]
    best = max(counted, key=tokens["score"].__getitem__, default=None)
    return Piece(
        text,
        score=None if best is None else tokens["score"][best],
        rank=None if best is None else tokens["rank"][best],
        selected=any(tokens["selected"][place] for place in places),
        marked=any(tokens["marked"][place] for place in places),
    )
