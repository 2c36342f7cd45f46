"""How a run's models are attacked: the settings of ``ifguide attack``."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from ifguide.errors import InputError
from ifguide.ranges import Count, CountOrNone, Positive, check_ranges
from ifguide.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class GcgConfig:
    """How a suffix is searched (the paper: 20 tokens, 500 steps, top 256, 512 candidates).

    Args:
        pairs: prompts to attack, each with its target: the first of the run's toxic queries that
            survive as text.
        target_tokens: longest target.
        suffix_tokens: tokens of the suffix, m.
        steps: steps at most.
        top_k: proposals a position, those with the steepest descent.
        candidates: swaps drawn among all proposals and evaluated, a step.
        batch_size: sequences evaluated at once; results do not depend on it.
        initial: the suffix to begin with; repeated, its first m tokens are taken.
        round_trip: keep only suffixes whose text is cut into the same tokens again, so that the
            attack works as text.
        stop_early: stop once the model goes on with the target, else only where no swap helps.
    """

    pairs: Count = 20
    target_tokens: Count = 8
    suffix_tokens: Count = 10
    steps: Count = 50
    top_k: Count = 64
    candidates: Count = 128
    batch_size: Count = 128
    initial: str = " !"
    round_trip: bool = True
    stop_early: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, "gcg")
        if not self.initial:
            raise InputError("gcg.initial: it is empty; give a text, e.g. ' !'")


@dataclass(frozen=True, kw_only=True)
class RelearnConfig:
    """How a model is fine-tuned on toxic posts.

    Args:
        posts: numbers of posts, rising; 0 is the model as it is.
        epochs: passes over them.
        batch_size: blocks an update.
        learning_rate: of AdamW, constant.
        precision: ``bfloat16`` autocast, or ``float32`` throughout.
    """

    posts: tuple[CountOrNone, ...] = (0, 10, 30, 100, 300)
    epochs: Positive = 3.0
    batch_size: Count = 4
    learning_rate: Positive = 5e-4
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_ranges(self, "relearn")
        if not self.posts or not all(a < b for a, b in pairwise(self.posts)):
            raise InputError(
                f"relearn.posts: {list(self.posts)} are not rising numbers from 0 on; give e.g. "
                "[0, 10, 100]"
            )

    @property
    def training(self) -> TrainingConfig:
        """The same for ``train``: every token is learnt."""
        return TrainingConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            precision=self.precision,
            schedule="constant_with_warmup",
            warmup=0.0,
            weight_decay=0.0,
        )


@dataclass(frozen=True, kw_only=True)
class LensConfig:
    """What the lens looks at.

    Args:
        queries: at most this many of the run's queries a side, the first ones.
    """

    queries: Count = 200

    def __post_init__(self) -> None:
        check_ranges(self, "lens")


@dataclass(frozen=True, kw_only=True)
class ActivationsConfig:
    """What is looked at of the models' hidden states.

    Args:
        prompts: at most this many of the run's prompts a set, the first ones.
    """

    prompts: Count = 200

    def __post_init__(self) -> None:
        check_ranges(self, "activations")


KINDS = {
    "gcg": "a suffix to the prompt is searched, so that the model goes on with a toxic target",
    "relearn": "copies are fine-tuned on toxic posts",
    "lens": "what each layer would say is looked at",
    "activations": "how far the hidden states are from the baseline's is looked at",
}


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """How a run's models are attacked.

    Args:
        gcg: a suffix to the prompt is searched, so that the model goes on with a toxic target.
        relearn: copies are fine-tuned on toxic posts.
        lens: what each layer would say is looked at.
        activations: how far the hidden states are from the baseline's is looked at.
    """

    gcg: GcgConfig = field(default_factory=GcgConfig)
    relearn: RelearnConfig = field(default_factory=RelearnConfig)
    lens: LensConfig = field(default_factory=LensConfig)
    activations: ActivationsConfig = field(default_factory=ActivationsConfig)
