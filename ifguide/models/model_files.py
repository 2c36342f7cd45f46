"""The files that decide a model, listed without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifguide.corpus.gguf_files import gguf_file
from ifguide.files import check_plain, read_json
from ifguide.models.config import ModelConfig

ADAPTER = "adapter_config.json"  # makes a folder that of an adapter (peft)
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf"}


def model_files(config: ModelConfig) -> list[Path]:
    """Return the files of a local folder that decide what ``load_model`` loads from there.

    These are all weights, code and ``.json`` files in the folder itself, and for an adapter the
    same of its base model, where that is a folder; of a GGUF file it is that file. There are none
    for a name on the hub, and for a model that is made from a folder's config it is that config.

    Raises:
        InputError: what an adapter is of cannot be read, or there is no such GGUF file.
    """
    if config.gguf is not None:
        file = gguf_file(config.path, config.gguf, "model.gguf")
        return [] if file is None else [file]
    if config.scratch is not None:
        file = Path(str(config.scratch.get("config", ""))) / "config.json"
        if "config" not in config.scratch or not file.is_file():
            return []
        check_plain(file, str(file))
        return [file]
    folder = Path(config.path or "")
    if not config.path or not folder.is_dir():
        return []
    base = adapter_base(folder)
    suffixes = WEIGHTS | {".json", ".py"}
    found = [
        file
        for place in (folder, *([base] if base else []))
        for file in sorted(place.iterdir())
        if file.suffix in suffixes and not file.is_dir()
    ]
    for file in found:
        check_plain(file, str(file))  # whoever loads the model would wait at a pipe
    return found


def adapter_base(folder: Path) -> Path | None:
    """Return the folder of the model that the adapter in ``folder`` is of, where it is a folder."""
    base = base_name(folder) if (folder / ADAPTER).is_file() else None
    return Path(base) if isinstance(base, str) and base and Path(base).is_dir() else None


def base_name(folder: Path) -> Any:
    """Return what the adapter in ``folder`` says that it is of."""
    held = read_json(folder / ADAPTER)
    return held.get("base_model_name_or_path") if isinstance(held, dict) else None
