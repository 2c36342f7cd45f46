"""The tracked weights: every linear map inside the transformer blocks, found by walking the model.

A weight is tracked when it belongs to a ``Linear`` or ``Conv1D`` module that lies inside a list of
blocks (a ``ModuleList``) and is trainable. Embeddings, norms and the LM head lie outside the list
or are not linear maps; an adapter's matrices are linear maps inside it, and once they are attached
the frozen weights around them are not tracked. No family of models is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ifguide.errors import InputError


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

    Raises:
        InputError: no weight is tracked, a weight is shared between modules, or a block holds
            fused expert weights, whose per-token inputs cannot be told apart.
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
    return tuple(tracked)


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


def _refuse_fused_experts(name: str, module: nn.Module) -> None:
    for parameter_name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim > 2:
            raise InputError(
                f"model: weight '{name}.{parameter_name}' has shape {list(parameter.shape)}: fused "
                "mixture-of-experts (or convolution) weights are not supported; use a dense model"
            )
