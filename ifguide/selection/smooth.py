"""The verb ``smooth``: token scores drawn toward what is around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.nouns import TokenScores


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
        scores over the same corpus; the same object where nothing is to be smoothed.
    """
    config = config or SmoothingConfig()
    if config == SmoothingConfig():
        return scores
    corpus = scores.corpus
    has_loss = corpus.has_loss.ravel()
    raw = np.asarray(scores.values, dtype=np.float64).ravel()
    near = _over_neighbours(raw, has_loss, np.asarray(corpus.document).ravel(), config.neighbours)
    of_type = _mean_of_type(raw, has_loss, np.asarray(corpus.tokens).ravel())
    values = (1 - config.type_share) * near + config.type_share * of_type
    return TokenScores(
        np.where(has_loss, values, 0.0).astype(np.float32).reshape(corpus.tokens.shape),
        corpus,
        {**scores.metadata, "smoothing": vars(config)},
    )


def _over_neighbours(
    values: Float[np.ndarray, " n"],
    has_loss: Bool[np.ndarray, " n"],
    document: Int[np.ndarray, " n"],
    neighbours: int,
) -> Float[np.ndarray, " n"]:
    """Weighted mean over the tokens with a loss within ``neighbours`` in the same document."""
    total, count = np.where(has_loss, values, 0.0), has_loss.astype(np.float64)
    for distance in range(1, min(neighbours, len(values) - 1) + 1):
        near = (document[distance:] == document[:-distance]) * (1 - distance / (neighbours + 1))
        after, before = slice(distance, None), slice(None, -distance)
        for here, there in ((after, before), (before, after)):
            counted = near * has_loss[there]
            total[here] += counted * values[there]
            count[here] += counted
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _mean_of_type(
    values: Float[np.ndarray, " n"], has_loss: Bool[np.ndarray, " n"], token: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Mean over all tokens with a loss that have the same id."""
    count = np.bincount(token, has_loss)
    total = np.bincount(token, values * has_loss)
    return (total / np.maximum(count, 1))[token]
