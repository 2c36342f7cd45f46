"""The exact Fisher of each weight, for tiny models: the oracle of the factored ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from ifguide.errors import InputError
from ifguide.influence.curvature.factors import Sample
from ifguide.influence.curvature.operators import Dense
from ifguide.models.losses import device_of, embedding_of
from ifguide.models.tracked import TrackedWeight

MAX_ELEMENTS = 2**28


def fit_dense(model: nn.Module, tracked: Sequence[TrackedWeight], sample: Sample) -> Dense:
    """Return ``F = E_token[Jᵀ (diag(p) - p pᵀ) J]`` for each weight, in float64.

    J [V, out·in] is the Jacobian of a token's logits in one weight and p its predicted
    distribution: the Fisher with the expectation over labels taken exactly.

    Raises:
        InputError: the Jacobian or the matrix would be too large to hold.
    """
    device = device_of(model)
    sums = {w.name: _empty(w, model, sample) for w in tracked}
    for row in sample.rows:
        tokens = torch.as_tensor(np.asarray(sample.corpus.tokens[row]), device=device).long()
        predicted = torch.as_tensor(sample.corpus.has_loss[row], device=device)[1:]
        for weight in tracked:
            sums[weight.name] += _block_fisher(model, weight, tokens, predicted)
    count = sample.predicted_tokens
    return Dense({name: total / count for name, total in sums.items()})


def _empty(weight: TrackedWeight, model: nn.Module, sample: Sample) -> Tensor:
    size = weight.parameter.numel()
    logits = sample.corpus.tokens.shape[1] * embedding_of(model).weight.shape[0]
    if size * max(size, logits) > MAX_ELEMENTS:
        raise InputError(
            f"curvature.kind: dense curvature of weight '{weight.name}' needs a matrix of "
            f"{size} x {max(size, logits)} numbers; use ekfac, or a far smaller model"
        )
    return torch.zeros(size, size, dtype=torch.float64, device=weight.parameter.device)


def _block_fisher(
    model: nn.Module, weight: TrackedWeight, tokens: Tensor, predicted: Tensor
) -> Float[Tensor, "P P"]:
    name = f"{weight.name}.weight"

    def logits_of(matrix: Float[Tensor, "out in"]) -> Float[Tensor, "K V"]:
        replaced = {name: weight.oriented(matrix)}
        call = {"input_ids": tokens[None], "use_cache": False}
        return functional_call(model, replaced, kwargs=call).logits[0, :-1][predicted]

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        matrix = weight.matrix.detach()
        jacobian = jacrev(logits_of)(matrix).flatten(2).double()
        probabilities = logits_of(matrix).detach().double().softmax(-1)
    mean = torch.einsum("kv,kvp->kp", probabilities, jacobian)
    second = torch.einsum("kv,kvp,kvq->pq", probabilities, jacobian, jacobian)
    return second - mean.T @ mean
