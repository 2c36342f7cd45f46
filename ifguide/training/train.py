"""The verb ``train``, on top of ``transformers.Trainer``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ifguide import distributed
from ifguide.errors import InputError
from ifguide.files import read_json, write_json
from ifguide.nouns import Corpus, Selection
from ifguide.training.guard import Guard, PerplexityGuard
from ifguide.training.objectives import Objective, suppression_loss

COMPLETE = "complete"  # the mark in a checkpoint that was written whole: its files' sizes
FORWARD = ("forward", "_original_forward")  # where accelerate puts autocast on a model


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        start: ``initial`` (the weights the model section describes) or ``baseline`` (the trained
            baseline, to fine-tune it).
        epochs: passes over the corpus.
        batch_size: blocks a step and process.
        accumulation: batches a weight update.
        learning_rate, schedule, warmup, weight_decay, max_grad_norm: AdamW and its schedule
            (``warmup`` as a share of all updates).
        precision: ``bfloat16`` autocast, or ``float32`` throughout.
        checkpoint_every: updates between checkpoints, from which an interrupted run resumes.
        objective: what selected tokens contribute; without a selection it is never used.
        guard: watches held-out perplexity meanwhile; null watches nothing.
    """

    start: Literal["initial", "baseline"] = "initial"
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
    objective: Objective = field(default_factory=Objective)
    guard: Guard | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "learning_rate", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise InputError(
                    f"training.{name}: {getattr(self, name)} is not above 0; give a positive number"
                )
        for name in ("weight_decay", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise InputError(f"training.{name}: {getattr(self, name)} is below 0; 0 is none")
        if not 0 <= self.warmup < 1:
            raise InputError(f"training.warmup: {self.warmup} is not in [0, 1); try 0.03")


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
    own = {name: vars(model)[name] for name in FORWARD if name in vars(model)}
    trainer = SuppressionTrainer(
        model=model,
        args=_arguments(config, folder, seed, model),
        train_dataset=MaskedBlocks(corpus, selection),
        objective=config.objective,
        callbacks=[_Watch(progress), *watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_complete(folder))
    for name in FORWARD:  # autocast comes off again
        vars(model).pop(name, None)
    vars(model).update(own)
    for guard in watch:
        guard.restore(model)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise InputError(
                f"training: weight '{name}' is not finite after the last update; lower "
                "training.learning_rate"
            )
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


def _arguments(
    config: TrainingConfig, folder: Path, seed: int, model: nn.Module
) -> TrainingArguments:
    on_cpu = next(model.parameters()).device.type == "cpu" and not torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta2=0.95,
        bf16=config.precision == "bfloat16",
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        save_total_limit=2,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="all",
        seed=seed,
        data_seed=seed,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        ddp_find_unused_parameters=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
    )


class _Watch(TrainerCallback):
    """Report progress and mark whole checkpoints."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress, self.seen = progress, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.seen = state.num_input_tokens_seen

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress(int(state.num_input_tokens_seen - self.seen))
        self.seen = state.num_input_tokens_seen

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        distributed.barrier()  # every rank has written its part
        if state.is_world_process_zero:
            checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            write_json(checkpoint / COMPLETE, _sizes(checkpoint))


def _sizes(checkpoint: Path) -> dict[str, int]:
    return {f.name: f.stat().st_size for f in sorted(checkpoint.iterdir()) if f.name != COMPLETE}


def _is_whole(checkpoint: Path) -> bool:
    try:
        return bool(read_json(checkpoint / COMPLETE) == _sizes(checkpoint))
    except InputError:
        return False


def _last_complete(folder: Path) -> str | None:
    """Return the newest checkpoint that was written whole, or None; the others are deleted."""
    if distributed.is_main():
        for checkpoint in folder.glob("checkpoint-*"):
            if not _is_whole(checkpoint):
                shutil.rmtree(checkpoint)
    distributed.barrier()
    whole = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return str(whole[-1]) if whole else None
