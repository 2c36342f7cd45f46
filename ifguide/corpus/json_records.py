"""Records as JSON: one a line, or a list of them that is the whole file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifguide.corpus.fields import Record, describe
from ifguide.corpus.formats import Bounded
from ifguide.corpus.raw import decode, lines_of, open_bytes, read_bounded
from ifguide.errors import InputError, one_line

BEGINNING = 1024  # bytes, looked at to tell a list from lines
LIST = 64  # a list may have this many times the bytes of a record: it is read as a whole


@Bounded
def read_json_lines(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the record of each line that is not blank, a line in memory at a time."""
    with open_bytes(file) as stream:
        for number, line in lines_of(stream, shown, longest):
            place = f"{shown}, line {number}"
            text = decode(line, place).strip()
            if text:
                yield Record(place, _mapping(_parse(text, place), place))


@Bounded
def read_json(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the records of a list, read as a whole; a file that begins otherwise holds lines.

    The list may have ``LIST`` times the bytes of a record.
    """
    with open_bytes(file) as stream:
        is_list = stream.read(BEGINNING).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    if not is_list:
        yield from read_json_lines.read(file, shown, name, longest)
        return
    with open_bytes(file) as stream:
        items = _parse(decode(read_bounded(stream, shown, LIST * longest), shown), shown)
    for number, item in enumerate(items):
        place = f"{shown}, record {number}"
        yield Record(place, _mapping(item, place))


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = (
            f"{error.msg} at character {error.pos}"
            if isinstance(error, json.JSONDecodeError)
            else one_line(error)
        )
        raise InputError(
            f"{place}: not valid JSON ({said}); write one JSON record a line"
        ) from error


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: {describe(value)}, not a record; write fields by name, {{...}}")
    return value
