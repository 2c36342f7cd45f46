"""Token losses of a causal language model, on the axis of the predicted token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from ifguide.models.precision import full_precision


def token_losses(
    logits_BTV: Float[Tensor, "B T V"], tokens_BT: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Return ``l_bt = -log Pr(x_bt | x_b,<t)`` in nats; column 0, which nothing predicts, is 0.

    Half-precision logits are reduced in float32.
    """
    predicted = logits_BTV[:, :-1]
    if predicted.dtype in (torch.bfloat16, torch.float16):
        predicted = predicted.float()
    losses = F.cross_entropy(
        predicted.flatten(0, 1), tokens_BT[:, 1:].flatten().long(), reduction="none"
    )
    return F.pad(losses.view(len(tokens_BT), -1), (1, 0))


def forward_logits(model: nn.Module, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
    """Run the model on whole sequences; a float64 model runs in float64 throughout.

    Sequences may be padded on the right: a causal model's earlier tokens never see the padding, so
    no attention mask is needed.
    """
    return run(model, tokens_BT)


def run(
    model: nn.Module, tokens_BT: Int[Tensor, "B T"], weights: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Run the model as ``forward_logits`` does, with ``weights`` in place of its own, by name."""
    call = {"input_ids": tokens_BT, "use_cache": False}
    with full_precision(model):
        if weights is None:
            return model(**call).logits
        return functional_call(model, dict(weights), kwargs=call).logits


def forward_losses(model: nn.Module, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Run the model and return its token losses (see ``forward_logits`` for padding)."""
    return token_losses(forward_logits(model, tokens_BT), tokens_BT)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's input embedding, where token ids must lie."""
    return embedding_of(model).weight.device


def embedding_of(model: nn.Module) -> Any:
    """Return the module that turns token ids into vectors."""
    network: Any = model
    return network.get_input_embeddings()
