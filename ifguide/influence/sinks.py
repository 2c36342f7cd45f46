"""Where scores go as they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from ifguide.arrays import AnyArray
from ifguide.distributed import ranks


@runtime_checkable
class ShardSink(Protocol):
    """Where scores go as they are made; a store's sink keeps them across an interruption."""

    def missing(self) -> Iterable[slice]:
        """Yield the slices of blocks that are still to be scored by this rank."""
        ...

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Keep the scores of one slice of blocks."""
        ...

    def collect(self) -> Float[AnyArray, "N T"]:
        """Return all scores, once no rank misses any."""
        ...


class MemorySink:
    """Scores in memory, nothing kept; of several ranks each scores its share and returns all."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values = np.zeros(shape, dtype=np.float64)

    def missing(self) -> Iterable[slice]:
        """Yield one slice: this rank's share of the blocks."""
        blocks, rank, size = len(self.values), ranks.rank(), ranks.world_size()
        share = slice(blocks * rank // size, blocks * (rank + 1) // size)
        if share.stop > share.start:
            yield share

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Keep the scores of one slice of blocks."""
        self.values[rows] = values

    def collect(self) -> Float[np.ndarray, "N T"]:
        """Return all scores, of all ranks."""
        ranks.sum_over_ranks(torch.from_numpy(self.values))
        return self.values
