"""The mask formats by name; nothing is imported for a list of them."""

from __future__ import annotations

from typing import Any

from ifguide.registry import Registry

MASK_FORMATS: Registry[Any] = Registry(
    "mask format",
    "ifguide.masks",
    {
        "trl": "ifguide.masks.trl:TRL",
        "axolotl": "ifguide.masks.axolotl:AXOLOTL",
        "olmo": "ifguide.masks.olmo:OLMO",
        "datatrove": "ifguide.masks.datatrove:DATATROVE",
        "megatron": "ifguide.masks.megatron:MEGATRON",
        "dolma": "ifguide.masks.dolma:DOLMA",
        "fast-llm": "ifguide.masks.fast_llm:FAST_LLM",
        "spans": "ifguide.masks.spans:SPANS",
    },
    "ifguide.masks.format:MaskFormat",
)
