"""Training with some tokens suppressed."""

from ifguide.training.objectives import Objective, suppression_loss
from ifguide.training.train import SuppressionTrainer, TrainingConfig, train

__all__ = ["Objective", "SuppressionTrainer", "TrainingConfig", "suppression_loss", "train"]
