"""Single swaps of a suffix's tokens: which ones the gradient proposes, and what each comes to.

Shape legend: m tokens of the suffix, T of the whole sequence, V the vocabulary, C suffixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.hooks import embeddings_as_leaf
from ifguide.models.losses import device_of, embedding_of, forward_logits, token_losses
from ifguide.models.readout import Readout


def swap_gradient(
    model: nn.Module, tokens: Int[Tensor, " T"], where: slice, target: int
) -> Float[Tensor, "m V"]:
    """Return the gradient of the loss of the last ``target`` tokens by one-hot tokens at ``where``.

    ``dl/do_iv = e_v . dl/dx_i``, where x_i is what the embedding puts out at position i and e_v
    what it would put out for token v; l is the mean over the target's tokens, in nats.
    """
    embedding = embedding_of(model)
    with embeddings_as_leaf(embedding) as seen, torch.enable_grad():
        losses = token_losses(forward_logits(model, tokens[None]), tokens[None])
    if len(seen) != 1:
        raise InputError(f"gcg: the model reads its token embedding {len(seen)} times, not once")
    (gradient,) = torch.autograd.grad(losses[0, -target:].mean(), seen)
    return gradient[0, where] @ _table(embedding).T


@torch.no_grad()
def _table(embedding: Any) -> Float[Tensor, "V d"]:
    """What the embedding puts out for every token; some families scale their weight."""
    if type(embedding) is nn.Embedding:
        return embedding.weight.detach()
    return embedding(torch.arange(len(embedding.weight), device=embedding.weight.device))


@final
class Search:
    """One target after one prompt: what a suffix between them comes to."""

    def __init__(
        self,
        readout: Readout,
        before: Sequence[int],
        target: Sequence[int],
        batch_size: int,
        progress: Callable[[int], None],
    ) -> None:
        self.readout, self.batch_size, self.progress = readout, batch_size, progress
        device = device_of(readout.model)
        self.before = torch.tensor([*before], device=device)
        self.target = torch.tensor([*target], device=device)
        self.evaluated = 0

    @torch.no_grad()
    def losses(self, suffixes: Int[Tensor, "C m"]) -> Float[Tensor, " C"]:
        """Return the mean loss of a target token after each suffix, in nats."""
        found = [torch.zeros(0, device=suffixes.device)]
        for part in suffixes.split(self.batch_size) if len(suffixes) else ():
            tokens = self._whole(part)
            tail = slice(-len(self.target) - 1, None)  # the last of the suffix predicts the first
            states = self.readout.states(tokens)[:, tail]
            found.append(self.readout.losses(states, tokens[:, tail])[:, 1:].mean(dim=1))
            self.evaluated += tokens.numel()
            self.progress(tokens.numel())
        losses = torch.cat(found)
        if not torch.isfinite(losses).all():
            raise InputError("gcg: a loss of the target is not finite; use a sound checkpoint")
        return losses

    def gradient(self, suffix: Int[Tensor, " m"]) -> Float[Tensor, "m V"]:
        """Return the gradient of the loss by the suffix's one-hot tokens."""
        where = slice(len(self.before), len(self.before) + len(suffix))
        return swap_gradient(
            self.readout.model, self._whole(suffix[None])[0], where, len(self.target)
        )

    @torch.no_grad()
    def succeeds(self, suffix: Int[Tensor, " m"]) -> bool:
        """Whether each target token is the likeliest one after those before it."""
        logits = forward_logits(self.readout.model, self._whole(suffix[None]))[0]
        likeliest = logits[-len(self.target) - 1 : -1].argmax(dim=-1)
        return bool((likeliest == self.target).all())

    def _whole(self, suffixes: Int[Tensor, "C m"]) -> Int[Tensor, "C T"]:
        rows = len(suffixes)
        ends = (self.before.expand(rows, -1), suffixes, self.target.expand(rows, -1))
        return torch.cat(ends, dim=1)


def draw_swaps(
    gradient: Float[Tensor, "m V"],
    suffix: Int[Tensor, " m"],
    allowed: Bool[Tensor, " V"],
    top_k: int,
    count: int,
    draws: torch.Generator,
) -> tuple[Int[Tensor, "C m"], bool]:
    """Draw different single swaps among the ``top_k`` steepest of each position.

    Returns:
        the suffixes with one token swapped, and whether these are all that could be drawn.
    """
    m, rising = len(suffix), gradient.float().clone()
    rising[:, ~allowed.to(rising.device)] = torch.inf
    rising[torch.arange(m), suffix] = torch.inf
    k = min(top_k, int(torch.isfinite(rising).sum(dim=1).min()))
    proposals = rising.topk(k, largest=False).indices
    drawn = torch.randperm(m * k, generator=draws)[:count].to(suffix.device)
    swapped = suffix.repeat(len(drawn), 1)
    if len(drawn):
        swapped[torch.arange(len(drawn)), drawn // k] = proposals.flatten()[drawn]
    return swapped, len(drawn) == m * k
