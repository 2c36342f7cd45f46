"""Checksums of files, taken once: a file whose size, times and inode are as before is as before."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from ifguide.errors import InputError
from ifguide.files import read_sealed, write_sealed
from ifguide.models.model_files import WEIGHTS
from ifguide.parts import tell

TICK = 100_000_000  # ns; two writes within it may bear the same time
COARSE_TICK = 2_500_000_000  # the same where a file system counts whole seconds

Stat = tuple[int, int, int, int]  # size, mtime, ctime (ns), inode


@final
class Checksums:
    """sha256 of files, remembered in a file of the run folder.

    A file that was written too shortly before it was read is not remembered: another write within
    the clock's tick would not show.

    Args:
        root: the run folder; files in it are known by their place there.
        memory: where they are remembered; None where nothing is to be written.
        verify: read every byte, whatever is remembered.
    """

    def __init__(self, root: Path, memory: Path | None, *, verify: bool = False) -> None:
        self.root, self.memory = root.absolute(), memory
        self._known: dict[str, tuple[Stat, str]] = {} if verify else _read(memory)
        self._fresh: dict[str, tuple[Stat, str]] = {}

    def of(self, file: Path) -> str:
        """Return a file's sha256.

        Raises:
            OSError: it cannot be read.
        """
        key, before = self._key(file), _stat(file)
        for known in (self._fresh, self._known):
            if key in known and known[key][0] == before:
                return known[key][1]
        tell(f"checking {file.name}")
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if _stat(file) == before and _is_settled(before):
            self._fresh[key] = before, found
        return found

    def save(self) -> None:
        """Remember what was found."""
        if self.memory is None or not self._fresh:
            return
        self._known |= self._fresh
        self._fresh = {}
        lines = {key: [*stat, found] for key, (stat, found) in sorted(self._known.items())}
        write_sealed(self.memory, lines)

    def _key(self, file: Path) -> str:
        whole = file.absolute()
        return str(whole.relative_to(self.root) if whole.is_relative_to(self.root) else whole)


def _stat(file: Path) -> Stat:
    seen = file.stat()
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino


def _is_settled(stat: Stat) -> bool:
    written = max(stat[1], stat[2])
    tick = TICK if stat[1] % 1_000_000_000 else COARSE_TICK
    return time.time_ns() - written > tick


def _read(memory: Path | None) -> dict[str, tuple[Stat, str]]:
    """Return what was remembered; what cannot be read is forgotten."""
    if memory is None or memory.is_symlink() or not memory.is_file():
        return {}
    try:
        lines = read_sealed(memory)
        return {
            os.fspath(key): ((int(a), int(b), int(c), int(d)), str(found))
            for key, (a, b, c, d, found) in lines.items()
        }
    except (InputError, OSError, ValueError, TypeError, AttributeError):
        return {}


def weights_digest(checksums: Mapping[str, str]) -> str:
    """Return what the weights among some files are known by; "" where there are none.

    It is the sha256 of the one file of weights, or of the lines ``NAME SHA256`` of several.

    Args:
        checksums: the sha256 of each file, by its name.
    """
    held = {n: digest for n, digest in checksums.items() if Path(n).suffix in WEIGHTS}
    if len(held) == 1:
        return next(iter(held.values()))
    lines = "".join(f"{Path(name).name} {digest}\n" for name, digest in sorted(held.items()))
    return hashlib.sha256(lines.encode()).hexdigest() if held else ""


def checksums_of(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the sha256 of each file of a manifest."""
    return {name: str(seen["sha256"]) for name, seen in files.items()}
