"""What the rivals of a comparison need beside the run's own settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ifguide.corpus.config import Source
from ifguide.evaluation.config import Prompts
from ifguide.ignored import refuse_ignored
from ifguide.models.config import ModelConfig
from ifguide.ranges import (
    Count,
    NotNegative,
    Positive,
    Share,
    ShareAboveZero,
    TextLength,
    check_ranges,
)
from ifguide.training.config import Hyperparameters, PreferenceConfig, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Hyperparameters):
    """How a reward model is trained; ``batch_size`` counts texts.

    Args:
        max_length: longest text in tokens, with what stands before it; longer ones lose their end.
    """

    group: ClassVar[str] = "compare.reward"

    max_length: TextLength = 128
    epochs: Positive = 2.0
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.01


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How strongly a reward model steers.

    Args:
        top_k: k, how many of the likeliest tokens are weighed up; the others are never drawn.
        beta: β, the logits that a harmless continuation gains over a toxic one.
    """

    top_k: Count = 20
    beta: NotNegative = 30.0

    def __post_init__(self) -> None:
        check_ranges(self, "compare.decoding")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What is compared, and what the rivals need.

    Args:
        trainings: ways of training by name; each method that leaves tokens out is trained in each
            of them. By default the run's ``training`` alone, by the name ``run``.
        thresholds: the table also says what is toxic from each of these on, beside the evaluation's
            own threshold.
        document_budget: share of the corpus's tokens that a filter of whole documents drops.
        lexicon_prior: weight of the lexicon's prior, in words.
        proxy: the smaller model of the method ``proxy``; by default ``model.scratch`` at half its
            width. It is trained as ``baseline`` says. With ``training.mask_from`` the method takes
            that run's mask.
        labeller: the judge that ranks samples for DPO and labels texts for the reward model; the
            evaluation should have another one too.
        prompts: what the baseline's samples for DPO continue; prompts that are evaluated too are
            left out.
        margin: the least difference in toxicity between the two samples of a pair.
        pairs: texts with a toxic and a neutral side, for the method ``dpo-texts``.
        dpo: how preferences are learnt.
        reward_texts: texts of the corpus that the reward model learns from, drawn by the seed.
        reward: how the reward model is trained; it starts from the baseline.
        decoding: how strongly it steers.
    """

    trainings: dict[str, TrainingConfig] = field(default_factory=dict)
    thresholds: tuple[ShareAboveZero, ...] = (0.8, 0.95)
    document_budget: ShareAboveZero = 0.1
    lexicon_prior: Positive = 4.0
    proxy: ModelConfig | None = None
    labeller: str | None = None
    prompts: Prompts | None = None
    margin: Share = 0.25
    pairs: Source | None = None
    dpo: PreferenceConfig = field(default_factory=PreferenceConfig)
    reward_texts: Count = 4000
    reward: RewardConfig = field(default_factory=RewardConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    def __post_init__(self) -> None:
        check_ranges(self, "compare")
        for name, training in self.trainings.items():
            since = "compare's method 'proxy' takes the mask that training.mask_from names"
            refuse_ignored(training, f"compare.trainings.{name}", ("mask_from",), since)
        if self.prompts is None:
            refuse_ignored(self, "compare", ("margin",), "there are no prompts for DPO's samples")
        if self.pairs is not None:
            documents = ("text", "spans", "kind", "marked", "held_out")
            since = "only the fields toxic and neutral of pairs are read"
            refuse_ignored(self.pairs, "compare.pairs", documents, since)
