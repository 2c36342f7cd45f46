"""Pairs of completions of which the first is preferred, from samples or from paired texts."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
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
    per_prompt: int = 1,
) -> list[PreferencePair]:
    """Pair each prompt's least toxic continuation with its most toxic one.

    Args:
        prompts: P prompts.
        continuations: ``[prompt][sample]``, n a prompt.
        toxicity: of each continuation, in [0, 1], by a judge.
        margin: pairs whose toxicities differ by less are left out.
        per_prompt: also pair the second least with the second most toxic, and so on, up to this
            many pairs a prompt; no continuation is used twice.

    Returns:
        the pairs in the order of the prompts; continuations without a visible character are passed
        over.

    Raises:
        InputError: the numbers of prompts, continuations and toxicities differ, a toxicity is no
            number in [0, 1], or ``margin`` or ``per_prompt`` is not above 0.
    """
    _check_samples(prompts, continuations, toxicity)
    if not 0 < margin <= 1:
        raise InputError(f"compare.margin: {margin} is not in (0, 1]; give e.g. 0.25")
    if per_prompt < 1:
        raise InputError(f"per_prompt: {per_prompt} is below 1; give 1 or more")
    pairs = []
    for prompt, texts, scores in zip(prompts, continuations, toxicity, strict=True):
        order = [k for k in np.argsort(scores, kind="stable").tolist() if texts[k].strip()]
        for least, most in list(zip(order, reversed(order), strict=True))[: len(order) // 2][
            :per_prompt
        ]:
            if scores[most] - scores[least] >= margin:
                pairs.append(PreferencePair(prompt, texts[least], texts[most]))
    return pairs


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
