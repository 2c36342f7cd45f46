"""Whether a model of random weights can be made here, seen before any weight is."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ifguide.errors import InputError

MOST = 2**31 - 1  # of any number in a model's config
LAYERS = 10_000


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that no config of a model can mean.

    Raises:
        InputError: one is not finite, or is larger than any size of a model, by name.
    """
    for name, number in _numbers(settings, "model.scratch"):
        most = LAYERS if "layer" in name else MOST
        if isinstance(number, int):
            if abs(number) > most:
                raise InputError(f"{name}: it is above {most}; give a smaller number")
        elif not math.isfinite(number):
            raise InputError(f"{name}: {number} is not finite; give a finite number")


def check_memory(architecture: PreTrainedConfig, dtype: torch.dtype) -> None:
    """Refuse a model whose weights alone do not fit into this machine's memory.

    Raises:
        InputError: how much they take, and how much there is.
    """
    wanted = _bytes_of(architecture, dtype)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > there:
        raise InputError(
            f"model.scratch: its weights take {wanted / 2**30:.0f} GiB, this machine has "
            f"{there / 2**30:.0f}; make it smaller, or use a larger machine"
        )


def _bytes_of(architecture: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Return what the weights take; 0 for a family that cannot be made without them."""
    with suppress(Exception), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture, dtype=dtype, trust_remote_code=False)
        return sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return 0


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int | float]]:
    """Yield the numbers by their dotted names; a list may hold an open bound, as Mamba's does."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{name}.{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
