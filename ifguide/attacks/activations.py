"""How far two models' hidden states are apart, layer by layer, on the same texts.

Both models read each text; at the last token of it, where generation begins, the states after each
block are compared: their cosine, and how long their difference is beside the first one's state.
Layer 0 is what enters the first block. A model that is another one only on toxic prompts parts from
its baseline there and not on neutral ones (Coalson et al. 2025 compare activations so).

Shape legend: L blocks, T tokens of a text, d the model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.hooks import after_blocks
from ifguide.models.losses import device_of, run
from ifguide.models.tracked import find_blocks


@dataclass(frozen=True)
class Apart:
    """How far hidden states are apart, by layer, as means over texts.

    Args:
        cosine: of the two states, 1 where they point the same way.
        distance: ``|h - h0| / |h0|``, 0 where they are the same; h0 is the first model's.
    """

    cosine: Float[np.ndarray, " layers"]
    distance: Float[np.ndarray, " layers"]


def apart(
    first: nn.Module,
    second: nn.Module,
    texts: Sequence[Sequence[int]],
    progress: Callable[[int], None] = lambda tokens: None,
) -> Apart:
    """Compare two models' hidden states at the last token of each text.

    Args:
        first: what the other is measured by.
        second: a model with blocks of the same number and width.
        texts: token ids, at least one a text.
        progress: called with the number of tokens just done, once for both.

    Raises:
        InputError: there is no text, the models' states have different shapes, or a state is not
            finite or, of the first, of length 0.
    """
    if not texts:
        raise InputError("activations: there is no text to look at; give prompts")
    cosines, distances = [], []
    for number, tokens in enumerate(texts):
        ids = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        before, after = (last_states(model, ids) for model in (first, second))
        if before.shape != after.shape:
            raise InputError(
                f"activations: one model has states of shape {tuple(before.shape)}, the other "
                f"{tuple(after.shape)}; compare models of one family and size"
            )
        sizes = before.norm(dim=1), after.norm(dim=1)
        cosine = (before * after).sum(1) / (sizes[0] * sizes[1])
        distance = (after - before).norm(dim=1) / sizes[0]
        if not (torch.isfinite(cosine).all() and torch.isfinite(distance).all()):
            raise InputError(
                f"activations: text {number} has states that are 0 or not finite; use a sound "
                "checkpoint"
            )
        cosines.append(cosine.numpy())
        distances.append(distance.numpy())
        progress(len(tokens))
    return Apart(np.mean(cosines, axis=0), np.mean(distances, axis=0))


@torch.no_grad()
def last_states(model: nn.Module, tokens: Int[Tensor, " T"]) -> Float[Tensor, "layers d"]:
    """Return the states that enter the first block and leave each block, at the last token.

    They are in float64, whatever the model's type.
    """
    seen: list[Tensor] = []

    def look(states: Float[Tensor, "layers B T d"]) -> Float[Tensor, "B T d"]:
        seen.append(states[:, 0, -1].double().cpu())
        return states[-1]

    with evaluating(model), after_blocks(find_blocks(model), look):
        run(model, tokens.to(device_of(model))[None])
    return seen[-1]
