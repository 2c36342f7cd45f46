"""[N, T] arrays whose rows are read or made when they are asked for, and the walk over such rows.

What lies on disk is walked in slabs of whole blocks, so that memory does not grow with the corpus.
An array in memory is walked in the same way.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Int, Shaped

SLAB_TOKENS = 1 << 18  # in memory at once, about what a core caches; no result depends on it


@final
@dataclass(frozen=True, eq=False)
class LazyArray:
    """An [N, T] array that is read by slices of rows, by (row, column) pairs, or as a whole.

    ``values[2:5]`` is three rows; ``values[row, column]`` the entries at these places; and
    ``numpy.asarray(values)`` all of it, in memory.

    Args:
        shape: (N, T).
        dtype: of the entries.
        read: returns the rows of a slice with 0 <= start < stop <= N and no step.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    read: Callable[[slice], np.ndarray]

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(
        self, index: slice | tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]
    ) -> np.ndarray:
        if not isinstance(index, slice):
            return self._at(*index)
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise IndexError("rows of a lazy array are read without a step")
        if start >= stop:
            return np.empty((0, self.shape[1]), self.dtype)
        return self.read(slice(start, stop))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Shaped[np.ndarray, "N T"]:
        if copy is False:
            raise ValueError("a lazy array is not in memory; reading it makes a copy")
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for rows in slabs(self.shape):
            whole[rows] = self.read(rows)
        return whole

    def _at(
        self, row: Int[np.ndarray, " k"], column: Int[np.ndarray, " k"]
    ) -> Shaped[np.ndarray, " k"]:
        found = np.empty(row.shape, self.dtype)
        for rows in slabs(self.shape):
            here = np.flatnonzero((row >= rows.start) & (row < rows.stop))
            if len(here):
                first, last = int(row[here].min()), int(row[here].max())
                found[here] = self.read(slice(first, last + 1))[row[here] - first, column[here]]
        return found


AnyArray: TypeAlias = np.ndarray | LazyArray


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of whole blocks, in order, each of about ``SLAB_TOKENS`` tokens."""
    blocks, length = shape
    step = max(1, SLAB_TOKENS // max(1, length))
    for first in range(0, blocks, step):
        yield slice(first, min(first + step, blocks))


def with_halo(rows: slice, shape: tuple[int, ...], tokens: int) -> tuple[slice, slice]:
    """Widen a slab by the blocks that hold this many tokens before and after it.

    Returns:
        the wider slice, and the place of ``rows`` within it.
    """
    blocks, length = shape
    beside = -(-tokens // length)
    wide = slice(max(0, rows.start - beside), min(blocks, rows.stop + beside))
    return wide, slice(rows.start - wide.start, rows.stop - wide.start)


def read_rows(array: AnyArray, rows: slice) -> Shaped[np.ndarray, "n T"]:
    """Return rows in memory; those of a read-only memory map as a copy.

    A process counts as its own memory all that it has ever looked at of a map; the copy lets go
    of that.
    """
    part = np.asarray(array[rows])
    mapped = _read_only_map(array)
    if mapped is None:
        return part
    part = part.copy()
    mapped.madvise(mmap.MADV_DONTNEED)
    return part


def _read_only_map(array: Any) -> mmap.mmap | None:
    """Return the memory map under an array; only what cannot be written is sure to be on disk."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(array, "madvise") and memoryview(array).readonly:
        return array
    return None
