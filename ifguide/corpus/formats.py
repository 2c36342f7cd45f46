"""File formats of sources: which there are, each known by what the names of its files end in.

A format is a function that yields a file's records; importing this module imports none of them.
Third parties add one by an entry point of the group ``ifguide.formats``, named by the ending::

    [project.entry-points."ifguide.formats"]
    csv = "their_package:read_csv"
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ifguide.corpus.fields import Record
from ifguide.registry import Registry


class Format(Protocol):
    """Yields the records of one file, in order."""

    def __call__(self, file: Path, shown: str, name: str) -> Iterator[Record]:
        """Read a file that is not empty.

        Args:
            file: where it is.
            shown: what messages call it; each record's ``place`` begins with it.
            name: of the file inside its source: the path within a folder, or the file's own name.

        Raises:
            InputError: a record cannot be read. Any other exception is told as such a line.
        """
        ...


FORMATS: Registry[Format] = Registry(
    "file format",
    "ifguide.formats",
    {
        "jsonl": "ifguide.corpus.json_records:read_json_lines",
        "jsonl.gz": "ifguide.corpus.json_records:read_json_lines",
        "ndjson": "ifguide.corpus.json_records:read_json_lines",
        "ndjson.gz": "ifguide.corpus.json_records:read_json_lines",
        "json": "ifguide.corpus.json_records:read_json",
        "json.gz": "ifguide.corpus.json_records:read_json",
        "parquet": "ifguide.corpus.rows:read_parquet",
        "txt": "ifguide.corpus.plain_text:read_text",
    },
)


def format_of(name: str) -> str | None:
    """Return the format of a file by its name, the longest ending that is known, if any.

    >>> format_of("POSTS.JSONL.GZ"), format_of("posts")
    ('jsonl.gz', None)
    """
    endings = [ending for ending in FORMATS.names() if name.lower().endswith(f".{ending.lower()}")]
    return max(endings, key=len, default=None)


def known_endings() -> str:
    """List the endings of files that can be read, for messages."""
    return ", ".join(f".{ending}" for ending in FORMATS.names())


def without_suffix(name: str) -> str:
    """Return a file's name without the suffix of its format.

    >>> without_suffix("posts.jsonl.gz"), without_suffix("corpus-v1.5")
    ('posts', 'corpus-v1.5')
    """
    ending = format_of(name)
    return name if ending is None else name[: -len(ending) - 1]
