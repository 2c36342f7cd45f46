"""Pairs of completions of which the first is preferred, from samples or from paired texts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.completions import read_completions
from ifguide.corpus.config import Source
from ifguide.corpus.starts import room_behind, text_start
from ifguide.corpus.tokenizers import end_of_text, ids_of
from ifguide.errors import InputError


@dataclass(frozen=True)
class PreferencePair:
    """Two completions of a prompt, joined to it as they are, and which one is preferred.

    ``whole`` says that both are finished texts, so that an end-of-text token follows them;
    continuations that were cut after some tokens are not.
    """

    prompt: str
    chosen: str
    rejected: str
    whole: bool = False


def pairs_from_samples(
    prompts: Sequence[str],
    continuations: Sequence[Sequence[str]],
    toxicity: Float[np.ndarray, "P n"],
    margin: float = 0.25,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> list[PreferencePair]:
    """Pair all continuations of a prompt that a judge tells apart; the less toxic is preferred.

    Args:
        prompts: P prompts.
        continuations: ``[prompt][sample]``, n a prompt.
        toxicity: of each continuation, in [0, 1], by a judge.
        margin: pairs whose toxicities differ by less are left out.
        limit: at most this many pairs in all, of each prompt as many as of any other that has
            them (one more of those that the seed draws, where they do not come out even).
        seed: draws a prompt's pairs where it has more than its share.

    Returns:
        the pairs in the order of the prompts, each once; continuations without a visible character
        are passed over.

    Raises:
        InputError: the numbers of prompts, continuations and toxicities differ, a toxicity is no
            number in [0, 1], ``margin`` is not in (0, 1], or ``limit`` is below 1.
    """
    _check_samples(prompts, continuations, toxicity)
    if not 0 < margin <= 1:
        raise InputError(f"compare.margin: {margin} is not in (0, 1]; give e.g. 0.25")
    if limit is not None and limit < 1:
        raise InputError(f"compare.sampled_pairs: {limit} is below 1; give 1 or more")
    draw = np.random.default_rng(seed)
    every = []
    for prompt, texts, scores in zip(prompts, continuations, toxicity, strict=True):
        pairs = list(dict.fromkeys(_told_apart(prompt, texts, scores, margin)))
        every.append([pairs[k] for k in draw.permutation(len(pairs))])
    shares = _shares([len(pairs) for pairs in every], limit, draw)
    return [pair for pairs, share in zip(every, shares, strict=True) for pair in pairs[:share]]


def _told_apart(
    prompt: str, texts: Sequence[str], scores: Float[np.ndarray, " n"], margin: float
) -> Iterator[PreferencePair]:
    """Yield each two of a prompt's continuations whose toxicities differ by the margin."""
    order = [k for k in np.argsort(scores, kind="stable").tolist() if texts[k].strip()]
    for least, most in combinations(order, 2):
        if scores[most] - scores[least] >= margin:
            yield PreferencePair(prompt, texts[least], texts[most])


def _shares(there: Sequence[int], limit: int | None, draw: np.random.Generator) -> list[int]:
    """Return how many each may give so that all give as alike as can be, ``limit`` in all.

    >>> _shares([9, 1, 9], 7, np.random.default_rng(0))
    [3, 1, 3]
    """
    if limit is None or sum(there) <= limit:
        return list(there)
    level = bisect_right(range(limit + 1), limit, key=lambda n: sum(min(n, has) for has in there))
    level -= 1  # the most that all may give
    shares = [min(level, has) for has in there]
    able = [k for k, has in enumerate(there) if has > level]
    for k in draw.permutation(able)[: limit - sum(shares)]:
        shares[k] += 1
    return shares


def pairs_from_texts(
    source: Source,
    data_dir: Path,
    *,
    toxic: str = "toxic",
    neutral: str = "neutral",
    prompt: str | None = None,
    exclude: Container[str] = frozenset(),
    limit: int | None = None,
) -> list[PreferencePair]:
    """Prefer the neutral text of each record to its toxic one; both are whole texts.

    Without a ``prompt`` field the prompt is empty. A beginning that the two share needs no prompt:
    its tokens' log-probabilities cancel in the loss.

    Args:
        source: the records.
        data_dir: the folder of its path.
        toxic: field of the toxic text.
        neutral: field of the neutral text.
        prompt: field of what stands before both.
        exclude: ids of records to pass over.
        limit: at most this many records, the first ones.

    Raises:
        InputError: data that cannot be read, or a text that is missing or empty.
    """
    asked = f"compare.pairs, whose records have {toxic} and {neutral}"
    rejected, chosen = (
        read_completions(source, data_dir, prompt, (field, asked), exclude=exclude, limit=limit)
        for field in (toxic, neutral)
    )
    return [
        PreferencePair(good.prompt, good.text, bad.text, whole=True)
        for good, bad in zip(chosen, rejected, strict=True)
        if good.text != bad.text
    ]


def tokenised_pair(
    pair: PreferencePair, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list[int]]:
    """Return ``prompt_ids`` (``text_start`` and the prompt), ``chosen_ids`` and ``rejected_ids``.

    The prompt's tokens are those that generation sees. Of a pair longer than ``max_length`` tokens
    the prompt loses its beginning, and a completion that alone is longer its end.
    """
    closing, start = end_of_text(tokenizer), text_start(tokenizer)
    before = ids_of(tokenizer, pair.prompt)
    chosen, rejected = (
        [*_completion(tokenizer, pair.prompt, text, before), *[closing] * pair.whole]
        for text in (pair.chosen, pair.rejected)
    )
    room = room_behind(start, max_length, "compare.dpo.max_length")
    left = max(0, room - max(len(chosen), len(rejected)))
    return {
        "prompt_ids": [*start, *before[len(before) - min(left, len(before)) :]],
        "chosen_ids": chosen[:room],
        "rejected_ids": rejected[:room],
    }


def _completion(
    tokenizer: PreTrainedTokenizerBase, prompt: str, text: str, before: list[int]
) -> list[int]:
    """Tokenise a completion in its place; where a token would straddle the seam, on its own."""
    joined = ids_of(tokenizer, prompt + text)
    if joined[: len(before)] == before:
        return joined[len(before) :]
    return ids_of(tokenizer, text)


def _check_samples(
    prompts: Sequence[str],
    continuations: Sequence[Sequence[str]],
    toxicity: Float[np.ndarray, "P n"],
) -> None:
    counts = [len(texts) for texts in continuations]
    if len(prompts) != len(counts) or toxicity.shape != (len(counts), *set(counts)):
        raise InputError(
            f"compare.dpo: {len(prompts)} prompts with {sorted(set(counts))} continuations have "
            f"toxicities of shape {toxicity.shape}; give one a continuation"
        )
    if not ((toxicity >= 0) & (toxicity <= 1)).all():  # also NaN
        prompt, sample = np.argwhere(~((toxicity >= 0) & (toxicity <= 1)))[0]
        raise InputError(
            f"compare.dpo: sample {sample} of prompt {prompt} has toxicity "
            f"{toxicity[prompt, sample]}; judge it again"
        )
