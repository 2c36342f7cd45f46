"""The verb ``smooth``: token scores drawn toward what is around them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from ifguide.arrays import LazyArray, read_rows, slabs, with_halo
from ifguide.corpus.words import Spelling, number_words, word_keys
from ifguide.errors import InputError
from ifguide.nouns import Corpus, TokenScores
from ifguide.selection.config import SmoothingConfig

Types = Callable[[slice], Int[np.ndarray, "n T"]]  # the type of each token of some rows


def smooth(
    scores: TokenScores, config: SmoothingConfig | None = None, spelt: Spelling | None = None
) -> TokenScores:
    """Draw each token's score toward its neighbours' and its type's.

    One token's score is a noisy reading of whether it teaches the behaviour. Marked phrases run
    over several tokens and a word keeps much of its meaning, so means over both are steadier:
    ``(1 - type_share) x mean over the neighbours + type_share x mean over the tokens of its type``.
    A token at distance d weighs ``1 - d / (neighbours + 1)`` in the first. Tokens without a loss
    count nowhere and keep 0.

    Args:
        scores: what to smooth.
        config: how far, and over tokens or words.
        spelt: how the vocabulary is spelt; needed for words.

    Returns:
        scores over the same corpus in float32; the same object where nothing is to be smoothed.
        Scores in memory give scores in memory; those that are read as they are asked for are
        smoothed as they are asked for.

    Raises:
        InputError: words are asked for without ``spelt``.
    """
    config = config or SmoothingConfig()
    if config == SmoothingConfig():
        return scores
    if config.unit == "word" and spelt is None:
        raise InputError("smoothing.unit: words need the vocabulary; pass smooth its spelling")
    smoother = _smoother(scores, config, spelt if config.unit == "word" else None)
    lazy = LazyArray(scores.values.shape, np.dtype(np.float32), smoother)
    values = np.asarray(lazy) if isinstance(scores.values, np.ndarray) else lazy
    return TokenScores(values, scores.corpus, {**scores.metadata, "smoothing": vars(config)})


def _smoother(
    scores: TokenScores, config: SmoothingConfig, spelt: Spelling | None
) -> Callable[[slice], Float[np.ndarray, "n T"]]:
    """Return what smooths the rows it is asked for; by words where ``spelt`` is given."""
    corpus, share = scores.corpus, config.type_share
    if share:
        types, count = _types(corpus, spelt)
        mean_of_type = _mean_of_type(scores, types, count)

    def smoothed(rows: slice) -> Float[np.ndarray, "n T"]:
        wide, within = with_halo(rows, corpus.tokens.shape, config.neighbours)
        raw, counted, document = _read(scores, wide)
        if spelt is not None:
            number = number_words(spelt, read_rows(corpus.tokens, wide), document)
            raw = _over_words(raw, counted, number)
        values = _over_neighbours(raw.ravel(), counted.ravel(), document.ravel(), config.neighbours)
        values = values.reshape(raw.shape)[within]
        if share:
            values = (1 - share) * values + share * mean_of_type[types(rows)]
        return np.where(counted[within], values, 0.0).astype(np.float32)

    return smoothed


def _types(corpus: Corpus, spelt: Spelling | None) -> tuple[Types, int]:
    """Return what tells the types of the rows it is asked for, and the number of types."""
    tokens, shape = corpus.tokens, corpus.tokens.shape
    if spelt is None:
        vocabulary = 1 + max(int(read_rows(tokens, rows).max()) for rows in slabs(shape))
        return lambda rows: read_rows(tokens, rows), vocabulary

    def keys(rows: slice) -> UInt64[np.ndarray, "n T"]:
        ids = read_rows(tokens, rows)
        number = number_words(spelt, ids, read_rows(corpus.document, rows))
        return word_keys(spelt, ids, number)[number]

    known = np.zeros(0, dtype=np.uint64)
    for rows in slabs(shape):
        known = np.union1d(known, keys(rows))
    return lambda rows: np.searchsorted(known, keys(rows)), len(known)


def _read(
    scores: TokenScores, rows: slice
) -> tuple[Float[np.ndarray, "n T"], Bool[np.ndarray, "n T"], Int[np.ndarray, "n T"]]:
    """Return rows of the scores in float64, which have a loss, and their documents."""
    document = read_rows(scores.corpus.document, rows)
    counted = scores.corpus.has_loss_in(rows)
    return read_rows(scores.values, rows).astype(np.float64), counted, document


def _over_neighbours(
    values: Float[np.ndarray, " n"],
    counted: Bool[np.ndarray, " n"],
    document: Int[np.ndarray, " n"],
    neighbours: int,
) -> Float[np.ndarray, " n"]:
    """Weighted mean over the tokens with a loss within ``neighbours`` in the same document."""
    total, count = np.where(counted, values, 0.0), counted.astype(np.float64)
    for distance in range(1, min(neighbours, len(values) - 1) + 1):
        near = (document[distance:] == document[:-distance]) * (1 - distance / (neighbours + 1))
        after, before = slice(distance, None), slice(None, -distance)
        for here, there in ((after, before), (before, after)):
            weight = near * counted[there]
            total[here] += weight * values[there]
            count[here] += weight
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _over_words(
    values: Float[np.ndarray, "n T"],
    counted: Bool[np.ndarray, "n T"],
    number: Int[np.ndarray, "n T"],
) -> Float[np.ndarray, "n T"]:
    """Mean over each word's tokens with a loss, at each of its tokens; 0 where it has none."""
    word = number.ravel()
    total = np.bincount(word, weights=np.where(counted, values, 0.0).ravel())
    count = np.bincount(word, weights=counted.ravel())
    return (total / np.maximum(count, 1))[number]


def _mean_of_type(scores: TokenScores, types: Types, count: int) -> Float[np.ndarray, " K"]:
    """Mean over all tokens with a loss of each of ``count`` types; 0 for one that has none."""
    total, seen = np.zeros(count), np.zeros(count)
    for rows in slabs(scores.values.shape):
        raw, counted, _ = _read(scores, rows)
        kind = types(rows)[counted]
        np.add.at(total, kind, raw[counted])  # in the order of the corpus, whatever the slabs
        np.add.at(seen, kind, 1.0)
    return total / np.maximum(seen, 1)
