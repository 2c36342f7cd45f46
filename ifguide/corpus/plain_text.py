"""Files of plain text: one record each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ifguide.corpus.fields import Record
from ifguide.corpus.raw import decode


def read_text(file: Path, shown: str, name: str) -> Iterator[Record]:
    """Yield the file's text as one record, whose id is the file's name inside its source."""
    yield Record(shown, {"id": name, "text": decode(file.read_bytes(), shown)})
