"""The training objective: learn the benign tokens, and do not learn the selected ones.

``l`` is a token's loss in nats and ``p = exp(-l)`` its probability. Every objective is a mean over
all tokens with a loss; they differ in what a *selected* token contributes.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ifguide.models.losses import token_losses
from ifguide.training.config import Objective


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
