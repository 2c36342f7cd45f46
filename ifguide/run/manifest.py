"""A stage's manifest: what went in and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ifguide.errors import InputError
from ifguide.evaluation.figures import Cost
from ifguide.files import read_sealed

FORMAT = 2
NO_COST = Cost(seconds=0.0, tokens=0, peak_rss_bytes=0)
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What went into a stage and what came out.

    ``needs`` has the fingerprint of each need by name; ``reads`` what lies outside the run folder,
    by what needs it: the sha256 of its files by name, and what else decides it; ``files`` the size
    and sha256 of each file.
    """

    stage: str
    about: str
    fingerprint: str
    version: int
    settings: Any
    section: str
    needs: Mapping[str, str]
    reads: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    date: str
    cost: Cost = NO_COST
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: int = FORMAT


def read_manifest(folder: Path) -> Manifest:
    """Read a stage's manifest.

    Raises:
        InputError: it cannot be read, is of another format, or names anything but files of its own
            folder.
    """
    file = folder / MANIFEST
    if file.is_symlink():
        raise InputError(f"{file}: it is a link, and no manifest of ours; remove it and run again")
    mend = f"delete {folder} and run again"
    held = read_sealed(file, mend)
    if not isinstance(held, dict) or held.keys() != Manifest.__dataclass_fields__.keys():
        raise InputError(f"{file}: it is no manifest of this version; {mend}")
    if held["format"] != FORMAT:
        raise InputError(f"{file}: its format is {held['format']}, not {FORMAT}; {mend}")
    try:
        cost, files = Cost(**held["cost"]), dict(held["files"])
        sound = all(
            _is_inside(name) and isinstance(seen["bytes"], int) and isinstance(seen["sha256"], str)
            for name, seen in files.items()
        )
        mappings = all(
            isinstance(held[name], dict) for name in ("needs", "reads", "versions", "files")
        )
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{file}: it is damaged; {mend}") from error
    if not sound or not mappings:
        raise InputError(f"{file}: it is damaged, or names what is no file of its folder; {mend}")
    return Manifest(**{**held, "cost": cost, "files": files})


def _is_inside(name: Any) -> bool:
    """Whether a name in a manifest is that of a file in its folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
