"""What lies in a folder, by names there, and which names fit a pattern, folder by folder."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def walk(folder: Path, *, empty: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all in a folder that is no folder itself, by its name there; a link is an entry.

    With ``empty`` the folders that hold nothing are yielded too.
    """
    waiting = [("", folder)]
    while waiting:
        prefix, place = waiting.pop()
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if empty and not os.listdir(entry.path):
                        yield name, entry
                    waiting.append((f"{name}/", Path(entry.path)))
                else:
                    yield name, entry


def is_plain(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a plain file, and no link to one."""
    return entry.is_file(follow_symlinks=False)


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits a pattern, folder by folder."""
    parts = name.split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
        for wanted in (pattern.split("/") for pattern in patterns)
    )


def is_in(folder: str, name: str) -> bool:
    """Whether a name is that of something in a folder."""
    return name.startswith(f"{folder}/")
