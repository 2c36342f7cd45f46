"""Keep other libraries from writing on the terminal what is ours to say."""

from __future__ import annotations

import datasets
from huggingface_hub.utils import enable_progress_bars  # type: ignore[attr-defined]
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging


def hush(*, quiet: bool) -> None:
    """Silence what libraries would print of their own; downloads are shown unless ``quiet``."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # and the hub's, which a download needs
    datasets.disable_progress_bars()
    hub_logging.set_verbosity_error()  # it would tell of each of its attempts to reach the hub
    if not quiet:
        enable_progress_bars()
