"""Files that are written whole or not at all, and what values are known by."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from ifguide.errors import InputError, one_line

TEMPORARY = ".ifguide-tmp"  # how the name of a file ends that is being written


def write_text(file: Path, text: str) -> None:
    """Write a whole file or nothing."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(file: Path, value: Any) -> None:
    """Write a whole JSON file or nothing."""
    write_text(file, json_text(value))


def json_text(value: Any) -> str:
    """Return a value of dataclasses and what JSON holds as the text of a JSON file."""
    return json.dumps(value, indent=2, default=asdict) + "\n"


def read_json(file: Path) -> Any:
    """Read a JSON file of ours."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: cannot be read ({one_line(error)}); delete it and run again"
        ) from error


def write_output(file: Path, text: str, *, replace: bool) -> None:
    """Write a file that somebody named, over another one only if that is asked for.

    Raises:
        InputError: something is there already.
    """
    check_output(file, replace=replace)
    write_text(file, text)


def check_output(file: Path, *, replace: bool) -> None:
    """Refuse to write where something is already, unless that is asked for.

    Raises:
        InputError: something is there already.
    """
    if os.path.lexists(file) and not replace:
        raise InputError(f"{file}: it is there already; give another name, or --replace")
    if file.is_dir():
        raise InputError(f"{file}: it is a folder; give the name of a file")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}; make it, or give another name")


def plain(value: Any, *, counted: bool = False) -> Any:
    """Return a value of dataclasses as what JSON holds.

    What a setting leaves open (None, or a mapping of nothing) is left out, so that a setting that
    was added later changes nothing where it is not used; and so is what a class lists as
    ``unrecorded``. With ``counted`` what it lists as ``uncounted`` is left out too: where a file
    lies does not matter, what is in it is counted by whoever reads it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        left_out = {*getattr(value, "unrecorded", ())}
        left_out |= {*getattr(value, "uncounted", ())} if counted else set()
        names = (field.name for field in fields(value) if field.name not in left_out)
        held = {name: plain(getattr(value, name), counted=counted) for name in names}
        return {name: item for name, item in held.items() if item is not None and item != {}}
    if isinstance(value, Mapping):
        return {str(key): plain(item, counted=counted) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, counted=counted) for item in value]
    return str(value) if isinstance(value, Path) else value


def fingerprint_of(value: Any) -> str:
    """Return a sha256 of a value made of dataclasses and what JSON holds, as far as it counts."""
    counted = plain(value, counted=True)
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def describe(file: Path) -> dict[str, Any]:
    """Return a file's size and checksum."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}
