"""Batches of sequences of different lengths, with the mask of tokens not to learn beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ifguide.errors import InputError

NO_LOSS = -100  # the label of a token without a loss


@dataclass(frozen=True)
class SuppressionCollator:
    """Lays sequences out as ``SuppressionTrainer`` reads them.

    An example has ``input_ids``, [n], and may have ``suppress``, [n] (by default nothing), and
    ``labels``, [n] (by default the ids). Any sequence of whole numbers or booleans will do.

    Args:
        pad: the token that fills what is left of a row; it never has a loss.
        layout: ``right`` or ``left``: a row a sequence, padded on that side, with
            ``attention_mask`` and, on the left, ``position_ids`` that start at each sequence's
            first token. ``flat``: padding-free, one row of all sequences, whose ``position_ids``
            start anew with each; it has no attention mask.
    """

    pad: int
    layout: Literal["right", "left", "flat"] = "right"

    def __call__(
        self, examples: Sequence[Mapping[str, Sequence[int] | Tensor]]
    ) -> dict[str, Tensor]:
        """Return a batch.

        Raises:
            InputError: the mask or the labels of an example are not as long as its tokens.
        """
        rows = [_columns(example) for example in examples]
        fills = {"input_ids": self.pad, "labels": NO_LOSS, "suppress": 0}
        if self.layout == "flat":
            batch = {name: torch.cat([row[name] for row in rows])[None] for name in fills}
            places = [torch.arange(len(row["input_ids"])) for row in rows]
            return {**batch, "position_ids": torch.cat(places)[None]}
        for row in rows:
            row["attention_mask"] = torch.ones_like(row["input_ids"])
        batch = {
            name: pad_sequence([row[name] for row in rows], True, fill, self.layout)
            for name, fill in {**fills, "attention_mask": 0}.items()
        }
        if self.layout == "left":
            batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
        return batch


def _columns(example: Mapping[str, Sequence[int] | Tensor]) -> dict[str, Tensor]:
    tokens = torch.as_tensor(example["input_ids"]).long()
    labels = torch.as_tensor(example.get("labels", tokens)).long()
    suppress = torch.as_tensor(example.get("suppress", torch.zeros(len(tokens)))).bool()
    for name, column in {"labels": labels, "suppress": suppress}.items():
        if column.shape != tokens.shape:
            raise InputError(
                f"{name}: an example has {len(column)} of them for {len(tokens)} tokens; give one "
                "a token"
            )
    return {"input_ids": tokens, "labels": labels, "suppress": suppress}


def predicted_tokens(batch: Mapping[str, Tensor]) -> Bool[Tensor, "B T"]:
    """Return which tokens of a batch have a loss: a label, and a token of their own before them.

    What stands in column 0, at a padded place or behind one, or where ``position_ids`` do not go
    on by one (the beginning of another sequence in the same row) is predicted by nothing.

    Args:
        batch: ``labels`` and, where there are any, ``attention_mask`` and ``position_ids``, each
            [B, T]; a mask of another shape says nothing here, and one row of positions is that of
            all rows.
    """
    labels = batch["labels"]
    predicted = labels != NO_LOSS
    predicted[:, 0] = False
    mask, places = batch.get("attention_mask"), batch.get("position_ids")
    if mask is not None and mask.shape == labels.shape:
        predicted &= mask.bool()
        predicted[:, 1:] &= mask[:, :-1].bool()
    if places is not None and places.ndim == 2:
        predicted[:, 1:] &= places[:, 1:] == places[:, :-1] + 1
    return predicted
