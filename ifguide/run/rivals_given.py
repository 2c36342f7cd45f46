"""What the stages of rivals are given of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ifguide.evaluation.config import Prompts, Sampling
from ifguide.influence.config import DirectionConfig, ScoreConfig
from ifguide.rivals.config import DecodingConfig, RewardConfig
from ifguide.selection.config import SelectionConfig
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
class PairSettings:
    """What decides the pairs that are sampled."""

    prompts: Prompts | None
    margin: float
    sampling: Sampling
    seed: int

    @classmethod
    def of(cls, config: Config) -> PairSettings:
        """Return a run's."""
        compare = config.compare
        return cls(compare.prompts, compare.margin, config.evaluation.sampling, config.seed)


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

    selection: SelectionConfig | None
    documents: str | None
    document_budget: float | None


@dataclass(frozen=True)
class PreferenceSettings:
    """What decides a model that learns preferences, beside the pairs."""

    dpo: PreferenceConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> PreferenceSettings:
        """Return a run's."""
        return cls(config.compare.dpo, config.seed)


@dataclass(frozen=True)
class SteeredSettings:
    """What decides continuations that are steered."""

    sampling: Sampling
    decoding: DecodingConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> SteeredSettings:
        """Return a run's."""
        return cls(config.evaluation.sampling, config.compare.decoding, config.seed)


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
