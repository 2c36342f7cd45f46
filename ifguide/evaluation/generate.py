"""Sampled continuations of prompts.

A prompt follows what every document of the packed corpus follows (``text_start``). Batches hold
prompts of like length, and all samples of a prompt start from one pass over it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from torch import nn
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import encode
from ifguide.errors import InputError
from ifguide.evaluation.batch import Heads, continued, minds_padding, prefilled
from ifguide.evaluation.config import Sampling
from ifguide.models.forward import positions_of

log = logging.getLogger(__name__)

# makes what changes the logits at every step; a batch's processors may hold its state
Processors = Callable[[], Sequence[LogitsProcessor]]


def sample_continuations(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    seed: int,
    progress: Callable[[int], None] = lambda tokens: None,
    processors: Processors = tuple,
) -> list[list[str]]:
    """Return ``[prompt][sample]``: the text that the model puts after each prompt.

    The result depends on the model, the prompts, ``sampling`` (its batch size too) and ``seed``;
    torch's own random state is left as it was. A prompt that does not fit the model's positions
    together with the new tokens keeps its end.

    Args:
        model: any causal language model of transformers, on any device.
        tokenizer: the model's; it must have an end-of-text token.
        prompts: the texts to continue; an empty one is what stands before a text alone.
        sampling: how to draw.
        seed: the draws of batch b come from (seed, b).
        progress: called with the number of tokens just generated.
        processors: called anew for each batch. Each processor gets ``(token ids [B, T], logits
            [B, V])``, the model's own logits in float32 (float64 for a float64 model);
            temperature and nucleus come after all of them. A prompt shorter than its batch's
            longest has padding on its left, unless the model minds it (by a trial).

    Raises:
        InputError: no end-of-text token, or more tokens asked for than the model has positions.
    """
    sequences = _encode(model, tokenizer, prompts, sampling.tokens)
    order = sorted(range(len(prompts)), key=lambda number: len(sequences[number]))
    found: list[list[str]] = [[] for _ in prompts]
    batch_number = 0
    groups = _groups(model, tokenizer, sequences, order)
    size = max(1, sampling.batch_size // sampling.samples)
    for numbers in (batch for group in groups for batch in _batches(group, size)):
        heads = Heads.of(tokenizer, [sequences[number] for number in numbers])
        cache = prefilled(model, heads) if sampling.samples > 1 else None
        settings = heads.settings(**_settings(sampling))
        rows = [row for row in range(len(numbers)) for _ in range(sampling.samples)]
        for batch in _batches(rows, sampling.batch_size):
            batch_seed = derived_seed(seed, batch_number)
            tails = continued(model, heads, batch, settings, batch_seed, cache, processors())
            for row, tail in zip(batch, tails, strict=True):
                head = sequences[numbers[row]]
                found[numbers[row]].append(_continuation(tokenizer, head, tail))
            progress(sum(map(len, tails)))
            batch_number += 1
    return found


def prompt_room(model: nn.Module, tokens: int, start: int = 1) -> int | None:
    """Return how many tokens a prompt may have before ``tokens`` new ones; None is no limit.

    Args:
        model: what reads the prompt.
        tokens: that it generates.
        start: tokens that stand before the prompt.

    Raises:
        InputError: there is no room for any.
    """
    positions = positions_of(model)
    if positions is None:
        return None
    room = positions - tokens - start
    if room < 1:
        raise InputError(
            f"evaluation.sampling.tokens: {tokens} new tokens leave no room for a prompt in the "
            f"model's {positions} positions; ask for at most {positions - start - 1}"
        )
    return room


def longest_text(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], tokens: int
) -> int:
    """Return how many tokens the longest prompt has with its start and ``tokens`` new ones."""
    return max(map(len, _encode(model, tokenizer, prompts, tokens)), default=0) + tokens


def derived_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2^63) that depends on all parts, the same in every process."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _encode(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], tokens: int
) -> list[list[int]]:
    start = text_start(tokenizer)
    room = prompt_room(model, tokens, len(start))
    encoded = (cut.tokens.tolist() for cut in encode(tokenizer, prompts))
    return [[*start, *(ids if room is None else ids[-room:])] for ids in encoded]


def _groups(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[Sequence[int]],
    order: Sequence[int],
) -> list[Sequence[int]]:
    """Return the prompts that may share batches: all of them, unless the model minds padding."""
    lengths = [len(sequences[number]) for number in order]
    if len(set(lengths)) < 2:
        return [order]
    if not minds_padding(model, tokenizer, sequences[order[-1]]):
        return [order]
    log.warning(
        "this family of models minds padding (by a trial): prompts of one length are continued "
        "together, which is slower"
    )
    return [list(group) for _, group in groupby(order, lambda number: len(sequences[number]))]


def _batches(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _settings(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"max_new_tokens": sampling.tokens, "do_sample": False}
    return {
        "max_new_tokens": sampling.tokens,
        "do_sample": True,
        "top_p": sampling.top_p,
        "top_k": 0,
        "temperature": sampling.temperature,
    }


def _continuation(
    tokenizer: PreTrainedTokenizerBase, head: Sequence[int], tail: Sequence[int]
) -> str:
    """Return the text that the tail adds, with the space that some tokenizers drop at a start."""
    before, whole, alone = (
        tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for ids in (list(head), [*head, *tail], list(tail))
    )
    return whole[len(before) :] if whole.startswith(before) else alone
