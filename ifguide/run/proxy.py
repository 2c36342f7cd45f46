"""A smaller model whose scores serve the larger one."""

from __future__ import annotations

from typing import Any

from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.settings.config import Config

WIDTHS = ("hidden_size", "intermediate_size", "n_embd", "n_inner", "ffn_dim")


def proxy_model(config: Config) -> ModelConfig:
    """Return the proxy's model: the one that is set, or the run's own at half its width.

    Raises:
        InputError: none is set and the run's model is a checkpoint, or has no width to halve.
    """
    if config.compare.proxy is not None:
        return config.compare.proxy
    scratch = config.model.scratch
    widths = {key: scratch[key] for key in WIDTHS if scratch and scratch.get(key)}
    if scratch is None or not widths or not all(isinstance(w, int) for w in widths.values()):
        raise InputError(
            "compare.proxy: the method 'proxy' needs a smaller model with the run's tokenizer; "
            "name one (path or scratch), or leave the method out"
        )
    halved: dict[str, Any] = {**scratch, **{key: width // 2 for key, width in widths.items()}}
    return ModelConfig(scratch=halved, dtype=config.model.dtype)
