"""How well two sets of scores agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Return the rank correlation, ties at their mean rank; 0 where one of them is constant."""
    ranks = [_ranks(a), _ranks(b)]
    if min(np.ptp(r) if len(r) else 0.0 for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
