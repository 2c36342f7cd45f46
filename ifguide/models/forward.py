"""What generation and fluency both ask of a causal language model and its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.tokenizers import end_of_text


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that stands before a text: end-of-text, or where there is none, bos.

    Raises:
        InputError: the tokenizer has neither.
    """
    if tokenizer.eos_token_id is None and tokenizer.bos_token_id is not None:
        return int(tokenizer.bos_token_id)
    return end_of_text(tokenizer)


def positions_of(model: nn.Module) -> int | None:
    """Return the longest sequence the model can read, None where there is no limit."""
    config: Any = model.config
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return positions if positions is not None and positions > 0 else None  # XLNet says -1


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
