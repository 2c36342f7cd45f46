"""Records as JSON: one a line, or a list of them that is the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifguide.corpus.fields import Record, describe
from ifguide.corpus.formats import Bounded
from ifguide.corpus.json_list import items_of, parse
from ifguide.corpus.raw import decode, lines_of, open_bytes, texts_of
from ifguide.errors import InputError

BEGINNING = 1024  # bytes, looked at to tell a list from lines


@Bounded
def read_json_lines(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the record of each line that is not blank, a line in memory at a time."""
    with open_bytes(file) as stream:
        for number, line in lines_of(stream, shown, longest):
            place = f"{shown}, line {number}"
            text = decode(line, place).strip()
            if text:
                yield Record(place, _mapping(parse(text, place), place))


@Bounded
def read_json(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the records of a list, one in memory at a time, each of ``longest`` characters at most.

    A file that begins otherwise holds lines.
    """
    with open_bytes(file) as stream:
        is_list = stream.read(BEGINNING).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    if not is_list:
        yield from read_json_lines.read(file, shown, name, longest)
        return
    with open_bytes(file) as stream:
        items = items_of(texts_of(stream, shown), shown, longest)
        for number, item in enumerate(items):
            place = f"{shown}, record {number}"
            yield Record(place, _mapping(item, place))


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: {describe(value)}, not a record; write fields by name, {{...}}")
    return value
