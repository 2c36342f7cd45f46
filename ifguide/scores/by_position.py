"""Engine ``position``: what enters the sequence gradient through each input position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.models.hooks import observed
from ifguide.models.losses import forward_losses
from ifguide.models.tracked import TrackedWeight


class ByPosition:
    """``P_bt = sum_W δ_btᵀ V_W a_bt``, one forward and one backward through the activations.

    This is the decomposition that Kronfluence's per-token scores compute and the IF-Guide authors
    select by. It belongs to the input position t: it holds the share of *every later* token's
    loss that flows through position t, so its tokens are not the own-loss scores, although its
    sum over a block is the same. Position t predicts token t + 1, and there it is reported; the
    last position predicts nothing and its share is 0.
    """

    def __init__(
        self,
        model: nn.Module,
        tracked: Sequence[TrackedWeight],
        direction: Mapping[str, Tensor],
    ) -> None:
        self.model = model
        self.tracked = tracked
        self.direction = {w.name: direction[w.name].to(w.parameter) for w in tracked}

    def __call__(
        self, tokens_BT: Int[Tensor, "B T"], counted_BT: Tensor | None = None
    ) -> Float[Tensor, "B T"]:
        """Score a batch of blocks; the loss is summed over ``counted`` tokens (all, if None)."""
        share = torch.zeros(
            tokens_BT.shape, dtype=self.tracked[0].parameter.dtype, device=tokens_BT.device
        )

        def consume(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
            share.add_(((a_BTI @ self.direction[weight.name].T) * d_BTO).sum(-1))

        with observed(self.model, self.tracked, consume):
            with torch.enable_grad():
                losses = forward_losses(self.model, tokens_BT)
            if counted_BT is not None:
                losses = losses * counted_BT
            losses.sum().backward()
        return F.pad(share[:, :-1], (1, 0))
