"""What the stages of rivals are given of the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ifguide.evaluation.config import Prompts, Sampling
from ifguide.influence.config import DirectionConfig, ScoreConfig
from ifguide.rivals.config import (
    ChoiceConfig,
    DecodingConfig,
    PreferenceCurve,
    RewardConfig,
    SidesConfig,
)
from ifguide.selection.config import SelectionConfig, Total
from ifguide.settings.config import Config
from ifguide.training.config import PreferenceConfig

HUMAN_TEXTS = 2000  # pieces of text that people wrote


def labeller_of(config: Config) -> str:
    """Return the name of the judge that labels."""
    return config.compare.labeller or config.evaluation.judges[0]


@dataclass(frozen=True)
class PlainSettings:
    """What decides influence on the toxic queries alone."""

    scores: ScoreConfig
    direction: DirectionConfig


@dataclass(frozen=True)
class SideSettings:
    """What decides a copy of a model that is tuned on a side of the queries."""

    sides: SidesConfig
    side: Literal["toxic", "safe"]
    seed: int


@dataclass(frozen=True)
class PairPrompts:
    """What decides the prompts that rivals are given, and how many are set apart to choose by."""

    prompts: Prompts | None
    apart: int
    seed: int

    @classmethod
    def of(cls, config: Config) -> PairPrompts:
        """Return those that a run chooses points of curves by."""
        return cls(config.compare.prompts, config.compare.choice.prompts, config.seed)


@dataclass(frozen=True)
class PairSettings:
    """What decides the pairs that are sampled."""

    prompts: PairPrompts
    margin: float
    pairs: int
    sampling: Sampling
    seed: int

    @classmethod
    def of(cls, config: Config) -> PairSettings:
        """Return a run's; where DPO has no curve, no prompt is set apart."""
        compare, prompts = config.compare, PairPrompts.of(config)
        if compare.dpo_curve == PreferenceCurve():
            prompts = replace(prompts, apart=0)
        sampling = config.evaluation.sampling
        return cls(prompts, compare.margin, compare.sampled_pairs, sampling, config.seed)


@dataclass(frozen=True)
class ChoiceSettings:
    """What decides which point of a curve is shown, beside what was found of each."""

    names: tuple[str, ...]
    choice: ChoiceConfig


@dataclass(frozen=True)
class RewardSettings:
    """What decides the reward model."""

    reward: RewardConfig
    reward_texts: int
    seed: int

    @classmethod
    def of(cls, config: Config) -> RewardSettings:
        """Return a run's."""
        return cls(config.compare.reward, config.compare.reward_texts, config.seed)


@dataclass(frozen=True)
class MaskSettings:
    """What decides the tokens that a method keeps from being learnt, beside the scores."""

    selection: SelectionConfig | None = None
    documents: Total | None = None
    share: float | None = None
    above: float | None = None


@dataclass(frozen=True)
class PreferenceSettings:
    """What decides a model that learns preferences, beside the pairs."""

    dpo: PreferenceConfig
    seed: int


@dataclass(frozen=True)
class SteeredSettings:
    """What decides continuations that are steered."""

    sampling: Sampling
    decoding: DecodingConfig
    seed: int


@dataclass(frozen=True)
class SteeredFluencySettings:
    """What decides the fluency of a model whose decoding is steered.

    The nucleus is the sampling's, and says nothing of probabilities.
    """

    decoding: DecodingConfig


@dataclass(frozen=True)
class HumanTextSettings:
    """What decides the pieces of human text that are judged beside the samples."""

    text: str | None
    tokens: int
    unjudged: Literal["stop", "report"]
    pieces: int
    seed: int

    @classmethod
    def of(cls, config: Config) -> HumanTextSettings:
        """Return a run's: the first text that perplexity is measured on."""
        asked = config.evaluation
        name = next(iter(asked.perplexity), None)
        return cls(name, asked.sampling.tokens, asked.unjudged, HUMAN_TEXTS, config.seed)
