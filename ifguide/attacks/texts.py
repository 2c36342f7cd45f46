"""What to attack with: toxic posts, and prompts with their toxic targets, from toxic queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.nouns import Document, QuerySet

UNREADABLE = "\ufffd"  # what is left of a character whose bytes are not all there


@dataclass(frozen=True)
class AttackedText:
    """A prompt, and what the model is to go on with; joined as they are."""

    prompt: str
    target: str


def attacked_texts(
    toxic: QuerySet, tokenizer: PreTrainedTokenizerBase, target_tokens: int
) -> Iterator[AttackedText]:
    """Yield each toxic query as what stands before its first counted tokens, and these.

    A target has at most ``target_tokens`` tokens, the first of those that stand together. Queries
    that are cut inside a character are passed over.
    """
    begin = len(text_start(tokenizer))
    for tokens, weights in zip(toxic.tokens, toxic.weights, strict=True):
        counted = np.flatnonzero(weights)
        if len(counted) == 0:
            continue
        first = int(counted[0])
        together = int((counted == first + np.arange(len(counted))).sum())
        stop = first + min(together, target_tokens)
        parts = tokens[begin:first], tokens[first:stop]
        prompt, target = (text_of(tokenizer, ids) for ids in parts)
        if target.strip() and UNREADABLE not in prompt + target:
            yield AttackedText(prompt, target)


def posts_of(toxic: QuerySet, tokenizer: PreTrainedTokenizerBase) -> list[Document]:
    """Return each toxic query as a document, called by its number."""
    begin = len(text_start(tokenizer))
    texts = [text_of(tokenizer, tokens[begin:]) for tokens in toxic.tokens]
    return [Document(str(number), text) for number, text in enumerate(texts) if text.strip()]


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int] | np.ndarray) -> str:
    """Return the text of tokens, special ones spelled out."""
    return tokenizer.decode([int(i) for i in ids], clean_up_tokenization_spaces=False)
