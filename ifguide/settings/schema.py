"""The settings as a JSON schema, for editors that complete and check YAML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args

from ifguide.settings.config import Config
from ifguide.settings.kinds import hints
from ifguide.settings.manual import about, meanings
from ifguide.settings.reader import adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a run's YAML, every setting with its meaning.

    A YAML that begins with ``# yaml-language-server: $schema=FILE`` is checked against it by
    editors.
    """
    found: dict[str, Any] = adapter(Config).json_schema()
    groups = {kind.__name__: kind for kind in _groups(Config)}
    for name, group in {**found["$defs"], Config.__name__: found}.items():
        _describe(group, groups[name])
    return {"$schema": DIALECT, **found}


def _describe(group: dict[str, Any], kind: type) -> None:
    """Put the docstring of a dataclass into its schema, each setting's part at the setting."""
    told = meanings(kind)
    group["description"] = about(kind)
    for name, setting in group["properties"].items():
        setting.pop("title", None)  # the name again
        if name in told:
            setting["description"] = told[name]


def _groups(kind: Any) -> Iterator[type]:
    """Yield the dataclasses that a setting of this type holds, itself included."""
    if is_dataclass(kind):
        yield kind  # type: ignore[misc]
        for inner in hints(kind).values():
            yield from _groups(inner)
    for inner in get_args(kind):
        yield from _groups(inner)
