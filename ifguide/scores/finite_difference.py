"""Engine ``difference``: plain forward passes at θ + εv and θ - εv."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.models.readout import readout_of
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.scores.forward_mode import ForwardMode
from ifguide.scores.pieces import in_pieces

RELATIVE_STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
STENCILS = {2: {1: 1 / 2, -1: -1 / 2}, 4: {1: 2 / 3, -1: -2 / 3, 2: -1 / 12, -2: 1 / 12}}


class FiniteDifference:
    """Central differences of the token losses along v.

    Two points give ``S_bt = (l_bt(θ+εv) - l_bt(θ-εv)) / 2ε``, with an error in ε²; four points
    combine the steps ε and 2ε so that the error is in ε⁴ (Richardson). ``step`` is the size of the
    perturbation, ``‖εv‖``, as a share of the norm of the tracked weights. One copy of the tracked
    weights is kept and moved from point to point; it shares all other weights with the model.
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
        self.epsilon = step * _norm([w.parameter for w in tracked]) / norm
        self.stencil = STENCILS[points]
        moved = _copied(model, tracked)
        self.readout = readout_of(moved)
        self.sources = [
            (target.parameter, source.parameter, _wide(source, direction[source.name]))
            for target, source in zip(find_tracked(moved), tracked, strict=True)
        ]

    @torch.inference_mode()
    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Score a batch of blocks."""
        terms = []
        for multiple, factor in self.stencil.items():
            self._move(multiple * self.epsilon)
            terms.append(factor / self.epsilon * in_pieces(self._losses, tokens_BT))
        return torch.stack(terms).sum(0)

    def _move(self, epsilon: float) -> None:
        """Set the copy's tracked weights to θ + εv, rounded once."""
        for target, source, step in self.sources:
            torch.add(source, step, alpha=epsilon, out=target)

    def _losses(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return self.readout.losses(self.readout.states(tokens_BT), tokens_BT)


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


def _copied(model: nn.Module, tracked: Sequence[TrackedWeight]) -> nn.Module:
    """Return a model with tracked weights of its own and all else shared."""
    own = {id(w.parameter) for w in tracked}
    shared = {id(p): p for p in [*model.parameters(), *model.buffers()] if id(p) not in own}
    return copy.deepcopy(model, shared).eval()


def _wide(weight: TrackedWeight, step: Float[Tensor, "out in"]) -> Tensor:
    """Return a step in the module's layout, in at least float32, where the weight lies."""
    dtype = torch.promote_types(weight.parameter.dtype, torch.float32)
    return weight.oriented(step).to(weight.parameter.device, dtype)


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(sum(t.detach().double().square().sum() for t in tensors)) ** 0.5


def _spearman(a: Tensor, b: Tensor) -> float:
    ranks = [x[:, 1:].flatten().argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
