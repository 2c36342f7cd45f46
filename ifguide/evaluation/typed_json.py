"""Frozen dataclasses as JSON files, written and read by their types.

A field that has a default and holds None is left out, so that what was not asked for is absent; a
field without a default is always there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ifguide.errors import InputError
from ifguide.files import json_text, write_text

Noun = TypeVar("Noun")


def to_json(value: Any) -> Any:
    """Return a value made of dataclasses, mappings and sequences as JSON has it."""
    if is_dataclass(value):
        given = {field.name: (field, getattr(value, field.name)) for field in fields(value)}
        return {
            name: to_json(held)
            for name, (field, held) in given.items()
            if held is not None or field.default is not None
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(held) for held in value]
    return value


def write_typed(file: Path, noun: object) -> None:
    """Write a dataclass as a whole JSON file or nothing."""
    write_text(file, typed_text(noun))


def typed_text(noun: object) -> str:
    """Return a dataclass as the text of a JSON file."""
    return json_text(to_json(noun))


def read_typed(file: Path, kind: type[Noun], known_format: int | None = None) -> Noun:
    """Read what ``write_typed`` wrote.

    Args:
        file: the JSON file.
        kind: the dataclass that was written.
        known_format: the latest ``format`` that can be read, of a file that says its own.

    Raises:
        InputError: the file cannot be read, is of a later format, or lacks a field; in one line.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read ({error}); make it again") from error
    if known_format is not None and isinstance(content, Mapping):
        _check_format(file, content, known_format)
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = _printable(".".join(map(str, first["loc"]))) or "the file"
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise InputError(
            f"{file}: {field}: {first['msg']}{more}; the file is damaged, make it again"
        ) from error


def _check_format(file: Path, content: Mapping[str, Any], known: int) -> None:
    later = content.get("format", known)
    if isinstance(later, int) and later > known:
        version = _printable(str(content.get("version", "of a later version")))
        raise InputError(
            f"{file}: it has format {later} (ifguide {version}), and this ifguide reads up to "
            f"{known}; update ifguide"
        )


def _printable(text: str) -> str:
    """Spell out what would break the line or drive a terminal; a file is other people's text."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
