"""Exact order statistics of more values than fit in memory.

The bits of a finite IEEE number, with the sign bit set for a positive one and all of them turned
over for a negative one, are an unsigned integer of the same order. Its digits of 16 bits are found
from the highest down: each pass counts the next digit of the values that share all digits so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt

DIGIT_BITS = 16

Parts = Callable[[], Iterable[Float[np.ndarray, " _"]]]
Counts = Mapping[int, np.ndarray]  # of each value of the next digit, by the digits before it


@dataclass(frozen=True)
class Search:
    """How far some order statistics are known.

    Args:
        prefixes: the digits of each that are known, as a number.
        left: its place among the values that begin with these.
        unknown: how many of its bits are not known yet; none when the search is over.
    """

    prefixes: tuple[int, ...]
    left: tuple[int, ...]
    unknown: int


def quantile(parts: Parts, dtype: np.dtype, count: int, q: float) -> float:
    """Return ``numpy.quantile(values, q)`` (linear interpolation), bit for bit.

    Args:
        parts: yields the finite values in parts. It is called once a pass: twice for float32, four
            times for float64.
        dtype: of the values: float16, float32 or float64.
        count: number of values, at least 1.
        q: in [0, 1].
    """
    found = _searched(parts, quantile_search(dtype, count, q))
    return quantile_of(found, dtype, count, q)


def quantile_search(dtype: np.dtype, count: int, q: float) -> Search:
    """Return the search for the two values that a quantile lies between."""
    below = int((count - 1) * q)
    return _search(dtype, [below, min(below + 1, count - 1)])


def quantile_of(found: Search, dtype: np.dtype, count: int, q: float) -> float:
    """Return the quantile by its search, which is over."""
    place = (count - 1) * q
    return float(np.quantile(_values(found.prefixes, dtype), place - int(place)))


def order_statistics(
    parts: Parts, dtype: np.dtype, ranks: Sequence[int]
) -> Float[np.ndarray, " R"]:
    """Return the values at these places, counted from 0, of all values in ascending order."""
    return _values(_searched(parts, _search(dtype, ranks)).prefixes, dtype)


def count_digits(
    parts: Iterable[Float[np.ndarray, " _"]], prefixes: Iterable[int], unknown: int
) -> Counts:
    """Count, for each prefix, the next digit of the values whose known digits it is.

    The counts of several machines' values add up.

    Args:
        parts: of the values.
        prefixes: digits that are known; 0 where none is.
        unknown: how many bits are not known.
    """
    counts = {prefix: np.zeros(1 << DIGIT_BITS, dtype=np.int64) for prefix in prefixes}
    for part in parts:
        keys = _keys(part)
        for prefix, count in counts.items():
            inside = keys[keys >> unknown == prefix]  # numpy shifts by the whole width to 0
            digits = (inside >> (unknown - DIGIT_BITS)).astype(np.uint16)
            count += np.bincount(digits, minlength=len(count))
    return counts


def narrowed(search: Search, counts: Counts) -> Search:
    """Return the search with one digit more of each known, by ``count_digits`` of all values."""
    prefixes, left = [], []
    for prefix, place in zip(search.prefixes, search.left, strict=True):
        reached = np.cumsum(counts[prefix])
        digit = int(np.searchsorted(reached, place, side="right"))
        left.append(place - (int(reached[digit - 1]) if digit else 0))
        prefixes.append(prefix << DIGIT_BITS | digit)
    return Search(tuple(prefixes), tuple(left), search.unknown - DIGIT_BITS)


def _search(dtype: np.dtype, ranks: Sequence[int]) -> Search:
    return Search((0,) * len(ranks), tuple(ranks), 8 * dtype.itemsize)


def _searched(parts: Parts, search: Search) -> Search:
    while search.unknown:
        counts = count_digits(parts(), set(search.prefixes), search.unknown)
        search = narrowed(search, counts)
    return search


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
