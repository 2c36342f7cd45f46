"""Settings that are given where nothing reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from ifguide.errors import InputError


def refuse_ignored(settings: Any, group: str, names: Sequence[str], since: str) -> None:
    """Refuse a setting that would be ignored; one that has its default counts as not given.

    The classes of settings call this as they are made, under the condition that ``since`` tells,
    so that whatever gives a setting (a file, an option, a library's call) hears of it. Settings
    that are written out in full still read back.

    Args:
        settings: a dataclass.
        group: what messages call it, such as ``training.objective``.
        names: of its settings that nothing reads now.
        since: why, and what to set instead.

    Raises:
        InputError: one of them is not as its default is.
    """
    for field in fields(settings):
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        value = getattr(settings, field.name)
        if field.name in names and value != default:
            shown = str(value).lower() if isinstance(value, bool | int | float) else repr(value)
            raise InputError(
                f"{group}.{field.name}: {shown} would be ignored, since {since}; remove it"
            )
