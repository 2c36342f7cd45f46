"""What tells the two sides of the queries apart: one side's weights less the other's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ifguide.errors import InputError
from ifguide.nouns import Contrast, QuerySet

ROUNDING = 1e-9  # of a query's weights on both sides, below which their difference is none

Weights = Float[np.ndarray, " length"]


def difference_of(contrast: Contrast) -> QuerySet:
    """Return each query of both sides once, with its toxic weights less its safe ones.

    The gradient of its query loss is ``g_tox - g_safe``. A query whose weights are the same on both
    sides, up to rounding, is left out.
    """
    signed: dict[bytes, tuple[Int[np.ndarray, " length"], Weights, Weights]] = {}
    for side, sign in ((contrast.toxic, 1.0), (contrast.safe, -1.0)):
        for tokens, given in zip(side.tokens, side.weights, strict=True):
            weights = np.asarray(given, dtype=np.float64)
            key = np.asarray(tokens, dtype=np.int64).tobytes()
            none = np.zeros_like(weights)
            _, before, size = signed.get(key, (tokens, none, none))
            signed[key] = tokens, before + sign * weights, size + np.abs(weights)
    apart = [
        (tokens, weights)
        for tokens, weights, size in signed.values()
        if (np.abs(weights) > ROUNDING * size).any()
    ]
    return QuerySet([tokens for tokens, _ in apart], [weights for _, weights in apart])


def check_sides_differ(contrast: Contrast) -> None:
    """Refuse two sides with the same tokens and weights: they set nothing against anything.

    Raises:
        InputError: they are alike.
    """
    if not difference_of(contrast).tokens:
        raise InputError(
            "queries: the toxic and the safe side have the same tokens with the same weights, so "
            "that no token is more toxic than another; give two sides that differ within "
            "queries.max_length and the model's positions"
        )
