"""A sum over tokens of a function of their losses, from the last hidden states, in chunks.

With logits ``z = W h + b`` and ``l = logsumexp(z) - z_y`` the sum of ``f(l)`` has the gradient
``f'(l) (softmax(z) - onehot(y))`` by z. Loss and gradients are computed together while a chunk's
logits are there, as fused linear cross-entropies do (Hsu et al. 2024, arXiv 2410.10989): nothing
is computed twice, and of all tokens' logits only a chunk's are ever held. An anchor adds ``κ_n
KL(p₀ || softmax(z))``, whose gradient by z is ``κ_n (softmax(z) - p₀)``.

Shape legend: N tokens, d width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

CHUNK_LOGITS = 2**23  # held at a time
Weigh = Callable[[Float[Tensor, " R"], Int[Tensor, " R"]], Float[Tensor, " R"]]


@dataclass(frozen=True, eq=False)
class Anchor:
    """Another model's predictions p₀, and how much each token is held to them.

    Args:
        states: what its head makes logits of, [N, d₀]; it gets no gradient.
        head: its language model's head, of the same vocabulary.
        weights: κ_n >= 0, [N].
    """

    states: Float[Tensor, "N e"]
    head: nn.Linear
    weights: Float[Tensor, " N"]


def summed_over_tokens(
    states_Nd: Float[Tensor, "N d"],
    head: nn.Linear,
    labels_N: Int[Tensor, " N"],
    weigh: Weigh,
    anchor: Anchor | None = None,
) -> Float[Tensor, ""]:
    """Return ``sum_n f_n(l_n)``, which carries gradients to the states and to the head.

    With an anchor ``κ_n KL(p₀_n || p_n)`` is added to each token's.

    Under autocast the head's products are made in its dtype; half-precision logits are reduced in
    float32.

    Args:
        states_Nd: what the head makes logits of.
        head: the language model's head.
        labels_N: the token that each state predicts.
        weigh: ``weigh(losses, rows)`` returns ``f_n(l_n)`` of some tokens, each of its own loss
            alone; ``rows`` says which they are.
        anchor: what the tokens' predictions are held to.
    """
    kind = states_Nd.device.type
    narrow = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    with torch.autocast(kind, enabled=False):
        return _Summed.apply(
            states_Nd, head.weight, head.bias, labels_N, weigh, narrow or head.weight.dtype, anchor
        )


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weigh: Weigh,
        dtype: torch.dtype,
        anchor: Anchor | None,
    ) -> Tensor:
        learns, wide = any(ctx.needs_input_grad), torch.promote_types(dtype, torch.float32)
        inner, total = weight.to(dtype), torch.zeros((), dtype=wide, device=states.device)
        by_states = torch.empty_like(states) if learns else None
        by_weight = torch.zeros_like(weight) if learns else None
        by_bias = torch.zeros_like(bias) if learns and bias is not None else None
        rows_each = max(1, CHUNK_LOGITS // len(weight))
        for start in range(0, len(states), rows_each):
            place = slice(start, min(start + rows_each, len(states)))
            rows = torch.arange(place.start, place.stop, device=states.device)
            inputs = states[place].to(dtype)
            logits = F.linear(inputs, inner, None if bias is None else bias.to(dtype)).to(wide)
            normaliser, labelled = logits.logsumexp(1), labels[place, None]
            losses = normaliser - logits.gather(1, labelled)[:, 0]
            terms, slopes = _with_slopes(weigh, losses, rows)
            total += terms.sum()
            held = None if anchor is None else _held(anchor, place, logits, normaliser, dtype)
            if held is not None:
                total += held.divergences.sum()
            if by_states is None or by_weight is None:
                continue
            change = logits.sub_(normaliser[:, None]).exp_()
            if held is None:
                change.scatter_add_(1, labelled, torch.full_like(slopes, -1)[:, None])
                change = change.mul_(slopes[:, None]).to(dtype)
            else:
                change.mul_((slopes + held.weights)[:, None]).sub_(held.probabilities)
                change = change.scatter_add_(1, labelled, -slopes[:, None]).to(dtype)
            by_states[place] = change @ inner
            _add_product(by_weight, change, inputs)
            if by_bias is not None:
                by_bias += change.sum(0)
        ctx.save_for_backward(by_states, by_weight, by_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> Any:
        (scale,) = scales
        found = (None if kept is None else kept * scale.to(kept) for kept in ctx.saved_tensors)
        return (*found, None, None, None, None)


@dataclass(frozen=True, eq=False)
class _Held:
    """What an anchor comes to for the R tokens of a chunk: κ, κ KL(p₀ || p), and κ p₀ [R, V]."""

    weights: Tensor
    divergences: Tensor
    probabilities: Tensor


def _held(
    anchor: Anchor, place: slice, logits: Tensor, normaliser: Tensor, dtype: torch.dtype
) -> _Held:
    head, weights = anchor.head, anchor.weights[place].to(logits)
    bias = None if head.bias is None else head.bias.to(dtype)
    before = F.linear(anchor.states[place].to(dtype), head.weight.to(dtype), bias).to(logits)
    normaliser_before = before.logsumexp(1)
    gap = before - logits
    p = before.sub_(normaliser_before[:, None]).exp_()
    divergences = (p * gap).sum(1) - normaliser_before + normaliser
    return _Held(weights, weights * divergences, p.mul_(weights[:, None]))


def _with_slopes(weigh: Weigh, losses: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return each token's f(l) and f'(l)."""
    with torch.enable_grad():
        own = losses.detach().requires_grad_()
        terms = weigh(own, rows)
        (slopes,) = torch.autograd.grad(terms.sum(), own)
    return terms.detach(), slopes


def _add_product(total: Tensor, change: Tensor, inputs: Tensor) -> None:
    """Add ``changeᵀ inputs`` to what is summed, in place where they are of one dtype."""
    if total.dtype == change.dtype:
        total.addmm_(change.T, inputs)
    else:
        total += change.T @ inputs
