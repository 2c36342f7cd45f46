"""The model's plain token loss as a score, and the one pass over the corpus that controls share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of, forward_losses
from ifguide.nouns import Corpus, TokenScores

BATCH_TOKENS = 8192  # tokens a batch; results do not depend on it


def token_loss(
    model: nn.Module, corpus: Corpus, progress: Callable[[int], None] = lambda tokens: None
) -> TokenScores:
    """Score every token by its loss ``l_ij = -log Pr(x_ij | x_i,<j)`` in nats: surprise.

    Tokens without a loss hold 0. ``progress`` is called with the number of tokens just done.
    """
    values = over_blocks(model, corpus, lambda tokens: forward_losses(model, tokens), progress)
    return TokenScores(values, corpus, {"control": "loss"})


def loss_difference(
    safe: nn.Module,
    toxic: nn.Module,
    corpus: Corpus,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Score every token by ``l_ij(safe) - l_ij(toxic)``, in nats.

    Positive: the model that has learnt the toxic side of the queries finds the token likelier than
    the one that has learnt the safe side. So TOSS tells which tokens to leave out (Li et al. 2026,
    "Token-level Data Selection for Safe LLM Fine-tuning", arXiv 2603.01185), there by a model that
    has lost its safety and one that is tuned to be useful. Tokens without a loss hold 0.
    """
    by_safe, by_toxic = (
        np.asarray(token_loss(model, corpus, progress).values) for model in (safe, toxic)
    )
    return TokenScores(by_safe - by_toxic, corpus, {"control": "loss difference"})


@torch.no_grad()
def over_blocks(
    model: nn.Module,
    corpus: Corpus,
    compute: Callable[[Int[Tensor, "B T"]], Float[Tensor, "B T"]],
    progress: Callable[[int], None] = lambda tokens: None,
) -> Float[np.ndarray, "N T"]:
    """Return what ``compute`` makes of each batch of blocks, 0 for tokens without a loss.

    The model is in evaluation mode meanwhile.
    """
    blocks, length = corpus.tokens.shape
    values = np.zeros((blocks, length))
    size = max(1, BATCH_TOKENS // length)
    with evaluating(model):
        for first in range(0, blocks, size):
            batch = np.array(corpus.tokens[first : first + size])
            tokens = torch.as_tensor(batch, device=device_of(model)).long()
            values[first : first + size] = compute(tokens).double().cpu().numpy()
            progress(tokens.numel())
    return np.where(corpus.has_loss, values, 0.0)
