"""Files that are written whole or not at all, and what values are known by."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from ifguide.errors import InputError, reading

TEMPORARY = ".ifguide-tmp"  # how the name of a file ends that is being written
SEAL = "seal"  # in a JSON file: the checksum of all else that it holds


def write_text(file: Path, text: str) -> None:
    """Write a whole file or nothing."""
    with _replacing(file) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Give a file to write beside another, whose place it takes when that has succeeded."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield part
        os.replace(part, file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(file: Path, value: Any) -> None:
    """Write a whole JSON file or nothing."""
    write_text(file, json_text(value))


def json_text(value: Any) -> str:
    """Return a value of dataclasses and what JSON holds as the text of a JSON file.

    JSON has no infinity and no NaN, and strict readers refuse Python's names for them: such a
    number becomes the text ``inf``, ``-inf`` or ``nan``, from which ``float`` makes it again.
    """
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def write_sealed(file: Path, value: Any) -> None:
    """Write a whole JSON object or nothing, with a checksum that ``read_sealed`` looks at."""
    held = json.loads(json_text(value))
    write_json(file, {**held, SEAL: fingerprint_of(held)})


def read_sealed(file: Path, mend: str = "delete it and run again") -> Any:
    """Read a JSON file of ours; one that is older than seals is taken as it is.

    Raises:
        InputError: it cannot be read, or what it holds is not what was written.
    """
    held = read_json(file)
    if not isinstance(held, dict) or SEAL not in held:
        return held
    seal = held.pop(SEAL)
    if seal != fingerprint_of(held):
        raise InputError(f"{file}: it is damaged; {mend}")
    return held


def read_json(file: Path) -> Any:
    """Read a JSON file of ours."""
    with reading(str(file), "delete it and run again"):
        check_plain(file, str(file))
        return json.loads(file.read_text(encoding="utf-8-sig"))


def check_plain(file: Path, shown: str) -> None:
    """Refuse what is no plain file: opening a pipe waits for whoever writes to it.

    Raises:
        InputError: nothing is there, or a folder, a pipe or a device; ``shown`` is what it names.
    """
    with reading(shown, "correct the path"):
        if not file.exists():
            raise InputError(f"{shown}: no such file (looked at {file}); correct the path")
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "a pipe or a device"
            raise InputError(f"{shown}: {kind}, not a plain file; give a file")


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


def check_output_folder(folder: Path, option: str) -> None:
    """Refuse a folder for output that cannot be one.

    Raises:
        InputError: it, or what it lies in, is there and is no folder; or its name is not UTF-8,
            and the libraries that write tokenizers and weights there would fail at it.
    """
    if any("\ud800" <= character <= "\udfff" for character in str(folder)):
        raise InputError(f"{folder}: the name is not UTF-8; give {option} another folder")
    for place in (folder, *folder.absolute().parents):
        if os.path.lexists(place) and not place.is_dir():
            raise InputError(f"{place}: it is no folder; give {option} a folder")


def copy_files(folder: Path, names: Iterable[str], to: Path) -> None:
    """Copy files, each whole or not at all.

    Args:
        folder: where they lie.
        names: theirs in that folder.
        to: where they go, made first if need be.

    Raises:
        InputError: a link lies in ``to``, something on the way to one of them is no folder, or a
            folder is in its place.
    """
    named = list(names)
    check_no_links(to)
    for name in named:
        for inner in (to / above for above in list(Path(name).parents)[:-1]):
            if os.path.lexists(inner) and not inner.is_dir():
                raise InputError(f"{inner}: it is no plain folder; move it away")
        if (to / name).is_dir():
            raise InputError(f"{to / name}: it is a folder, and a file goes there; move it away")
    for name in named:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        with _replacing(to / name) as part:
            shutil.copyfile(folder / name, part)


def check_no_links(folder: Path) -> None:
    """Refuse a folder to write to that is a link, or has one in it.

    Raises:
        InputError: the link is named.
    """
    links = (place for place in (folder, *folder.rglob("*")) if place.is_symlink())
    if (link := next(links, None)) is not None:
        raise InputError(f"{link}: it is a link, and nothing is written through it; move it away")


def lies_in(place: Path, folder: Path) -> bool:
    """Return whether a path leads into a folder, or to it, by whatever links."""
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))


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
