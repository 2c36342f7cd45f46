"""Files of plain text: one record each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ifguide.corpus.fields import Record
from ifguide.corpus.formats import Bounded
from ifguide.corpus.raw import decode, open_bytes, read_bounded


@Bounded
def read_text(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield the file's text as one record, whose id is the file's name inside its source."""
    with open_bytes(file) as stream:
        raw = read_bounded(stream, shown, longest)
    yield Record(shown, {"id": name, "text": decode(raw, shown)})
