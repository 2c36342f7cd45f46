"""Whether a model reads a sequence alike wherever it stands in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.losses import embedding_of

TRIED = 4  # tokens of a sequence in the trial
BOUND = 1e-3  # of the largest logit, in float32; what is wrong is wrong by 1e-2 and more


def is_laid_out(batch: Mapping[str, Tensor]) -> bool:
    """Whether a sequence of a batch begins elsewhere than at the beginning of its row."""
    return _padded_left(batch) or _shares_rows(batch)


def check_layout(model: nn.Module, batch: Mapping[str, Tensor]) -> None:
    """Refuse padding on the left, or several sequences in a row, where the model minds them.

    Some families count positions from the padding on, or look from one sequence into another, and
    go on without a word. So a few tokens are tried both ways.

    Args:
        model: a causal language model.
        batch: what it is going to be called with, by name. A mask of four dimensions says by
            itself what sees what.

    Raises:
        InputError: what it makes of a sequence depends on where it stands.
    """
    family = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    own = torch.arange(TRIED)
    if _padded_left(batch):
        call = {"attention_mask": torch.ones(2 * TRIED, dtype=torch.long)}
        call["attention_mask"][:TRIED] = 0
        if "position_ids" in batch:
            call["position_ids"] = torch.cat([torch.zeros_like(own), own])
        if _differs(model, call):
            raise InputError(
                f"batch: {family} minds padding on the left as it is given; pad on the right"
            )
    if _shares_rows(batch):
        call = {"position_ids": own.repeat(2)}
        if "attention_mask" in batch:
            call["attention_mask"] = torch.ones(2 * TRIED, dtype=torch.long)
        if _differs(model, call):
            without = " without an attention mask" if "attention_mask" in batch else ""
            raise InputError(
                f"batch: {family} looks from one sequence of a row into another; give the rows"
                f"{without or ' one sequence each'}"
            )


def _padded_left(batch: Mapping[str, Tensor]) -> bool:
    mask = batch.get("attention_mask")
    return mask is not None and mask.ndim == 2 and not bool(mask[:, 0].all())


def _shares_rows(batch: Mapping[str, Tensor]) -> bool:
    """Whether positions start anew between two tokens that are both seen."""
    places, mask = batch.get("position_ids"), batch.get("attention_mask")
    if places is None or places.ndim != 2 or (mask is not None and mask.ndim != 2):
        return False
    anew = places[:, 1:] != places[:, :-1] + 1
    return bool((anew if mask is None else anew & (mask[:, 1:] * mask[:, :-1]).bool()).any())


@torch.no_grad()
def _differs(model: Any, call: Mapping[str, Tensor]) -> bool:
    """Whether the second half of a row has other logits than alone."""
    weight = embedding_of(model).weight
    row = (torch.arange(2 * TRIED) % len(weight)).to(weight.device)[None]
    beside = {name: value.to(weight.device)[None] for name, value in call.items()}
    with evaluating(model):
        found = model(input_ids=row, use_cache=False, **beside).logits[:, TRIED:].float()
        alone = model(input_ids=row[:, TRIED:], use_cache=False).logits.float()
    bound = max(BOUND, 16 * torch.finfo(weight.dtype).eps)
    return bool((found - alone).abs().max() > bound * alone.abs().max())
