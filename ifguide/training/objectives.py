"""The training objective: learn the benign tokens, and do not learn the selected ones.

``l`` is a token's loss in nats and ``p = exp(-l)`` its probability. Every objective is a mean over
all tokens with a loss; they differ in what a *selected* token contributes, its term.

An objective of one's own is a module with a ``SuppressionTerm`` value and an entry point of the
group ``ifguide.objectives`` that names it; ``training.objective.kind`` then knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.chunked import Anchor, summed_over_tokens
from ifguide.models.losses import token_losses
from ifguide.training.config import OBJECTIVES, Objective

Term = Callable[..., Float[Tensor, "B n"]]
Given = TypeVar("Given")
See = Callable[[Float[Tensor, " n"], Bool[Tensor, " n"]], None]


@dataclass(frozen=True)
class SuppressionTerm:
    """What a token contributes to the loss when it is selected.

    Args:
        term: ``term(losses, logits, tokens, objective)`` returns it, [B, n], for n predicted
            tokens of each block: their losses [B, n] in nats, the logits [B, n, V] that predicted
            them, their ids [B, n], and the settings. It is given all tokens of a batch; what it
            returns for those that are not selected is never read.
        needs_logits: whether ``logits`` are handed over; otherwise they are None.
        needs_reference: whether the tokens' losses in the model that training starts from, [B, n],
            are handed over as a fifth argument.
        by_token: whether each token's term depends on its own losses and id alone. Then training
            takes the loss in chunks of tokens, and never holds all logits.
    """

    term: Term
    needs_logits: bool = False
    needs_reference: bool = False
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


def _npo(
    losses: Tensor, logits: Tensor | None, tokens: Tensor, objective: Objective, reference: Tensor
) -> Tensor:
    beta = objective.beta
    return objective.weight * 2 / beta * F.softplus(beta * (reference.to(losses) - losses))


PENALTY = SuppressionTerm(_penalty, by_token=True)
CLAMPED = SuppressionTerm(_clamped, by_token=True)
UNLIKELIHOOD = SuppressionTerm(_unlikelihood, by_token=True)
MASKING = SuppressionTerm(_masking, by_token=True)
NPO = SuppressionTerm(_npo, needs_reference=True, by_token=True)


def suppression_loss(
    logits: Float[Tensor, "B T V"],
    tokens: Int[Tensor, "B T"],
    suppress: Bool[Tensor, "B T"],
    has_loss: Bool[Tensor, "B T"],
    objective: Objective,
    count: Tensor | int | None = None,
    reference: Float[Tensor, "B T"] | None = None,
    *,
    reference_logits: Float[Tensor, "B T V"] | None = None,
    see: See | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over tokens of ``l`` for benign and the objective's term for selected ones.

    With ``objective.kl`` a benign token also contributes that much of ``KL(p₀ || p)``, of the
    predictions of the model that training starts from and of this one.

    Args:
        logits: the model's outputs; position t predicts token t + 1.
        tokens: the token ids.
        suppress: the mask, on the axis of the predicted token: no shift is needed.
        has_loss: which tokens count; column 0 never does.
        objective: what selected tokens contribute.
        count: the number to divide by, where the mean runs over more than this batch.
        reference: the tokens' losses in the model that training starts from, where the objective
            needs them.
        reference_logits: that model's outputs, where the objective has ``kl``.
        see: is given the counted tokens' losses, [n], without gradients, and which are selected.

    Raises:
        InputError: no objective has this name, or it needs a reference and there is none.
    """
    losses = token_losses(logits, tokens)
    chosen: SuppressionTerm = OBJECTIVES.get(objective.kind, "training.objective.kind")
    given = _reference(chosen, reference)
    predicting = logits[:, :-1] if chosen.needs_logits else None
    before = [] if given is None else [given[:, 1:]]
    selected = chosen.term(losses[:, 1:], predicting, tokens[:, 1:], objective, *before)
    counted = has_loss.clone()
    counted[:, 0] = False
    benign = losses
    if objective.kl is not None:
        benign = losses + objective.kl * _divergences(logits, reference_logits)
    if see is not None:
        see(losses.detach()[counted], suppress[counted])
    terms = torch.where(suppress, F.pad(selected, (1, 0)), benign)
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
    reference: Float[Tensor, "B T"] | None = None,
    *,
    start: tuple[Float[Tensor, "B T e"], nn.Linear] | None = None,
    see: See | None = None,
) -> Float[Tensor, ""]:
    """Return ``suppression_loss`` of the logits that ``head`` makes of ``states``, in chunks.

    The objective's term must be ``by_token``. ``start`` holds the states and the head of the model
    that training starts from, where the objective has ``kl``; everything else is as there.
    """
    chosen: SuppressionTerm = OBJECTIVES.get(objective.kind, "training.objective.kind")
    counted = has_loss[:, 1:]
    labels, selected = tokens[:, 1:][counted].long(), suppress[:, 1:][counted]
    given = _reference(chosen, reference)
    before = [] if given is None else [given[:, 1:][counted]]

    def weigh(losses: Tensor, rows: Tensor) -> Tensor:
        there = [values[rows][None] for values in before]
        terms = chosen.term(losses[None], None, labels[rows][None], objective, *there)[0]
        if see is not None:
            see(losses.detach(), selected[rows])
        return torch.where(selected[rows], terms, losses)

    anchor = None
    if objective.kl is not None:
        before_states, before_head = _given(start)
        weights = objective.kl * (~selected).to(states.dtype)
        anchor = Anchor(before_states[:, :-1][counted], before_head, weights)
    total = summed_over_tokens(states[:, :-1][counted], head, labels, weigh, anchor)
    return total / torch.as_tensor(len(labels) if count is None else count).clamp(min=1)


def _divergences(logits: Tensor, before: Tensor | None) -> Tensor:
    """Return ``KL(p₀ || p)`` in nats of what predicts each token, [B, T]; column 0 is 0."""
    kind = torch.promote_types(logits.dtype, torch.float32)
    log_p = logits[:, :-1].to(kind).log_softmax(-1)
    log_before = _given(before)[:, :-1].detach().to(kind).log_softmax(-1)
    return F.pad((log_before.exp() * (log_before - log_p)).sum(-1), (1, 0))


def _given(of_start: Given | None) -> Given:
    """Return what the start makes of a batch, which ``kl`` cannot do without."""
    if of_start is None:
        raise InputError(
            "training.objective.kl: it compares with the model that training starts from; give "
            "what that model makes of the batch"
        )
    return of_start


def _reference(chosen: SuppressionTerm, reference: Tensor | None) -> Tensor | None:
    """Return the reference's losses if the term needs them."""
    if not chosen.needs_reference:
        return None
    if reference is None:
        raise InputError(
            "training.objective.kind: it compares with the model that training starts from; give "
            "the batch that model's losses as 'reference'"
        )
    return reference
