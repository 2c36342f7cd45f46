"""The sizes of a model, known from its config alone: nothing of it is loaded or computed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from ifguide.corpus.tokenizers import loading
from ifguide.errors import InputError, reading
from ifguide.models.config import ModelConfig
from ifguide.models.hooks import first_readers
from ifguide.models.load import SpecialTokens, gguf_options, scratch_architecture
from ifguide.models.model_files import ADAPTER
from ifguide.models.tracked import TrackedWeight, trackable


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What a model's config decides of its size.

    Args:
        parameters: numbers in its weights; those that two modules share count once.
        item: bytes of one in memory.
        layers, width, vocabulary: blocks, numbers that stand for a token between them, and rows of
            the embedding.
        tracked: (out, in) of each tracked weight.
        inputs: the "in" of each input that tracked weights read; several may read one.
    """

    parameters: int
    item: int
    layers: int
    width: int
    vocabulary: int
    tracked: tuple[tuple[int, int], ...]
    inputs: tuple[int, ...]

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return self.parameters * self.item

    @property
    def direction(self) -> int:
        """Bytes of one number a tracked weight, in float32 at least."""
        return sum(out * into for out, into in self.tracked) * max(self.item, 4)

    @property
    def factors(self) -> int:
        """Bytes of a basis for each weight's outputs and each input, and of the eigenvalues."""
        numbers = sum(out * out + out * into for out, into in self.tracked)
        return (numbers + sum(into * into for into in self.inputs)) * max(self.item, 4)


def architecture_of(config: ModelConfig, tokens: SpecialTokens) -> PreTrainedConfig:
    """Return the config of the model that settings name.

    Args:
        config: the settings.
        tokens: what a model of random weights takes from the tokenizer.

    Raises:
        InputError: it cannot be read, or the settings name an adapter.
    """
    if config.scratch is not None:
        return scratch_architecture(config, tokens)
    place, options = gguf_options(config) if config.gguf is not None else (config.path or "", {})
    options.pop("quantization_config", None)
    mend = "give a checkpoint folder or a hub name (the hub needs the network)"
    with loading(config.named_by, mend, "set model.trust_remote_code"):
        if (Path(place) / ADAPTER).is_file():
            raise InputError(
                f"{config.named_by} is an adapter, whose cost is not estimated; name its base model"
            )
        return AutoConfig.from_pretrained(
            place,
            revision=config.revision or "main",
            trust_remote_code=config.trust_remote_code,
            **options,
        )


def shape_of(architecture: PreTrainedConfig, dtype: str) -> ModelShape:
    """Return the sizes of a model; its weights are never made.

    Raises:
        InputError: no causal language model can be made of the config, or none of its weights can
            be tracked.
    """
    mend = "use another causal language model (model.path, or model.scratch)"
    with reading("model", mend, fault="its sizes cannot be told"):
        with torch.device("meta"):
            model = made_of(architecture, dtype)
        text, tracked = architecture.get_text_config(), trackable(model)
        return ModelShape(
            parameters=sum(weight.numel() for weight in model.parameters()),
            item=getattr(torch, dtype).itemsize,
            layers=int(text.num_hidden_layers),
            width=int(text.hidden_size),
            vocabulary=int(model.get_input_embeddings().weight.shape[0]),
            tracked=tuple((w.matrix.shape[0], w.matrix.shape[1]) for w in tracked),
            inputs=_inputs(model, tracked),
        )


def _inputs(model: nn.Module, tracked: Sequence[TrackedWeight]) -> tuple[int, ...]:
    """Return the width of each input, by a pass without weights; one a weight where none runs."""
    try:
        first = first_readers(model, tracked, _without_weights)
    except Exception:  # noqa: BLE001 - a family's own code, that asks for numbers
        first = {weight.name: weight.name for weight in tracked}
    return tuple(w.matrix.shape[1] for w in tracked if first[w.name] == w.name)


def _without_weights(model: nn.Module, tokens_BT: Tensor) -> Any:
    """Run a model on ``meta``; a mask that is given whole spares the family's look at numbers."""
    length = tokens_BT.shape[1]
    mask = torch.zeros(1, 1, length, length, device=tokens_BT.device)
    return model(input_ids=tokens_BT, use_cache=False, attention_mask=mask)


def made_of(architecture: PreTrainedConfig, dtype: str) -> Any:
    """Return a model of random weights, in evaluation mode."""
    kind = getattr(torch, dtype)
    return AutoModelForCausalLM.from_config(
        copy.deepcopy(architecture), dtype=kind, trust_remote_code=False
    ).eval()


def thinned(architecture: PreTrainedConfig, layers: int, vocabulary: int) -> PreTrainedConfig:
    """Return the config of a model of the same blocks, but fewer of them and fewer tokens."""
    thin = copy.deepcopy(architecture)
    text = thin.get_text_config()
    text.num_hidden_layers = layers
    text.vocab_size = vocabulary
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[:layers]
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        for part in (thin, text):
            if getattr(part, name, None) is not None:
                setattr(part, name, 0)
    return thin
