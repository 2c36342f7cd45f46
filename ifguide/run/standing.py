"""Whether a stage stands: it is made, and what made it is what the settings and files now say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ifguide.run.manifest import Manifest
from ifguide.run.stage import AnyStage

State = Literal["stands", "stale", "damaged", "begun", "not made", "not kept"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a stage stands.

    ``stands``: it is made and nothing has changed. ``stale``: something that went into it has.
    ``damaged``: a file of it is missing, short or altered. ``begun``: an attempt has left something
    that the next one goes on from. ``not made``; ``not kept``: under these settings it has no
    folder. ``why`` says what changed, which file is damaged, or that the manifest is gone.
    """

    stage: AnyStage
    state: State
    why: str = ""
    manifest: Manifest | None = None


def changes(found: Manifest, now: Manifest) -> Iterator[str]:
    """Yield what differs between what made a stage and what would make it now, each in words."""
    if found.version != now.version:
        made_by = found.versions.get("ifguide", "an earlier version")
        yield f"it was made by ifguide {made_by}, since when its meaning has changed"
    yield from setting_changes(found.settings, now.settings, now.section)
    for name in sorted({*found.reads, *now.reads}):
        yield from _read_changes(name, found.reads.get(name), now.reads.get(name))
    for name in sorted({*found.needs, *now.needs} - {*found.reads, *now.reads}):
        if found.needs.get(name) != now.needs.get(name):
            yield f"it rests on '{name}', which is another now"


def setting_changes(old: Any, new: Any, section: str) -> Iterator[str]:
    """Yield each setting that differs, as ``field: old, now new``, by name."""
    before, after = flat(old, section), flat(new, section)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name}: {_shown(before.get(name))}, now {_shown(after.get(name))}"


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names.

    >>> flat({"a": {"b": [1, 2]}}, "x")
    {'x.a.b.0': 1, 'x.a.b.1': 2}
    """
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{prefix}.{key}" if prefix else key)
    return found


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _read_changes(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[str]:
    before, after = (dict((read or {}).get("files", {})) for read in (old, new))
    for file in sorted(before.keys() | after.keys()):
        if before.get(file) == after.get(file):
            continue
        change = "is new" if file not in before else "is gone" if file not in after else "changed"
        yield f"{name}: the file {file} {change}" if file else f"{name}: the file {change}"
    known = [(read or {}).get("known_by") for read in (old, new)]
    if known[0] != known[1]:
        yield from setting_changes(known[0], known[1], name)
