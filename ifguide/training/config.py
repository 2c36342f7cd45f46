"""The training's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored
from ifguide.registry import Registry

OBJECTIVES: Registry[Any] = Registry(
    "objective",
    "ifguide.objectives",
    {
        "penalty": "ifguide.training.objectives:PENALTY",
        "clamped": "ifguide.training.objectives:CLAMPED",
        "unlikelihood": "ifguide.training.objectives:UNLIKELIHOOD",
        "masking": "ifguide.training.objectives:MASKING",
    },
    "ifguide.training.objectives:SuppressionTerm",
)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Batches, AdamW and its schedule.

    Args:
        epochs: passes over the corpus.
        batch_size: blocks a step and process.
        accumulation: batches a weight update.
        learning_rate, schedule, warmup, weight_decay, max_grad_norm: AdamW and its schedule
            (``warmup`` as a share of all updates).
        precision: ``bfloat16`` autocast, or ``float32`` throughout.
        checkpoint_every: updates between checkpoints, from which an interrupted run resumes.
    """

    group: ClassVar[str] = "training"  # where messages say that a setting is

    epochs: float = 1.0
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 5e-4
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        self._above_zero(
            "epochs", "batch_size", "accumulation", "learning_rate", "checkpoint_every"
        )
        for name in ("weight_decay", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{self.group}.{name}: {getattr(self, name)} is below 0; 0 is none"
                )
        if not 0 <= self.warmup < 1:
            raise InputError(f"{self.group}.warmup: {self.warmup} is not in [0, 1); try 0.03")

    def _above_zero(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(
                    f"{self.group}.{name}: {value} is not above 0; give a positive number"
                )


@dataclass(frozen=True, kw_only=True)
class Guard:
    """When training has cost too much fluency.

    Args:
        text: the name of the text in ``evaluation.perplexity`` that is watched.
        bound: the highest perplexity allowed, as a multiple of the lowest seen so far; the model
            that training starts from counts.
        every: updates between two measurements; the last update is always measured.
        stop: end training at the first measurement past the bound and go back to the weights of
            the last one within it; otherwise only warn.
    """

    text: str
    bound: float = 1.05
    every: int = 50
    stop: bool = False

    def __post_init__(self) -> None:
        if not self.bound >= 1:
            raise InputError(f"training.guard.bound: {self.bound} is below 1; try 1.05")
        if self.every < 1:
            raise InputError(f"training.guard.every: {self.every} is below 1; try 50")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a selected token contributes to the loss.

    Args:
        kind: ``penalty``: ``-λ l`` (paper Eq. 9), unbounded below. ``clamped``: ``-λ min(l,
            ceiling)``, so a token whose loss has reached the ceiling is pushed no further.
            ``unlikelihood``: ``-λ log(1 - p)`` (Welleck et al. 2020), bounded below by 0.
            ``masking``: 0, the token is left out. Or one that another package registers.
        weight: λ.
        ceiling: the clamped penalty's ceiling on a token's loss, in nats.
        ramp: λ rises in a line from 0 over this share of all updates, and stays; 0 has no rise.
    """

    kind: str = "penalty"
    weight: float = 1.0
    ceiling: float = 12.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        OBJECTIVES.check(self.kind, "training.objective.kind")
        if self.weight < 0:
            raise InputError(f"training.objective.weight: {self.weight} is below 0; try 1.0")
        if not self.ceiling > 0:
            raise InputError(f"training.objective.ceiling: {self.ceiling} is not above 0; try 12")
        if not 0 <= self.ramp <= 1:
            raise InputError(f"training.objective.ramp: {self.ramp} is not in [0, 1]; 0 is none")
        group = "training.objective"
        if self.kind in ("penalty", "unlikelihood", "masking"):
            refuse_ignored(self, group, ("ceiling",), f"kind is {self.kind}, not clamped")
        if self.kind == "masking":
            refuse_ignored(self, group, ("weight", "ramp"), "kind masking leaves tokens out")

    def at(self, done: float) -> Objective:
        """Return the objective as it is after a share ``done`` in [0, 1] of all updates."""
        if done >= self.ramp:
            return self
        return replace(self, weight=self.weight * done / self.ramp)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Hyperparameters):
    """How a model is trained.

    Args:
        start: ``initial`` (the weights the model section describes) or ``baseline`` (the trained
            baseline, to fine-tune it).
        objective: what selected tokens contribute; without a selection it is never used.
        guard: watches held-out perplexity meanwhile; null watches nothing.
    """

    start: Literal["initial", "baseline"] = "initial"
    objective: Objective = field(default_factory=Objective)
    guard: Guard | None = None


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(Hyperparameters):
    """How a model learns preferences; ``batch_size`` counts pairs.

    Args:
        beta: β, how dear it is to leave the start; more stays closer.
        max_length: longest sequence in tokens, with what stands before a text. Prompts lose
            their beginning, and a completion that alone is longer its end.
        limit: learn from at most this many pairs, drawn by the seed.
    """

    group: ClassVar[str] = "dpo"

    beta: float = 0.1
    max_length: int = 256
    limit: int | None = None
    batch_size: int = 16
    learning_rate: float = 1e-5
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._above_zero("beta", "limit")
        if self.max_length < 2:
            raise InputError(
                f"dpo.max_length: {self.max_length} leaves no token to learn; give 2 or more"
            )
