"""The run folder: one sub-folder a stage, reused only if all that went into it is the same.

A stage is made in ``<stage>.part`` and renamed when it is whole. Its manifest lists what went in
(settings and the fingerprints of earlier stages) and the size and checksum of every file that came
out. A stage whose fingerprint differs is made again; a stage with a file that is missing, short or
altered goes back to ``.part`` without that file, and the stage makes what is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import yaml

from ifguide import distributed
from ifguide.errors import InputError

FORMAT = 1
MANIFEST = "manifest.json"
COST = "cost.json"
SCRATCH = "scratch"  # files a stage needs only while it is being made


def fingerprint_of(value: Any) -> str:
    """Return a sha256 of a value made of dataclasses and what JSON holds."""
    plain = json.dumps(value, sort_keys=True, default=asdict)
    return hashlib.sha256(plain.encode()).hexdigest()


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
        if time.monotonic() - self._kept > 10 and distributed.is_main():
            self._kept = time.monotonic()
            write_json(self.path / COST, self.cost())

    def cost(self) -> dict[str, float]:
        """Return seconds and tokens over all attempts, and the peak memory of this one."""
        seconds = self.seconds + time.monotonic() - self._started
        return {"seconds": round(seconds, 3), "tokens": self.tokens, "peak_rss_bytes": _peak_rss()}


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
        if distributed.is_main():
            self._claim()
            self._check_settings()
            write_text(self.root / "config.yaml", self.settings)
        distributed.barrier()
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[StageFolder], None],
        before: Callable[[], None] = lambda: None,
    ) -> Path:
        """Return the folder of a stage, making it (or what is missing of it) first if need be.

        ``before`` runs only if the stage is to be made, and is not part of its cost. ``make`` runs
        on every rank; the main rank writes.
        """
        folder, part = self.root / name, self.root / f"{name}.part"
        fingerprint = fingerprint_of(inputs)
        if not distributed.agree(lambda: self._is_whole(folder, fingerprint)):
            before()
            if distributed.is_main():
                _prepare_part(folder, part, fingerprint)
            distributed.barrier()
            cost = read_json(part / COST) if (part / COST).exists() else {}
            _reset_peak_rss()
            work = StageFolder(part, cost.get("seconds", 0.0), int(cost.get("tokens", 0)))
            make(work)
            distributed.barrier()
            if distributed.is_main():
                _promote(work, folder, fingerprint, inputs)
            distributed.barrier()
        return folder

    def cost(self, name: str) -> dict[str, float]:
        """Return what a finished stage cost."""
        return read_json(self.root / name / MANIFEST)["cost"]

    def _is_whole(self, folder: Path, fingerprint: str) -> bool:
        manifest = folder / MANIFEST
        if not manifest.exists() or read_json(manifest)["fingerprint"] != fingerprint:
            return False
        damaged = [
            folder / file
            for file, seen in read_json(manifest)["files"].items()
            if not _is_intact(folder / file, seen)
        ]
        for file in damaged:
            file.unlink(missing_ok=True)
        return not damaged

    def _claim(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root}: it is a file; give --out a folder")
        known = (self.root / "config.yaml").exists() or (self.root / ".lock").exists()
        if self.root.is_dir() and any(self.root.iterdir()) and not known:
            raise InputError(
                f"{self.root}: not empty and not a run folder; give --out a new folder"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = (self.root / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.root}: another process is working in this folder; wait for it, or give "
                "another --out"
            ) from error

    def _check_settings(self) -> None:
        file = self.root / "config.yaml"
        if not file.exists() or self.replace:
            return
        difference = _first_difference(file.read_text(encoding="utf-8"), self.settings)
        if difference:
            raise InputError(
                f"{file}: the folder was made with other settings ({difference}); give another "
                "--out, or --replace to make again what differs"
            )


def _prepare_part(folder: Path, part: Path, fingerprint: str) -> None:
    """Leave a ``.part`` folder that holds only what this fingerprint made earlier, if anything."""
    manifest = folder / MANIFEST
    if manifest.exists() and read_json(manifest)["fingerprint"] == fingerprint:
        shutil.rmtree(part, ignore_errors=True)
        manifest.unlink()
        folder.rename(part)
    mark = part / "fingerprint"
    if part.exists() and not (mark.exists() and mark.read_text() == fingerprint):
        shutil.rmtree(part)
    part.mkdir(exist_ok=True)
    write_text(mark, fingerprint)


def _promote(work: StageFolder, folder: Path, fingerprint: str, inputs: Mapping[str, Any]) -> None:
    shutil.rmtree(work.path / SCRATCH, ignore_errors=True)
    (work.path / COST).unlink(missing_ok=True)
    files = sorted(file for file in work.path.rglob("*") if file.is_file())
    manifest = {
        "fingerprint": fingerprint,
        "inputs": inputs,
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "cost": work.cost(),
        "files": {str(f.relative_to(work.path)): _description(f) for f in files},
    }
    write_json(work.path / MANIFEST, manifest)
    shutil.rmtree(folder, ignore_errors=True)
    work.path.rename(folder)


def write_text(file: Path, text: str) -> None:
    """Write a whole file or nothing."""
    part = file.with_name(f"{file.name}.tmp")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)


def write_json(file: Path, value: Any) -> None:
    """Write a whole JSON file or nothing."""
    write_text(file, json.dumps(value, indent=2, default=asdict) + "\n")


def read_json(file: Path) -> Any:
    """Read a JSON file of ours."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); delete it and run again") from error


def _description(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def _is_intact(file: Path, seen: Mapping[str, Any]) -> bool:
    if not file.is_file() or file.stat().st_size != seen["bytes"]:
        return False
    return bool(_description(file)["sha256"] == seen["sha256"])


def _first_difference(old: str, new: str) -> str:
    """Return the first setting that differs between two YAML texts, as ``field: old, now new``."""
    before, after = (_flat(yaml.safe_load(text) or {}) for text in (old, new))
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


def _reset_peak_rss() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then the process's


def _peak_rss() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
