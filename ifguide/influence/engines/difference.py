"""Engine ``difference``: plain forward passes at θ + εv and θ - εv, up to the LM head."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.influence.calibrate import choose_step
from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.chunks import in_chunks
from ifguide.influence.engines.engine import Engine, Prepared, ScoreEngine, WeightDirection
from ifguide.influence.engines.jvp import JVP, ForwardMode
from ifguide.models.precision import is_half
from ifguide.models.readout import readout_of
from ifguide.models.sharded import is_sharded, norm, reshard, shard_of, sharded_like
from ifguide.models.tracked import TrackedWeight, find_tracked

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
        direction: WeightDirection,
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

    def __call__(
        self, tokens_BT: Int[Tensor, "B T"], counted_BT: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Score a batch of blocks, every token by its own loss."""
        with torch.no_grad() if self.sharded else torch.inference_mode():
            try:
                return in_chunks(self._scores, tokens_BT)
            finally:
                if self.sharded:
                    self._place(0)

    def _scores(self, tokens_BT: Tensor) -> Float[Tensor, "B T"]:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16, enabled=self.autocast):
            nearest_first = sorted(self.stencil, key=lambda multiple: multiple != self.side)
            states_at = {m: self._states_at(m, tokens_BT) for m in nearest_first}
            points = [states_at[multiple] for multiple in self.stencil]
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


def prepare(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: WeightDirection,
    blocks_BT: Int[Tensor, "B T"] | None,
    config: ScoreConfig,
) -> Prepared:
    """Return ``difference`` at the step that is given or calibrated, else ``jvp``.

    ``jvp`` takes its place where no step meets its bound, and where the direction is 0.
    """
    if not any(v.any() for v in direction.values()):
        return ForwardMode(model, tracked, direction), {"engine": JVP.name}
    autocast = config.precision == "bfloat16"
    if autocast and tracked[0].parameter.dtype != torch.float32:
        raise InputError(
            "scores.precision: bfloat16 is for models of float32 weights; set model.dtype to "
            "float32, or leave it out"
        )

    def engine_at(step: float, points: int) -> Engine:
        return FiniteDifference(model, tracked, direction, step, points, autocast=autocast)

    uncalibrated = is_sharded(model) if is_half(model) else not autocast
    if config.step is not None and uncalibrated:
        return engine_at(config.step, 2), {"engine": DIFFERENCE.name, "step": config.step}
    assert blocks_BT is not None
    best, keep = choose_step(engine_at, model, direction, blocks_BT, config)
    if not keep:
        refused = {"engine": JVP.name, "refused_difference": asdict(best)}
        return ForwardMode(model, tracked, direction), refused
    described = {"engine": DIFFERENCE.name, "precision": config.precision, **asdict(best)}
    return engine_at(best.step, best.points), described


DIFFERENCE = ScoreEngine("difference", prepare, calibrated=True, precisions=("float32", "bfloat16"))


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


def _wide(weight: TrackedWeight, direction: WeightDirection) -> Tensor:
    """Return v in the module's layout and place, in at least float32."""
    dtype = torch.promote_types(weight.parameter.dtype, torch.float32)
    along = weight.oriented(direction[weight.name])
    return shard_of(sharded_like(weight.parameter, along, dtype))
