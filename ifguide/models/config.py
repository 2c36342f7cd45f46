"""The model's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model.

    Args:
        path: a local checkpoint folder or a name on the model hub.
        scratch: a Hugging Face config (``model_type``, widths, layers), for random weights from
            the seed; ``vocab_size`` and the ids of special tokens are the tokenizer's.
        revision: of a hub name.
        dtype: of the weights in memory.
        trust_remote_code: let a hub repository run its own model code.
    """

    unrecorded: ClassVar = ("trust_remote_code",)
    uncounted: ClassVar = ("path",)  # its files count

    path: str | None = None
    scratch: dict[str, Any] | None = None
    revision: str | None = None
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if (self.path is None) == (self.scratch is None):
            found = "neither" if self.path is None else "both"
            raise InputError(
                "model: set one of path (a checkpoint or hub name) and scratch (a config); "
                f"{found} is set"
            )
        if self.scratch is not None and "model_type" not in self.scratch:
            raise InputError("model.scratch: model_type is missing; name a family, e.g. gpt_neox")
        if self.scratch is not None:
            hub = ("revision", "trust_remote_code")
            refuse_ignored(self, "model", hub, "scratch takes nothing from a hub")
