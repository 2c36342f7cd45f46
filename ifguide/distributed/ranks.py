"""Ranks and reductions; every function is a no-op on one process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")


@contextmanager
def joined() -> Iterator[None]:
    """Be in the process group while this lasts; who was in it before stays."""
    before = _group()
    start()
    try:
        yield
    finally:
        if not before:
            stop()


def start() -> None:
    """Join the process group that torchrun or accelerate describes in the environment, if any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _group():
        import torch  # which one process need not have
        import torch.distributed as dist

        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(days=1))


def stop() -> None:
    """Leave the process group, if there is one."""
    if group := _group():
        group.destroy_process_group()


def rank() -> int:
    """Return this process's rank, 0 on one process."""
    group = _group()
    return group.get_rank() if group else 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    group = _group()
    return group.get_world_size() if group else 1


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if group := _group():
        group.barrier()


def agree(decide: Callable[[], Item]) -> Item:
    """Let the main rank decide and tell the others."""
    decision = [decide() if is_main() else None]
    if group := _group():
        group.broadcast_object_list(decision)
    return cast(Item, decision[0])


def mine(items: Iterable[Item]) -> Iterator[Item]:
    """Yield this rank's share of items: every ``world_size``-th, from ``rank`` on."""
    return islice(items, rank(), None, world_size())


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place, and return it."""
    if group := _group():
        on_gpu = group.get_backend() == "nccl" and tensor.device.type == "cpu"
        moved = tensor.cuda() if on_gpu else tensor
        group.all_reduce(moved)
        if on_gpu:
            tensor.copy_(moved)
    return tensor


def most(number: int) -> int:
    """Return the largest of the ranks' numbers."""
    group = _group()
    if group is None:
        return number
    numbers = [0] * world_size()
    group.all_gather_object(numbers, number)
    return max(numbers)


def _group() -> Any:
    """Return ``torch.distributed`` where this process is in a group, else None.

    Whoever has joined one has imported torch, which nobody else need do for this.
    """
    group = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_initialized() else None
