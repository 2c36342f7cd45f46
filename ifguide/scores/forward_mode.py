"""Engine ``jvp``: the exact directional derivative by forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.autograd.forward_ad as forward_ad
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ifguide.models.losses import token_losses
from ifguide.models.precision import full_precision
from ifguide.models.tracked import TrackedWeight


class ForwardMode:
    """``S_bt = d/dε l_bt(θ + ε v)`` at ε = 0, in one pass and without a backward.

    The pass carries dual numbers, so attention runs on the plain mathematical kernel, the one
    with a forward-mode rule.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: Mapping[str, Tensor],
    ) -> None:
        self.model = model
        self.tangents = {
            f"{w.name}.weight": (w.parameter, w.oriented(direction[w.name]).to(w.parameter))
            for w in tracked
        }

    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Score a batch of blocks."""
        exact = full_precision(self.model)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), exact, forward_ad.dual_level():
            duals = {
                name: forward_ad.make_dual(parameter.detach(), tangent)
                for name, (parameter, tangent) in self.tangents.items()
            }
            call = {"input_ids": tokens_BT, "use_cache": False}
            logits = functional_call(self.model, duals, kwargs=call).logits
            losses = token_losses(logits, tokens_BT)
            return forward_ad.unpack_dual(losses).tangent
