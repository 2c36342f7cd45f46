"""The only hooks in the project: what enters and leaves weights, embedding, blocks and LM head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.losses import device_of, forward_logits
from ifguide.models.sharded import reshard
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
    activations alone, and no further down than the outputs of the first tracked weights.

    Raises:
        InputError: a weight's inputs are not of one row a token, as an expert's are not.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    read: list[torch.Size] = []  # [B, T] of the tokens
    embedding: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
    handles = [embedding.register_forward_pre_hook(lambda _, args: read.append(args[0].shape))]
    handles += [w.module.register_forward_hook(partial(_record, w, consume, read)) for w in tracked]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


@torch.no_grad()
def first_readers(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    forward: Callable[[nn.Module, Tensor], Any] = forward_logits,
) -> dict[str, str]:
    """Return, for each tracked weight, the name of the first one that reads the same input.

    Found by the identity of the input tensors in a pass over two tokens, as q, k and v of a
    layer are handed one tensor; no name is looked at. A tensor that is written to between two
    readers is another one. Whatever the pass does not reach reads an input of its own.

    Args:
        model: with weights, or on ``meta`` where ``forward`` runs it there.
        tracked: its tracked weights.
        forward: the pass.
    """
    seen: list[tuple[Tensor, int, str]] = []  # kept, so that no tensor takes another's place
    first = {weight.name: weight.name for weight in tracked}

    def look(weight: TrackedWeight) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            given = args[0]
            alike = (n for tensor, at, n in seen if tensor is given and at == given._version)
            first[weight.name] = next(alike, weight.name)
            seen.append((given, given._version, weight.name))

        return weight.module.register_forward_pre_hook(hook)

    handles = [look(weight) for weight in tracked]
    try:
        forward(model, torch.zeros(1, 2, dtype=torch.long, device=device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
        reshard(model)
    return first


@contextmanager
def changed_outputs(
    tracked: Sequence[TrackedWeight], change: Callable[[TrackedWeight, Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Let ``change(weight, input, output)`` take the place of each tracked weight's output."""

    def hooked(weight: TrackedWeight) -> Any:
        return weight.module.register_forward_hook(
            lambda module, args, output: change(weight, args[0], output)
        )

    handles = [hooked(weight) for weight in tracked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def inputs_of(head: nn.Module) -> Iterator[list[Float[Tensor, "B T d"]]]:
    """Collect what enters the LM head, and let only the last position go on into it."""
    seen: list[Tensor] = []

    def cut(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        seen.append(args[0])
        return (args[0][:, -1:],)

    handle = head.register_forward_pre_hook(cut)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def embeddings_as_leaf(embedding: nn.Module) -> Iterator[list[Float[Tensor, "B T d"]]]:
    """Collect what the token embedding puts out, as the leaf that the rest is computed from."""
    seen: list[Tensor] = []

    def cut(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = embedding.register_forward_hook(cut)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def after_blocks(
    blocks: nn.ModuleList,
    choose: Callable[[Float[Tensor, "layers B T d"]], Float[Tensor, "C T d"]],
) -> Iterator[None]:
    """Let what ``choose`` returns go on in place of the last block's output.

    It is given the states that enter the first block and those that leave each block. What comes
    after the blocks, the final norm and the LM head, whichever they are, then works on its choice.
    """
    states: list[Tensor] = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states[:] = [args[0] if args else kwargs["hidden_states"]]

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        states.append(output[0] if isinstance(output, tuple) else output)
        if module is not blocks[-1]:
            return output
        chosen = choose(torch.stack(states))
        return (chosen, *output[1:]) if isinstance(output, tuple) else chosen

    handles = [block.register_forward_hook(leave) for block in blocks]
    handles.append(blocks[0].register_forward_pre_hook(enter, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _record(
    weight: TrackedWeight,
    consume: Consume,
    read: list[torch.Size],
    module: nn.Module,
    args: tuple[Tensor],
    output: Tensor,
) -> None:
    activation, shape = args[0].detach(), read[-1]
    flat = activation.ndim == 2 and len(activation) == shape.numel()  # a row a token, as in OPT
    if activation.ndim != 3 and not flat:
        raise InputError(
            f"model: weight '{weight.name}' sees inputs of shape {list(activation.shape)}, not "
            "[batch, tokens, width]: its tokens cannot be told apart; use a dense model"
        )
    if flat:
        activation = activation.unflatten(0, shape)
    if not output.requires_grad:
        output = _Start.apply(output, torch.zeros((), requires_grad=True))

    def receive(gradient: Tensor) -> None:
        gradient = gradient.detach()
        consume(weight, activation, gradient.unflatten(0, shape) if flat else gradient)

    output.register_hook(receive)


class _Start(torch.autograd.Function):
    """Let gradients begin at a tensor, which, unlike a leaf, may still be changed in place."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, leaf: Tensor) -> Tensor:
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:
        return None, None
