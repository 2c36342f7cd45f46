"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290), by TRL.

With policy π, reference π₀ (the start) and y₊ preferred to y₋ after x, the loss of a pair is
``-log σ(β [log π(y₊|x)/π₀(y₊|x) - log π(y₋|x)/π₀(y₋|x)])``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ifguide.errors import InputError
from ifguide.extras import import_extra
from ifguide.models.forward import positions_of
from ifguide.training.arguments import trainer_arguments
from ifguide.training.config import PreferenceConfig
from ifguide.training.preference_pairs import PreferencePair, tokenised_pair
from ifguide.training.running import own_attributes, run_trainer

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")  # which trainers set on a model


def train_preference(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferencePair],
    config: PreferenceConfig,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> nn.Module:
    """Train a model in place to prefer the chosen completions, and return it.

    The reference is the model as it is given; its log-probabilities are computed first, so memory
    holds one model. Dropout is off throughout.

    Cost: one forward pass over the pairs' tokens for the reference, then three an epoch.

    Args:
        model: a causal language model of transformers; it is returned in evaluation mode.
        tokenizer: the model's; every sequence follows its ``text_start``.
        pairs: what is preferred to what.
        config: β and hyperparameters.
        folder: where checkpoints lie; training goes on from the last complete one there, which
            needs the same model, pairs and settings.
        seed: draws the pairs under ``limit`` and orders them.
        progress: called with the number of tokens just learnt from, padding included.

    Raises:
        InputError: trl is not installed, there are fewer pairs than a batch, the pairs do not fit
            the model's positions, or the loss or a weight is not finite.
    """
    trl = import_extra("trl", "trl", "dpo", config.group)
    records = _records(model, tokenizer, pairs, config, seed)
    settings = _settings(trl.DPOConfig, config, trainer_arguments(config, folder, seed, model))
    with own_attributes(model), _own_settings(model), _quiet():
        trainer = _trainer_class(trl)(
            model=model,
            args=settings,
            train_dataset=datasets.Dataset.from_list(records),
            processing_class=deepcopy(tokenizer),  # the trainer gives it a padding token
        )
        run_trainer(trainer, folder, config.group, progress)
    return model.eval()


def check_pairs(there: int, config: PreferenceConfig) -> None:
    """Refuse to learn from fewer pairs than a batch.

    Raises:
        InputError: there are fewer.
    """
    used = there if config.limit is None else min(there, config.limit)
    if used < config.batch_size:
        raise InputError(
            f"compare.dpo: {used} pairs are fewer than one batch of {config.batch_size}; give "
            "more prompts or pairs, lower the margin between the two sides, or lower "
            "compare.dpo.batch_size"
        )


def _settings(make: Any, config: PreferenceConfig, arguments: dict[str, Any]) -> Any:
    # the older name is deprecated where there is the newer one
    names = ("activation_checkpointing", "gradient_checkpointing")
    checkpointing = next(name for name in names if name in make.__dataclass_fields__)
    settings = make(
        **arguments,
        **{checkpointing: False},
        beta=config.beta,
        max_length=None,  # the pairs are cut already
        precompute_ref_log_probs=True,
    )
    if settings.n_gpu > 1:
        raise InputError(
            f"compare.dpo: this process sees {settings.n_gpu} GPUs; set CUDA_VISIBLE_DEVICES to "
            "one, or start one process a GPU with torchrun"
        )
    return settings


def _records(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferencePair],
    config: PreferenceConfig,
    seed: int,
) -> list[dict[str, list[int]]]:
    check_pairs(len(pairs), config)
    drawn = np.random.default_rng(seed).permutation(len(pairs))[: config.limit]
    positions = positions_of(model)
    if positions is not None and config.max_length > positions:
        raise InputError(
            f"compare.dpo.max_length: {config.max_length} is more than the model's {positions} "
            f"positions; give at most {positions}"
        )
    records = [tokenised_pair(pairs[k], tokenizer, config.max_length) for k in drawn]
    for number, record in zip(drawn, records, strict=True):
        if not (record["chosen_ids"] and record["rejected_ids"]):
            raise InputError(
                f"compare.dpo: a completion of pair {number} is empty "
                f"('{pairs[number].prompt[:40]}'); remove the pair"
            )
    return records


def _trainer_class(trl: Any) -> type[Any]:
    """Return TRL's trainer for pairs that are tokens already; it tells nobody that it runs."""

    class PreferenceTrainer(trl.DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
            return dataset

        def _send_telemetry(self) -> None:
            pass

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            pass

        def compute_loss(self, model: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
            loss = super().compute_loss(model, *args, **kwargs)
            if not torch.isfinite(loss):
                raise InputError(
                    f"compare.dpo: the loss is {loss.item()} at update "
                    f"{self.state.global_step + 1}; lower compare.dpo.learning_rate"
                )
            return loss

    return PreferenceTrainer


@contextmanager
def _own_settings(model: nn.Module) -> Iterator[None]:
    """Give a model back its token ids and its dropout, which the trainer changes."""
    configs: list[Any] = [model.config, model.generation_config]
    ids = [{name: getattr(config, name, None) for name in TOKEN_IDS} for config in configs]
    dropout = {m: m.p for m in model.modules() if isinstance(m, nn.Dropout)}
    try:
        yield
    finally:
        for config, own in zip(configs, ids, strict=True):
            for name, value in own.items():
                setattr(config, name, value)
        for module, probability in dropout.items():
            module.p = probability


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no bar while the reference's log-probabilities are computed, and no old name's warning.

    TRL 1.16 still asks transformers for checkpointing of activations by its deprecated name.
    """
    shown, before = not datasets.are_progress_bars_disabled(), os.environ.get("TQDM_DISABLE")
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
            yield
    finally:
        if shown:
            datasets.enable_progress_bars()
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
