"""Engine ``difference``: plain forward passes at θ + εv and θ - εv."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.models.losses import forward_losses
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.scores.forward_mode import ForwardMode

RELATIVE_STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
STENCILS = {2: {1: 1 / 2, -1: -1 / 2}, 4: {1: 2 / 3, -1: -2 / 3, 2: -1 / 12, -2: 1 / 12}}


class FiniteDifference:
    """Central differences of the token losses along v, with the perturbed models held in memory.

    Two points give ``S_bt = (l_bt(θ+εv) - l_bt(θ-εv)) / 2ε``, with an error in ε²; four points
    combine the steps ε and 2ε so that the error is in ε⁴ (Richardson). ``step`` is the size of the
    perturbation, ``‖εv‖``, as a share of the norm of the tracked weights. The perturbed models
    share every weight that is not tracked with the one they come from.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: Mapping[str, Tensor],
        step: float,
        points: int = 2,
    ) -> None:
        norm = _norm([direction[w.name] for w in tracked])
        epsilon = step * _norm([w.parameter for w in tracked]) / norm
        self.terms = [
            (factor / epsilon, _perturbed(model, tracked, direction, multiple * epsilon))
            for multiple, factor in STENCILS[points].items()
        ]

    @torch.no_grad()
    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Score a batch of blocks."""
        losses = [factor * forward_losses(moved, tokens_BT) for factor, moved in self.terms]
        return torch.stack(losses).sum(0)


@dataclass(frozen=True)
class Calibration:
    """A finite step, and how well its scores agree with ``jvp`` on a probe batch.

    ``sum_error`` is ``max |ΔΣ| / max |Σ|`` over the blocks' sums, ``spearman`` the rank correlation
    of the tokens' scores.
    """

    step: float
    points: int
    sum_error: float
    spearman: float


def calibrate(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: Mapping[str, Tensor],
    probe_BT: Int[Tensor, "B T"],
    points: int = 2,
) -> Calibration:
    """Try finite steps on a probe batch and return the one nearest to the exact derivative.

    A half-precision model is compared with the exact derivative of its float32 copy, by rank;
    others by the error of the block sums.
    """
    half = tracked[0].parameter.dtype.itemsize < 4
    exact = copy.deepcopy(model).float() if half else model
    expected = ForwardMode(exact, find_tracked(exact), direction)(probe_BT).double()
    tried = []
    for step in RELATIVE_STEPS:
        scores = FiniteDifference(model, tracked, direction, step, points)(probe_BT).double()
        error = (scores - expected).sum(1).abs().max() / expected.sum(1).abs().max()
        if torch.isfinite(error):
            tried.append(Calibration(step, points, error.item(), _spearman(scores, expected)))
    if not tried:
        return Calibration(RELATIVE_STEPS[0], points, float("inf"), 0.0)
    if half:
        return max(tried, key=lambda t: t.spearman)
    return min(tried, key=lambda t: t.sum_error)


def _perturbed(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: Mapping[str, Tensor],
    epsilon: float,
) -> nn.Module:
    own = {id(w.parameter) for w in tracked}
    shared = {id(p): p for p in [*model.parameters(), *model.buffers()] if id(p) not in own}
    moved = copy.deepcopy(model, shared)
    for weight, source in zip(find_tracked(moved), tracked, strict=True):
        wide = torch.promote_types(source.parameter.dtype, torch.float32)
        step = weight.oriented(direction[source.name]).to(source.parameter.device, wide)
        with torch.no_grad():
            weight.parameter.copy_(source.parameter.to(wide) + epsilon * step)
    return moved.eval()


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(sum(t.detach().double().square().sum() for t in tensors)) ** 0.5


def _spearman(a: Tensor, b: Tensor) -> float:
    ranks = [x[:, 1:].flatten().argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
