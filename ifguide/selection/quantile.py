"""Exact order statistics of more values than fit in memory.

The bits of a finite IEEE number, with the sign bit set for a positive one and all of them turned
over for a negative one, are an unsigned integer of the same order. Its digits of 16 bits are found
from the highest down: each pass counts the next digit of the values that share all digits so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, UInt

DIGIT_BITS = 16

Parts = Callable[[], Iterable[Float[np.ndarray, " _"]]]


def quantile(parts: Parts, dtype: np.dtype, count: int, q: float) -> float:
    """Return ``numpy.quantile(values, q)`` (linear interpolation), bit for bit.

    Args:
        parts: yields the finite values in parts. It is called once a pass: twice for float32, four
            times for float64.
        dtype: of the values: float16, float32 or float64.
        count: number of values, at least 1.
        q: in [0, 1].
    """
    place = (count - 1) * q
    below = int(place)
    neighbours = order_statistics(parts, dtype, [below, min(below + 1, count - 1)])
    return float(np.quantile(neighbours, place - below))


def order_statistics(
    parts: Parts, dtype: np.dtype, ranks: Sequence[int]
) -> Float[np.ndarray, " R"]:
    """Return the values at these places, counted from 0, of all values in ascending order."""
    unknown = 8 * dtype.itemsize
    prefixes, left = [0] * len(ranks), list(ranks)
    while unknown:
        counts = _count_digits(parts(), set(prefixes), unknown)
        unknown -= DIGIT_BITS
        for i, prefix in enumerate(prefixes):
            reached = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(reached, left[i], side="right"))
            left[i] -= int(reached[digit - 1]) if digit else 0
            prefixes[i] = prefix << DIGIT_BITS | digit
    return _values(prefixes, dtype)


def _count_digits(
    parts: Iterable[Float[np.ndarray, " _"]], prefixes: set[int], unknown: int
) -> dict[int, np.ndarray]:
    """Count, for each prefix, the next digit of the keys that begin with it."""
    counts = {prefix: np.zeros(1 << DIGIT_BITS, dtype=np.int64) for prefix in prefixes}
    for part in parts:
        keys = _keys(part)
        for prefix, count in counts.items():
            inside = keys[keys >> unknown == prefix]  # numpy shifts by the whole width to 0
            digits = (inside >> (unknown - DIGIT_BITS)).astype(np.uint16)
            count += np.bincount(digits, minlength=len(count))
    return counts


def _keys(values: Float[np.ndarray, " n"]) -> UInt[np.ndarray, " n"]:
    """Return unsigned integers in the order of the values, -0 before +0."""
    size = values.dtype.itemsize
    bits = values.view(f"u{size}")
    negative = (values.view(f"i{size}") >> (8 * size - 1)).view(bits.dtype)  # all ones, or 0
    return bits ^ (negative | bits.dtype.type(1 << (8 * size - 1)))


def _values(keys: Sequence[int], dtype: np.dtype) -> Float[np.ndarray, " R"]:
    """Return the values of these keys."""
    top = 1 << (8 * dtype.itemsize - 1)
    bits = [key ^ top if key & top else 2 * top - 1 - key for key in keys]
    return np.array(bits, dtype=f"u{dtype.itemsize}").view(dtype)
