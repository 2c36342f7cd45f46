"""What scores add up to, by document or block: the part of Algorithm 1 that is read off the tokens.

Documents do not cross from one part of a corpus to another, so that what is counted in the parts
adds up to what is counted in the whole, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.arrays import read_rows, slabs, with_halo
from ifguide.errors import InputError
from ifguide.nouns import Corpus, TokenScores
from ifguide.selection.config import Unit


@dataclass(frozen=True)
class Extent:
    """How many tokens are learnt and have a loss, and how many documents and blocks there are.

    That of a corpus is the sum of its parts'.
    """

    tokens: int = 0
    with_loss: int = 0
    documents: int = 0
    blocks: int = 0

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.tokens + other.tokens,
            self.with_loss + other.with_loss,
            self.documents + other.documents,
            self.blocks + other.blocks,
        )

    def units(self, unit: Unit) -> int:
        """Return how many documents, or blocks, there are."""
        return self.documents if unit == "document" else self.blocks


def check_extent(extent: Extent) -> None:
    """Refuse a corpus that has nothing to select.

    Raises:
        InputError: no token has a loss.
    """
    if not extent.with_loss:
        raise InputError("scores: no token of the corpus has a loss; give it blocks with text")


def measure(scores: TokenScores) -> Extent:
    """Count what there is.

    Raises:
        InputError: the scores have another shape than the corpus, or one is not finite.
    """
    values, corpus = scores.values, scores.corpus
    if values.shape != corpus.tokens.shape:
        raise InputError(
            f"scores: they have shape {values.shape}, the corpus {corpus.tokens.shape}; score "
            "this corpus"
        )
    tokens, with_loss, documents = 0, 0, 0
    for rows in slabs(values.shape):
        unsound = np.flatnonzero(~np.isfinite(read_rows(values, rows)).all(1))
        if len(unsound):
            raise InputError(
                f"scores: block {rows.start + unsound[0]} has a score that is not finite; score "
                "the corpus again"
            )
        document = read_rows(corpus.document, rows)
        tokens += int(np.count_nonzero(corpus.learnt_in(rows)))
        with_loss += int(np.count_nonzero(corpus.has_loss_in(rows)))
        documents = max(documents, int(document.max()) + 1)
    return Extent(tokens, with_loss, documents, values.shape[0])


def with_loss(scores: TokenScores) -> Iterator[np.ndarray]:
    """Yield the scores of the tokens that have a loss, in parts."""
    for rows in slabs(scores.values.shape):
        counted = scores.corpus.has_loss_in(rows)
        yield read_rows(scores.values, rows)[counted]


@dataclass(frozen=True, eq=False)
class Tally:
    """Of each of U units: its tokens above the threshold, their sum, and those in their windows."""

    hits: Int[np.ndarray, " U"]
    total: Float[np.ndarray, " U"]
    candidates: Int[np.ndarray, " U"]

    @classmethod
    def joined(cls, parts: Sequence[Tally]) -> Tally:
        """Return the tally of all units of the parts, in their order."""
        columns = zip(*((part.hits, part.total, part.candidates) for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))


def tally(
    scores: TokenScores, threshold: float, window: int, unit: Unit, extent: Extent
) -> tuple[Tally, Bool[np.ndarray, "N T"]]:
    """Count by unit, and return which tokens lie in a window.

    A sum is added up in float64 in the order of the corpus, whatever the slabs.

    Args:
        scores: finite.
        threshold: above which a score is a hit.
        window: how many neighbours in its unit a hit brings along, to each side.
        unit: what is counted by.
        extent: of the scores.
    """
    corpus, shape, units = scores.corpus, scores.values.shape, extent.units(unit)
    hits, candidates = np.zeros(units, dtype=np.int64), np.zeros(units, dtype=np.int64)
    total, in_window = np.zeros(units), np.zeros(shape, dtype=bool)
    for rows in slabs(shape):
        wide, within = with_halo(rows, shape, window)
        values, counted = read_rows(scores.values, wide), corpus.has_loss_in(wide)
        unit_of = units_of(corpus, wide, unit)
        hit = counted & (values > threshold)
        near = _dilate(hit.ravel(), unit_of.ravel(), window).reshape(hit.shape) & counted
        hit, near, values, unit_of = hit[within], near[within], values[within], unit_of[within]
        np.add.at(hits, unit_of[hit], 1)
        np.add.at(total, unit_of[hit], values[hit].astype(np.float64))
        np.add.at(candidates, unit_of[near], 1)
        in_window[rows] = near
    return Tally(hits, total, candidates), in_window


def units_of(corpus: Corpus, rows: slice, unit: Unit) -> Int[np.ndarray, "n T"]:
    """Return the number of each token's document, or block."""
    if unit == "document":
        return read_rows(corpus.document, rows)
    numbers = np.arange(rows.start, rows.stop)[:, None]
    return np.broadcast_to(numbers, (len(numbers), corpus.tokens.shape[1]))


def _dilate(
    hit: Bool[np.ndarray, " n"], unit: Int[np.ndarray, " n"], window: int
) -> Bool[np.ndarray, " n"]:
    """Return which tokens are at most ``window`` from a hit of their own unit."""
    near = hit.copy()
    for distance in range(1, min(window, len(hit) - 1) + 1):
        same = unit[distance:] == unit[:-distance]
        near[distance:] |= same & hit[:-distance]
        near[:-distance] |= same & hit[distance:]
    return near
