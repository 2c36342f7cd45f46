"""Which tokens touch a marked span of characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int


def overlaps(
    start: Int[np.ndarray, " length"],
    end: Int[np.ndarray, " length"],
    spans: Sequence[tuple[int, int]],
) -> Bool[np.ndarray, " length"]:
    """Whether [start, end) shares a character with one of ``spans``; an empty one never does.

    >>> overlaps(np.array([0, 3, 5]), np.array([3, 3, 9]), [(4, 6)])
    array([False, False,  True])
    """
    merged = np.array(list(_merged(spans)), dtype=np.int64).reshape(-1, 2)
    if len(merged) == 0:
        return np.zeros(len(start), dtype=np.bool_)
    reached = np.searchsorted(merged[:, 1], start, side="right")  # first span that ends after start
    begins = np.append(merged[:, 0], np.iinfo(np.int64).max)[reached]
    touched: Bool[np.ndarray, " length"] = (begins < end) & (start < end)
    return touched


def _merged(spans: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Disjoint spans, in order, that cover the same characters."""
    current: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if current is not None and start <= current[1]:
            current = (current[0], max(current[1], end))
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current
