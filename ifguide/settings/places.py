"""Where the files of models and tokenizers lie that settings name: in full, from anywhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ifguide.corpus.config import TokenizerConfig
from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored
from ifguide.models.config import ModelConfig
from ifguide.settings.config import Config
from ifguide.settings.plain import visible

Named = TypeVar("Named", ModelConfig, TokenizerConfig)
_LONGEST_NAME = 255  # bytes of one part of a path


def in_full(config: Config) -> Config:
    """Return the settings with the files of models and tokenizers by their whole paths.

    A relative path starts at ``data_dir``, as those of all files do. What is no folder there is the
    name of a repository on the hub.

    Raises:
        InputError: a path is no folder, or that of a folder in the working directory alone.
    """
    data_dir = Path(config.data_dir)
    proxy, compare = config.compare.proxy, config.compare
    if proxy is not None:
        compare = replace(compare, proxy=_placed_model(proxy, data_dir, "compare.proxy"))
    return replace(
        config,
        model=_placed_model(config.model, data_dir, "model"),
        tokenizer=_placed(config.tokenizer, data_dir, "tokenizer"),
        compare=compare,
    )


def _placed(named: Named, data_dir: Path, setting: str) -> Named:
    if not named.path:
        if not named.gguf:
            return named
        file = data_dir / Path(named.gguf).expanduser()
        return replace(named, gguf=str(file.resolve()))
    folder = _folder(named.path, data_dir, f"{setting}.path")
    if folder is None:
        return named
    if isinstance(named, ModelConfig):
        refuse_ignored(named, setting, ("revision",), "path is a folder on this machine")
    return replace(named, path=folder)


def _placed_model(named: ModelConfig, data_dir: Path, setting: str) -> ModelConfig:
    """Return a model's, with the config by its whole path that random weights are made by."""
    if named.scratch is None or "config" not in named.scratch:
        return _placed(named, data_dir, setting)
    given = named.scratch["config"]
    found = _folder(given, data_dir, f"{setting}.scratch.config") or given
    return replace(named, scratch={**named.scratch, "config": found})


def _folder(name: str, data_dir: Path, setting: str) -> str | None:
    """Return the whole path of a folder that a setting names; None is a name on the hub."""
    path = Path(name).expanduser()
    folder = data_dir / path
    if os.path.isdir(folder):
        return str(folder.resolve())
    if os.path.isdir(path):
        raise InputError(
            f"{setting}: '{visible(name, 60)}' is a folder of the working directory, and relative "
            f"paths start at data_dir ({visible(str(data_dir))}); give its whole path"
        )
    _check_hub_name(name, folder, setting)
    return None


def _check_hub_name(name: str, file: Path, setting: str) -> None:
    """Refuse the name of a model or tokenizer that is neither a folder nor like one on the hub."""
    if os.path.lexists(file):
        raise InputError(f"{setting}: '{name}' is no folder; give a checkpoint's folder")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(name).parts):
        raise InputError(
            f"{setting}: '{visible(name, 60)}' is longer than a name may be; give a checkpoint's "
            "folder, or a name on the hub"
        )
