"""Ranks and reductions; every function is a no-op on one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")


def start() -> None:
    """Join the process group that torchrun or accelerate describes in the environment, if any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(days=1))


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's rank, 0 on one process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def agree(decide: Callable[[], Item]) -> Item:
    """Let the main rank decide and tell the others."""
    decision = [decide() if is_main() else None]
    if dist.is_initialized():
        dist.broadcast_object_list(decision)
    return cast(Item, decision[0])


def mine(items: Iterable[Item]) -> Iterator[Item]:
    """Yield this rank's share of items: every ``world_size``-th, from ``rank`` on."""
    return islice(items, rank(), None, world_size())


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place, and return it."""
    if dist.is_initialized():
        on_gpu = dist.get_backend() == "nccl" and tensor.device.type == "cpu"
        moved = tensor.cuda() if on_gpu else tensor
        dist.all_reduce(moved)
        if on_gpu:
            tensor.copy_(moved)
    return tensor


def most(number: int) -> int:
    """Return the largest of the ranks' numbers."""
    if not dist.is_initialized():
        return number
    numbers = [0] * world_size()
    dist.all_gather_object(numbers, number)
    return max(numbers)
