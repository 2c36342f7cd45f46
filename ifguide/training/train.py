"""The verb ``train``, on top of ``transformers.Trainer``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from ifguide.errors import InputError
from ifguide.nouns import Corpus, Selection
from ifguide.training.config import Objective, TrainingConfig
from ifguide.training.guard import PerplexityGuard
from ifguide.training.objectives import suppression_loss
from ifguide.training.running import own_attributes, run_trainer, trainer_arguments


class SuppressionTrainer(Trainer):
    """A ``transformers.Trainer`` whose batches carry the mask of tokens not to learn.

    A batch holds ``input_ids``, ``labels`` (the same ids, -100 where there is no loss) and
    ``suppress``, all [B, T] on the axis of the predicted token. Works with everything that Trainer
    works with: accumulation, several processes, checkpoints, callbacks.
    """

    def __init__(self, *args: Any, objective: Objective | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective or Objective()
        self.model_accepts_loss_kwargs = True  # so that Trainer counts an update's tokens for us

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the objective's mean over the tokens of the whole update.

        Raises:
            InputError: it is not finite.
        """
        tokens = inputs["input_ids"]
        outputs = model(input_ids=tokens, use_cache=False)
        has_loss = inputs["labels"] != -100
        objective = self.objective.at(self.state.global_step / max(1, self.state.max_steps))
        count = num_items_in_batch
        if isinstance(count, Tensor):
            count = count.flatten()[0]  # nn.DataParallel has it once a device
        loss = suppression_loss(
            outputs.logits, tokens, inputs["suppress"], has_loss, objective, count
        )
        if not torch.isfinite(loss):
            raise InputError(
                f"training: the loss is {loss.item()} at update {self.state.global_step + 1}; "
                "lower training.learning_rate or training.objective.weight, or use the clamped "
                "objective"
            )
        if count is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


class MaskedBlocks(Dataset[dict[str, Tensor]]):
    """The corpus's blocks with the tokens to suppress, as ``SuppressionTrainer`` reads them."""

    def __init__(self, corpus: Corpus, selection: Selection | None) -> None:
        if selection is not None and selection.corpus.fingerprint != corpus.fingerprint:
            raise InputError(
                f"selection: its mask was made for corpus {selection.corpus.fingerprint[:12]}, not "
                f"for this one ({corpus.fingerprint[:12]}); score and select this corpus"
            )
        self.corpus = corpus
        self.suppress = None if selection is None else selection.suppress

    def __len__(self) -> int:
        return len(self.corpus.tokens)

    def __getitem__(self, block: int) -> dict[str, Tensor]:
        tokens = torch.from_numpy(np.array(self.corpus.tokens[block], dtype=np.int64))
        has_loss = torch.from_numpy(np.array(self.corpus.has_loss[block]))
        if self.suppress is None:
            suppress = torch.zeros_like(has_loss)
        else:
            suppress = torch.from_numpy(np.array(self.suppress[block]))
        labels = torch.where(has_loss, tokens, -100)
        return {"input_ids": tokens, "labels": labels, "suppress": suppress}


def train(
    model: nn.Module,
    corpus: Corpus,
    selection: Selection | None,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
    measure: Callable[[nn.Module], float] | None = None,
) -> nn.Module:
    """Train a model in place, without learning the selected tokens, and return it.

    Args:
        model: a causal language model; it is returned in evaluation mode.
        corpus: the blocks to train on.
        selection: the tokens to suppress; None trains on everything.
        config: hyperparameters and the objective.
        folder: where checkpoints lie; training goes on from the last complete one there.
        seed: orders the blocks and draws any dropout.
        progress: called with the number of tokens just done, over all processes.
        measure: gives a model's perplexity on the text that ``config.guard`` watches.

    Raises:
        InputError: the mask belongs to another corpus, or the loss or a weight is not finite.
    """
    watch = _guard_of(config, measure, folder)
    with own_attributes(model):
        trainer = SuppressionTrainer(
            model=model,
            args=TrainingArguments(**trainer_arguments(config, folder, seed, model)),
            train_dataset=MaskedBlocks(corpus, selection),
            objective=config.objective,
            callbacks=watch,
        )
        run_trainer(trainer, folder, config.group, progress)
    for guard in watch:
        guard.restore(model)
    return model.eval()


def _guard_of(
    config: TrainingConfig, measure: Callable[[nn.Module], float] | None, folder: Path
) -> list[PerplexityGuard]:
    """Return the watch that the settings ask for, or none."""
    if config.guard is None:
        return []
    if measure is None:
        raise InputError(
            "training.guard: there is nothing to measure with; give train() a measure of perplexity"
        )
    return [PerplexityGuard(config.guard, measure, folder)]
