"""Bytes of files: unpacked where they are compressed, and decoded as UTF-8 or refused by place.

Whatever editor wrote a file: it may begin with a byte order mark, and its lines may end in ``\\n``,
``\\r\\n`` or ``\\r``.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from ifguide.errors import InputError


def open_bytes(file: Path) -> io.BufferedIOBase:
    """Open a file that may be compressed (``.gz``)."""
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def lines_of(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a binary stream that ends them at ``\\n``, without their ends."""
    for line in stream:
        yield from line.removesuffix(b"\n").removesuffix(b"\r").split(b"\r")


def decode(raw: bytes, place: str) -> str:
    """Return the text of UTF-8 bytes, without the byte order mark that some editors write first.

    Raises:
        InputError: they are not UTF-8; the message names the byte, and the line where ``place`` is
            not one line already.
    """
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start)
        byte = error.start - (raw.rfind(b"\n", 0, error.start) + 1)
        within = f"byte {byte}" if ", line " in place else f"line {line + 1}, byte {byte}"
        raise InputError(
            f"{place}, {within}: not UTF-8 (0x{raw[error.start]:02x}); save the file as UTF-8"
        ) from error
