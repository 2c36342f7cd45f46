"""What generation and fluency both ask of a causal language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def positions_of(model: nn.Module) -> int | None:
    """Return the longest sequence the model can read, None where there is no limit."""
    config: Any = model.config
    return getattr(config.get_text_config(), "max_position_embeddings", None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
