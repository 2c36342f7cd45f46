"""What a mask format is, and what it is given: a mask over blocks, by token and by character.

A third party's is a ``MaskFormat`` named by an entry point of the group ``ifguide.masks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from transformers import PreTrainedTokenizerBase

from ifguide.arrays import read_rows, slabs
from ifguide.corpus.tokenizers import vocabulary_of
from ifguide.nouns import Corpus, Document, Selection, TokenScores

Span = tuple[int, int, float]  # [start, end) characters, and their score


@dataclass(frozen=True, eq=False)
class Blocks:
    """n blocks of T tokens; ``learnt`` says which tokens have a loss and are not selected."""

    tokens: Int[np.ndarray, "n T"]
    document: Int[np.ndarray, "n T"]
    learnt: Bool[np.ndarray, "n T"]


@dataclass(frozen=True, eq=False)
class SelectedText:
    """A document, and the spans of characters that its selected tokens stand for, in order.

    A span's score is the mean over its tokens. ``has_end`` says whether its end-of-text is
    selected too, which has no characters.
    """

    document: Document
    spans: tuple[Span, ...]
    has_end: bool


@dataclass(frozen=True, eq=False)
class MaskedCorpus:
    """What is written: a selection, the scores that it was made by, and the corpus's tokenizer."""

    selection: Selection
    scores: TokenScores
    tokenizer: PreTrainedTokenizerBase

    @property
    def corpus(self) -> Corpus:
        """What the mask is of."""
        return self.selection.corpus

    @property
    def vocabulary(self) -> int:
        """The largest id + 1."""
        return vocabulary_of(self.tokenizer)

    @property
    def token_type(self) -> np.dtype:
        """The smallest of uint16 and uint32 that holds every token, little-endian."""
        return np.dtype("<u2" if self.vocabulary <= 1 << 16 else "<u4")

    def blocks(self) -> Iterator[Blocks]:
        """Yield all blocks in order, a slab at a time."""
        for rows in slabs(self.corpus.tokens.shape):
            document = read_rows(self.corpus.document, rows)
            learnt = self.corpus.has_loss_in(rows) & ~self.selection.suppress[rows]
            yield Blocks(read_rows(self.corpus.tokens, rows), document, learnt)

    def texts(self) -> Iterator[SelectedText]:
        """Yield all documents in order, each with its selected spans."""
        documents = iter(self.corpus.documents)
        number, chosen = 0, np.zeros((0, 4))
        for first, rows in self._chosen():
            while number < first:  # whole, as what follows is of later documents
                here = chosen[:, 0] == number
                yield _selected(next(documents), chosen[here, 1:])
                chosen, number = chosen[~here], number + 1
            chosen = np.concatenate([chosen, rows])
        for document in documents:
            yield _selected(document, chosen[chosen[:, 0] == number, 1:])
            number += 1

    def _chosen(self) -> Iterator[tuple[int, Float[np.ndarray, "k 4"]]]:
        """Yield the first document of a slab, and its selected tokens.

        A row a token: document, start, end and score.
        """
        for rows in slabs(self.corpus.tokens.shape):
            document = read_rows(self.corpus.document, rows)
            of_text = document >= 0
            if not of_text.any():
                continue
            which = self.selection.suppress[rows] & of_text
            columns = (
                document,
                *(read_rows(c, rows) for c in (self.corpus.start, self.corpus.end)),
            )
            scores = read_rows(self.scores.values, rows)
            found = [column[which].astype(np.float64) for column in (*columns, scores)]
            yield int(document[of_text][0]), np.stack(found, axis=1)


@dataclass(frozen=True, eq=False)
class MaskFormat:
    """A format that a mask can be written in.

    Args:
        about: what it is, in a line.
        write: writes it to an empty folder, and returns how it is read, in Markdown. What it holds
            in memory must not grow with the corpus.
        by: ``tokens`` if it holds token ids, ``characters`` if texts.
    """

    about: str
    write: Callable[[MaskedCorpus, Path], str]
    by: str = "tokens"


def _selected(document: Document, rows: Float[np.ndarray, "k 3"]) -> SelectedText:
    """Join the selected tokens that touch; each row is a token's start, end and score."""
    held = rows[rows[:, 1] > rows[:, 0]]
    spans: list[tuple[int, int, list[float]]] = []
    for start, end, score in held[np.argsort(held[:, 0], kind="stable")].tolist():
        if spans and start <= spans[-1][1]:
            first, reached, scores = spans.pop()
            spans.append((first, max(reached, int(end)), [*scores, score]))
        else:
            spans.append((int(start), int(end), [score]))
    joined = tuple((start, end, sum(of) / len(of)) for start, end, of in spans)
    length = len(document.text)
    has_end = bool(((rows[:, 0] == length) & (rows[:, 1] == length)).any())
    return SelectedText(document, joined, has_end)
