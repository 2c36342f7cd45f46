"""Which commit a name on the model hub stands for."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache

SECONDS = 5.0  # that the hub may take to answer
_COMMIT = re.compile("[0-9a-f]{40}")


def commit_of(name: str, revision: str) -> str:
    """Return the commit that this machine has of a revision, or else that the hub names now.

    So what was loaded once stays what it was. It is "" where neither knows: nothing can be loaded
    then either.

    Args:
        name: on the hub.
        revision: a branch, a tag or a commit.
    """
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if isinstance(cached, str):
            return Path(cached).parent.name
        return HfApi().model_info(name, revision=revision, timeout=SECONDS).sha or ""
    except Exception:  # noqa: BLE001 - no network, no such name, or no name at all
        return ""
