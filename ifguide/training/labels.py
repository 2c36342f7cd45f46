"""The mask within the labels, for trainers that hand a loss nothing but logits and labels.

A selected token v is labelled ``-101 - v``, which is below every other label: what such trainers do
with labels (padding with -100, packing, counting those that are not -100) leaves it alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ifguide.training.collate import NO_LOSS
from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss


def signed_labels(
    labels: Int[Tensor, "*batch T"], suppress: Bool[Tensor, "*batch T"]
) -> Int[Tensor, "*batch T"]:
    """Return labels that carry the mask; the first of each row, which nothing predicts, has none.

    Args:
        labels: token ids, -100 where there is no loss.
        suppress: the tokens not to learn, on the axis of the predicted token.

    >>> signed_labels(torch.tensor([5, 6, 7, -100]), torch.tensor([False, True, False, True]))
    tensor([-100, -107,    7, -100])
    """
    marked = torch.where(suppress & (labels != NO_LOSS), NO_LOSS - 1 - labels, labels)
    marked[..., 0] = NO_LOSS
    return marked


def suppression_loss_of_labels(
    logits: Float[Tensor, "*batch T V"],
    labels: Int[Tensor, "*batch T"],
    objective: Objective,
    count: Tensor | int | None = None,
    shifted: bool = False,
) -> Float[Tensor, ""]:
    """Return ``suppression_loss`` by labels that ``signed_labels`` has made.

    Args:
        logits: the model's outputs.
        labels: the signed labels.
        objective: what selected tokens contribute.
        count: the number to divide by; by default that of the labels with a loss.
        shifted: whether ``labels[t]`` is what position t predicts, rather than token t itself.

    Raises:
        InputError: as ``suppression_loss``.
    """
    logits, labels = logits.reshape(-1, *logits.shape[-2:]), labels.reshape(-1, labels.shape[-1])
    if shifted:
        logits, labels = F.pad(logits, (0, 0, 0, 1)), F.pad(labels, (1, 0), value=NO_LOSS)
    suppress, has_loss = labels < NO_LOSS, labels != NO_LOSS
    tokens = torch.where(suppress, NO_LOSS - 1 - labels, labels).clamp(min=0)
    return suppression_loss(logits, tokens, suppress, has_loss, objective, count)
