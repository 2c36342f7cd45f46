"""A model tuned on one side of the queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ifguide.errors import InputError
from ifguide.models.forward import check_queries_fit
from ifguide.nouns import QuerySet
from ifguide.training.arguments import training_arguments
from ifguide.training.collate import NO_LOSS, SuppressionCollator
from ifguide.training.config import Hyperparameters
from ifguide.training.running import own_attributes, run_trainer
from ifguide.training.train import SuppressionTrainer


class _Queries(Dataset[dict[str, Tensor]]):
    """Queries of which the counted tokens have a label."""

    def __init__(self, queries: QuerySet) -> None:
        sides = zip(queries.tokens, queries.weights, strict=True)
        self.counted = [(tokens, weights > 0) for tokens, weights in sides if (weights > 0).any()]

    def __len__(self) -> int:
        return len(self.counted)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        tokens, counts = self.counted[number]
        labels = np.where(counts, tokens, NO_LOSS)
        return {
            "input_ids": torch.from_numpy(np.array(tokens, dtype=np.int64)),
            "labels": torch.from_numpy(labels.astype(np.int64)),
        }


def tune_on_queries(
    model: nn.Module,
    queries: QuerySet,
    config: Hyperparameters,
    padding: int,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> nn.Module:
    """Train a model in place on the counted tokens of queries, and return it.

    The loss is the mean over an update's counted tokens, whatever their weights are.

    Args:
        model: a causal language model; it is returned in evaluation mode.
        queries: one side.
        config: hyperparameters; ``batch_size`` counts queries.
        padding: the token that fills batches, which is never read.
        folder: where checkpoints lie; training goes on from the last complete one there.
        seed: orders the queries and draws any dropout.
        progress: called with the number of tokens just done, padding included.

    Raises:
        InputError: no token counts, a query does not fit the model's positions, or the loss or a
            weight is not finite.
    """
    check_queries_fit(model, queries)
    examples = _Queries(queries)
    if not len(examples):
        raise InputError(f"{config.group}: a side of the queries has no token; add queries")
    with own_attributes(model):
        trainer = SuppressionTrainer(
            model=model,
            args=training_arguments(config, folder, seed, model),
            train_dataset=examples,
            data_collator=SuppressionCollator(padding),
        )
        run_trainer(trainer, folder, config.group, progress)
    return model.eval()
