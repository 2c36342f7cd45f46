"""The training objective: learn the benign tokens, and do not learn the selected ones.

``l`` is a token's loss in nats and ``p = exp(-l)`` its probability. Every objective is a mean over
all tokens with a loss; they differ in what a *selected* token contributes, its term.

An objective of one's own is a module with a ``SuppressionTerm`` value and an entry point of the
group ``ifguide.objectives`` that names it; ``training.objective.kind`` then knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.models.chunked import summed_over_tokens
from ifguide.models.losses import token_losses
from ifguide.training.config import OBJECTIVES, Objective

Term = Callable[
    [
        Float[Tensor, "B n"],
        Float[Tensor, "B n V"] | None,
        Int[Tensor, "B n"],
        Objective,
    ],
    Float[Tensor, "B n"],
]


@dataclass(frozen=True)
class SuppressionTerm:
    """What a token contributes to the loss when it is selected.

    Args:
        term: ``term(losses, logits, tokens, objective)`` returns it, [B, n], for n predicted
            tokens of each block: their losses [B, n] in nats, the logits [B, n, V] that predicted
            them, their ids [B, n], and the settings. It is given all tokens of a batch; what it
            returns for those that are not selected is never read.
        needs_logits: whether ``logits`` are handed over; otherwise they are None.
        by_token: whether each token's term depends on its own loss and id alone. Then training
            takes the loss in chunks of tokens, and never holds all logits.
    """

    term: Term
    needs_logits: bool = False
    by_token: bool = False


def _penalty(losses: Tensor, logits: Tensor | None, tokens: Tensor, objective: Objective) -> Tensor:
    return -objective.weight * losses


def _clamped(losses: Tensor, logits: Tensor | None, tokens: Tensor, objective: Objective) -> Tensor:
    return -objective.weight * losses.clamp(max=objective.ceiling)


def _unlikelihood(
    losses: Tensor, logits: Tensor | None, tokens: Tensor, objective: Objective
) -> Tensor:
    smallest = torch.finfo(losses.dtype).eps
    return -objective.weight * torch.log((-torch.expm1(-losses)).clamp(min=smallest))


def _masking(losses: Tensor, logits: Tensor | None, tokens: Tensor, objective: Objective) -> Tensor:
    return torch.zeros_like(losses)


PENALTY = SuppressionTerm(_penalty, by_token=True)
CLAMPED = SuppressionTerm(_clamped, by_token=True)
UNLIKELIHOOD = SuppressionTerm(_unlikelihood, by_token=True)
MASKING = SuppressionTerm(_masking, by_token=True)


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

    Raises:
        InputError: no objective has this name.
    """
    losses = token_losses(logits, tokens)
    chosen: SuppressionTerm = OBJECTIVES.get(objective.kind, "training.objective.kind")
    predicting = logits[:, :-1] if chosen.needs_logits else None
    selected = chosen.term(losses[:, 1:], predicting, tokens[:, 1:], objective)
    counted = has_loss.clone()
    counted[:, 0] = False
    terms = torch.where(suppress, F.pad(selected, (1, 0)), losses)
    total = torch.where(counted, terms, 0.0).sum()
    return total / torch.as_tensor(counted.sum() if count is None else count).clamp(min=1)


def suppression_loss_of_states(
    states: Float[Tensor, "B T d"],
    head: nn.Linear,
    tokens: Int[Tensor, "B T"],
    suppress: Bool[Tensor, "B T"],
    has_loss: Bool[Tensor, "B T"],
    objective: Objective,
    count: Tensor | int | None = None,
) -> Float[Tensor, ""]:
    """Return ``suppression_loss`` of the logits that ``head`` makes of ``states``, in chunks.

    The objective's term must be ``by_token``; everything else is as there.
    """
    chosen: SuppressionTerm = OBJECTIVES.get(objective.kind, "training.objective.kind")
    counted = has_loss[:, 1:]
    labels, selected = tokens[:, 1:][counted].long(), suppress[:, 1:][counted]

    def weigh(losses: Tensor, rows: Tensor) -> Tensor:
        terms = chosen.term(losses[None], None, labels[rows][None], objective)[0]
        return torch.where(selected[rows], terms, losses)

    total = summed_over_tokens(states[:, :-1][counted], head, labels, weigh)
    return total / torch.as_tensor(len(labels) if count is None else count).clamp(min=1)
