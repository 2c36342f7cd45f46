"""The verb ``smooth``: token scores drawn toward what is around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.lazy import LazyArray, read_rows, slabs, with_halo
from ifguide.nouns import TokenScores, has_loss


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """How far a score is drawn toward its neighbours' and toward its token type's.

    Both off (the default) leaves paper Eq. 8's scores as they are.

    Args:
        neighbours: a score becomes the weighted mean over this many tokens to each side in its
            document, the nearer the heavier.
        type_share: this share of the result is the mean score of all tokens with the same id.
    """

    neighbours: int = 0
    type_share: float = 0.0

    def __post_init__(self) -> None:
        if self.neighbours < 0:
            raise InputError(f"smoothing.neighbours: {self.neighbours} is below 0; try 2")
        if not 0 <= self.type_share <= 1:
            raise InputError(
                f"smoothing.type_share: {self.type_share} is not between 0 and 1; try 0.5"
            )


def smooth(scores: TokenScores, config: SmoothingConfig | None = None) -> TokenScores:
    """Draw each token's score toward its neighbours' and its type's.

    One token's score is a noisy reading of whether it teaches the behaviour. Marked phrases run
    over several tokens and a token id keeps much of its meaning, so means over both are steadier:
    ``(1 - type_share) x mean over the neighbours + type_share x mean over the tokens of its id``.
    A token at distance d weighs ``1 - d / (neighbours + 1)`` in the first. Tokens without a loss
    count nowhere and keep 0.

    Returns:
        scores over the same corpus in float32; the same object where nothing is to be smoothed.
        Scores in memory give scores in memory; those that are read as they are asked for are
        smoothed as they are asked for.
    """
    config = config or SmoothingConfig()
    if config == SmoothingConfig():
        return scores
    lazy = LazyArray(scores.values.shape, np.dtype(np.float32), _smoother(scores, config))
    values = np.asarray(lazy) if isinstance(scores.values, np.ndarray) else lazy
    return TokenScores(values, scores.corpus, {**scores.metadata, "smoothing": vars(config)})


def _smoother(
    scores: TokenScores, config: SmoothingConfig
) -> Callable[[slice], Float[np.ndarray, "n T"]]:
    """Return what smooths the rows it is asked for."""
    corpus, share = scores.corpus, config.type_share
    mean_of_type = _mean_of_type(scores) if share else np.zeros(0)

    def smoothed(rows: slice) -> Float[np.ndarray, "n T"]:
        wide, within = with_halo(rows, corpus.tokens.shape, config.neighbours)
        raw, counted, document = _read(scores, wide)
        values = _over_neighbours(raw.ravel(), counted.ravel(), document.ravel(), config.neighbours)
        values = values.reshape(raw.shape)[within]
        if share:
            of_type = mean_of_type[read_rows(corpus.tokens, rows)]
            values = (1 - share) * values + share * of_type
        return np.where(counted[within], values, 0.0).astype(np.float32)

    return smoothed


def _read(
    scores: TokenScores, rows: slice
) -> tuple[Float[np.ndarray, "n T"], Bool[np.ndarray, "n T"], Int[np.ndarray, "n T"]]:
    """Return rows of the scores in float64, which have a loss, and their documents."""
    document = read_rows(scores.corpus.document, rows)
    return read_rows(scores.values, rows).astype(np.float64), has_loss(document), document


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


def _mean_of_type(scores: TokenScores) -> Float[np.ndarray, " V"]:
    """Mean over all tokens with a loss that have the same id; 0 for an id that has none."""
    tokens, shape = scores.corpus.tokens, scores.values.shape
    vocabulary = 1 + max(int(read_rows(tokens, rows).max()) for rows in slabs(shape))
    total, count = np.zeros(vocabulary), np.zeros(vocabulary)
    for rows in slabs(shape):
        raw, counted, _ = _read(scores, rows)
        token = read_rows(tokens, rows)[counted]
        np.add.at(total, token, raw[counted])  # in the order of the corpus, whatever the slabs
        np.add.at(count, token, 1.0)
    return total / np.maximum(count, 1)
