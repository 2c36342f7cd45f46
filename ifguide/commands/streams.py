"""The standard streams as a command finds them: closed, short of characters, or read no more."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO


def prepare() -> None:
    """Make the streams fit to be written to, whatever is written.

    One that is closed leads nowhere, so that no file that is opened later takes its place; what a
    terminal's encoding lacks is written as escapes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silenced() -> list[TextIO]:
    """Lead the streams that nobody reads any more nowhere, and return them."""
    unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
    for stream in unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return unread


def _is_unread(stream: TextIO) -> bool:
    """Whether the other end of a pipe or socket is closed, which is told without being asked."""
    watched = select.poll()
    watched.register(stream.fileno(), 0)
    return bool(watched.poll(0))
