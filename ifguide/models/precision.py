"""In which precision a model computes: keeping a float64 one in float64 where its code casts down.

The norms and attention of many families cast to float32 whatever they are given, which rounds a
float64 model's derivative at 1e-7. Tests and small exact studies want all of float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _KeepDouble(TorchFunctionMode):
    """Turn a float64 tensor's casts to float32 into no-ops."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args = [torch.float64 if a is torch.float32 else a for a in args]
            kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in kwargs.items()}
        return func(*args, **kwargs)


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Run a float64 model in float64 throughout; other models run as they are."""
    if next(model.parameters()).dtype != torch.float64:
        yield
        return
    with _KeepDouble():
        yield


def is_half(model: nn.Module) -> bool:
    """Whether a weight of the model is of a type of less than four bytes."""
    return any(p.is_floating_point() and p.dtype.itemsize < 4 for p in model.parameters())


def widened(model: nn.Module) -> nn.Module:
    """Return a float32 copy of a model in half precision; another is returned as it is.

    Quantised weights stay as they are stored, which ``float`` of transformers would refuse.
    """
    return nn.Module.float(copy.deepcopy(model)) if is_half(model) else model
