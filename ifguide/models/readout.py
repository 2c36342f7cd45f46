"""From a model's last hidden states to its token losses, without holding all logits.

The LM head and the softmax are taken a few rows at a time: logits [rows, V] live only while their
losses, or their losses' gradients, are computed. With logits z and label y, ``l = logsumexp(z) -
z_y`` and ``dl/dz = softmax(z) - onehot(y)`` (nats), which the head's weight W carries to the
states: ``dl/dh = (softmax(z) - onehot(y)) W``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.models.hooks import inputs_of
from ifguide.models.losses import device_of, forward_logits, run
from ifguide.models.sharded import is_sharded

CHUNK_LOGITS = 2**20  # logits held at a time
LEAST_ROWS = 64  # with fewer, reading the head's weight would take longer than the product
DrawLabels = Callable[[slice, Float[Tensor, "R V"]], Int[Tensor, " R"]]


@dataclass(frozen=True, eq=False)
class Readout:
    """The end of a causal language model: what turns its last states into token losses.

    ``head`` is the model's LM head where its output is the logits and nothing more is done to
    them. Where the model caps or scales them, ``head`` is None, the states are the logits
    themselves, and all below holds with the identity in the head's place.
    """

    model: nn.Module
    head: nn.Linear | None

    def states(
        self, tokens_BT: Int[Tensor, "B T"], weights: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "B T d"]:
        """Run the model up to its head (see ``forward_logits``)."""
        if self.head is None:
            return run(self.model, tokens_BT, weights)
        with inputs_of(self.head) as seen:
            run(self.model, tokens_BT, weights)
        return seen[0]

    @torch.no_grad()
    def losses(
        self, states_BTd: Float[Tensor, "B T d"], tokens_BT: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Return ``l_bt = -log Pr(x_bt | x_b,<t)`` in nats; column 0 is 0.

        Half-precision logits are reduced in float32. No gradient flows: see ``gradients``.
        """
        labels = next_tokens(tokens_BT).flatten()
        losses = [
            F.cross_entropy(logits, labels[rows], reduction="none")
            for rows, logits in self._chunks(states_BTd)
        ]
        return F.pad(torch.cat(losses).view(tokens_BT.shape)[:, :-1], (1, 0))

    @torch.no_grad()
    def derivatives(
        self,
        states_BTd: Float[Tensor, "B T d"],
        changes_BTd: Float[Tensor, "B T d"],
        tokens_BT: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B T"]:
        """Return ``dl_bt/dh_bt . change_bt``, each loss's derivative along a change of its state.

        It is ``sum_k softmax(z)_k (W change)_k - (W change)_y``; column 0 is 0.
        """
        labels, found = next_tokens(tokens_BT).flatten()[:, None], []
        if self.head is not None:
            states_BTd, changes_BTd = (x.to(self.head.weight) for x in (states_BTd, changes_BTd))
        changes = changes_BTd.flatten(0, 1)
        for rows, logits in self._chunks(states_BTd):
            moved = changes[rows]
            if self.head is not None:
                moved = F.linear(moved, self.head.weight)
            p = logits.softmax(-1)
            found.append((p * moved).sum(-1) - moved.gather(1, labels[rows])[:, 0])
        return F.pad(torch.cat(found).view(tokens_BT.shape)[:, :-1], (1, 0))

    @torch.no_grad()
    def gradients(
        self, states_BTd: Float[Tensor, "B T d"], labels: Int[Tensor, "B T"] | DrawLabels
    ) -> Float[Tensor, "B T d"]:
        """Return ``dl_bt/dh_bt``, each position's own loss by its own state.

        ``labels`` are the positions' next tokens, or a function that draws them from a slice of
        the flattened positions and their probabilities.
        """
        gradients = torch.empty_like(states_BTd).flatten(0, 1)
        for rows, logits in self._chunks(states_BTd):
            p = logits.softmax(-1)
            y = labels.flatten()[rows] if isinstance(labels, Tensor) else labels(rows, p)
            p[torch.arange(len(p), device=p.device), y] -= 1
            p = p.to(gradients.dtype)
            gradients[rows] = p if self.head is None else p @ self.head.weight
        return gradients.view(states_BTd.shape)

    def _chunks(self, states_BTd: Tensor) -> Iterator[tuple[slice, Float[Tensor, "R V"]]]:
        """Yield the logits, in at least float32, of a few positions at a time."""
        states = states_BTd.flatten(0, 1)
        vocabulary = states.shape[1] if self.head is None else self.head.out_features
        size = max(LEAST_ROWS, CHUNK_LOGITS // vocabulary)
        for start in range(0, len(states), size):
            rows = slice(start, min(start + size, len(states)))
            logits = states[rows] if self.head is None else self.head(states[rows])
            yield rows, logits.to(torch.promote_types(logits.dtype, torch.float32))


def next_tokens(tokens_BT: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Return the token that each position predicts; the last one, which predicts none, gets 0."""
    return F.pad(tokens_BT[:, 1:].long(), (0, 1))


@torch.no_grad()
def readout_of(model: nn.Module) -> Readout:
    """Look at how a model makes its logits, by one pass over two tokens, and return its readout."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if is_sharded(model):
        return Readout(model, None)  # a sharded head is whole only within the model's own pass
    if type(head) is not nn.Linear or type(head.weight) is not nn.Parameter:
        return Readout(model, None)
    made: list[tuple[Tensor, Tensor]] = []
    handle = head.register_forward_hook(lambda _, args, out: made.append((out, out.clone())))
    try:
        logits = forward_logits(model, torch.zeros(1, 2, dtype=torch.long, device=device_of(model)))
    finally:
        handle.remove()
    plain = len(made) == 1 and logits is made[0][0] and torch.equal(logits, made[0][1])
    return Readout(model, head if plain else None)


def itself(states: Tensor) -> Tensor:
    """Return what is given; in the head's place it makes a model's logits its last states."""
    return states


@contextmanager
def head_as(head: nn.Linear, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a function of the last states take the place of the head within the model's own pass.

    What the model then returns as its logits is the function's value. The head's weight is read
    there and then, as whoever wraps the model expects: inside its forward pass.
    """
    vars(head)["forward"] = function
    try:
        yield
    finally:
        del vars(head)["forward"]
