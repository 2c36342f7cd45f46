"""File formats of sources: which there are, each known by what the names of its files end in.

A format is a function that yields a file's records; importing this module imports none of them.
Third parties add one by an entry point of the group ``ifguide.formats``, named by the ending::

    [project.entry-points."ifguide.formats"]
    csv = "their_package:read_csv"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

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


LONGEST_RECORD = 1 << 24  # bytes; the longest novels have 6 million


@final
@dataclass(frozen=True)
class Bounded:
    """A format that reads no further once a record has more bytes than ``longest``."""

    read: Callable[[Path, str, str, int], Iterator[Record]]

    def __call__(self, file: Path, shown: str, name: str) -> Iterator[Record]:
        """Read a file whose records have the default bound."""
        return self.read(file, shown, name, LONGEST_RECORD)


_TEXT_FORMATS = {
    "jsonl": "ifguide.corpus.json_records:read_json_lines",
    "ndjson": "ifguide.corpus.json_records:read_json_lines",
    "json": "ifguide.corpus.json_records:read_json",
    "txt": "ifguide.corpus.plain_text:read_text",
}
OF_IDS = ("bin", "npy", "ds")  # read where the source's ``tokens`` asks for ids, and nowhere else
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_SHARDS = {
    **dict.fromkeys(
        ("tar", "tgz", *(f"tar{end}" for end in _COMPRESSED)), "ifguide.corpus.tar_samples:read_tar"
    ),
    **dict.fromkeys(
        ("mds", *(f"mds{end}" for end in (".gz", ".bz2", ".br", ".zstd"))),
        "ifguide.corpus.mds_shards:read_mds",
    ),
}

FORMATS: Registry[Format] = Registry(
    "file format",
    "ifguide.formats",
    {
        **{
            f"{name}{end}": read
            for name, read in _TEXT_FORMATS.items()
            for end in ("", *_COMPRESSED)
        },
        **_SHARDS,
        "parquet": "ifguide.corpus.rows:read_parquet",
        "arrow": "ifguide.corpus.rows:read_arrow",
        "bin": "ifguide.corpus.token_files:read_map",
        "npy": "ifguide.corpus.token_files:read_map",
        "ds": "ifguide.corpus.token_files:read_datatrove",
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
    plain = [f".{name}" for name in _TEXT_FORMATS]
    ours = {f"{name}{end}" for name in plain for end in ("", *_COMPRESSED)}
    ours |= {f".{name}" for name in (*OF_IDS, *_SHARDS)}
    others = [f".{name}" for name in FORMATS.names() if f".{name}" not in ours]
    packed = f"each also with {', '.join(_COMPRESSED[:-1])} or {_COMPRESSED[-1]}"
    return f"{', '.join(plain)} ({packed}), .tar and .mds (also compressed), {', '.join(others)}"


def without_suffix(name: str) -> str:
    """Return a file's name without the suffix of its format.

    >>> without_suffix("posts.jsonl.gz"), without_suffix("corpus-v1.5")
    ('posts', 'corpus-v1.5')
    """
    ending = format_of(name)
    return name if ending is None else name[: -len(ending) - 1]
