"""Engine ``jvp``: the exact directional derivative by forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.chunks import in_chunks
from ifguide.influence.engines.dual_rules import DualRules
from ifguide.influence.engines.engine import Prepared, ScoreEngine, WeightDirection
from ifguide.models.hooks import changed_outputs
from ifguide.models.readout import next_tokens, readout_of
from ifguide.models.sharded import gathered, is_sharded, reshard, sharded_like
from ifguide.models.tracked import TrackedWeight


class ForwardMode:
    """``S_bt = d/dε l_bt(θ + ε v)`` at ε = 0, in one pass and without a backward.

    The pass carries dual numbers (h, ḣ) up to the last states; there a token's score is
    ``dl_bt/dh_bt · ḣ_bt``, so that the logits need no derivatives of their own. The weights of a
    sharded model are whole only inside its own pass, so there ``ẏ = W ẋ + V x`` is added up where
    each tracked weight's output leaves it; V is sharded as the weight is.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: WeightDirection,
    ) -> None:
        self.readout, self.tracked, self.sharded = readout_of(model), tracked, is_sharded(model)
        reshard(model)
        self.tangents = {
            w.name: sharded_like(w.parameter, w.oriented(direction[w.name])) for w in tracked
        }

    def __call__(
        self, tokens_BT: Int[Tensor, "B T"], counted_BT: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Score a batch of blocks, every token by its own loss."""
        return in_chunks(self._scores, tokens_BT)

    @torch.no_grad()
    def _scores(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), DualRules():
            states, moved = forward_ad.unpack_dual(self._dual_states(tokens_BT))
        gradients = self.readout.gradients(states, next_tokens(tokens_BT))
        return F.pad((gradients * moved).sum(-1)[:, :-1], (1, 0))

    def _dual_states(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        if self.sharded:
            with changed_outputs(self.tracked, self._moved_output):
                return self.readout.states(tokens_BT)
        duals = {
            f"{w.name}.weight": forward_ad.make_dual(w.parameter.detach(), self.tangents[w.name])
            for w in self.tracked
        }
        return self.readout.states(tokens_BT, duals)

    def _moved_output(self, weight: TrackedWeight, x: Tensor, y: Tensor) -> Tensor:
        along = weight.oriented(gathered(self.tangents[weight.name]))
        x = forward_ad.unpack_dual(x).primal
        y, y_dot = forward_ad.unpack_dual(y)
        moved = F.linear(x, along.to(x.dtype)).to(y.dtype)
        return forward_ad.make_dual(y, moved if y_dot is None else y_dot + moved)


def prepare(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: WeightDirection,
    blocks_BT: Int[Tensor, "B T"] | None,
    config: ScoreConfig,
) -> Prepared:
    """Return the engine; it has no settings."""
    return ForwardMode(model, tracked, direction), {"engine": JVP.name}


JVP = ScoreEngine("jvp", prepare)
