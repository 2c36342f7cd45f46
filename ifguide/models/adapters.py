"""Checkpoint folders that hold an adapter (peft) of another model, such as LoRA matrices.

transformers loads them as the base model with the adapter in its blocks, all of it frozen.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from ifguide.errors import InputError
from ifguide.files import read_json

CONFIG = "adapter_config.json"


def check_adapter(folder: Path) -> None:
    """Refuse an adapter that cannot be loaded here; other folders and names are let through.

    Raises:
        InputError: peft is not installed, or the folder does not say what the adapter is of.
    """
    if not (folder / CONFIG).is_file():
        return
    if find_spec("peft") is None:
        raise InputError(
            f"model.path: '{folder}' is an adapter, which needs peft; pip install 'ifguide[lora]', "
            "or merge it into its base model"
        )
    base = _base_name(folder)
    if not base:
        raise InputError(f"{folder / CONFIG}: base_model_name_or_path is missing; name the base")


def adapter_base(folder: Path) -> Path | None:
    """Return the folder of the model that the adapter in ``folder`` is of, where it is a folder."""
    base = _base_name(folder) if (folder / CONFIG).is_file() else None
    return Path(base) if base and Path(base).is_dir() else None


def let_adapters_learn(model: nn.Module) -> None:
    """Let a loaded adapter's own weights, and nothing else, be trainable and so tracked."""
    if not getattr(model, "_hf_peft_config_loaded", False):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(module.active_adapters)


def _base_name(folder: Path) -> Any:
    held = read_json(folder / CONFIG)
    return held.get("base_model_name_or_path") if isinstance(held, dict) else None
