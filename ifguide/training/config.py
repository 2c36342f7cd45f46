"""The training's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored
from ifguide.ranges import (
    LARGE,
    Count,
    NotNegative,
    Positive,
    Range,
    Share,
    ShareBelowOne,
    TextLength,
    check_ranges,
)
from ifguide.registry import Registry

OBJECTIVES: Registry[Any] = Registry(
    "objective",
    "ifguide.objectives",
    {
        "penalty": "ifguide.training.objectives:PENALTY",
        "clamped": "ifguide.training.objectives:CLAMPED",
        "unlikelihood": "ifguide.training.objectives:UNLIKELIHOOD",
        "masking": "ifguide.training.objectives:MASKING",
        "npo": "ifguide.training.objectives:NPO",
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

    epochs: Positive = 1.0
    batch_size: Count = 32
    accumulation: Count = 1
    learning_rate: Positive = 5e-4
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: ShareBelowOne = 0.03
    weight_decay: NotNegative = 0.1
    max_grad_norm: NotNegative = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: Count = 200

    def __post_init__(self) -> None:
        check_ranges(self, self.group)


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
    bound: Annotated[float, Range(1, LARGE)] = 1.05
    every: Count = 50
    stop: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "training.guard")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a selected token contributes to the loss.

    Args:
        kind: ``penalty``: ``-λ l`` (paper Eq. 9), unbounded below. ``clamped``: ``-λ min(l,
            ceiling)``, so a token whose loss has reached the ceiling is pushed no further.
            ``unlikelihood``: ``-λ log(1 - p)`` (Welleck et al. 2020), bounded below by 0.
            ``masking``: 0, the token is left out. ``npo``: ``λ (2/β) log(1 + (p/p₀)^β)`` with p₀
            the probability in the model that training starts from (Zhang et al. 2024, token by
            token): bounded below by 0, and at the start a penalty. Or one that another package
            registers.
        weight: λ.
        ceiling: the clamped penalty's ceiling on a token's loss, in nats.
        beta: NPO's β; the less, the more like a penalty.
        ramp: λ rises in a line from 0 over this share of all updates, and stays; 0 has no rise.
        kl: a benign token contributes this much of ``KL(p₀ || p)`` beside its loss, with p₀ what
            the model that training starts from predicts (Maini et al. 2024): it is held to what
            it was. That model stays in memory. Null has none.
    """

    kind: str = "penalty"
    weight: NotNegative = 1.0
    ceiling: Positive = 12.0
    beta: Positive = 0.1
    ramp: Share = 0.0
    kl: Positive | None = None

    def __post_init__(self) -> None:
        OBJECTIVES.check(self.kind, "training.objective.kind")
        group = "training.objective"
        check_ranges(self, group)
        if self.kind in ("penalty", "clamped", "unlikelihood", "masking"):
            refuse_ignored(self, group, ("beta",), f"kind is {self.kind}, not npo")
        if self.kind in ("penalty", "unlikelihood", "masking", "npo"):
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
        mask_from: the folder of a finished run over the same documents, whose mask is taken by
            characters, whatever its tokenizer and model; nothing is scored then. The run is only
            read. Null takes the run's own mask.
        mask_share: with ``mask_from``, the share of a token's characters that must be selected
            there for the token to be; 0 asks for one character, null is 0.5.
        trainer: any other field of ``transformers.TrainingArguments`` by its own name
            (``report_to``, ``max_steps``, ``gradient_checkpointing``, ``optim``, ...). With
            ``eval_strategy`` the guard's text is evaluated, and ``load_best_model_at_end`` goes
            back to the best checkpoint.
    """

    uncounted: ClassVar = ("mask_from",)  # its files count

    start: Literal["initial", "baseline"] = "initial"
    objective: Objective = field(default_factory=Objective)
    guard: Guard | None = None
    mask_from: str | None = None
    mask_share: Share | None = None
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask_from is None:
            refuse_ignored(self, self.group, ("mask_share",), "there is no mask_from")
        if not self.trainer:
            return
        from ifguide.training.arguments import check_trainer  # loads torch

        check_trainer(self.trainer, self.group)
        if self.trainer.get("max_steps", -1) > 0:
            refuse_ignored(self, self.group, ("epochs",), "trainer.max_steps says how long")
        if self.trainer.get("eval_strategy", "no") != "no" and self.guard is None:
            raise InputError(
                f"{self.group}.trainer.eval_strategy: there is no text to evaluate on; name one in "
                f"{self.group}.guard.text"
            )

    @property
    def by_own_mask(self) -> TrainingConfig:
        """The same by the run's own mask."""
        return replace(self, mask_from=None, mask_share=None)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(Hyperparameters):
    """How a model learns preferences; ``batch_size`` counts pairs.

    Args:
        beta: β, how dear it is to leave the start; more stays closer.
        max_length: longest sequence in tokens, with what stands before a text. Prompts lose
            their beginning, and a completion that alone is longer its end.
        limit: learn from at most this many pairs, drawn by the seed.
    """

    group: ClassVar[str] = "compare.dpo"

    beta: Positive = 0.1
    max_length: TextLength = 256
    limit: Count | None = None
    batch_size: Count = 16
    learning_rate: Positive = 1e-5
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "linear"
    warmup: ShareBelowOne = 0.1
    weight_decay: NotNegative = 0.0
