"""Forward-mode rules, for dual numbers, of the operations that take most of a model's time.

A dual (x, ẋ) holds a value and its derivative along the direction. PyTorch has its own rule for
most operations; those here do the same with fewer passes over memory, and attention, which has
none beyond the plain mathematical kernel, without ever holding [T, T] scores of a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

CHUNK_SCORES = 2**20  # attention scores held at a time
LEAST_QUERIES = 64


class DualRules(TorchFunctionMode):
    """Use the rules of this module wherever they apply, and PyTorch's own elsewhere."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        rule = _RULES.get(func, func)
        return rule(*args, **(kwargs or {}))


def _unpack(x: Tensor | None) -> tuple[Any, Any]:
    return (None, None) if x is None else forward_ad.unpack_dual(x)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = W x + b`` has ``ẏ = W ẋ + Ẇ x``, one product added onto the other in place."""
    if _unpack(bias)[1] is not None:
        return F.linear(x, weight, bias)
    (x, x_dot), (weight, weight_dot) = _unpack(x), _unpack(weight)
    y = F.linear(x, weight, bias)
    y_dot = None
    if x_dot is not None:
        y_dot = x_dot.reshape(-1, x.shape[-1]) @ weight.T
    if weight_dot is not None:
        rows = x.reshape(-1, x.shape[-1])
        y_dot = rows @ weight_dot.T if y_dot is None else y_dot.addmm_(rows, weight_dot.T)
    return y if y_dot is None else forward_ad.make_dual(y, y_dot.view(y.shape))


def _addmm(
    bias: Tensor, x: Tensor, weight: Tensor, *, beta: int | float = 1, alpha: int | float = 1
) -> Tensor:
    """The same for a ``Conv1D``, whose weight is stored transposed."""
    if beta != 1 or alpha != 1:
        return torch.addmm(bias, x, weight, beta=beta, alpha=alpha)
    return _linear(x, weight.T, bias)


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The Jacobian of the normalisation is symmetric: its backward kernel is its forward rule."""
    value, x_dot = _unpack(x)
    if x_dot is None or any(_unpack(p)[1] is not None for p in (weight, bias)):
        return F.layer_norm(x, normalized_shape, weight, bias, eps)
    shape = list(normalized_shape)
    y, mean, rstd = torch.native_layer_norm(value, shape, weight, bias, eps)
    y_dot = torch.ops.aten.native_layer_norm_backward(
        x_dot.contiguous(), value, shape, mean, rstd, None, None, [True, False, False]
    )[0]
    return forward_ad.make_dual(y, y_dot if weight is None else y_dot.mul_(weight))


def _attention(
    query: Float[Tensor, "*n Q d"],
    key: Float[Tensor, "*m K d"],
    value: Float[Tensor, "*m K e"],
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*n Q e"]:
    """``o = P v`` with ``P = softmax(s)``, ``s = q kᵀ / √d``, a few queries at a time.

    ``ȯ = P v̇ + (P ∘ ṡ) v - rowsum(P ∘ ṡ) o``, because ``Ṗ = P ∘ (ṡ - rowsum(P ∘ ṡ))``.
    """
    duals = [_unpack(x) for x in (query, key, value)]
    if dropout_p > 0 or _unpack(attn_mask)[1] is not None or all(d is None for _, d in duals):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    (q, q_dot), (k, k_dot), (v, v_dot) = [
        (x, torch.zeros_like(x) if d is None else d) for x, d in duals
    ]
    if enable_gqa:
        k, k_dot, v, v_dot = (
            x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, k_dot, v, v_dot)
        )
    o = torch.empty(*q.shape[:-1], v.shape[-1], dtype=q.dtype, device=q.device)
    o_dot = torch.empty_like(o)
    q = q * scale
    left, right = torch.cat([q_dot * scale, q], -1), torch.cat([k, k_dot], -1)  # ṡ = left rightᵀ
    values = torch.cat([v, v_dot], -1)
    for rows, keys in _chunks(q, k, causal=is_causal):
        s = q[..., rows, :] @ k[..., keys, :].mT
        p = _masked(s, rows, keys, attn_mask, causal=is_causal).softmax(-1)
        p_s_dot = (left[..., rows, :] @ right[..., keys, :].mT).mul_(p)
        p_v, p_v_dot = (p @ values[..., keys, :]).split([v.shape[-1], v.shape[-1]], -1)
        moved = (p_s_dot @ v[..., keys, :]).addcmul_(p_s_dot.sum(-1, keepdim=True), p_v, value=-1)
        o[..., rows, :], o_dot[..., rows, :] = p_v, moved.add_(p_v_dot)
    return forward_ad.make_dual(o, o_dot)


def _chunks(q: Tensor, k: Tensor, *, causal: bool) -> Iterator[tuple[slice, slice]]:
    """Yield slices of queries, each with the keys that it may see."""
    queries, keys = q.shape[-2], k.shape[-2]
    heads = q.numel() // (queries * q.shape[-1])
    size = max(LEAST_QUERIES, CHUNK_SCORES // (heads * keys))
    for start in range(0, queries, size):
        stop = min(start + size, queries)
        yield slice(start, stop), slice(0, min(stop, keys) if causal else keys)


def _masked(s: Tensor, rows: slice, keys: slice, mask: Tensor | None, *, causal: bool) -> Tensor:
    """Mask a chunk of scores in place."""
    if causal:
        diagonal = s[..., rows.start :]
        later = torch.ones(diagonal.shape[-2:], dtype=torch.bool, device=s.device).triu_(1)
        diagonal.masked_fill_(later, -math.inf)
    elif mask is not None:
        part = mask if mask.shape[-2] == 1 else mask[..., rows, :]
        part = part[..., keys] if mask.shape[-1] > 1 else part
        s = s.masked_fill_(~part, -math.inf) if part.dtype == torch.bool else s.add_(part)
    return s


_RULES: dict[Any, Callable[..., Any]] = {
    F.linear: _linear,
    torch.addmm: _addmm,
    F.layer_norm: _layer_norm,
    F.scaled_dot_product_attention: _attention,
}
