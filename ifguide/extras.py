"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from ifguide.errors import InputError, one_line


def import_extra(module: str, package: str, extra: str, setting: str) -> Any:
    """Import a module of an optional dependency.

    Raises:
        InputError: it is not installed; the message names the setting that needs it and the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{setting}: {package} is not installed ({one_line(error)}); run "
            f"pip install 'ifguide[{extra}]'"
        ) from error
