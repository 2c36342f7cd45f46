"""The verb ``blend``: two scores of the same tokens as one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ifguide.arrays import LazyArray, read_rows, slabs
from ifguide.errors import InputError
from ifguide.nouns import TokenScores

ReadRows = Callable[[slice], Float[np.ndarray, "n T"]]


def blend(scores: TokenScores, other: TokenScores, share: float) -> TokenScores:
    """Return ``(1 - share) x scores + share x other``, each in units of its own deviation.

    Each is centred on its mean and divided by its standard deviation over the tokens with a loss,
    because two scores need not have a common unit. Tokens without a loss hold 0.

    Args:
        scores: their metadata are kept.
        other: scores over the same corpus; its metadata are kept as ``blended``.
        share: of ``other``, in [0, 1].

    Returns:
        float32 scores, in memory where both are; else computed as they are asked for.

    Raises:
        InputError: they are not over blocks of the same shape, or one that has a share is the same
            for every token.
    """
    if scores.values.shape != other.values.shape:
        raise InputError(
            f"blend: scores of shape {scores.values.shape} and {other.values.shape} are not over "
            "one corpus; score the same one"
        )
    first, spread = _standardised(scores)
    second, other_spread = _standardised(other)
    if share < 1 and not spread:
        raise InputError(
            "scores: every token has the same score, so that none can be told from another; give "
            "queries that differ"
        )
    if share > 0 and not other_spread:
        raise InputError(
            "lexicon.share: what is blended in is the same for every token; give queries whose "
            "words the corpus has, or set lexicon.share to 0"
        )

    def blended(rows: slice) -> Float[np.ndarray, "n T"]:
        counted = scores.corpus.has_loss_in(rows)
        mixed = (1 - share) * first(rows) + share * second(rows)
        return np.where(counted, mixed, 0.0).astype(np.float32)

    lazy = LazyArray(scores.values.shape, np.dtype(np.float32), blended)
    in_memory = all(isinstance(s.values, np.ndarray) for s in (scores, other))
    described = {**scores.metadata, "blended": {"share": share, **other.metadata}}
    return TokenScores(np.asarray(lazy) if in_memory else lazy, scores.corpus, described)


def _standardised(scores: TokenScores) -> tuple[ReadRows, float]:
    """Return what reads rows of the scores less their mean, over their standard deviation.

    And that deviation: 0 up to rounding, all scores are the same.
    """
    sums = []
    for rows in slabs(scores.values.shape):
        counted = scores.corpus.has_loss_in(rows)
        values = np.where(counted, read_rows(scores.values, rows).astype(np.float64), 0.0)
        sums.append(np.stack([counted.sum(1), values.sum(1), np.square(values).sum(1)]))
    # block by block, so that the sums do not depend on the slabs
    count, total, squares = np.concatenate(sums, axis=1).sum(1)
    mean = total / max(count, 1.0)
    variance = squares / max(count, 1.0) - mean**2
    spread = np.sqrt(variance) if variance > 1e-12 * mean**2 else 0.0
    scale = 1 / spread if spread else 0.0

    def standardised(rows: slice) -> Float[np.ndarray, "n T"]:
        return (read_rows(scores.values, rows).astype(np.float64) - mean) * scale

    return standardised, float(spread)
