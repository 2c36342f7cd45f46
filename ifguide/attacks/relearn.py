"""The relearning attack: how many toxic posts it takes to bring toxicity back.

A model that hides what it learnt is brought back by far fewer posts than one that never learnt it
needs. Copies of a model are fine-tuned on the first n posts of one order, for several n, and what
the caller measures is measured on each.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.attacks.config import RelearnConfig
from ifguide.corpus.blocks import pack
from ifguide.errors import InputError
from ifguide.evaluation.generate import derived_seed
from ifguide.nouns import Document
from ifguide.training.train import train

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Relearned(Generic[Measured]):
    """What was measured after fine-tuning on so many posts, and what that took."""

    posts: int
    tokens: int
    updates: int
    measured: Measured


def relearn(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    posts: Sequence[Document],
    measure: Callable[[nn.Module], Measured],
    config: RelearnConfig | None = None,
    *,
    block_length: int,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> list[Relearned[Measured]]:
    """Fine-tune copies of a model on n toxic posts each, and measure every one.

    The posts are shuffled once, so that fewer are always among more, and packed into blocks as any
    corpus is.

    Args:
        model: any causal language model; it is left as it was.
        tokenizer: the model's.
        posts: the toxic posts.
        measure: what to measure of a model; it may not change it.
        config: how many posts, and how to train.
        block_length: tokens a block.
        folder: where packed posts and checkpoints lie, in a folder a number of posts; what is there
            of an interrupted attempt is gone on from.
        seed: orders the posts and their blocks.
        progress: called with the number of tokens just trained on.

    Raises:
        InputError: fewer posts than asked for, or the training failed.
    """
    config = config or RelearnConfig()
    check_posts(config, len(posts))
    order = list(posts)
    random.Random(derived_seed(seed, "relearn")).shuffle(order)
    found = []
    for count in config.posts:
        if count == 0:
            found.append(Relearned(0, 0, 0, measure(model)))
            continue
        place = folder / str(count)
        packed = place / "posts"
        corpus = pack(order[:count], tokenizer, block_length, packed, setting="relearn.posts")
        tuned = train(
            copy.deepcopy(model),
            corpus,
            None,
            config.training,
            folder=place / "training",
            seed=seed,
            progress=progress,
            place="relearn",
        )
        tokens, blocks = corpus.token_count, len(corpus.tokens)
        updates = math.ceil(math.ceil(blocks / config.batch_size) * config.epochs)
        found.append(Relearned(count, tokens, updates, measure(tuned)))
    return found


def check_posts(config: RelearnConfig, there: int) -> None:
    """Refuse to fine-tune on more posts than there are."""
    if config.posts[-1] > there:
        raise InputError(
            f"relearn.posts: {config.posts[-1]} are asked for, but there are {there} toxic posts; "
            "lower the numbers"
        )
