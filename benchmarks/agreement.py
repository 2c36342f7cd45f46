"""How far two sets of scores of the same tokens agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

TOP = 0.01


def agreement(
    scores: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]
) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation, the share of the top 1% in common, the ratio.

    ``ratio`` is the factor r that brings ``r * reference`` closest to ``scores``, by least squares.

    >>> found = agreement(np.array([1.0, -2.0, 3.0]), np.array([2.0, -4.0, 6.0]))
    >>> {name: round(value, 12) for name, value in found.items()}
    {'pearson': 1.0, 'spearman': 1.0, 'top': 1.0, 'ratio': 0.5}
    """
    scores, reference = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    return {
        "pearson": float(np.corrcoef(scores, reference)[0, 1]),
        "spearman": float(np.corrcoef(rankdata(scores), rankdata(reference))[0, 1]),
        "top": float(np.isin(top(scores), top(reference)).mean()),
        "ratio": float(scores @ reference / (reference @ reference)),
    }


def top(scores: Float[np.ndarray, " n"]) -> np.ndarray:
    """Return the places of the highest 1% (at least one), equal scores in their order."""
    count = max(1, round(TOP * len(scores)))
    return np.argsort(-scores, kind="stable")[:count]
