"""WebDataset's shards: tar files in which neighbouring members of one name are one record.

A member's name is a key up to the first dot behind its folders, and a field behind that:
``posts/7.txt`` and ``posts/7.json`` are the fields ``txt`` and ``json`` of the record
``posts/7``. Which members make a record is as ``webdataset.tariterators`` has it. It is read here,
since that library, like Python's ``tarfile``, takes a damaged header for the end of the file.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from ifguide.corpus.fields import Record
from ifguide.corpus.formats import Bounded
from ifguide.corpus.json_list import parse
from ifguide.corpus.raw import decode, open_bytes, read_bounded
from ifguide.errors import InputError

KEY = "__key__"  # the field of a record's key
NAME = re.compile(r"((?:.*/)?[^.]+)[.]([^/]*)")
ABOUT = re.compile(r"__[^/]*__($|/)")  # members that are about the shard
# kinds of fields, by what their names end in; members of others are passed over
TEXT = ("txt", "text", "transcript")
JSON = ("json", "jsn")
NUMBER = ("cls", "cls2", "class", "count", "index", "inx", "id")
ARRAY = ("npy",)
REST = 1 << 20  # bytes behind an archive's end, looked at a time


@final
class Header(tarfile.TarInfo):
    """A member's header; one that cannot be read is an error, where Python's ends the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Header:
        """Read the next header, of whichever kind.

        Raises:
            tarfile.EOFHeaderError: the archive ends here, as its last blocks say.
            tarfile.ReadError: it is damaged, or cut short.
        """
        try:
            return super().fromtarfile(archive)  # type: ignore[return-value]
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or cut short: {error}") from error


@Bounded
def read_tar(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the records of a shard, one in memory at a time, each field of ``longest`` bytes."""
    with (
        open_bytes(file) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=Header) as archive,
    ):
        grouped = itertools.groupby(_members(archive), key=lambda found: found[0])
        for number, (key, members) in enumerate(grouped):
            place = f"{shown}, record {number}"
            yield Record(place, {KEY: key, **_fields(archive, members, place, longest)})
        _check_end(archive, shown)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yield the key, the field and the header of each member that belongs to a record."""
    for member in archive:
        found = NAME.fullmatch(member.name)
        if member.isreg() and found and not ABOUT.match(member.name):
            yield found[1], found[2].lower(), member
        archive.members = []  # type: ignore[attr-defined]  # which it would keep for ever


def _fields(
    archive: tarfile.TarFile,
    members: Iterator[tuple[str, str, tarfile.TarInfo]],
    place: str,
    longest: int,
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, field, member in members:
        kind = field.rpartition(".")[2]
        if kind not in (*TEXT, *JSON, *NUMBER, *ARRAY):
            continue
        if field in fields:
            raise InputError(f"{place}: two members are '{key}.{field}'; give each its own name")
        stream = archive.extractfile(member)
        raw = read_bounded(stream, f"{place}, {field}", longest) if stream else b""
        fields[field] = _value(raw, kind, f"{place}, {field}")
    return fields


def _value(raw: bytes, kind: str, place: str) -> Any:
    if kind in ARRAY:
        try:
            return np.load(io.BytesIO(raw), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{place}: no array of numpy's ({error}); mend the member") from error
    text = decode(raw, place)
    if kind in JSON:
        return parse(text, place)
    if kind in TEXT:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{place}: '{text[:20]}' is no whole number; mend the member") from error


def _check_end(archive: tarfile.TarFile, shown: str) -> None:
    """Refuse what lies behind an archive's end: another archive, which would never be read."""
    rest: Any = archive.fileobj
    while block := rest.read(REST):
        if block.strip(b"\0"):
            raise InputError(
                f"{shown}: more lies behind the archive's end; put each in its own file"
            )
