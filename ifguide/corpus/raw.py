"""Bytes of files: unpacked where they are compressed, and decoded as UTF-8 or refused by place.

Whatever editor wrote a file: it may begin with a byte order mark, and its lines may end in ``\\n``,
``\\r\\n`` or ``\\r``. A record that is longer than its source's ``longest_record`` is refused as
soon as that much of it has been read.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import pyarrow as pa

from ifguide.errors import InputError

BLOCK = 1 << 20  # bytes read at a time


def _open_by_arrow(codec: str, file: Path, mode: str) -> io.BufferedIOBase:
    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file), mode), codec))


_OPENERS: dict[str, Callable[[Path, str], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": partial(_open_by_arrow, "zstd"),
    ".zstd": partial(_open_by_arrow, "zstd"),
    ".br": partial(_open_by_arrow, "brotli"),
}


def open_bytes(file: Path) -> io.BufferedIOBase:
    """Open a file, unpacked where the end of its name says that it is compressed."""
    return cast(io.BufferedIOBase, _OPENERS.get(file.suffix.lower(), Path.open)(file, "rb"))


def lines_of(stream: io.BufferedIOBase, shown: str, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is not blank with its number, from 1, and without its end.

    Args:
        stream: what is read, in memory one line and one block at most.
        shown: what messages call it.
        longest: bytes that a line may have.

    Raises:
        InputError: a line has more.
    """
    number, open_line = 0, b""
    while block := stream.read(max(BLOCK, len(open_line))):
        lines = (open_line + block).splitlines(keepends=True)
        open_line = b"" if lines[-1].endswith(b"\n") else lines.pop()
        if not block.isspace() or open_line.strip():
            yield from _within(lines, number, shown, longest)
        number += len(lines)
        _refuse_longer(len(open_line), longest, f"{shown}, line {number + 1}")
    yield from _within([open_line], number, shown, longest)


@runtime_checkable
class Readable(Protocol):
    """What gives so many bytes at most, and none at its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


def read_bounded(stream: Readable, shown: str, longest: int) -> bytes:
    """Return all of a stream that is one record.

    Raises:
        InputError: it has more than ``longest`` bytes.
    """
    raw = stream.read(longest + 1)
    _refuse_longer(len(raw), longest, shown)
    return raw


def _within(
    lines: list[bytes], before: int, shown: str, longest: int
) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, before + 1):
        if not line.isspace() and line:
            text = line.rstrip(b"\r\n")
            _refuse_longer(len(text), longest, f"{shown}, line {number}")
            yield number, text


def _refuse_longer(length: int, longest: int, place: str) -> None:
    if length > longest:
        raise InputError(too_long(place, longest, "bytes"))


def too_long(place: str, longest: int, unit: str) -> str:
    """Say that a record is longer than its source allows, and how to mend it."""
    return (
        f"{place}: a record of more than {longest} {unit}; cut it into several, or raise the "
        "source's longest_record"
    )


def texts_of(stream: io.BufferedIOBase, shown: str) -> Iterator[str]:
    """Yield a stream's text in pieces, a block in memory at a time.

    Raises:
        InputError: it is not UTF-8.
    """
    decoder, mark = codecs.getincrementaldecoder("utf-8")(), "\ufeff"
    lines, in_line = 0, 0  # before the block: lines, and bytes of the line that is open
    while True:
        block = stream.read(BLOCK)
        held = len(decoder.getstate()[0])  # bytes of a character that the block before began
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, shown, lines, in_line - held) from error
        if text:
            yield text.removeprefix(mark)
            mark = ""
        if not block:
            return
        lines += block.count(b"\n")
        in_line = len(block) - block.rfind(b"\n") - 1 + (0 if b"\n" in block else in_line)


def decode(raw: bytes, place: str) -> str:
    """Return the text of UTF-8 bytes, without the byte order mark that some editors write first.

    Raises:
        InputError: they are not UTF-8; the message names the byte, and the line where ``place`` is
            not one line already.
    """
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, place, 0, 0) from error


def _not_utf8(error: UnicodeDecodeError, place: str, lines: int, in_line: int) -> InputError:
    """Say where bytes are not UTF-8, after so many lines and bytes of the line that is open."""
    raw, line = error.object, lines + error.object.count(b"\n", 0, error.start)
    byte = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + (in_line if line == lines else 0)
    within = f"byte {byte}" if ", line " in place else f"line {line + 1}, byte {byte}"
    return InputError(
        f"{place}, {within}: not UTF-8 (0x{raw[error.start]:02x}); save the file as UTF-8"
    )
