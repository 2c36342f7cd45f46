"""Models whose weights lie in shards on several ranks (FSDP2, ``fully_shard``).

Outside its forward and backward pass a module of such a model holds DTensors, of which a rank has
its own shard; inside, it holds whole weights, gathered from all ranks. A rank therefore cannot run
a pass alone: all ranks must run the same passes, each on its own tokens (see ``in_step``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from ifguide.errors import InputError


def is_sharded(model: nn.Module) -> bool:
    """Whether ``fully_shard`` was applied to the model.

    Raises:
        InputError: its weights are distributed in another way (tensor parallelism).
    """
    if any(isinstance(module, FSDPModule) for module in model.modules()):
        return True
    for name, parameter in model.named_parameters():
        if isinstance(parameter, DTensor):
            raise InputError(
                f"model: weight '{name}' is a DTensor of a model without fully_shard; shard the "
                "model with fully_shard (FSDP2), or not at all"
            )
    return False


def reshard(model: nn.Module) -> None:
    """Let every module hold its shards again; a forward pass leaves the root's weights gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def shard_of(parameter: Tensor) -> Tensor:
    """Return this rank's part of a parameter, which shares its memory."""
    return parameter.to_local().detach() if isinstance(parameter, DTensor) else parameter


def sharded_like(parameter: Tensor, whole: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Place a tensor that every rank has whole where and as ``parameter`` lies; nothing is sent.

    It takes the parameter's type, or ``dtype``.
    """
    whole = whole.to(parameter.device, dtype or parameter.dtype)
    if not isinstance(parameter, DTensor):
        return whole
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)


def gathered(tensor: Tensor) -> Tensor:
    """Return a tensor whole; every rank must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def norm(tensors: list[Tensor]) -> float:
    """Return the Euclidean norm of all tensors together; every rank must ask for it."""
    squares = [gathered(t.detach().double().square().sum()) for t in tensors]
    return float(torch.stack([s.cpu() for s in squares]).sum()) ** 0.5
