"""Engine ``position``: what enters the sequence gradient through each input position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.chunks import in_chunks
from ifguide.influence.engines.engine import Prepared, ScoreEngine, WeightDirection
from ifguide.models.hooks import observed
from ifguide.models.readout import next_tokens, readout_of
from ifguide.models.sharded import gathered, reshard, sharded_like
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
        direction: WeightDirection,
    ) -> None:
        self.model = model
        self.readout = readout_of(model)
        self.tracked = tracked
        reshard(model)
        self.direction = {
            w.name: sharded_like(w.parameter, w.oriented(direction[w.name])) for w in tracked
        }

    def __call__(
        self, tokens_BT: Int[Tensor, "B T"], counted_BT: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Score a batch of blocks; the loss is summed over ``counted`` tokens."""
        return in_chunks(self._shares, tokens_BT, counted_BT)

    def _shares(self, tokens_BT: Tensor, counted_BT: Tensor) -> Float[Tensor, "B T"]:
        share = torch.zeros(
            tokens_BT.shape, dtype=self.tracked[0].parameter.dtype, device=tokens_BT.device
        )

        def consume(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
            along = weight.oriented(gathered(self.direction[weight.name]))
            share.add_(((a_BTI @ along.T) * d_BTO).sum(-1))

        with observed(self.model, self.tracked, consume), torch.enable_grad():
            states = self.readout.states(tokens_BT)
            gradients = self.readout.gradients(states.detach(), next_tokens(tokens_BT))
            states.backward(gradients * F.pad(counted_BT[:, 1:], (0, 1))[..., None])
        return F.pad(share[:, :-1], (1, 0))


def prepare(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: WeightDirection,
    blocks_BT: Int[Tensor, "B T"] | None,
    config: ScoreConfig,
) -> Prepared:
    """Return the engine; it has no settings."""
    return ByPosition(model, tracked, direction), {"engine": POSITION.name}


POSITION = ScoreEngine("position", prepare)
