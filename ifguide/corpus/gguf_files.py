"""GGUF files, which hold a model's weights and its tokenizer: which one settings name."""

from __future__ import annotations

from pathlib import Path

from ifguide.errors import InputError


def gguf_place(path: str | None, gguf: str) -> tuple[str, str]:
    """Return the folder or hub name that a GGUF file is in, and its name there.

    Args:
        path: a folder or a name on the hub; without it ``gguf`` is the file's own path.
        gguf: as in the settings.
    """
    if path is not None:
        return path, gguf
    file = Path(gguf).expanduser()
    return str(file.parent), file.name


def gguf_file(path: str | None, gguf: str, setting: str) -> Path | None:
    """Return the GGUF file that settings name, None for one that lies on the hub.

    Raises:
        InputError: it is not there.
    """
    place, name = gguf_place(path, gguf)
    folder = Path(place).expanduser()
    if path is not None and not folder.is_dir():
        return None
    file = folder / name
    if not file.is_file():
        raise InputError(f"{setting}: '{file}' is no file; give a .gguf file")
    return file
