"""Where records lie: files, folders of files, saved datasets, and datasets on the hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ifguide.corpus.fields import Record
from ifguide.corpus.formats import (
    FORMATS,
    LONGEST_RECORD,
    OF_IDS,
    Bounded,
    format_of,
    known_endings,
)
from ifguide.corpus.mds_shards import check_indexed, set_aside
from ifguide.corpus.rows import read_saved, rows_of_hub
from ifguide.corpus.token_files import companions
from ifguide.errors import InputError, reading

log = logging.getLogger(__name__)

SAVED = ("dataset_info.json", "dataset_dict.json")  # what save_to_disk leaves in its folder


def read_path(
    path: Path, shown: str, split: str, longest: int = LONGEST_RECORD, *, ids: bool = False
) -> Iterator[Record]:
    """Yield the records of a file, of a folder of files in sorted order, or of a saved dataset.

    ``shown`` is the path as the user wrote it, for messages. The records are not numbered yet.
    ``longest`` is the bytes that a record of a text format may have. Files of nothing but token
    ids are read with ``ids``.

    Raises:
        InputError: nothing there, a record that is longer, a format that is not known, or a
            file that cannot be read.
    """
    with reading(shown, "correct the path"):
        saved = is_saved_dataset(path)
        files = [] if saved else _files_to_read(path, shown, ids)
    if saved:
        with reading(shown, "save the dataset again with save_to_disk"):
            yield from read_saved(path, shown, split)
    for file, name in files:
        where = f"{shown.rstrip('/')}/{name}" if path.is_dir() else shown
        with reading(where, "check the file, or name another one"):
            if file.stat().st_size == 0:
                raise InputError(f"{where}: the file is empty; fill it, remove it or name another")
            read = FORMATS.get(format_of(file.name) or "", where)
            if isinstance(read, Bounded):
                yield from read.read(file, where, name, longest)
            else:
                yield from read(file, where, name)


def read_hub(
    name: str, config: str | None, revision: str | None, split: str, streaming: bool
) -> Iterator[Record]:
    """Yield the records of one split of a dataset on the hub.

    Raises:
        InputError: whatever ``datasets`` said, in one line.
    """
    shown = f"hub dataset {name}" + (f" ({config})" if config else "") + f", split {split}"
    mend = "check the name, config and split, or give the path of a local copy"
    with reading(shown, mend):
        yield from rows_of_hub(name, config, revision, split, streaming, shown)


def is_saved_dataset(path: Path) -> bool:
    """Whether the folder was written by ``datasets`` with ``save_to_disk``."""
    return any((path / name).is_file() for name in SAVED)


def list_files(path: Path, shown: str, *, ids: bool = False) -> list[tuple[Path, str]]:
    """Return the files to read, each with its name: the path inside the folder, or its own name.

    Files of nothing but token ids are among them with ``ids``.

    Raises:
        InputError: the path does not exist or has no file of a known format.
    """
    if path.is_dir():
        return _known(_entries_of(path), shown, ids)
    if not path.exists():
        raise InputError(f"{shown}: no such file or folder (looked at {path}); correct the path")
    if not format_of(path.name):
        raise InputError(f"{shown}: a file of an unknown kind; give one of {known_endings()}")
    if not ids and format_of(path.name) in OF_IDS:
        raise InputError(
            f"{shown}: a file of token ids, not of texts; set the source's tokens to input_ids"
        )
    if not path.is_file():
        raise InputError(f"{shown}: a pipe or device, which is read once only; give a file")
    return [(path, path.name)]


def _is_read(file: Path, ids: bool) -> bool:
    """Whether what lies in a folder is a plain file, or a link to one, of a format that is read."""
    return is_format_read(file.name, ids) and file.is_file()


def is_format_read(name: str, ids: bool) -> bool:
    """Whether a file of this name is read; one of nothing but token ids only with ``ids``."""
    found = format_of(name)
    return found is not None and (ids or found not in OF_IDS)


def _entries_of(folder: Path) -> list[tuple[Path, str]]:
    """Return what lies in a folder by name, in linked folders too; what is hidden is left out."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        inner = Path(place)
        within = [up for up in (inner, *inner.parents) if up.is_relative_to(folder)]
        reached = [Path(os.path.realpath(up)) for up in within]
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and not _is_around(Path(os.path.realpath(inner / name)), reached)
        ]
        found += [inner / name for name in files if name[0] != "."]
    return sorted(((f, f.relative_to(folder).as_posix()) for f in found), key=lambda pair: pair[1])


def _linked(entry: tuple[Path, str]) -> tuple[int, str]:
    """Return how many links on the way to a file its name in the folder passes, and that name."""
    file, name = entry
    inside = [file, *file.parents][: name.count("/") + 1]
    return sum(place.is_symlink() for place in inside), name


def _is_around(outer: Path, reached: list[Path]) -> bool:
    """Whether a folder is or holds one that it was reached by: it would be followed for ever."""
    return any(inner.is_relative_to(outer) for inner in reached)


def _known(files: list[tuple[Path, str]], shown: str, ids: bool) -> list[tuple[Path, str]]:
    """Return the files of a folder whose format is known; there must be one.

    A file that links reach too is there once, under the name that fewest links lead to.
    """
    known = [(file, name) for file, name in files if _is_read(file, ids)]
    aside = set_aside([name for _, name in known])
    known = [(file, name) for file, name in known if name not in aside]
    if not known:
        raise InputError(
            f"{shown}: the folder holds no file that can be read ({known_endings()}); put one "
            "there, or name another path"
        )
    once = {os.path.realpath(file): (file, name) for file, name in sorted(known, key=_linked)[::-1]}
    return sorted(once.values(), key=lambda pair: pair[1])


def _files_to_read(path: Path, shown: str, ids: bool) -> list[tuple[Path, str]]:
    """Return the files to read; what else lies in a folder is logged."""
    if not path.is_dir():
        return list_files(path, shown, ids=ids)
    files = _entries_of(path)
    with reading(shown, "correct the path"):
        check_indexed(path, [name for _, name in files], shown)
    beside = {other for file, _ in files for other in companions(file)}
    unread = [name for file, name in files if not _is_read(file, ids) and file not in beside]
    if unread:
        log.warning(
            "%s: not read: %d of its files ('%s' is the first); what is read are plain files "
            "that end in %s",
            *(shown, len(unread), unread[0], known_endings()),
        )
    return _known(files, shown, ids)
