"""The training objective: learn the benign tokens, and do not learn the selected ones.

``l`` is a token's loss in nats and ``p = exp(-l)`` its probability. Every objective is a mean over
all tokens with a loss; they differ in what a *selected* token contributes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ifguide.errors import InputError
from ifguide.models.losses import token_losses


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a selected token contributes to the loss.

    Args:
        kind: ``penalty``: ``-λ l`` (paper Eq. 9), unbounded below. ``clamped``: ``-λ min(l,
            ceiling)``, so a token whose loss has reached the ceiling is pushed no further.
            ``unlikelihood``: ``-λ log(1 - p)`` (Welleck et al. 2020), bounded below by 0.
            ``masking``: 0, the token is left out.
        weight: λ.
        ceiling: the clamped penalty's ceiling on a token's loss, in nats.
        ramp: λ rises in a line from 0 over this share of all updates, and stays; 0 has no rise.
    """

    kind: Literal["penalty", "clamped", "unlikelihood", "masking"] = "penalty"
    weight: float = 1.0
    ceiling: float = 12.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InputError(f"training.objective.weight: {self.weight} is below 0; try 1.0")
        if not self.ceiling > 0:
            raise InputError(f"training.objective.ceiling: {self.ceiling} is not above 0; try 12")
        if not 0 <= self.ramp <= 1:
            raise InputError(f"training.objective.ramp: {self.ramp} is not in [0, 1]; 0 is none")

    def at(self, done: float) -> Objective:
        """Return the objective as it is after a share ``done`` in [0, 1] of all updates."""
        if done >= self.ramp:
            return self
        return replace(self, weight=self.weight * done / self.ramp)


def selected_term(losses: Float[Tensor, "*shape"], objective: Objective) -> Float[Tensor, "*shape"]:
    """Return what tokens with these losses contribute when they are selected."""
    match objective.kind:
        case "penalty":
            return -objective.weight * losses
        case "clamped":
            return -objective.weight * losses.clamp(max=objective.ceiling)
        case "unlikelihood":
            smallest = torch.finfo(losses.dtype).eps
            return -objective.weight * torch.log((-torch.expm1(-losses)).clamp(min=smallest))
        case "masking":
            return torch.zeros_like(losses)


def suppression_loss(
    logits: Float[Tensor, "B T V"],
    tokens: Int[Tensor, "B T"],
    suppress: Bool[Tensor, "B T"],
    has_loss: Bool[Tensor, "B T"],
    objective: Objective,
    count: Tensor | int | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over tokens of ``l`` for benign and the objective's term for selected ones.

    Args:
        logits: the model's outputs; position t predicts token t + 1.
        tokens: the token ids.
        suppress: the mask, on the axis of the predicted token: no shift is needed.
        has_loss: which tokens count; column 0 never does.
        objective: what selected tokens contribute.
        count: the number to divide by, where the mean runs over more than this batch.
    """
    losses = token_losses(logits, tokens)
    counted = has_loss.clone()
    counted[:, 0] = False
    terms = torch.where(suppress, selected_term(losses, objective), losses)
    total = torch.where(counted, terms, 0.0).sum()
    return total / torch.as_tensor(counted.sum() if count is None else count).clamp(min=1)
