"""What the model that training starts from makes of the tokens that it should not learn."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.readout import readout_of
from ifguide.nouns import Selection


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
