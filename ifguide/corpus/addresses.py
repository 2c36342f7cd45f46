"""Sources at an address: whatever fsspec opens, such as ``s3://``, ``hf://`` and ``https://``.

A file is copied to this machine while it is read, one at a time, so that every format is read as it
is read from a disk. What is there is known by what the store tells of it: size, and a checksum or
the time of its last change.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ifguide.corpus.fields import Record
from ifguide.corpus.formats import known_endings
from ifguide.corpus.mds_shards import set_aside
from ifguide.corpus.readers import SAVED, is_format_read, read_path
from ifguide.corpus.token_files import companion_names
from ifguide.errors import InputError, reading
from ifguide.parts import tell

MEND = "check the address and the rights to it, or give the path of a local copy"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::|://)")
TOLD = (  # by stores, of what a file holds
    *("ETag", "etag", "e_tag", "Content-MD5", "Digest", "md5", "md5Hash", "crc32c", "sha256"),
    *("blob_id", "lfs", "generation", "VersionId"),
)
TIMES = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")


def is_address(path: str) -> bool:
    """Whether a path of the settings is an address rather than a place on this machine.

    >>> is_address("s3://bucket/posts.jsonl"), is_address("data/posts.jsonl"), is_address("C:/x")
    (True, False, False)
    """
    return ADDRESS.match(path) is not None


def read_address(address: str, split: str, longest: int, *, ids: bool = False) -> Iterator[Record]:
    """Yield the records of the file, or of all files below a folder, in sorted order.

    The arguments are those of ``read_path``.

    Raises:
        InputError: nothing is there, it cannot be fetched, or a record cannot be read.
    """
    system, files = _files(address, ids)
    for place, name in files:
        shown = address if len(files) == 1 else f"{address.rstrip('/')}/{name}"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / PurePosixPath(name).name
            with reading(shown, MEND):
                tell(f"fetching {name}")
                system.get_file(place, str(copy))
                for other in companion_names(copy.name):
                    beside = str(PurePosixPath(place).with_name(other))
                    if system.exists(beside):
                        system.get_file(beside, str(copy.with_name(other)))
            yield from read_path(copy, shown, split, longest, ids=ids)


def known_by(address: str, *, ids: bool = False) -> Mapping[str, str]:
    """Return what is known of each file at an address, by its name there: a sha256 of what is told.

    Raises:
        InputError: nothing is there, or it cannot be asked.
    """
    system, files = _files(address, ids)
    found = {}
    for place, name in files:
        with reading(f"{address}: {name}", MEND):
            for other in ("", *companion_names(PurePosixPath(place).name)):
                beside = str(PurePosixPath(place).with_name(other)) if other else place
                if not other or system.exists(beside):
                    found[f"{name} {other}".strip()] = _told(system, beside)
    return found


def _told(system: Any, place: str) -> str:
    told = system.info(place)
    of = {name: str(told[name]) for name in TOLD if told.get(name)}
    of = of or {name: str(told[name]) for name in TIMES if told.get(name)}
    of = of or {"key": str(system.ukey(place))}
    text = json.dumps({"size": told.get("size"), **of}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(address: str, ids: bool) -> tuple[Any, list[tuple[str, str]]]:
    """Return the file system, and the files to read there, each with its name below the address."""
    import fsspec  # which a run without an address need not wait for

    with reading(address, MEND):
        system, root = fsspec.core.url_to_fs(address)
        if system.isfile(root):
            found = [(root, PurePosixPath(root).name)]
        else:
            below = root.rstrip("/")
            found = [(place, place.removeprefix(below).lstrip("/")) for place in system.find(root)]
    if any(name in SAVED for _, name in found):
        raise InputError(
            f"{address}: a dataset saved by datasets, which is read from this machine alone; copy "
            "it here, or name its Parquet or Arrow files"
        )
    aside = set_aside([name for _, name in found])
    known = sorted(
        (place, name) for place, name in found if is_format_read(name, ids) and name not in aside
    )
    if not known:
        raise InputError(
            f"{address}: no file that can be read is there ({known_endings()}); {MEND}"
        )
    return system, known


def addresses_known_by(given: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return what is known of all files of some sources, None where none is at an address.

    Args:
        given: sources by a name.
    """
    found = {
        f"{name}/{file}": told
        for name, source in given.items()
        if source.path is not None and is_address(source.path)
        for file, told in known_by(source.path, ids=source.tokens is not None).items()
    }
    return found or None
