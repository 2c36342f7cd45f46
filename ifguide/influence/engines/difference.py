"""Engine ``difference``: plain forward passes at θ + εv and θ - εv, up to the LM head."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.influence.agreement import spearman
from ifguide.influence.engines.chunks import in_pieces
from ifguide.influence.engines.jvp import ForwardMode
from ifguide.models.precision import is_half
from ifguide.models.readout import readout_of
from ifguide.models.sharded import is_sharded, norm, reshard, shard_of, sharded_like
from ifguide.models.tracked import TrackedWeight, find_tracked

RELATIVE_STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
USEFUL = 0.9  # Spearman with the exact derivative below which a step says nothing of smaller ones
# by number of points: multiple of the step -> its weight in the derivative and in the value at θ
STENCILS = {
    2: {1: (1 / 2, 1 / 2), -1: (-1 / 2, 1 / 2)},
    4: {1: (2 / 3, 2 / 3), -1: (-2 / 3, 2 / 3), 2: (-1 / 12, -1 / 6), -2: (1 / 12, -1 / 6)},
}


class FiniteDifference:
    """Central differences along v of the states that the LM head reads, and the head's derivative.

    The head is not among the tracked weights, so that what follows it needs no finite step: with
    h the last states, ``S_bt = dl_bt/dh_bt . dh_bt/dθ v``, and only the second factor is a
    difference. Two points give ``(h(θ+εv) - h(θ-εv)) / 2ε``, with an error in ε²; four points
    combine the steps ε and 2ε so that the error is in ε⁴ (Richardson). The first factor is taken
    at the points' estimate of h(θ), to the same order. ``step`` is the size of the perturbation,
    ``‖εv‖``, as a share of the norm of the tracked weights. One copy of the tracked weights is kept
    and moved from point to point; it shares all other weights with the model. Two points are each
    other's mirror image at θ, ``w -> 2θ - w``, so that v itself is not kept. A sharded model cannot
    be copied: there each rank moves its own shards, and puts them back after every batch.

    ``autocast`` multiplies in bfloat16, in the blocks and the head of a float32 model.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: Mapping[str, Tensor],
        step: float,
        points: int = 2,
        *,
        autocast: bool = False,
    ) -> None:
        self.model, self.autocast, self.stencil = model, autocast, STENCILS[points]
        self.sharded = is_sharded(model)
        reshard(model)
        length = norm([direction[w.name] for w in tracked])
        self.epsilon = step * norm([w.parameter for w in tracked]) / length
        moved = model if self.sharded else _copied(model, tracked)
        self.weights = [
            (shard_of(target.parameter), self._source(source))
            for target, source in zip(find_tracked(moved), tracked, strict=True)
        ]
        self.steps = [_wide(weight, direction) for weight in tracked]
        self.readout, self.mirrored, self.side = readout_of(moved), points == 2, 0
        if self.mirrored and not self.sharded:
            with torch.no_grad():
                self._place(1)
            self.steps = []

    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Score a batch of blocks."""
        with torch.no_grad() if self.sharded else torch.inference_mode():
            try:
                return in_pieces(self._scores, tokens_BT)
            finally:
                if self.sharded:
                    self._place(0)

    def _scores(self, tokens_BT: Tensor) -> Float[Tensor, "B T"]:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16, enabled=self.autocast):
            nearest_first = sorted(self.stencil, key=lambda multiple: multiple != self.side)
            found = {multiple: self._states_at(multiple, tokens_BT) for multiple in nearest_first}
            points = [found[multiple] for multiple in self.stencil]
            of_change, of_state = zip(*self.stencil.values(), strict=True)
            changes, states = _combined(points, of_change), _combined(points, of_state)
            return self.readout.derivatives(states, changes, tokens_BT) / self.epsilon

    def _states_at(self, multiple: int, tokens_BT: Tensor) -> Float[Tensor, "B T d"]:
        self._place(multiple)
        states = self.readout.states(tokens_BT)
        return states.to(torch.promote_types(states.dtype, torch.float32))

    def _source(self, weight: TrackedWeight) -> Tensor:
        shard = shard_of(weight.parameter)
        return shard.clone() if self.sharded else shard

    def _place(self, multiple: int) -> None:
        """Set the moved weights to θ + multiple εv, rounded once, or to their mirror image."""
        if self.sharded:
            reshard(self.model)  # what is gathered already would not move along
        if self.mirrored and multiple == -self.side != 0:
            self._mirror()
        elif multiple != self.side or not multiple:
            for (target, source), step in zip(self.weights, self.steps, strict=True):
                torch.add(source, step, alpha=multiple * self.epsilon, out=target)
            if self.mirrored and multiple:
                self._mirror()  # there and back: from now on each is exactly the other's image
                self._mirror()
        self.side = multiple

    def _mirror(self) -> None:
        """Set the moved weights w to 2θ - w."""
        for target, source in self.weights:
            target.neg_().add_(source, alpha=2)


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
    *,
    steps: Sequence[float] = RELATIVE_STEPS,
    autocast: bool = False,
) -> Calibration:
    """Try finite steps on a probe batch and return the one nearest to the exact derivative.

    They are tried from the first, which is to be the largest, until two in succession are worse
    than the best one, if that is of any use: rounding grows as the steps shrink. In half precision,
    of the weights or by ``autocast``, they are compared with the exact derivative of the float32
    model, by rank; otherwise by the error of the block sums.

    Raises:
        InputError: a half-precision model is sharded, so that it has no float32 copy.
    """
    half = is_half(model)
    if half and is_sharded(model):
        raise InputError(
            "scores.engine: difference has no float32 copy of a sharded half-precision model to "
            "be calibrated against; give scores.step (0.03, say), or use jvp"
        )
    exact = copy.deepcopy(model).float() if half else model
    expected = ForwardMode(exact, find_tracked(exact), direction)(probe_BT).double()
    best, tried = Calibration(steps[0], points, float("inf"), 0.0), []

    def worse(found: Calibration) -> float:
        return -found.spearman if half or autocast else found.sum_error

    for step in steps:
        engine = FiniteDifference(model, tracked, direction, step, points, autocast=autocast)
        scores = engine(probe_BT).double()
        error = (scores - expected).sum(1).abs().max() / expected.sum(1).abs().max()
        if torch.isfinite(error):
            ranks = spearman(*(x[:, 1:].flatten().cpu().numpy() for x in (scores, expected)))
            tried.append(Calibration(step, points, error.item(), ranks))
        best = min(tried, key=worse, default=best)
        if best.spearman > USEFUL and best not in tried[-2:]:
            break
    return best


def _combined(tensors: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    total = torch.zeros(())
    for tensor, factor in zip(tensors, factors, strict=True):
        total = torch.add(total, tensor, alpha=factor)
    return total


def _copied(model: nn.Module, tracked: Sequence[TrackedWeight]) -> nn.Module:
    """Return a model with tracked weights of its own and all else shared."""
    own = {id(w.parameter) for w in tracked}
    shared = {id(p): p for p in [*model.parameters(), *model.buffers()] if id(p) not in own}
    return copy.deepcopy(model, shared).eval()


def _wide(weight: TrackedWeight, direction: Mapping[str, Tensor]) -> Tensor:
    """Return v in the module's layout and place, in at least float32."""
    dtype = torch.promote_types(weight.parameter.dtype, torch.float32)
    along = weight.oriented(direction[weight.name])
    return shard_of(sharded_like(weight.parameter, along, dtype))
