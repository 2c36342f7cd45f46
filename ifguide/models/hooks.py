"""The only hooks in the project: what enters and what leaves each tracked weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.losses import embedding_of
from ifguide.models.tracked import TrackedWeight

Consume = Callable[[TrackedWeight, Float[Tensor, "B T in"], Float[Tensor, "B T out"]], None]


@contextmanager
def observed(
    model: nn.Module, tracked: Sequence[TrackedWeight], consume: Consume
) -> Iterator[None]:
    """Call ``consume(weight, activation, output_gradient)`` for each tracked weight in a backward.

    ``activation`` is the weight's input a [B, T, in] and ``output_gradient`` the loss gradient δ
    [B, T, out] of its output, so that the weight's gradient is ``sum_bt δ_bt a_btᵀ``. Inside the
    context the parameters need no gradients of their own: the backward pass runs through the
    activations alone, which the embedding's output starts.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    handles = [embedding_of(model).register_forward_hook(_start_gradients)]
    handles += [w.module.register_forward_hook(partial(_record, w, consume)) for w in tracked]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


def _start_gradients(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output.requires_grad_()


def _record(
    weight: TrackedWeight, consume: Consume, module: nn.Module, args: tuple[Tensor], output: Tensor
) -> None:
    activation = args[0].detach()
    if activation.ndim != 3:
        raise InputError(
            f"model: weight '{weight.name}' sees inputs of shape {list(activation.shape)}, not "
            "[batch, tokens, width]: its tokens cannot be told apart; use a dense model"
        )
    output.register_hook(lambda gradient: consume(weight, activation, gradient.detach()))
