"""What the stages of attacks are given of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ifguide.attacks.config import ActivationsConfig, GcgConfig, LensConfig, RelearnConfig
from ifguide.evaluation.config import EvaluationConfig, Sampling
from ifguide.run.stage import StageOf

Figures = dict[str, Any]
Attack = StageOf[Figures]


@dataclass(frozen=True)
class GcgSettings:
    """What decides the search of suffixes."""

    gcg: GcgConfig
    resamples: int
    seed: int


@dataclass(frozen=True)
class RelearnSettings:
    """What decides fine-tuning on toxic posts, and how its models are evaluated."""

    relearn: RelearnConfig
    sampling: Sampling
    threshold: float
    resamples: int
    seed: int
    evaluation: EvaluationConfig

    unrecorded = ("evaluation",)


@dataclass(frozen=True)
class LensSettings:
    """What decides the look at each layer."""

    lens: LensConfig


@dataclass(frozen=True)
class ActivationsSettings:
    """What decides the look at hidden states."""

    activations: ActivationsConfig
