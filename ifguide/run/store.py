"""The run folder: one sub-folder a stage, reused only if all that went into it is the same.

A stage is made in ``<stage>.part`` and renamed when it is whole. Its manifest lists what went in
(settings and the fingerprints of earlier stages) and the size and checksum of every file that came
out; it is written last, so that a ``.part`` with a whole manifest only needs its name. A stage
whose fingerprint differs is made again; a stage with a file that is missing, short or altered goes
back to ``.part`` without that file, and the stage makes what is missing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import yaml
from safetensors import SafetensorError

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.files import describe, fingerprint_of, is_intact, read_json, write_json, write_text
from ifguide.run.memory import peak_rss, reset_peak_rss

FORMAT = 1
MANIFEST = "manifest.json"
COST = "cost.json"
MARK = "fingerprint"  # in a .part: whose it is
FULL = os.strerror(errno.ENOSPC)
SCRATCH = "scratch"  # files a stage needs only while it is being made


@dataclass
class StageFolder:
    """Where a stage writes while it is being made, and what it has cost so far."""

    path: Path
    seconds: float = 0.0
    tokens: int = 0
    line: Callable[[int], None] = lambda tokens: None
    _started: float = field(default_factory=time.monotonic)
    _kept: float = 0.0

    @property
    def scratch(self) -> Path:
        """A folder that is dropped when the stage is whole; checkpoints lie here."""
        folder = self.path / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    def progress(self, tokens: int) -> None:
        """Count tokens done; every ten seconds what the stage has cost is kept on disk."""
        self.tokens += tokens
        self.line(tokens)
        if time.monotonic() - self._kept > 10:
            self.keep_cost()

    def keep_cost(self) -> None:
        """Write what the stage has cost so far."""
        self._kept = time.monotonic()
        if ranks.is_main():
            write_json(self.path / COST, self.cost())

    def cost(self) -> dict[str, float]:
        """Return seconds and tokens over all attempts, and the peak memory of this one."""
        seconds = self.seconds + time.monotonic() - self._started
        return {"seconds": round(seconds, 3), "tokens": self.tokens, "peak_rss_bytes": peak_rss()}


class Store:
    """One run folder, locked for this process; use as a context manager.

    Args:
        root: the folder; made if it is not there.
        settings: the resolved configuration, as written to ``config.yaml``.
        replace: allow a folder that was made with other settings; stages that differ are remade.
    """

    def __init__(self, root: Path, settings: str, *, replace: bool = False) -> None:
        self.root, self.settings, self.replace = root, settings, replace
        self._lock: TextIO | None = None

    def __enter__(self) -> Store:
        if ranks.is_main():
            self._claim()
            try:
                self._check_settings()
                write_text(self.root / "config.yaml", self.settings)
            except BaseException:
                self.__exit__()
                raise
        ranks.barrier()
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[StageFolder], None],
        before: Callable[[], object] = lambda: None,
    ) -> Path:
        """Return the folder of a stage, making it (or what is missing of it) first if need be.

        ``before`` runs only if the stage is to be made, and is not part of its cost. ``make`` runs
        on every rank; the main rank writes.

        Raises:
            InputError: a manifest cannot be read.
            OSError: the disk is full; what is finished stays.
        """
        folder, part = self.root / name, self.root / f"{name}.part"
        fingerprint = fingerprint_of(inputs)
        if not ranks.agree(lambda: _find(folder, part, fingerprint)):
            before()
            if ranks.is_main():
                _prepare_part(folder, part, fingerprint)
            ranks.barrier()
            cost = read_json(part / COST) if (part / COST).exists() else {}
            reset_peak_rss()
            work = StageFolder(part, cost.get("seconds", 0.0), int(cost.get("tokens", 0)))
            with _working(work):
                make(work)
                ranks.barrier()
                if ranks.is_main():
                    _promote(work, folder, fingerprint, inputs)
            ranks.barrier()
        return folder

    def cost(self, name: str) -> dict[str, float]:
        """Return what a finished stage cost."""
        return _manifest(self.root / name)["cost"]

    def _claim(self) -> None:
        known = (self.root / ".lock").exists() or any(self.root.glob(f"*/{MANIFEST}"))
        if self.root.is_dir() and any(self.root.iterdir()) and not known:
            raise InputError(
                f"{self.root}: not empty and not a run folder; give --out a new folder"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{error.filename}: it is a file; give --out a folder") from error
        self._lock = (self.root / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(
                f"{self.root}: another process is working in this folder; wait for it, or give "
                "another --out"
            ) from error

    def _check_settings(self) -> None:
        file = self.root / "config.yaml"
        if not file.exists() or self.replace:
            return
        try:
            old = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{file}: cannot be read; delete it and run again") from error
        difference = _first_difference(old, yaml.safe_load(self.settings))
        if difference:
            raise InputError(
                f"{file}: the folder was made with other settings ({difference}); give another "
                "--out, or --replace to make again what differs"
            )


@contextmanager
def _working(work: StageFolder) -> Iterator[None]:
    """Keep what an interrupted attempt has cost, and call a full disk by its name."""
    try:
        yield
    except BaseException as error:
        full = _is_full(work.path, error)
        with suppress(OSError):
            work.keep_cost()
        if full:
            raise OSError(errno.ENOSPC, FULL, str(work.path)) from error
        raise


def _is_full(folder: Path, error: BaseException) -> bool:
    """Whether an error came of a full disk; numpy, torch and safetensors each say it otherwise."""
    if isinstance(error, InputError):
        return False
    may_be = isinstance(error, OSError | RuntimeError | SafetensorError)
    return FULL in str(error) or (may_be and shutil.disk_usage(folder).free < 1 << 20)


def _find(folder: Path, part: Path, fingerprint: str) -> bool:
    """Whether a stage is whole, in its folder or in a ``.part`` that only lacks its name."""
    if _is_whole(folder, fingerprint):
        return True
    if unnamed := _is_whole(part, fingerprint):
        _rename(part, folder)
    return unnamed


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds all that this fingerprint makes; damaged files are removed."""
    if not (folder / MANIFEST).exists() or _manifest(folder)["fingerprint"] != fingerprint:
        return False
    damaged = [
        folder / file
        for file, seen in _manifest(folder)["files"].items()
        if not is_intact(folder / file, seen)
    ]
    for file in damaged:
        file.unlink(missing_ok=True)
    return not damaged


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not manifest.keys() >= {"fingerprint", "files", "cost"}:
        raise InputError(f"{folder / MANIFEST}: it is no manifest; delete {folder} and run again")
    return manifest


def _prepare_part(folder: Path, part: Path, fingerprint: str) -> None:
    """Leave a ``.part`` folder that holds only what this fingerprint made earlier, if anything."""
    if (folder / MANIFEST).exists() and _manifest(folder)["fingerprint"] == fingerprint:
        shutil.rmtree(part, ignore_errors=True)
        write_text(folder / MARK, fingerprint)
        write_json(folder / COST, _manifest(folder)["cost"])
        folder.rename(part)
    mark = part / MARK
    if part.exists() and not (mark.exists() and mark.read_text() == fingerprint):
        shutil.rmtree(part)
    part.mkdir(parents=True, exist_ok=True)
    (part / MANIFEST).unlink(missing_ok=True)
    write_text(mark, fingerprint)


def _promote(work: StageFolder, folder: Path, fingerprint: str, inputs: Mapping[str, Any]) -> None:
    own = {MARK, COST, MANIFEST}
    files = {str(f.relative_to(work.path)): f for f in sorted(work.path.rglob("*")) if f.is_file()}
    manifest = {
        "fingerprint": fingerprint,
        "inputs": inputs,
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "cost": work.cost(),
        "files": {
            name: describe(file)
            for name, file in files.items()
            if name not in own and not name.startswith(f"{SCRATCH}/")
        },
    }
    write_json(work.path / MANIFEST, manifest)
    _rename(work.path, folder)


def _rename(part: Path, folder: Path) -> None:
    shutil.rmtree(part / SCRATCH, ignore_errors=True)
    for name in (MARK, COST):
        (part / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _first_difference(old: Any, new: Any) -> str:
    """Return the first setting that differs, as ``field: old, now new``."""
    before, after = _flat(old or {}), _flat(new or {})
    for field_name in sorted(before.keys() | after.keys()):
        a, b = before.get(field_name), after.get(field_name)
        if a != b and field_name != "data_dir":
            return f"{field_name}: {a}, now {b}"
    return ""


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items: list[tuple[str, Any]] = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat |= _flat(item, f"{prefix}.{key}" if prefix else key)
    return flat
