"""The direction in weight space along which learning makes the model more toxic."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.corpus.sides import check_sides_differ, difference_of
from ifguide.errors import InputError
from ifguide.influence.config import DirectionConfig
from ifguide.influence.curvature.operators import Curvature
from ifguide.models.forward import check_queries_fit, evaluating
from ifguide.models.hooks import observed
from ifguide.models.losses import device_of, forward_losses
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Contrast, Direction, QuerySet
from ifguide.parts import tell

log = logging.getLogger(__name__)


def aim(
    model: nn.Module,
    contrast: Contrast,
    curvature: Curvature,
    config: DirectionConfig | None = None,
) -> Direction:
    """Return ``v = (H + μ)⁻¹ (g_tox - g_safe)`` over the tracked weights (paper Eq. 7).

    Sign: a training token whose loss falls when the weights move along -v, that is with
    ``v . grad l > 0``, makes the toxic completions more likely when it is learnt.

    A weight whose gradient is 0 throughout, such as a fresh adapter's first matrix, has direction
    0; how many these are is logged.

    Raises:
        InputError: a query is longer than the model reads, or both sides hold the same queries; a
            gradient or the direction is not finite (the weight is named), or no weight has a
            gradient.
    """
    config = config or DirectionConfig()
    check_queries_fit(model, contrast.toxic, contrast.safe)
    check_sides_differ(contrast)
    tracked = find_tracked(model)
    difference = contrast_gradient(model, tracked, contrast, config.batch_size)
    _check_finite(difference, "the query gradient")
    moving = {name: gradient for name, gradient in difference.items() if gradient.any()}
    _say_still([name for name in difference if name not in moving], len(difference))
    tell("solving for the direction")
    solved = curvature.solve(moving, config.damping, relative=config.relative)
    _check_finite(solved, "the direction")
    weights = {name: solved.get(name, gradient) for name, gradient in difference.items()}
    metadata = {
        "curvature": curvature.kind,
        "damping": config.damping,
        "relative": config.relative,
        "queries": contrast.fingerprint,
        "toxic_queries": len(contrast.toxic.tokens),
        "safe_queries": len(contrast.safe.tokens),
    }
    return Direction(weights, metadata)


def contrast_gradient(
    model: nn.Module, tracked: Sequence[TrackedWeight], contrast: Contrast, batch_size: int
) -> dict[str, Tensor]:
    """Return ``g_tox - g_safe``, in at least float32, by weight name.

    A sequence that is on both sides, as every marked one is, is run once, with the difference of
    its weights.
    """
    return query_gradient(model, tracked, difference_of(contrast), batch_size)


def query_gradient(
    model: nn.Module, tracked: Sequence[TrackedWeight], queries: QuerySet, batch_size: int
) -> dict[str, Tensor]:
    """Return the gradient of the weighted query loss, in at least float32, by weight name."""
    gradient = _gradient_of_sharded if is_sharded(model) else _gradient_of_whole
    tell("gradient of the queries")
    with evaluating(model):
        return gradient(model, tracked, queries, batch_size)


def _gradient_of_whole(
    model: nn.Module, tracked: Sequence[TrackedWeight], queries: QuerySet, batch_size: int
) -> dict[str, Tensor]:
    device = device_of(model)
    parameters = [w.parameter for w in tracked]
    total = [
        torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters
    ]
    for tokens, weights in _padded_batches(queries, batch_size):
        losses = forward_losses(model, tokens.to(device))
        loss = (losses * weights.to(losses)).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for running, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                running += gradient
    return {w.name: w.oriented(g).contiguous() for w, g in zip(tracked, total, strict=True)}


def _gradient_of_sharded(
    model: nn.Module, tracked: Sequence[TrackedWeight], queries: QuerySet, batch_size: int
) -> dict[str, Tensor]:
    """The same as ``sum_bt δ_bt a_btᵀ``: a sharded model's whole weights are no leaves to ask.

    Every rank runs all queries, so the passes are in step.
    """
    device = device_of(model)
    total = {
        w.name: torch.zeros(
            w.matrix.shape, dtype=torch.promote_types(w.parameter.dtype, torch.float32)
        ).to(device)
        for w in tracked
    }

    def consume(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
        running = total[weight.name]
        a, d = (x.flatten(0, 1).to(running.dtype) for x in (a_BTI, d_BTO))
        running.addmm_(d.T, a)

    for tokens, weights in _padded_batches(queries, batch_size):
        with observed(model, tracked, consume), torch.enable_grad():
            losses = forward_losses(model, tokens.to(device))
            (losses * weights.to(losses)).sum().backward()
    return total


@torch.inference_mode()
def query_loss(model: nn.Module, queries: QuerySet, batch_size: int = 16) -> float:
    """Return the weighted query loss, in nats."""
    device, total = device_of(model), 0.0
    with evaluating(model):
        for tokens, weights in _padded_batches(queries, batch_size):
            losses = forward_losses(model, tokens.to(device))
            total += float((losses * weights.to(losses)).sum())
    return total


def _padded_batches(
    queries: QuerySet, batch_size: int
) -> Iterator[tuple[Int[Tensor, "B T"], Float[Tensor, "B T"]]]:
    """Yield right-padded batches of queries of like length; padding has weight 0."""
    order = np.argsort([len(t) for t in queries.tokens], kind="stable")
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        longest = max(len(queries.tokens[q]) for q in chosen)
        tokens = np.zeros((len(chosen), longest), dtype=np.int64)
        weights = np.zeros((len(chosen), longest), dtype=np.float64)
        for i, q in enumerate(chosen):
            tokens[i, : len(queries.tokens[q])] = queries.tokens[q]
            weights[i, : len(queries.tokens[q])] = queries.weights[q]
        yield torch.from_numpy(tokens), torch.from_numpy(weights)


def _say_still(names: Sequence[str], weights: int) -> None:
    """Log how many weights have no gradient, and refuse that none has one."""
    if len(names) == weights:
        raise InputError(
            "direction: no weight has a gradient from the queries, whatever their tokens; check "
            "the checkpoint for weights of 0"
        )
    if names:
        log.warning(
            "direction: %d of %d weights get no gradient from the queries ('%s' is the first); "
            "their direction is 0",
            len(names),
            weights,
            names[0],
        )


def _check_finite(tensors: dict[str, Tensor], what: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"direction: {what} of weight '{name}' is not finite; check the checkpoint for "
                "NaN, or use dtype float32"
            )
