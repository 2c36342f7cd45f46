"""How weights are updated: what every kind of training shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ifguide.errors import InputError


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
