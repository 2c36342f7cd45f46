"""What stages are given of the settings, where it is more than one section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ifguide.corpus.config import CorpusConfig, QueriesConfig, TokenizerConfig
from ifguide.evaluation.config import EvaluationConfig, Prompts, Sampling, Server
from ifguide.influence.config import CurvatureConfig
from ifguide.models.config import ModelConfig
from ifguide.selection.config import LexiconConfig, SmoothingConfig
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig


@dataclass(frozen=True)
class CorpusSettings:
    """What decides the corpus."""

    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> CorpusSettings:
        """Return a run's."""
        return cls(config.corpus, config.tokenizer, config.seed)


@dataclass(frozen=True)
class QuerySettings:
    """What decides the queries."""

    queries: QueriesConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> QuerySettings:
        """Return a run's."""
        return cls(config.queries, config.seed)


@dataclass(frozen=True)
class PromptSettings:
    """What decides the prompts."""

    evaluation: Mapping[str, Prompts]
    seed: int

    @classmethod
    def of(cls, config: Config) -> PromptSettings:
        """Return a run's."""
        return cls(config.evaluation.prompt_sets, config.seed)


@dataclass(frozen=True)
class InitialSettings:
    """What decides the model that training starts from, beside its files."""

    model: ModelConfig
    seed: int


@dataclass(frozen=True)
class TrainSettings:
    """What decides a training."""

    training: TrainingConfig
    seed: int
    batch_size: int  # of the guard's measurements, which do not depend on it
    fine_tunes: bool  # whether a baseline of its own is there to start from
    place: str = "training"  # where the settings stand, for messages

    uncounted = ("batch_size", "place")
    unrecorded = ("batch_size", "place")

    @classmethod
    def of(cls, config: Config, training: TrainingConfig, place: str = "training") -> TrainSettings:
        """Return a run's."""
        size, trained = config.evaluation.batch_size, config.baseline is not None
        return cls(training, config.seed, size, trained, place)


@dataclass(frozen=True)
class BaselineSettings:
    """What decides the baseline; null takes the checkpoint as it is."""

    baseline: TrainSettings | None


@dataclass(frozen=True)
class FitSettings:
    """What decides the curvature."""

    curvature: CurvatureConfig
    seed: int


@dataclass(frozen=True)
class SmoothSettings:
    """What decides the scores that tokens are selected by."""

    smoothing: SmoothingConfig
    lexicon: LexiconConfig

    @property
    def changes(self) -> bool:
        """Whether the scores become others."""
        return self.smoothing != SmoothingConfig() or self.lexicon.share > 0


@dataclass(frozen=True)
class SampleSettings:
    """What decides continuations, beside the model and the prompts."""

    sampling: Sampling
    seed: int
    server: Server | None = None
    model: str = ""  # the server's name in the settings

    unrecorded = ("model",)

    @classmethod
    def of(cls, config: Config, model: str) -> SampleSettings:
        """Return those of a model of a run."""
        asked = config.evaluation
        return cls(asked.sampling, config.seed, asked.servers.get(model), model)


@dataclass(frozen=True)
class FluencySettings:
    """What decides the figures of fluency: nothing but how many sequences go together."""

    batch_size: int

    unrecorded = ("batch_size",)

    @classmethod
    def of(cls, config: Config) -> FluencySettings:
        """Return a run's."""
        return cls(config.evaluation.batch_size)


@dataclass(frozen=True)
class JudgeSettings:
    """What decides the figures of toxicity, beside the continuations and the judges."""

    evaluation: EvaluationConfig
    threshold: float
    unjudged: str
    pooled: Mapping[str, tuple[str, ...]]
    resamples: int
    seed: int

    unrecorded = ("evaluation",)

    @classmethod
    def of(cls, config: Config) -> JudgeSettings:
        """Return a run's."""
        asked = config.evaluation
        shown = asked.threshold, asked.unjudged, asked.pooled
        return cls(asked, *shown, asked.resamples, config.seed)
