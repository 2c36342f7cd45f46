"""Checkpoint folders that hold an adapter (peft) of another model, such as LoRA matrices.

transformers loads them as the base model with the adapter in its blocks, all of it frozen.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from ifguide.errors import InputError
from ifguide.models.model_files import ADAPTER, base_name


def check_adapter(folder: Path) -> None:
    """Refuse an adapter that cannot be loaded here; other folders and names are let through.

    Raises:
        InputError: peft is not installed, or the folder does not say what the adapter is of.
    """
    if not (folder / ADAPTER).is_file():
        return
    if find_spec("peft") is None:
        raise InputError(
            f"model.path: '{folder}' is an adapter, which needs peft; pip install 'ifguide[lora]', "
            "or merge it into its base model"
        )
    base = base_name(folder)
    if not base:
        raise InputError(f"{folder / ADAPTER}: base_model_name_or_path is missing; name the base")


def let_adapters_learn(model: nn.Module) -> None:
    """Let a loaded adapter's own weights, and nothing else, be trainable and so tracked."""
    if not getattr(model, "_hf_peft_config_loaded", False):
        return
    # peft is not always there, and takes seconds
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(module.active_adapters)
