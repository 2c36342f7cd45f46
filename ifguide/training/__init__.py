"""Training with some tokens suppressed."""

from ifguide.training.guard import Guard
from ifguide.training.objectives import Objective, suppression_loss
from ifguide.training.train import SuppressionTrainer, TrainingConfig, train

__all__ = [
    "Guard",
    "Objective",
    "SuppressionTrainer",
    "TrainingConfig",
    "suppression_loss",
    "train",
]
