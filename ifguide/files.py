"""Files that are written whole or not at all, and what they and settings are known by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifguide.errors import InputError, one_line


def write_text(file: Path, text: str) -> None:
    """Write a whole file or nothing."""
    part = file.with_name(f"{file.name}.tmp")
    try:
        part.write_text(text, encoding="utf-8")
    except OSError:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, file)


def write_json(file: Path, value: Any) -> None:
    """Write a whole JSON file or nothing."""
    write_text(file, json.dumps(value, indent=2, default=asdict) + "\n")


def read_json(file: Path) -> Any:
    """Read a JSON file of ours."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: cannot be read ({one_line(error)}); delete it and run again"
        ) from error


def fingerprint_of(value: Any) -> str:
    """Return a sha256 of a value made of dataclasses and what JSON holds."""
    plain = json.dumps(value, sort_keys=True, default=_fields)
    return hashlib.sha256(plain.encode()).hexdigest()


def _fields(value: Any) -> dict[str, Any]:
    """Return a dataclass as JSON has it; a field that maps nothing counts as if it were not there.

    So the filters that were added to sources later change no fingerprint where none is set.
    """
    return asdict(value, dict_factory=lambda pairs: {k: v for k, v in pairs if v != {}})


def describe(file: Path) -> dict[str, Any]:
    """Return a file's size and checksum."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def is_intact(file: Path, seen: Mapping[str, Any]) -> bool:
    """Whether a file is as ``describe`` saw it."""
    if not file.is_file() or file.stat().st_size != seen["bytes"]:
        return False
    return bool(describe(file)["sha256"] == seen["sha256"])
