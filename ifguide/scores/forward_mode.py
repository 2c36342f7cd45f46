"""Engine ``jvp``: the exact directional derivative by forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ifguide.models.readout import next_tokens, readout_of
from ifguide.models.tracked import TrackedWeight
from ifguide.scores.dual_rules import DualRules
from ifguide.scores.pieces import in_pieces


class ForwardMode:
    """``S_bt = d/dε l_bt(θ + ε v)`` at ε = 0, in one pass and without a backward.

    The pass carries dual numbers (h, ḣ) up to the last states; there a token's score is
    ``dl_bt/dh_bt · ḣ_bt``, so that the logits need no derivatives of their own.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: Mapping[str, Tensor],
    ) -> None:
        self.readout = readout_of(model)
        self.tangents = {
            f"{w.name}.weight": (w.parameter, w.oriented(direction[w.name]).to(w.parameter))
            for w in tracked
        }

    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Score a batch of blocks."""
        return in_pieces(self._scores, tokens_BT)

    @torch.no_grad()
    def _scores(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), DualRules():
            duals = {
                name: forward_ad.make_dual(parameter.detach(), tangent)
                for name, (parameter, tangent) in self.tangents.items()
            }
            states, moved = forward_ad.unpack_dual(self.readout.states(tokens_BT, duals))
        gradients = self.readout.gradients(states, next_tokens(tokens_BT))
        return F.pad((gradients * moved).sum(-1)[:, :-1], (1, 0))
