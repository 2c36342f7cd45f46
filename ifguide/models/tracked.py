"""The tracked weights: every linear map inside the transformer blocks, found by walking the model.

A weight is tracked when it belongs to a ``Linear`` or ``Conv1D`` module that lies inside a list of
blocks (a ``ModuleList``) and is trainable. Embeddings, norms and the LM head lie outside the list
or are not linear maps; an adapter's matrices are linear maps inside it, and once they are attached
the frozen weights around them are not tracked. What text never reaches, such as the tower that
reads images, is not tracked either; a pass over two tokens tells. No family of models is named.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of, forward_logits
from ifguide.models.sharded import reshard

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrackedWeight:
    """One linear map ``y = W a``; ``matrix`` is W as [out, in] however the module stores it."""

    name: str
    module: nn.Module
    transposed: bool

    @property
    def parameter(self) -> Tensor:
        """The module's own parameter: [out, in], or [in, out] where ``transposed``."""
        return cast(Tensor, self.module.weight)

    @property
    def matrix(self) -> Float[Tensor, "out in"]:
        """The parameter as [out, in], a view."""
        return self.oriented(self.parameter)

    def oriented(self, tensor: Tensor) -> Tensor:
        """Turn a tensor between the module's layout and [out, in] (its own inverse)."""
        return tensor.T if self.transposed else tensor


def find_tracked(model: nn.Module) -> tuple[TrackedWeight, ...]:
    """Walk a model and return its tracked weights, in the order of the forward pass's modules.

    How many are left out because text does not reach them is logged, once for each such list.

    Raises:
        InputError: no weight is tracked, a weight is shared between modules, or a block holds
            fused expert weights, whose per-token inputs cannot be told apart.
    """
    return _reached(model, trackable(model))


def trackable(model: nn.Module) -> list[TrackedWeight]:
    """Return the weights that are tracked where text reaches them; the model is not run.

    Raises:
        InputError: as ``find_tracked``.
    """
    uses = Counter(id(module.weight) for _, module in _linear_maps(model, remove_duplicate=False))
    tracked = []
    for name, module in _block_modules(model):
        _refuse_fused_experts(name, module)
        if not isinstance(module, (nn.Linear, Conv1D)) or not module.weight.requires_grad:
            continue
        if uses[id(module.weight)] > 1:
            raise InputError(
                f"model: weight '{name}.weight' is shared between modules, so a token's share of "
                "it is not defined; untie it (give each module its own parameter)"
            )
        tracked.append(TrackedWeight(name, module, isinstance(module, Conv1D)))
    if not tracked:
        raise InputError(
            "model: no weight can be tracked: there is no trainable Linear or Conv1D module "
            "inside a list of transformer blocks; use a causal language model whose blocks hold "
            "linear maps"
        )
    return tracked


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """Walk a model and return its list of transformer blocks: the one outermost ``ModuleList``.

    Raises:
        InputError: there is none, or more than one with linear maps inside.
    """
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and not inside and any(_linear_maps(module)):
            found.append((name, module))
    if len(found) != 1:
        names = ", ".join(name for name, _ in found) or "none"
        raise InputError(
            f"model: its transformer blocks cannot be told; the lists of modules found are: "
            f"{names}; use a causal language model with one list of blocks"
        )
    return found[0][1]


def _linear_maps(
    model: nn.Module, *, remove_duplicate: bool = True
) -> Iterator[tuple[str, nn.Linear | nn.Embedding | Conv1D]]:
    for name, module in model.named_modules(remove_duplicate=remove_duplicate):
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            yield name, module


def _block_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that lie inside a ``ModuleList``."""
    lists: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(prefix) for prefix in lists):
            yield name, module
        if isinstance(module, nn.ModuleList):
            lists.append(f"{name}.")


def _reached(model: nn.Module, tracked: list[TrackedWeight]) -> tuple[TrackedWeight, ...]:
    """Return the weights whose modules a pass over two tokens runs through.

    A list of modules inside a block may hold experts, of which every token has a few: where one of
    them is reached, all are.
    """
    modules = {id(w.module): w.name for w in tracked}
    seen: set[str] = set()
    handles = [
        w.module.register_forward_pre_hook(lambda module, _: seen.add(modules[id(module)]))
        for w in tracked
    ]
    try:
        with torch.no_grad(), evaluating(model):
            forward_logits(model, torch.zeros(1, 2, dtype=torch.long, device=device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
        reshard(model)
    inner = [f"{name}." for name in _inner_lists(model)]
    alive = tuple(prefix for prefix in inner if any(name.startswith(prefix) for name in seen))
    reached = tuple(w for w in tracked if w.name in seen or w.name.startswith(alive))
    if not reached:
        raise InputError(
            "model: text reaches none of its weights that could be tracked; use a causal language "
            "model whose blocks hold linear maps"
        )
    if len(reached) < len(tracked):
        first = next(w.name for w in tracked if w not in reached)
        _say_unreached(len(tracked) - len(reached), first)
    return reached


def _inner_lists(model: nn.Module) -> Iterator[str]:
    """Yield the names of the lists of modules that lie inside another list."""
    lists: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            if any(name.startswith(prefix) for prefix in lists):
                yield name
            lists.append(f"{name}.")


@cache
def _say_unreached(count: int, first: str) -> None:
    """Log it once, however often a model is walked."""
    log.warning(
        "model: text does not reach %d weights ('%s' is the first); they are not tracked",
        count,
        first,
    )


def _refuse_fused_experts(name: str, module: nn.Module) -> None:
    for parameter_name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim > 2:
            raise InputError(
                f"model: weight '{name}.{parameter_name}' has shape {list(parameter.shape)}: fused "
                "mixture-of-experts (or convolution) weights are not supported; use a dense model"
            )
