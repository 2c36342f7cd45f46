"""The logit lens: what a model would say if it stopped after each of its layers.

The states after each block go through the model's own final norm and LM head (nostalgebraist 2020,
"interpreting GPT: the logit lens"). Layer 0 is what enters the first block, the last layer is what
the model says. Shape legend: L blocks, T tokens of a query, n chosen tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.forward import check_queries_fit, evaluating
from ifguide.models.hooks import after_blocks
from ifguide.models.losses import device_of, run
from ifguide.models.tracked import find_blocks
from ifguide.nouns import QuerySet


def logit_lens(
    model: nn.Module, queries: QuerySet, progress: Callable[[int], None] = lambda tokens: None
) -> Float[np.ndarray, " layers"]:
    """Return the mean log-probability (nats) of the queries' counted tokens, layer by layer.

    ``sum_qj w_qj log Pr_layer(x_qj | x_q,<j) / sum_qj w_qj``: a token's weight says whether, and
    how much, it counts; it is looked at where it is predicted. The last entry is minus the query
    loss of the model itself.

    Args:
        model: any causal language model with one list of blocks, with or without a final norm.
        queries: token sequences and weights.
        progress: called with the number of tokens just done.

    Raises:
        InputError: no token counts, the blocks cannot be told, or a log-probability is not finite.
    """
    check_queries_fit(model, queries)
    total, weight = np.zeros(len(find_blocks(model)) + 1), 0.0
    for number, (tokens, weights) in enumerate(zip(queries.tokens, queries.weights, strict=True)):
        chosen = np.flatnonzero(weights)
        if len(chosen) == 0:
            continue
        found = layer_logprobs(model, torch.as_tensor(tokens), torch.as_tensor(chosen))
        if not np.isfinite(found).all():
            layer = int(np.argwhere(~np.isfinite(found))[0, 0])
            raise InputError(
                f"lens: query {number} has a log-probability at layer {layer} that is not finite; "
                "use a sound checkpoint"
            )
        total += found @ weights[chosen]
        weight += float(weights[chosen].sum())
        progress(len(tokens))
    if not weight > 0:
        raise InputError("lens: no token of the queries counts; give queries with weights above 0")
    return total / weight


@torch.no_grad()
def layer_logprobs(
    model: nn.Module, tokens: Int[Tensor, " T"], chosen: Int[Tensor, " n"]
) -> Float[np.ndarray, "layers n"]:
    """Return ``log Pr(x_j | x_<j)`` in nats as each layer has it, for the chosen tokens j >= 1.

    One pass: after the last block, the states of all layers at the positions that predict the
    chosen tokens take the place of its output, laid out as sequences of the same length. What
    follows the blocks treats every position alike.
    """
    device, length = device_of(model), len(tokens)
    before, labels = chosen.to(device) - 1, tokens.to(device).long()[chosen]

    def choose(states: Float[Tensor, "layers B T d"]) -> Float[Tensor, "C T d"]:
        rows = states[:, 0, before].flatten(0, 1)
        return F.pad(rows, (0, 0, 0, -len(rows) % length)).view(-1, length, rows.shape[1])

    blocks = find_blocks(model)
    with evaluating(model), after_blocks(blocks, choose):
        logits = run(model, tokens.to(device)[None]).flatten(0, 1)
    layers = len(blocks) + 1
    kept = logits[: layers * len(chosen)].unflatten(0, (layers, -1))
    kept = kept.to(torch.promote_types(kept.dtype, torch.float32))
    found = kept.log_softmax(-1).gather(-1, labels.expand(layers, -1)[..., None])[..., 0]
    return found.double().cpu().numpy()
