"""Load a causal language model, or make one from a Hugging Face config, and check that it fits."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    set_seed,
)

from ifguide.corpus.gguf_files import gguf_place
from ifguide.corpus.hub import commit_of
from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import end_of_text, loading, vocabulary_of
from ifguide.errors import InputError, reading
from ifguide.extras import import_extra
from ifguide.models.adapters import check_adapter, let_adapters_learn
from ifguide.models.config import ModelConfig
from ifguide.models.forward import positions_of
from ifguide.models.losses import embedding_of
from ifguide.models.model_files import model_files
from ifguide.models.quantised import keep_differentiable, refuse_untrainable, stored_quantised
from ifguide.models.scratch_size import check_memory, check_numbers


def load_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, block_length: int, seed: int
) -> nn.Module:
    """Return the model on the best device, in evaluation mode, checked against the corpus.

    A folder that holds an adapter (peft) gives its base model with the adapter as the trainable,
    and so the tracked, part.

    Raises:
        InputError: it cannot be found, its vocabulary or positions are too small, or a weight is
            not finite.
    """
    model = _from_scratch(config, tokenizer, seed) if config.scratch else _pretrained(config)
    check_fits(model, tokenizer, block_length, config.path or config.gguf or "model.scratch")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()


def load_checkpoint(folder: Path, *, trust_remote_code: bool = False) -> nn.Module:
    """Load a model that ``save_pretrained`` wrote, as it was, in evaluation mode, and place it.

    Args:
        folder: of the checkpoint; the network is never asked.
        trust_remote_code: run the code that lies in the folder.

    Raises:
        InputError: it cannot be loaded, or only by running code that is not trusted.
    """
    check_adapter(folder)
    mend = "make it again, or name another checkpoint"
    with loading(f"{folder}: the model", mend, "give --trust-remote-code"):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", local_files_only=True, trust_remote_code=trust_remote_code
        )
        let_adapters_learn(model)
        keep_differentiable(model)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def model_fingerprint(config: ModelConfig) -> str:
    """Return a sha256 of what decides the weights: files for a local path, names otherwise."""
    digest = hashlib.sha256(repr(config).encode())
    for file in model_files(config):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def check_fits(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, block_length: int, name: str
) -> None:
    """Refuse a model that cannot read the corpus or whose weights are not finite."""
    vocabulary = embedding_of(model).weight.shape[0]
    if vocabulary_of(tokenizer) > vocabulary:
        scratch = name == "model.scratch"
        mend = "leave out vocab_size" if scratch else "use its own tokenizer (tokenizer.path)"
        raise InputError(
            f"{name}: its vocabulary has {vocabulary} entries, the tokenizer "
            f"{vocabulary_of(tokenizer)}; {mend}"
        )
    positions = positions_of(model)
    if positions is not None and block_length > positions:
        raise InputError(
            f"{name}: it has {positions} positions, corpus.block_length is {block_length}; lower "
            "corpus.block_length"
        )
    for weight, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise InputError(
                f"{name}: weight '{weight}' holds NaN or infinity; use a sound checkpoint"
            )


@dataclass(frozen=True)
class SpecialTokens:
    """What a model of random weights takes from the tokenizer.

    Args:
        vocabulary: rows of its embedding, unless the settings say otherwise.
        start, end: the ids of beginning and end of text.
    """

    vocabulary: int
    start: int
    end: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
        """Return a tokenizer's."""
        start, end = text_start(tokenizer)[0], end_of_text(tokenizer)
        return cls(vocabulary_of(tokenizer), start, end)


def scratch_architecture(config: ModelConfig, tokens: SpecialTokens) -> PreTrainedConfig:
    """Return the config that ``model.scratch`` comes to; nothing of the model is made.

    Raises:
        InputError: no config of that family can be made of the settings.
    """
    settings = dict(config.scratch or {})
    check_numbers(settings)
    if "config" not in settings:
        settings.setdefault("vocab_size", tokens.vocabulary)
    ids = {"bos_token_id": tokens.start, "eos_token_id": tokens.end, "pad_token_id": tokens.end}
    settings = {**ids, **settings}
    mend = "change them as that family's config in transformers says"
    fault = f"no {settings.get('model_type', 'model')} can be made of these settings"
    with reading("model.scratch", mend, fault=fault):
        architecture = _named_architecture(settings, config.revision)
        _refuse_unknown(architecture, settings)
        return architecture


def _from_scratch(config: ModelConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> nn.Module:
    architecture = scratch_architecture(config, SpecialTokens.of(tokenizer))
    mend = "change them as that family's config in transformers says"
    fault = f"no {architecture.model_type} can be made of these settings"
    with reading("model.scratch", mend, fault=fault):
        check_memory(architecture, getattr(torch, config.dtype))
        set_seed(seed)
        return AutoModelForCausalLM.from_config(
            architecture, dtype=getattr(torch, config.dtype), trust_remote_code=False
        )


def _named_architecture(settings: dict[str, Any], revision: str | None = None) -> PreTrainedConfig:
    """Return the config of a family, or the one that lies in a folder or on the hub, changed.

    Args:
        settings: what it is given, beside ``model_type`` or ``config``; these are taken out.
        revision: of a hub name.
    """
    given = settings.pop("config", None)
    if given is None:
        return AutoConfig.for_model(settings.pop("model_type"), **settings)
    found = AutoConfig.from_pretrained(given, revision=revision or "main", trust_remote_code=False)
    for name in settings:
        if not hasattr(found, name):
            raise InputError(
                f"model.scratch.{name}: {found.model_type} has no such setting; see the config of "
                f"{found.model_type} in transformers"
            )
    return type(found).from_dict({**found.to_dict(), **settings})


def _refuse_unknown(architecture: PreTrainedConfig, settings: Iterable[str]) -> None:
    """Refuse settings that the family does not know: its config would only carry them along."""
    known = type(architecture)()
    for name in settings:
        if hasattr(architecture, name) and not hasattr(known, name):
            family = architecture.model_type
            raise InputError(
                f"model.scratch.{name}: {family} has no such setting; see the config of {family} "
                "in transformers"
            )


def gguf_options(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Return where a GGUF file is, and how transformers is asked to dequantise it for good."""
    import_extra("gguf", "gguf", "gguf", "model.gguf")
    place, name = gguf_place(config.path, config.gguf or "")
    return place, {"gguf_file": name, "quantization_config": GgufConfig(dequantize=True)}


def _pretrained(config: ModelConfig) -> nn.Module:
    place, options, shown = config.path or "", dict[str, Any](), sys.stderr
    if config.gguf is not None:
        mend = "give a GGUF file of a family that transformers can read from one"
        place, options = gguf_options(config)
        shown = StringIO()  # takes a bar that transformers draws whatever is set
    elif stored_quantised(Path(place)):
        mend = "it is quantised: install what reads it here, or give a dequantised checkpoint"
    else:
        mend = "give a checkpoint folder or a hub name (the hub needs the network)"
    check_adapter(Path(place))
    asked = config.revision or "main"
    trust = "set model.trust_remote_code"
    with loading(config.named_by, mend, trust), redirect_stderr(shown):
        model, found = AutoModelForCausalLM.from_pretrained(
            place,
            revision=commit_of(place, asked, config.gguf) or asked,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **options,
        )
        let_adapters_learn(model)
        keep_differentiable(model)
    for name, stored, wanted in found["mismatched_keys"]:
        raise InputError(
            f"{config.named_by} holds the weight '{name}' as {list(stored)}, its "
            f"{'header' if config.gguf else 'config.json'} says {list(wanted)}; give the two that "
            "belong together"
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise InputError(
            f"{config.named_by} lacks the weight '{missing[0]}', which would be random; give a "
            "whole checkpoint of a causal language model"
        )
    refuse_untrainable(model, config.named_by)
    return model
