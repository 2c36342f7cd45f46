"""One batch of prompts through transformers' ``generate``.

All samples of a prompt start from one pass over it: its keys and values are computed once and
repeated.

Shape legend: P prompts, T tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ifguide.corpus.starts import padding_of
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.precision import full_precision

PADDING_BOUND = (
    1e-3  # of the largest logit; rounding in float32 came to 7e-7, families to 1e-2 and more
)


@dataclass(frozen=True, eq=False)
class Heads:
    """Prompts as tokens, padded on the left so that all continue at the same column."""

    tokens: Int[Tensor, "P T"]
    mask: Int[Tensor, "P T"]
    end: int | None
    pad: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, sequences: Sequence[Sequence[int]]) -> Heads:
        """Lay out token sequences."""
        pad = padding_of(tokenizer)
        width = max(map(len, sequences))
        tokens = np.full((len(sequences), width), pad)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(sequences):
            tokens[row, width - len(ids) :] = ids
            mask[row, width - len(ids) :] = 1
        end = tokenizer.eos_token_id
        return cls(torch.as_tensor(tokens), torch.as_tensor(mask), end, pad)

    def settings(self, **settings: Any) -> GenerationConfig:
        """Return settings for generation that end at end-of-text and keep keys and values."""
        ends = {"eos_token_id": self.end, "pad_token_id": self.pad}
        return GenerationConfig(use_cache=True, **ends, **settings)


def prefilled(model: nn.Module, heads: Heads) -> DynamicCache | None:
    """Return the keys and values of all tokens of the prompts but the last, [P, ...] each.

    None where a prompt has one token only, or where a layer keeps another state than keys and
    values (recurrent models): then every sample passes over its prompt itself.
    """
    if not heads.mask[:, :-1].any(dim=1).all():
        return None
    device = device_of(model)
    with _generating(model, seed=0):
        output = cast(Any, model).generate(
            heads.tokens[:, :-1].to(device),
            attention_mask=heads.mask[:, :-1].to(device),
            generation_config=heads.settings(max_new_tokens=1, do_sample=False),
            return_dict_in_generate=True,
        )
    cache = getattr(output, "past_key_values", None)
    if not isinstance(cache, DynamicCache):
        return None
    plain = all(type(layer) in {DynamicLayer, DynamicSlidingWindowLayer} for layer in cache.layers)
    whole = plain and cache.get_seq_length() == heads.tokens.shape[1] - 1
    return cache if whole else None


def continued(
    model: nn.Module,
    heads: Heads,
    rows: Sequence[int],
    settings: GenerationConfig,
    seed: int,
    cache: DynamicCache | None = None,
    processors: Sequence[LogitsProcessor] = (),
) -> list[list[int]]:
    """Continue prompts; return the new tokens of each row, up to end-of-text.

    Args:
        model: any causal language model of transformers.
        heads: the prompts.
        rows: the prompt that each sequence continues; several may continue the same.
        settings: how, from ``heads.settings``.
        seed: of the draws.
        cache: what ``prefilled`` returned for these prompts; it is left as it is.
        processors: change the logits before temperature and nucleus.
    """
    device = device_of(model)
    taken = torch.as_tensor(rows)
    past: dict[str, Any] = {}
    if cache is not None:
        past["past_key_values"] = copy.deepcopy(cache)
        past["past_key_values"].reorder_cache(taken.to(device))
    with _generating(model, seed):
        output: Tensor = cast(Any, model).generate(
            heads.tokens[taken].to(device),
            attention_mask=heads.mask[taken].to(device),
            generation_config=settings,
            logits_processor=LogitsProcessorList(processors),
            **past,
        )
    return [_until(row, heads.end) for row in output[:, heads.tokens.shape[1] :].tolist()]


def minds_padding(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
) -> bool:
    """Whether padding on the left of a prompt changes what a model makes of it.

    Some families count positions from the padding on, or look at it, and go on without a word.

    Args:
        model: any causal language model of transformers.
        tokenizer: the model's.
        prompt: tokens, at least 2; their first half is padded to the length of the whole.
    """
    half = prompt[: len(prompt) // 2]
    alone, beside = (
        _first_logits(model, Heads.of(tokenizer, prompts)) for prompts in ([half], [half, prompt])
    )
    apart = [(a - b).abs().max() / a.abs().max() for a, b in zip(alone, beside, strict=True)]
    return bool(max(apart) > PADDING_BOUND)


def _first_logits(model: nn.Module, heads: Heads) -> list[Tensor]:
    """Return the logits [V] of a batch's first prompt at two steps: from it, and from its cache."""
    return forced_logits(model, heads, [0, 0])


def forced_logits(model: nn.Module, heads: Heads, following: Sequence[int]) -> list[Tensor]:
    """Return the logits [V] of the first prompt at each step of a generation.

    Args:
        model: any causal language model of transformers.
        heads: the prompts, which are continued together.
        following: the token that each step goes on with, whatever the logits say.
    """
    recorder = _Recorder(following)
    settings = replace(heads, end=None).settings(max_new_tokens=len(following), do_sample=False)
    continued(model, heads, list(range(len(heads.tokens))), settings, 0, None, [recorder])
    return recorder.steps


class _Recorder(LogitsProcessor):
    """Keeps the logits of a batch's first row, and has given tokens follow."""

    def __init__(self, following: Sequence[int]) -> None:
        self.following = following
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.following[len(self.steps)]] = 0
        self.steps.append(scores[0].double().clone())
        return forced


@contextmanager
def _generating(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed the draws, without gradients; leave the model and the random state as they were."""
    device = device_of(model)
    state = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with _own_settings(model), evaluating(model), state, torch.no_grad(), full_precision(model):
        torch.manual_seed(seed)
        yield


@contextmanager
def _own_settings(model: nn.Module) -> Iterator[None]:
    """Set aside the checkpoint's generation settings: its penalties and cuts must not leak in."""
    defaults = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = defaults


def _until(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
