"""The verb ``remap``: a mask by characters onto the tokens of another tokenizer.

A token of the other tokenizer is selected if at least a ``share`` of its characters is selected,
and one of them at any rate. Memory grows with the number of documents, of blocks and of selected
tokens, and by a byte a token for the mask.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from transformers import PreTrainedTokenizerBase

from ifguide.arrays import AnyArray, LazyArray, read_rows, slabs
from ifguide.corpus.blocks import pack
from ifguide.corpus.characters import (
    Characters,
    Placed,
    Spans,
    common,
    first_and_count,
    placed,
    shared_axis,
    walk,
)
from ifguide.errors import InputError
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.ranges import Range

SHARE = 0.5
SHARES = Range(0, 1)
THEIRS = "selection"  # what messages call the corpus that the mask comes from


@dataclass(frozen=True, kw_only=True)
class CharacterCounts:
    """What became of the selected characters on the way to another tokenizer.

    Args:
        selected: characters that the first mask selects.
        lost: those of them that the second mask leaves to be learnt: every token that holds one
            of them is learnt. Characters that no token holds are not among them.
        gained: characters that tokens of the second mask hold and the first does not select.
    """

    selected: int
    lost: int
    gained: int


def remap(
    selection: Selection,
    tokenizer: PreTrainedTokenizerBase,
    *,
    share: float = SHARE,
    block_length: int | None = None,
    folder: Path | None = None,
) -> Selection:
    """Cut the documents by another tokenizer, and select the same characters.

    Args:
        selection: the mask, over a corpus that holds its documents.
        tokenizer: a fast tokenizer with an end-of-text token.
        share: of a token's characters that must be selected, in [0, 1]; 0 asks for one character.
        block_length: of the new corpus; by default the same number of tokens.
        folder: where the new corpus goes; by default a temporary one, gone when the corpus is.

    Returns:
        the mask over the new corpus; see ``remap_onto``.

    Raises:
        InputError: the share is out of range, or the documents cannot be packed.
    """
    check_share(share)
    length = block_length or int(selection.corpus.tokens.shape[1])
    place = Path(tempfile.mkdtemp(prefix="ifguide-")) if folder is None else folder
    try:
        corpus = pack(selection.corpus.documents, tokenizer, length, place)
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if folder is None:
        weakref.finalize(corpus, shutil.rmtree, place, ignore_errors=True)
    return remap_onto(selection, corpus, share)[0]


def remap_onto(
    selection: Selection, corpus: Corpus, share: float = SHARE, whose: str = THEIRS
) -> tuple[Selection, CharacterCounts]:
    """Carry a mask over to the tokens of another corpus of the same documents, by characters.

    A token is selected if it has a loss and at least ``share`` of its characters, and one at least,
    are selected. A document's end-of-text is selected if the other corpus's is; any other token of
    no characters is not. A document that both corpora cut at the same places keeps its mask token
    by token, so that the same tokenizer gives the same mask. A larger share selects a part of what
    a smaller one does, and at share 0 no selected character is lost.

    Args:
        selection: the mask that is carried over.
        corpus: the tokens that it is carried to.
        share: in [0, 1].
        whose: what messages call the selection's corpus.

    Returns:
        the mask, with the threshold and ranking that it came from, and what became of characters.

    Raises:
        InputError: the share is out of range, or the corpora hold other documents.
    """
    check_share(share)
    offset = shared_axis(corpus.documents, selection.corpus.documents, whose)
    alignment = _Alignment.of(selection.corpus, corpus, offset)
    chosen = Characters.of(_spans_of(selection, offset))
    closing = alignment.closing(selection)
    mask = np.zeros(corpus.tokens.shape, dtype=bool)
    nothing = np.zeros((0, 2), dtype=np.int64)
    flat, held, spared, learnt = mask.reshape(-1), [nothing], [nothing], [nothing]
    for _, tokens in walk(corpus, offset):
        inside = chosen.within(tokens.start, tokens.end)
        length = np.maximum(tokens.end - tokens.start, 1)
        wanted = (inside > 0) & (inside / length >= share)
        last = tokens.at == (alignment.first + alignment.count - 1)[tokens.document]
        wanted |= last & (tokens.end == tokens.start) & closing[tokens.document]
        alike = alignment.alike[tokens.document]
        wanted[alike] = alignment.theirs(selection.suppress, tokens[alike])
        wanted &= tokens.has_loss
        flat[tokens.at[wanted]] = True
        held.append(tokens[wanted].spans)
        spared.append(tokens[(inside > 0) & ~tokens.has_loss].spans)
        learnt.append(tokens[(inside > 0) & tokens.has_loss & ~wanted].spans)
    now, beside, still = (Characters.of(np.concatenate(s)) for s in (held, spared, learnt))
    counts = CharacterCounts(
        selected=chosen.size,
        lost=common([chosen, still], [now, beside]),
        gained=common([now], [chosen]),
    )
    return replace(selection, suppress=mask, budget=int(mask.sum()), corpus=corpus), counts


def spread(scores: TokenScores, corpus: Corpus, whose: str = THEIRS) -> TokenScores:
    """Carry scores over to the tokens of another corpus of the same documents, by characters.

    A token's score is the mean over the tokens with a loss that it shares characters with, each
    weighted by how many these are; 0 where there are none, and for a token without a loss. A
    document that both corpora cut at the same places keeps its scores. They are computed as they
    are asked for.

    Raises:
        InputError: the corpora hold other documents.
    """
    offset = shared_axis(corpus.documents, scores.corpus.documents, whose)
    alignment = _Alignment.of(scores.corpus, corpus, offset)
    reach = _Reach.of(scores.corpus, offset)

    def read(rows: slice) -> Float[np.ndarray, "n T"]:
        found = np.zeros((rows.stop - rows.start, corpus.tokens.shape[1]), dtype=np.float32)
        tokens = placed(corpus, rows, offset)
        tokens = tokens[tokens.has_loss]
        if not len(tokens.at):
            return found
        beside = reach.blocks(int(tokens.start.min()), int(tokens.end.max()))
        sources = placed(scores.corpus, beside, offset)
        sources = sources[sources.has_loss]
        given = read_rows(scores.values, beside).ravel()[
            sources.at - beside.start * scores.corpus.tokens.shape[1]
        ]
        values = _mean_within(sources, given.astype(np.float64), tokens)
        alike = alignment.alike[tokens.document]
        values[alike] = alignment.theirs(scores.values, tokens[alike])
        found.reshape(-1)[tokens.at - rows.start * found.shape[1]] = values
        return found

    shape = (int(corpus.tokens.shape[0]), int(corpus.tokens.shape[1]))
    return TokenScores(LazyArray(shape, np.dtype(np.float32), read), corpus, scores.metadata)


# details


def check_share(share: float, setting: str = "share") -> None:
    """Refuse a share that is out of range; ``setting`` is what gives it.

    Raises:
        InputError: it is.
    """
    if share not in SHARES:
        raise InputError(f"{setting}: {share} is not in {SHARES}; give e.g. {SHARE}")


@dataclass(frozen=True, eq=False)
class _Alignment:
    """Two corpora of D documents: the source, and the target that something is carried to.

    ``alike`` says which documents both cut at the same places; ``first`` and ``count`` are the
    target's, ``before`` and ``number`` the source's (see ``first_and_count``).
    """

    source: Corpus
    first: Int[np.ndarray, " D"]
    count: Int[np.ndarray, " D"]
    before: Int[np.ndarray, " D"]
    number: Int[np.ndarray, " D"]
    alike: Bool[np.ndarray, " D"]

    @classmethod
    def of(cls, source: Corpus, target: Corpus, offset: Int[np.ndarray, " D"]) -> _Alignment:
        """Compare the cuts of all documents."""
        first, count = first_and_count(target, offset)
        before, number = first_and_count(source, offset)
        found = cls(source, first, count, before, number, count == number)
        for _, tokens in walk(target, offset):
            same = tokens[found.alike[tokens.document]]
            start, end = (found.theirs(column, same) for column in (source.start, source.end))
            moved = offset[same.document]
            differs = (start + moved != same.start) | (end + moved != same.end)
            found.alike[same.document[differs]] = False
        return found

    def theirs(self, column: AnyArray, tokens: Placed) -> np.ndarray:
        """Return the source's entries for tokens of documents that both cut alike."""
        length = int(column.shape[1])
        if not len(tokens.at):
            return np.zeros(0, dtype=column.dtype)
        at = self.before[tokens.document] + tokens.at - self.first[tokens.document]
        rows = slice(int(at.min()) // length, int(at.max()) // length + 1)
        found: np.ndarray = read_rows(column, rows).ravel()[at - rows.start * length]
        return found

    def closing(self, selection: Selection) -> Bool[np.ndarray, " D"]:
        """Return of which documents the source selects a last token without characters."""
        length = int(self.source.tokens.shape[1])
        row, column = np.divmod(self.before + np.maximum(self.number, 1) - 1, length)
        empty = self.source.start[row, column] == self.source.end[row, column]
        found: np.ndarray = selection.suppress[row, column] & empty & (self.number > 0)
        return found


def _spans_of(selection: Selection, offset: Int[np.ndarray, " D"]) -> Spans:
    found = [np.zeros((0, 2), dtype=np.int64)]
    for _, tokens in walk(selection.corpus, offset):
        found.append(tokens[selection.suppress.reshape(-1)[tokens.at]].spans)
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class _Reach:
    """How far each of N blocks reaches on the axis of characters; neither bound ever falls."""

    low: Int[np.ndarray, " N"]
    high: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, corpus: Corpus, offset: Int[np.ndarray, " D"]) -> _Reach:
        """Measure a corpus."""
        blocks, length = corpus.tokens.shape
        low = np.full(blocks, np.iinfo(np.int64).max)
        high = np.full(blocks, -1)
        for rows in slabs((blocks, length)):
            tokens = placed(corpus, rows, offset)
            np.minimum.at(low, tokens.at // length, tokens.start)
            np.maximum.at(high, tokens.at // length, tokens.end)
        return cls(np.minimum.accumulate(low[::-1])[::-1], np.maximum.accumulate(high))

    def blocks(self, start: int, end: int) -> slice:
        """Return the blocks that may hold characters of [start, end), one at least."""
        first = int(np.searchsorted(self.high, start, side="left"))
        after = int(np.searchsorted(self.low, end, side="right"))
        first = min(first, len(self.low) - 1)
        return slice(first, max(after, first + 1))


def _mean_within(
    sources: Placed, values: Float[np.ndarray, " m"], tokens: Placed
) -> Float[np.ndarray, " n"]:
    """Return each token's mean over the source tokens it overlaps, by the characters they share."""
    points = np.unique(np.concatenate([sources.start, sources.end]))
    if len(points) < 2:
        return np.zeros(len(tokens.at))
    begin, stop = (np.searchsorted(points, place) for place in (sources.start, sources.end))
    width = np.diff(points).astype(np.float64)

    def summed(weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        change = np.zeros(len(points) + 1)
        np.add.at(change, begin, weights)
        np.add.at(change, stop, -weights)
        upto = np.append(0.0, np.cumsum(np.cumsum(change)[: len(width)] * width))
        total: np.ndarray = np.interp(tokens.end, points, upto) - np.interp(
            tokens.start, points, upto
        )
        return total

    shared = summed(np.ones(len(values)))
    touched = shared > 0.5  # a whole number of characters
    return np.divide(summed(values), shared, out=np.zeros(len(shared)), where=touched)
