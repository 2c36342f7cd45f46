"""Which commit a name on the model hub stands for."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache

FILES = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json")
SECONDS = 5.0  # that the hub may take to answer
_COMMIT = re.compile("[0-9a-f]{40}")


def commit_of(name: str, revision: str, gguf: str | None = None) -> str:
    """Return the commit that this machine has of a revision, or else that the hub names now.

    So what was loaded once stays what it was. It is "" of a folder, and where neither knows:
    nothing can be loaded then either.

    Args:
        name: on the hub, of a model or a tokenizer.
        revision: a branch, a tag or a commit.
        gguf: the file in it that is meant.
    """
    if Path(name).expanduser().is_dir():
        return ""
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        for file in FILES if gguf is None else (gguf,):
            cached = try_to_load_from_cache(name, file, revision=revision)
            if isinstance(cached, str):
                return Path(cached.removesuffix(file)).name
        return HfApi().model_info(name, revision=revision, timeout=SECONDS).sha or ""
    except Exception:  # noqa: BLE001 - no network, no such name, or no name at all
        return ""
