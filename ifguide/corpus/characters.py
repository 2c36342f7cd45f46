"""The characters of all documents of a corpus on one axis, and where each document's tokens lie.

Document d's character k is at ``offset[d] + k``. Corpora of the same documents share the axis,
whatever their tokenizers and block lengths are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from ifguide.arrays import read_rows, slabs
from ifguide.errors import InputError
from ifguide.nouns import Corpus, Document

Spans: TypeAlias = Int[np.ndarray, "_ 2"]  # [start, end) on the axis


def shared_axis(
    one: Sequence[Document], other: Sequence[Document], whose: str
) -> Int[np.ndarray, " D"]:
    """Return the offset of each document, of two corpora that hold the same texts.

    Args:
        one, other: the documents, read once as streams.
        whose: what messages call the other corpus.

    Raises:
        InputError: another number of documents, or a text that differs.
    """
    if len(one) != len(other):
        raise InputError(
            f"{whose}: it has {len(other):,} documents and this corpus {len(one):,}; give the same "
            "documents in the same order"
        )
    lengths = np.zeros(len(one) + 1, dtype=np.int64)
    for number, (here, there) in enumerate(zip(one, other, strict=True)):
        if here.text != there.text:
            raise InputError(
                f"{whose}: its document {number} ('{there.id}') has another text than this "
                f"corpus's ('{here.id}'); give the same documents in the same order"
            )
        lengths[number + 1] = len(here.text)
    return np.cumsum(lengths)[:-1]


@dataclass(frozen=True, eq=False)
class Placed:
    """Some tokens of a corpus, of documents all: n of them, in the order of the corpus.

    ``at`` counts all tokens of the corpus, those of no document too; ``start`` and ``end`` are on
    the axis of characters.
    """

    at: Int[np.ndarray, " n"]
    document: Int[np.ndarray, " n"]
    start: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]
    has_loss: Bool[np.ndarray, " n"]

    @property
    def spans(self) -> Spans:
        """The characters of each."""
        return np.stack([self.start, self.end], axis=1)

    def __getitem__(self, which: Bool[np.ndarray, " n"]) -> Placed:
        columns = (self.at, self.document, self.start, self.end, self.has_loss)
        return Placed(*(column[which] for column in columns))


def placed(corpus: Corpus, rows: slice, offset: Int[np.ndarray, " D"]) -> Placed:
    """Return the tokens of documents in some blocks."""
    of = read_rows(corpus.document, rows)
    counted, inside = corpus.has_loss_in(rows), np.flatnonzero(of.ravel() >= 0)
    document = of.ravel()[inside].astype(np.int64)
    start = read_rows(corpus.start, rows).ravel()[inside] + offset[document]
    end = read_rows(corpus.end, rows).ravel()[inside] + offset[document]
    at = inside + rows.start * of.shape[1]
    return Placed(at, document, start, end, counted.ravel()[inside])


def walk(corpus: Corpus, offset: Int[np.ndarray, " D"]) -> Iterator[tuple[slice, Placed]]:
    """Yield all tokens of documents, a slab of blocks at a time."""
    for rows in slabs(corpus.tokens.shape):
        yield rows, placed(corpus, rows, offset)


def first_and_count(
    corpus: Corpus, offset: Int[np.ndarray, " D"]
) -> tuple[Int[np.ndarray, " D"], Int[np.ndarray, " D"]]:
    """Return where each document's tokens begin, counted over all tokens, and how many it has."""
    first = np.zeros(len(offset), dtype=np.int64)
    count = np.zeros(len(offset), dtype=np.int64)
    for _, tokens in walk(corpus, offset):
        documents, where, found = np.unique(tokens.document, return_index=True, return_counts=True)
        new = count[documents] == 0
        first[documents[new]] = tokens.at[where[new]]
        count[documents] += found
    return first, count


@dataclass(frozen=True, eq=False)
class Characters:
    """A set of characters: disjoint spans in order, none empty."""

    spans: Spans

    @classmethod
    def of(cls, spans: Spans) -> Characters:
        """Return the characters of spans in any order, which may overlap or be empty."""
        held = spans[spans[:, 1] > spans[:, 0]]
        held = held[np.argsort(held[:, 0], kind="stable")]
        reached = np.maximum.accumulate(held[:, 1])
        begins = np.ones(len(held), dtype=bool)
        begins[1:] = held[1:, 0] > reached[:-1]
        ends = np.append(begins[1:], np.ones(min(len(held), 1), dtype=bool))
        return cls(np.stack([held[begins, 0], reached[ends]], axis=1))

    @property
    def size(self) -> int:
        """How many they are."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())

    def within(self, start: Int[np.ndarray, " n"], end: Int[np.ndarray, " n"]) -> np.ndarray:
        """Return how many of them each [start, end) holds, [n]."""
        found: np.ndarray = self._before(end) - self._before(start)
        return found

    def _before(self, place: Int[np.ndarray, " n"]) -> np.ndarray:
        if not len(self.spans):
            return np.zeros(len(place), dtype=np.int64)
        start, end = self.spans.T
        total = np.append(0, np.cumsum(end - start))
        reached = np.searchsorted(start, place, side="right")
        last = np.maximum(reached - 1, 0)
        into = np.minimum(place, end[last]) - start[last]
        found: np.ndarray = np.where(reached > 0, total[last] + into, 0)
        return found


def common(inside: Sequence[Characters], outside: Sequence[Characters]) -> int:
    """Return how many characters are in all of some sets and in none of others.

    >>> a, b = (Characters.of(np.array([span])) for span in ((0, 5), (3, 9)))
    >>> common([a, b], []), common([a], [b]), common([b], [a])
    (2, 3, 4)
    """
    every = [*inside, *outside]
    points = np.unique(np.concatenate([characters.spans.ravel() for characters in every]))
    counted = np.ones(max(len(points) - 1, 0), dtype=bool)
    for number, characters in enumerate(every):
        change = np.zeros(len(points) + 1, dtype=np.int64)
        np.add.at(change, np.searchsorted(points, characters.spans[:, 0]), 1)
        np.add.at(change, np.searchsorted(points, characters.spans[:, 1]), -1)
        held = np.cumsum(change)[: len(counted)] > 0
        counted &= held if number < len(inside) else ~held
    return int(np.diff(points)[counted].sum())
