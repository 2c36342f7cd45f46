"""The run folder: known by a mark of its own, locked for whoever writes, and never somebody else's.

The lock is on the folder itself, so that no deletion of a file lets a second process in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from ifguide.errors import InputError
from ifguide.files import TEMPORARY, check_output_folder, read_json, write_json, write_text
from ifguide.run.checksums import Checksums
from ifguide.settings.reader import RUN_MARK as MARK
from ifguide.version import VERSION

FORMAT = 2
CONFIG = "config.yaml"
CHECKSUMS = ".ifguide-checksums.json"
LOCK = ".ifguide-lock"  # only where folders cannot be locked
RUN, DELIVERY = "run", "delivery"  # what a folder holds; a run's mark does not say so
WHAT = {RUN: "a run", DELIVERY: "documents that ifguide score-corpus has scored"}
NO_LOCK = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EACCES}


@final
class RunFolder:
    """A run folder, opened to be looked at, or claimed and locked to be written.

    Use ``RunFolder.claim`` or ``RunFolder.open``; close it when done.
    """

    def __init__(self, root: Path, *, writes: bool, verify: bool, lock: int | None = None) -> None:
        self.root, self.writes, self._lock = root, writes, lock
        self.checksums = Checksums(root, root / CHECKSUMS, verify=verify)

    @classmethod
    def open(cls, root: Path, *, verify: bool = False) -> RunFolder:
        """Open a run folder to look at it; nothing is written.

        Raises:
            InputError: it is none.
        """
        check_run_folder(root)
        return cls(root, writes=False, verify=verify)

    @classmethod
    def claim(cls, root: Path, *, verify: bool = False, kind: str = RUN) -> RunFolder:
        """Lock a run folder, made first if it is not there, for this process.

        Raises:
            InputError: it is a file, holds what is not ours or is not of this kind, is of another
                format, or another process is working in it.
        """
        check_output_folder(root, "--out")
        root.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(root)
        lock = _lock(root)
        try:
            _refuse_foreign(root)
            if not is_run_folder(root):
                made = {"format": FORMAT, "id": uuid.uuid4().hex, "made_by": VERSION, "wrote": []}
                write_json(root / MARK, made if kind == RUN else {**made, "kind": kind})
            if kind_of(root) != kind:
                raise InputError(f"{root}: it holds {WHAT[kind_of(root)]}; give --out a new folder")
            claimed = cls(root, writes=True, verify=verify, lock=lock)
            claimed._check_plain(CHECKSUMS)
            claimed._drop_temporaries()
        except BaseException:
            os.close(lock)
            raise
        return claimed

    def close(self) -> None:
        """Remember the checksums and let others in."""
        if self._lock is not None:
            try:
                with suppress(OSError, InputError):  # they are only taken once more
                    if is_run_folder(self.root):
                        self._check_plain(CHECKSUMS)
                        self.checksums.save()
            finally:
                os.close(self._lock)
                self._lock = None

    def check_outputs(self, names: Iterable[str]) -> None:
        """Refuse to go on if a file of these names is there and not ours.

        Raises:
            InputError: the file is named.
        """
        wrote = read_mark(self.root)["wrote"]
        for name in names:
            place = self.root / name
            self._check_plain(name)
            if os.path.lexists(place) and name not in wrote:
                raise InputError(
                    f"{place}: ifguide did not write it, and needs the name; move it away"
                )

    def output(self, name: str, text: str) -> None:
        """Write a file beside the stages; one that is there must be ours.

        Raises:
            InputError: it is not.
        """
        self.check_outputs([name])
        mark = read_mark(self.root)
        if name not in mark["wrote"]:
            write_json(self.root / MARK, {**mark, "wrote": [*mark["wrote"], name]})
        (self.root / name).parent.mkdir(exist_ok=True)
        write_text(self.root / name, text)

    def drop_pages(self) -> None:
        """Delete what was written beside the stages, but for the settings."""
        mark = read_mark(self.root)
        for name in mark["wrote"]:
            self._check_plain(name)
            if name != CONFIG:
                (self.root / name).unlink(missing_ok=True)
        write_json(self.root / MARK, {**mark, "wrote": [n for n in mark["wrote"] if n == CONFIG]})

    def _drop_temporaries(self) -> None:
        """Delete what a kill has left half written beside the stages."""
        wrote = read_mark(self.root)["wrote"]
        for folder in {self.root, *(self.root / Path(name).parent for name in wrote)}:
            for file in [] if folder.is_symlink() else folder.glob(f".*{TEMPORARY}"):
                if file.is_file() and not file.is_symlink():
                    file.unlink()

    def _check_plain(self, name: str) -> None:
        """Refuse a link or a folder in the place of a file of ours, and a link on the way."""
        place = self.root / name
        for folder in place.relative_to(self.root).parents[:-1]:
            inner = self.root / folder
            if inner.is_symlink() or (os.path.lexists(inner) and not inner.is_dir()):
                raise InputError(f"{inner}: it is no folder of ifguide's own; move it away")
        if place.is_symlink() or (os.path.lexists(place) and not place.is_file()):
            raise InputError(
                f"{place}: it is no plain file, and ifguide writes there; move it away"
            )


def check_run_folder(root: Path) -> None:
    """Refuse what is no run folder.

    Raises:
        InputError: it is none, of another format, or holds something else that ifguide made.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder of a run")
    if not is_run_folder(root):
        raise InputError(f"{root}: it is no run folder (it has no {MARK}); give one that is")
    if kind_of(root) != RUN:
        raise InputError(
            f"{root}: it holds {WHAT[kind_of(root)]}, and no run; give the folder of the run"
        )


def kind_of(root: Path) -> str:
    """Return what a folder that bears our mark holds: ``RUN`` or ``DELIVERY``.

    Raises:
        InputError: the mark cannot be read, or is of another format.
    """
    return str(read_mark(root).get("kind", RUN))


def is_run_folder(root: Path) -> bool:
    """Whether a folder bears the mark of a run."""
    mark = root / MARK
    return mark.is_file() and not mark.is_symlink()


def _refuse_foreign(root: Path) -> None:
    """Refuse a folder that holds something and is no run folder."""
    held = [name for name in os.listdir(root) if name != LOCK and not name.endswith(TEMPORARY)]
    if held and not is_run_folder(root):
        raise InputError(f"{root}: not empty and not a run folder; give --out a new folder")


def read_mark(root: Path) -> Mapping[str, Any]:
    """Return a run folder's mark: its format, its id, the version that made it, what it wrote.

    Raises:
        InputError: it cannot be read, or is of another format.
    """
    held = read_json(root / MARK)
    named = {"format", "id", "made_by", "wrote"}
    if not isinstance(held, dict) or held.keys() - {"kind"} != named:
        raise InputError(f"{root / MARK}: it is no mark of a run folder; give --out a new folder")
    if held["format"] != FORMAT:
        raise InputError(
            f"{root}: a run folder of format {held['format']}, made by ifguide {held['made_by']}; "
            f"this version writes format {FORMAT}: give --out a new folder"
        )
    sound = isinstance(held["wrote"], list) and held.get("kind", RUN) in WHAT
    if not sound or not all(map(_is_output, held["wrote"])):
        raise InputError(f"{root / MARK}: it is damaged; give --out a new folder")
    return held


def _is_output(name: Any) -> bool:
    """Whether the mark names a file of the run folder."""
    inside = isinstance(name, str) and not os.path.isabs(name)
    return inside and bool(Path(name).parts) and ".." not in Path(name).parts


def _lock(root: Path) -> int:
    """Lock a folder; where folders cannot be locked, a file in it that is never replaced.

    Raises:
        InputError: another process holds it.
    """
    file = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    for place, flags in ((root, os.O_RDONLY), (root / LOCK, file)):
        try:
            handle = os.open(place, flags | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR):
                raise
            raise InputError(
                f"{place}: it is no plain file, and ifguide locks it; move it away"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise InputError(
                f"{root}: another process is working in this folder; wait for it, or give "
                "another --out"
            ) from error
        except OSError as error:
            os.close(handle)
            if error.errno not in NO_LOCK:
                raise
        else:
            return handle
    raise InputError(f"{root}: it cannot be locked; give --out a folder on another disk")
