"""A run of a ``transformers.Trainer``: quiet, resumed from whole checkpoints, leaving no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.files import describe, read_json, write_json
from ifguide.training.checkpoint_files import CHECKPOINT_FILES, COMPLETE
from ifguide.training.config import Hyperparameters

KEPT = 2  # checkpoints
HUNG = ("forward", "_original_forward", "model_tags")  # what trainers and autocast put on a model


def trainer_arguments(
    config: Hyperparameters, folder: Path, seed: int, model: nn.Module
) -> dict[str, Any]:
    """Return what ``transformers.TrainingArguments`` is made of, by name."""
    on_cpu = next(model.parameters()).device.type == "cpu" and not torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "adam_beta2": 0.95,
        "bf16": config.precision == "bfloat16",
        "save_strategy": "steps",
        "save_steps": config.checkpoint_every,
        "save_total_limit": None,  # Trainer would go by dates, and delete whole folders
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "all",
        "seed": seed,
        "data_seed": seed,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "ddp_find_unused_parameters": False,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "remove_unused_columns": False,
    }


def run_trainer(
    trainer: Trainer, folder: Path, group: str, progress: Callable[[int], None]
) -> None:
    """Train to the end, from the last whole checkpoint in ``folder``.

    Raises:
        InputError: a weight is not finite at the end; ``group`` is where its settings are.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Watch(progress))
    checkpoint = _last_complete(folder)
    if checkpoint is not None and isinstance(trainer.model, PreTrainedModel):
        _load_by_own_names(trainer.model, checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    for name, parameter in trainer.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise InputError(
                f"{group}: weight '{name}' is not finite after the last update; lower "
                f"{group}.learning_rate"
            )


@contextmanager
def own_attributes(model: nn.Module) -> Iterator[None]:
    """Take off a model again what a trainer hangs on it, autocast first of all."""
    own = {name: vars(model)[name] for name in HUNG if name in vars(model)}
    try:
        yield
    finally:
        for name in HUNG:
            vars(model).pop(name, None)
        vars(model).update(own)


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
        ranks.barrier()  # every rank has written its part
        if state.is_world_process_zero:
            checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            for code in checkpoint.glob("*.py"):  # a model's own: it is loaded already
                code.unlink()
            write_json(checkpoint / COMPLETE, _described(checkpoint))
            for older in _checkpoints(checkpoint.parent)[:-KEPT]:
                remove_checkpoint(older)


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete the files of a checkpoint, and its folder if it holds nothing else."""
    for file in checkpoint.iterdir():
        name = f"{checkpoint.name}/{file.name}"
        if not file.is_dir() and any(fnmatch(name, pattern) for pattern in CHECKPOINT_FILES):
            file.unlink()
    with suppress(OSError):
        checkpoint.rmdir()


def _load_by_own_names(model: PreTrainedModel, checkpoint: str) -> None:
    """Load a checkpoint's weights, those included that are called otherwise in the file.

    GPT-NeoX's head is an example; ``Trainer`` loads by the file's names and leaves such weights as
    they are without a word.
    """
    stored = type(model).from_pretrained(checkpoint, dtype=model.dtype, local_files_only=True)
    model.load_state_dict(stored.state_dict())


def _described(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Return the size and checksum of each file that a trainer wrote into a checkpoint."""
    own = [f for f in checkpoint.iterdir() if f.is_file() and not f.is_symlink()]
    fits = {f for f in own for p in CHECKPOINT_FILES if fnmatch(f"{checkpoint.name}/{f.name}", p)}
    return {f.name: describe(f) for f in sorted(fits) if f.name != COMPLETE}


def _is_whole(checkpoint: Path) -> bool:
    try:
        return bool(read_json(checkpoint / COMPLETE) == _described(checkpoint))
    except InputError:
        return False


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder in the order of their updates."""
    found = [p for p in folder.glob("checkpoint-*") if p.name.split("-")[1].isdigit()]
    return sorted((p for p in found if p.is_dir()), key=lambda path: int(path.name.split("-")[1]))


def _last_complete(folder: Path) -> str | None:
    """Return the newest checkpoint that was written whole, or None; the others are deleted."""
    if ranks.is_main():
        for checkpoint in _checkpoints(folder):
            if not _is_whole(checkpoint):
                remove_checkpoint(checkpoint)
    ranks.barrier()
    whole = [checkpoint for checkpoint in _checkpoints(folder) if _is_whole(checkpoint)]
    return str(whole[-1]) if whole else None
