"""What ``transformers.TrainingArguments`` are made of: our settings, and other fields by name."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn
from transformers import TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from ifguide.errors import InputError, reading
from ifguide.ranges import MOST, Range
from ifguide.training.config import Hyperparameters, TrainingConfig

NUMBERS = Range(-MOST, MOST)  # of any field; each one's own range is checked by transformers
LOGGED = {"logging_strategy": "steps", "logging_steps": 0.01}  # a hundred times, or each update
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)
WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "settings by name",
    NoneType: "null",
}
OURS = {  # fields that the method decides, and where
    "output_dir": "the run folder",
    "num_train_epochs": "GROUP.epochs",
    "per_device_train_batch_size": "GROUP.batch_size",
    "auto_find_batch_size": "GROUP.batch_size",
    "gradient_accumulation_steps": "GROUP.accumulation",
    "average_tokens_across_devices": "the objective, which is a mean over all devices' tokens",
    "label_smoothing_factor": "GROUP.objective",
    "label_names": "GROUP.objective",
    "prediction_loss_only": "GROUP.objective",
    "learning_rate": "GROUP.learning_rate",
    "lr_scheduler_type": "GROUP.schedule",
    "warmup_steps": "GROUP.warmup",
    "weight_decay": "GROUP.weight_decay",
    "max_grad_norm": "GROUP.max_grad_norm",
    "bf16": "GROUP.precision",
    "fp16": "GROUP.precision",
    "save_strategy": "GROUP.checkpoint_every",
    "save_steps": "GROUP.checkpoint_every",
    "save_total_limit": "the run, which keeps the last two checkpoints and the best",
    "save_only_model": "the run, whose checkpoints can be gone on from",
    "resume_from_checkpoint": "the run, which goes on from its last whole checkpoint",
    "ignore_data_skip": "the run, which goes on to the same bits",
    "include_num_input_tokens_seen": "the run, which counts its tokens",
    "remove_unused_columns": "the method, whose batches carry the mask",
    "seed": "seed",
    "data_seed": "seed",
    "use_cpu": "the machine; hide its devices with CUDA_VISIBLE_DEVICES",
    "local_rank": "torchrun",
    "hub_token": "the environment's HF_TOKEN, since a run keeps its settings for all to read",
    "do_train": "the command",
    "do_eval": "the command",
    "do_predict": "the command",
}


def check_trainer(given: Mapping[str, Any], group: str) -> None:
    """Refuse what is no field of ``TrainingArguments``, is of another type, or is ours to decide.

    Args:
        given: values by the fields' names.
        group: where they stand, such as ``training``.

    Raises:
        InputError: the first that is refused.
    """
    for name, value in given.items():
        place = f"{group}.trainer.{name}"
        if name not in _kinds():
            close = difflib.get_close_matches(name, set(_kinds()) - set(OURS), 1)
            hint = f"did you mean {close[0]}?" if close else "remove it"
            raise InputError(f"{place}: transformers.TrainingArguments has no such field; {hint}")
        if name in OURS:
            owner = OURS[name].replace("GROUP", group)
            raise InputError(f"{place}: {owner} decides this; remove it here")
        if isinstance(value, int | float) and value not in NUMBERS:
            raise InputError(f"{place}: the number is not in {NUMBERS}; give one that is")
        try:
            TypeAdapter(_kinds()[name], config=STRICT).validate_python(value)
        except ValidationError as error:
            wanted = _words(_kinds()[name])
            raise InputError(f"{place}: {str(value)[:60]!r} does not fit; give {wanted}") from error
    if given.get("push_to_hub") and not given.get("hub_model_id"):
        raise InputError(
            f"{group}.trainer.hub_model_id: it is missing; name the repository to push to"
        )


def training_arguments(
    config: Hyperparameters, folder: Path, seed: int, model: nn.Module, group: str = ""
) -> TrainingArguments:
    """Return the arguments of a training that checkpoints to ``folder``.

    Args:
        config: the settings; ``group`` is what messages call them, by default as their class does.
        folder: where checkpoints lie.
        seed: orders the data and draws dropout.
        model: what is trained.

    Raises:
        InputError: transformers refuses them, a tracker in ``report_to`` is not installed, or the
            model cannot do without its activations.
    """
    own = config.trainer if isinstance(config, TrainingConfig) else {}
    logged = LOGGED if isinstance(config, TrainingConfig) else {}
    named = f"{group or config.group}{'.trainer' if own else ''}"
    with reading(named, "mend it", fault="refused by transformers"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # an old name
        settings = trainer_arguments(config, folder, seed, model)
        arguments = TrainingArguments(**{**settings, **logged, **own})
        for tracker in get_reporting_integration_callbacks(arguments.report_to):
            tracker()
    able = getattr(model, "supports_gradient_checkpointing", False)
    if arguments.gradient_checkpointing and not able:
        raise InputError(
            f"{named}.gradient_checkpointing: {type(model).__name__} does not support it; remove it"
        )
    return arguments


def trainer_arguments(
    config: Hyperparameters, folder: Path, seed: int, model: nn.Module
) -> dict[str, Any]:
    """Return what our settings come to, by the names of ``transformers.TrainingArguments``."""
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
        "prediction_loss_only": True,
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


@cache
def _kinds() -> Mapping[str, Any]:
    """Return the type of each field; beside an enumeration, whose values count, no other text."""
    return {field.name: _kind(field.type) for field in fields(TrainingArguments)}


def _kind(kind: Any) -> Any:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    enum = next((m for m in members if isinstance(m, type) and issubclass(m, Enum)), None)
    return kind if enum is None else Literal[tuple(member.value for member in enum)]


def _words(kind: Any) -> str:
    """Describe a type.

    >>> _words(int | None), _words(list[str]), _words(Literal["no", "steps"])
    ('a whole number or null', 'a list of text', 'no or steps')
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if origin is list:
        return f"a list of {_words(inner[0])}"
    return WORDS.get(origin or kind, str(kind))
