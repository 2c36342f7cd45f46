"""What generation and fluency both ask of a causal language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.models.losses import device_of, embedding_of
from ifguide.nouns import QuerySet


def positions_of(model: nn.Module) -> int | None:
    """Return the longest sequence the model can read, None where there is no limit."""
    config: Any = model.config
    text = config.get_text_config()
    names = ("max_position_embeddings", "max_seq_len")  # the second is MPT's
    given = (getattr(text, name, None) for name in names)
    return next((n for n in given if n is not None and n > 0), None)  # XLNet says -1


def few_tokens(model: nn.Module, length: int) -> Int[Tensor, "2 T"]:
    """Return two rows of random tokens to try a model on, as many as it reads up to ``length``.

    They are of the first half of its vocabulary: what stands for images and the like comes last.
    """
    vocabulary, positions = len(embedding_of(model).weight), positions_of(model)
    width = length if positions is None else min(length, positions)
    draw = torch.Generator().manual_seed(0)
    return torch.randint(max(2, vocabulary // 2), (2, width), generator=draw).to(device_of(model))


def check_queries_fit(model: nn.Module, *sides: QuerySet) -> None:
    """Refuse queries beyond the model's positions: some families fail there, others go on.

    Raises:
        InputError: a query is longer than the model reads.
    """
    positions = positions_of(model)
    longest = max((len(tokens) for side in sides for tokens in side.tokens), default=0)
    if positions is not None and longest > positions:
        raise InputError(
            f"queries.max_length: a query has {longest} tokens, the model {positions} positions; "
            f"give at most {positions}"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
