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
from ifguide.training.checkpoint_files import CHECKPOINT_FILES, COMPLETE, KEPT

HUNG = ("forward", "_original_forward", "model_tags")  # what trainers and autocast put on a model


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
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except _AtItsEndError:
        handler = trainer.callback_handler
        trainer.control = handler.on_train_end(trainer.args, trainer.state, trainer.control)
        if trainer.args.neftune_noise_alpha is not None:
            trainer.neftune_hook_handle.remove()
    best = trainer.state.best_model_checkpoint
    if trainer.args.load_best_model_at_end and isinstance(trainer.model, PreTrainedModel):
        if best is None or not _is_whole(Path(best)):
            raise InputError(
                f"{group}.trainer.load_best_model_at_end: the best checkpoint is damaged or was "
                "never written; delete the stage's folder and train again"
            )
        _load_by_own_names(trainer.model, best)
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
        if getattr(model, "is_gradient_checkpointing", False):
            network: Any = model  # whose older versions know the second name only
            newer = getattr(network, "activation_checkpointing_disable", None)
            (newer or network.gradient_checkpointing_disable)()
        for name in HUNG:
            vars(model).pop(name, None)
        vars(model).update(own)


class _AtItsEndError(Exception):
    """The checkpoint that training goes on from is its last; Trainer would take one more update."""


class _Watch(TrainerCallback):
    """Report progress, mark whole checkpoints, and take no update beyond the end."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress, self.seen = progress, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.seen = state.num_input_tokens_seen

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if control.should_training_stop or state.global_step >= state.max_steps:
            raise _AtItsEndError

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
            best = state.best_model_checkpoint
            for older in _checkpoints(checkpoint.parent)[:-KEPT]:
                if best is None or older != Path(best):
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
