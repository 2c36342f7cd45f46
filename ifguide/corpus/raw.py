"""Bytes of files: unpacked where they are compressed, and decoded as UTF-8 or refused by place."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from ifguide.errors import InputError


def open_bytes(file: Path) -> io.BufferedIOBase:
    """Open a file that may be compressed (``.gz``)."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")


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
