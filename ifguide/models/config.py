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
        gguf: a GGUF file: its name in ``path``, or without ``path`` where it lies. Its weights are
            dequantised for good, and trained and saved like any others.
        scratch: a Hugging Face config (``model_type``, widths, layers), for random weights from
            the seed; ``vocab_size`` and the ids of special tokens are the tokenizer's. With
            ``config``, a checkpoint folder or a name on the hub, it is the config that lies there,
            its ``vocab_size`` included, and what else is given takes the place of its settings.
        revision: of a hub name.
        dtype: of the weights in memory.
        trust_remote_code: let a hub repository run its own model code.
    """

    unrecorded: ClassVar = ("trust_remote_code",)
    uncounted: ClassVar = ("path", "gguf")  # their files count

    path: str | None = None
    gguf: str | None = None
    scratch: dict[str, Any] | None = None
    revision: str | None = None
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        stored = self.path is not None or self.gguf is not None
        if stored == (self.scratch is not None):
            found = "both" if stored else "neither"
            raise InputError(
                "model: set one of path (a checkpoint or hub name) and scratch (a config), or gguf "
                f"(a file); {found} is set"
            )
        if self.gguf is not None:
            code = "a GGUF file brings no code along"
            refuse_ignored(self, "model", ("trust_remote_code",), code)
            if self.path is None:
                refuse_ignored(self, "model", ("revision",), "no path names a hub's repository")
        if self.scratch is not None:
            self._check_scratch()

    def _check_scratch(self) -> None:
        assert self.scratch is not None
        given = self.scratch.get("config")
        if "config" in self.scratch and not (isinstance(given, str) and given):
            raise InputError(
                f"model.scratch.config: {given!r} is no folder and no name on the hub; give one"
            )
        if "model_type" in self.scratch and given is not None:
            raise InputError(
                "model.scratch: model_type and config are both set; leave one of them out"
            )
        if "model_type" not in self.scratch and given is None:
            raise InputError(
                "model.scratch: model_type is missing; name a family, e.g. gpt_neox, or by config "
                "a folder or hub name whose config is taken"
            )
        refuse_ignored(
            self, "model", ("trust_remote_code",), "scratch makes a model of a known family"
        )
        if given is None:
            refuse_ignored(self, "model", ("revision",), "scratch takes nothing from a hub")

    @property
    def named_by(self) -> str:
        """What messages call the model: the setting that names it, and how."""
        if self.scratch is not None:
            return "model.scratch"
        return f"model.path: '{self.path}'" if self.gguf is None else f"model.gguf: '{self.gguf}'"
