"""Batches cut to what a processor's caches hold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

CPU_TOKENS = 2048


def in_chunks(
    score: Callable[..., Float[Tensor, "n T"]], *batch_BT: Tensor
) -> Float[Tensor, "B T"]:
    """Apply ``score`` to a batch of blocks, on a CPU a few blocks at a time."""
    if batch_BT[0].device.type != "cpu":
        return score(*batch_BT)
    size = max(1, CPU_TOKENS // batch_BT[0].shape[1])
    parts = zip(*(tensor.split(size) for tensor in batch_BT), strict=True)
    return torch.cat([score(*part) for part in parts])
