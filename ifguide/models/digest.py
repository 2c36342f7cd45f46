"""What a model's weights are known by, wherever they came from."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def digest_of(model: nn.Module) -> str:
    """Return a sha256 of a model's weights: their names, types, shapes and bytes.

    It is the same on every device, and another one if a single bit of a weight is.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        held = weight.detach().cpu().contiguous()
        digest.update(f"{name} {held.dtype} {list(held.shape)}\n".encode())
        digest.update(held.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
