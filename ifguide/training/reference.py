"""What the model that training starts from makes of tokens, for objectives that compare with it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.readout import head_as, itself, readout_of
from ifguide.models.sharded import is_sharded
from ifguide.nouns import Selection


@dataclass(frozen=True, eq=False)
class Start:
    """A frozen copy of the model that training starts from; it is in evaluation mode.

    ``head`` is the copy's LM head, where the loss is taken from what enters it.
    """

    model: nn.Module
    head: nn.Linear | None

    @classmethod
    def of(cls, model: nn.Module, head: nn.Linear | None) -> Start:
        """Copy a model as it is now; ``head`` is its own.

        Raises:
            InputError: the model lies in shards.
        """
        if is_sharded(model):
            raise InputError(
                "training.objective.kl: the model lies in shards, and the start of its training "
                "cannot be kept beside it; leave kl out"
            )
        kept: Any = copy.deepcopy(model).eval().requires_grad_(False)
        return cls(kept, None if head is None else kept.get_output_embeddings())

    @torch.no_grad()
    def logits(self, call: Mapping[str, Tensor]) -> Float[Tensor, "B T V"]:
        """Return its logits; ``call`` is what the model is called with, by name."""
        return self.model(**call, use_cache=False).logits

    def states(self, call: Mapping[str, Tensor]) -> tuple[Float[Tensor, "B T d"], nn.Linear]:
        """Return what enters its head, and the head, where there is one."""
        if self.head is None:
            raise TypeError("the start has no head whose inputs could be told")
        with head_as(self.head, itself):
            return self.logits(call), self.head


@torch.no_grad()
def reference_losses(
    model: nn.Module, selection: Selection, batch_size: int
) -> Float[np.ndarray, "N T"]:
    """Return the model's token losses in nats, 0 throughout blocks without a selected token.

    Cost: one forward pass over the blocks with a selected token.

    Args:
        model: a causal language model; it is put back in the mode it was in.
        selection: the tokens to suppress, with their corpus of N blocks.
        batch_size: blocks at a time.
    """
    tokens, device = selection.corpus.tokens, device_of(model)
    found = np.zeros(tokens.shape, np.float64 if _is_double(model) else np.float32)
    asked = np.flatnonzero(np.asarray(selection.suppress).any(axis=1))
    with evaluating(model):
        readout = readout_of(model)
        for start in range(0, len(asked), batch_size):
            blocks = asked[start : start + batch_size]
            batch = torch.from_numpy(np.array(tokens[blocks], dtype=np.int64)).to(device)
            found[blocks] = readout.losses(readout.states(batch), batch).cpu().numpy()
    return found


def _is_double(model: nn.Module) -> bool:
    return next(model.parameters()).dtype == torch.float64
