"""Checkpoints whose weights are quantised: they run, and what is trained is an adapter over them.

An adapter's matrices (peft) are ordinary weights, whatever the maps around them are stored as.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from ifguide.errors import InputError
from ifguide.files import read_json
from ifguide.models.model_files import adapter_base

MEND = "give a dequantised checkpoint, or an adapter (peft) over this one"


def is_quantised(model: nn.Module) -> bool:
    """Whether a model holds its weights quantised, by any method of transformers."""
    return bool(getattr(model, "is_quantized", False))


def refuse_untrainable(model: nn.Module, name: str) -> None:
    """Refuse a model whose own weights are quantised, unless an adapter over them is what learns.

    Args:
        model: as it was loaded.
        name: of the setting and the checkpoint.

    Raises:
        InputError: training could not change it.
    """
    network: Any = model
    if is_quantised(model) and not getattr(model, "_hf_peft_config_loaded", False):
        method = network.config.quantization_config.quant_method
        raise InputError(
            f"{name}: its weights are quantised ({getattr(method, 'value', method)}) and cannot be "
            f"trained; {MEND}"
        )


def keep_differentiable(model: nn.Module) -> None:
    """Keep 4-bit maps of bitsandbytes from packing their weights for inference.

    On CPUs with bfloat16 instructions they do so in evaluation mode, for good, and the product with
    packed weights lets no gradient through.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def stored_quantised(folder: Path) -> bool:
    """Whether a checkpoint's folder, or that of what its adapter is of, says it is quantised."""
    with suppress(InputError):
        place = adapter_base(folder) or folder
        config = read_json(place / "config.json")
        return isinstance(config, dict) and bool(config.get("quantization_config"))
    return False
