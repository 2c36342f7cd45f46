"""The folder of a stage: made beside its place, moved there when it is whole, and checked later.

A stage is made in ``NAME.part``. Its manifest says what went in (settings, needs) and what came
out (size and checksum of each file) and is written last, so that a ``.part`` with a manifest only
needs its name. What a stage keeps before it is whole is told in a journal; another attempt trusts
nothing else.

Nothing is deleted or written over but what the stage itself writes: files that fit the patterns it
declares. Whatever else lies in its folder stays where it is and is named. Links are never followed.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, final

from safetensors import SafetensorError

from ifguide.errors import InputError
from ifguide.evaluation.figures import Cost
from ifguide.files import TEMPORARY, describe, read_sealed, write_sealed
from ifguide.run.checksums import Checksums
from ifguide.run.entries import fits, is_in, is_plain, walk
from ifguide.run.layout import SCRATCH_FILES
from ifguide.run.manifest import MANIFEST, NO_COST, Manifest, read_manifest
from ifguide.run.work import COST, FRESH, JOURNAL, SCRATCH, Work

log = logging.getLogger(__name__)

HEAD = "made-for.json"  # in a .part: whose it is
FULL = os.strerror(errno.ENOSPC)
JOURNALS = JOURNAL.format(rank="*")
CONTROLS = (HEAD, COST, JOURNALS)
OWN = (MANIFEST, *CONTROLS)


@final
class StageFolder:
    """The folder of one stage inside a run folder.

    Args:
        root: the run folder.
        name: of the stage.
        patterns: of the files that it writes.
        checksums: of the run's files.
    """

    def __init__(
        self, root: Path, name: str, patterns: Sequence[str], checksums: Checksums
    ) -> None:
        self.root, self.name = root, name
        scratch = (f"{SCRATCH}/{pattern}" for pattern in SCRATCH_FILES)
        fresh = (f"{FRESH}/{pattern}" for pattern in patterns)
        self._own = (*patterns, *OWN, *scratch, *fresh)
        parents = (PurePosixPath(pattern).parents for pattern in self._own)
        self._folders = tuple(
            {SCRATCH, FRESH, *(str(p) for above in parents for p in above)} - {"."}
        )
        self.path, self.part = root / name, root / f"{name}.part"
        self.checksums = checksums

    def manifest(self) -> Manifest | None:
        """Return the manifest of the finished stage, None where there is none.

        Raises:
            InputError: it cannot be read, or is of another format.
        """
        there = self._is_folder(self.path) and os.path.lexists(self.path / MANIFEST)
        return read_manifest(self.path) if there else None

    def is_whole(self, fingerprint: str) -> bool:
        """Whether the stage is finished, made of this, and undamaged; writes nothing."""
        found = self.manifest()
        return (
            found is not None
            and found.fingerprint == fingerprint
            and not any(
                self._is_damaged(self.path, name, found.files[name]) for name in found.files
            )
        )

    def damaged(self) -> list[str]:
        """Return which files of the finished stage are missing, short or altered."""
        found = self.manifest()
        files = found.files if found else {}
        return [name for name in files if self._is_damaged(self.path, name, files[name])]

    def has_lost_its_manifest(self) -> bool:
        """Whether files of the stage lie in its place, and nothing says what made them."""
        there = self._is_folder(self.path) and not os.path.lexists(self.path / MANIFEST)
        return there and any(not name.endswith(TEMPORARY) for name in self._own_in(self.path))

    def has_begun(self) -> bool:
        """Whether an attempt has left something that was computed."""
        return self._is_folder(self.part) and (
            (self.part / MANIFEST).is_file()
            or _spent(self.part / COST).tokens > 0
            or any(is_in(SCRATCH, name) for name in self._own_in(self.part))
            or any((self.part / name).is_file() for name in _journal(self.part))
        )

    def find(self, fingerprint: str) -> bool:
        """Whether the stage is whole; one that only lacks its name is given it."""
        waiting = self._waiting(fingerprint)
        if waiting is not None:
            self._settle(waiting)
        whole = waiting is not None or self.is_whole(fingerprint)
        if whole and self._is_folder(self.part) and not (self.part / HEAD).is_file():
            self._drop(self.part, self._ours_in(self.part))  # left by a kill after all was moved
        return whole

    def begun_with(self) -> Mapping[str, Any] | None:
        """Return the head of an attempt that has computed something and is not whole, if any."""
        return _head(self.part) if self.has_begun() else None

    def begin(self, manifest: Manifest) -> Cost:
        """Make ``.part`` hold only what earlier attempts at this very stage have left whole.

        Returns:
            what they have cost.

        Raises:
            InputError: something that is not ours is in the way.
        """
        if not self._is_folder(self.part):
            self.part.parent.mkdir(exist_ok=True)
            self.part.mkdir()
        for place in (self.part, self.path):
            self._refuse_in_the_way(place)
        self._refuse_untold()
        same = _head(self.part).get("fingerprint") == manifest.fingerprint
        told = _journal(self.part) if same else {}
        dropped = []
        for name in self._own_in(self.part):
            if name in told and not is_in(FRESH, name):
                keep = not self._is_damaged(self.part, name, told[name])
            else:
                keep = same and (is_in(SCRATCH, name) or fits(name, CONTROLS))
            if not keep:
                dropped.append(name)
        self._drop(self.part, dropped)
        self.part.mkdir(exist_ok=True)
        head = {"fingerprint": manifest.fingerprint, "settings": manifest.settings}
        write_sealed(self.part / HEAD, head)
        done = self.manifest()
        if done is None and self.path.is_dir():
            own = self._own_in(self.path)
            self._refuse_foreign(name for name in own if not name.endswith(TEMPORARY))
        if done is not None and done.fingerprint == manifest.fingerprint:
            write_sealed(self.part / COST, done.cost)
            self._take_back(done)
        return _spent(self.part / COST)

    def finish(self, work: Work, manifest: Manifest) -> None:
        """Write the manifest of what lies in ``.part`` and give the stage its place."""
        self._refuse_in_the_way(self.part)
        self._drop(self.part, [n for n in self._own_in(self.part) if is_in(SCRATCH, n)])
        self._move_up()
        self._drop_emptied(self.part, self._empty_workplaces())
        files = {
            name: {"bytes": (self.part / name).stat().st_size, "sha256": self._sum(name)}
            for name in self._own_in(self.part)
            if not fits(name, OWN) and not name.endswith(TEMPORARY) and not is_in(FRESH, name)
        }
        whole = Manifest(**{**vars(manifest), "cost": work.cost(), "files": files})
        write_sealed(self.part / MANIFEST, whole)
        self._settle(whole)

    def remove(self) -> None:
        """Delete the finished stage, as its manifest lists it; anything else is left and named."""
        found = self.manifest()
        if found is not None:
            self._drop(self.path, [*found.files, MANIFEST])
            self._name_foreign(self.path)

    # details

    def _waiting(self, fingerprint: str) -> Manifest | None:
        """Return the manifest in ``.part`` if all that it lists is there, or has its place."""
        if not self._is_folder(self.part) or not (self.part / MANIFEST).is_file():
            return None
        waiting = read_manifest(self.part)
        if waiting.fingerprint != fingerprint:
            return None
        for name, seen in waiting.files.items():
            if all(self._is_damaged(place, name, seen) for place in (self.part, self.path)):
                return None
        return waiting

    def _settle(self, manifest: Manifest) -> None:
        """Move a whole ``.part`` to its place."""
        before = self.manifest()
        if before is not None and before.fingerprint != manifest.fingerprint:
            self.remove()
            before = None
        own = self._own_in(self.part)
        self._drop(self.part, [n for n in own if fits(n, CONTROLS) or n.endswith(TEMPORARY)])
        held = {name for name, _ in walk(self.part, empty=True)}
        if not os.path.lexists(self.path) and held <= {*manifest.files, MANIFEST}:
            self.part.rename(self.path)
            return
        self._refuse_in_the_way(self.path)
        if before is None:
            self._refuse_foreign(manifest.files)
            self.path.mkdir(exist_ok=True)
            write_sealed(self.path / MANIFEST, manifest)  # what is listed is ours, there or not yet
        for name in manifest.files:
            if (self.part / name).is_file():  # or moved by an attempt that was interrupted
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.part / name, self.path / name)
        self._drop(self.part, [MANIFEST])
        self._drop_emptied(self.part, [*manifest.files])
        self._drop(self.path, [n for n in self._own_in(self.path) if n.endswith(TEMPORARY)])
        self._name_foreign(self.part)
        self._name_foreign(self.path, (*manifest.files, MANIFEST))

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        """Refuse files that are there under names of ours and that no manifest lists.

        Raises:
            InputError: the first one is named.
        """
        for name in names:
            if os.path.lexists(self.path / name):
                raise InputError(
                    f"{self.path / name}: ifguide did not write it, and needs the name; move it "
                    "away and run again"
                )

    def _refuse_untold(self) -> None:
        """Refuse files in ``.part`` under names of ours that nothing tells of: whose are they?

        Raises:
            InputError: the first one is named.
        """
        ours = set(self._ours_in(self.part))
        for name in self._own_in(self.part):
            if name not in ours:
                raise InputError(
                    f"{self.part / name}: nothing tells that ifguide wrote it, and it has a name "
                    "that is needed; move it away and run again"
                )

    def _move_up(self) -> None:
        """Give what this attempt has written anew its place in ``.part``, which is told before."""
        names = [name for name in self._own_in(self.part) if is_in(FRESH, name)]
        for name in (name for name in names if not name.endswith(TEMPORARY)):
            file = self.part / name.removeprefix(f"{FRESH}/")
            self._tell({file.relative_to(self.part).as_posix(): describe(self.part / name)})
            file.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.part / name, file)
        self._drop_emptied(self.part, names)

    def _tell(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Write into the journal that files are whole."""
        with (self.part / JOURNAL.format(rank=0)).open("a", encoding="utf-8") as lines:
            for name, seen in files.items():
                lines.write(json.dumps({"file": name, **seen}) + "\n")

    def _empty_workplaces(self) -> list[str]:
        """Return a name in each folder of scratch and fresh that no file of ours was left in."""
        names = [name for name, entry in walk(self.part, empty=True) if entry.is_dir()]
        places = [n for n in names if is_in(SCRATCH, f"{n}/") or is_in(FRESH, f"{n}/")]
        return [f"{name}/-" for name in places if fits(name, self._folders)]

    def _take_back(self, done: Manifest) -> None:
        """Move what is undamaged of a finished stage to ``.part``, where the rest is made."""
        own = {name for name in self._own_in(self.path) if name in done.files}
        whole = [n for n in sorted(own) if not self._is_damaged(self.path, n, done.files[n])]
        self._tell({name: done.files[name] for name in whole})
        for name in whole:
            (self.part / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path / name, self.part / name)
        self._drop(self.path, [*done.files, MANIFEST])
        self._drop_emptied(self.path, whole)

    def _is_folder(self, path: Path) -> bool:
        """Whether a folder of this stage is there.

        Raises:
            InputError: something else is in its place.
        """
        for place in (path.parent, path):
            other = place.is_symlink() or (os.path.lexists(place) and not place.is_dir())
            if other and place != self.root:
                raise InputError(f"{place}: it is no folder of ifguide's own; move it away")
        return path.is_dir()

    def _is_damaged(self, folder: Path, name: str, seen: Mapping[str, Any]) -> bool:
        file, above = folder / name, PurePosixPath(name).parents
        linked = any((folder / place).is_symlink() for place in above if place.parts)
        if linked or file.is_symlink() or not file.is_file():
            return True
        return file.stat().st_size != seen["bytes"] or self.checksums.of(file) != seen["sha256"]

    def _sum(self, name: str) -> str:
        return self.checksums.of(self.part / name)

    def _own_in(self, folder: Path) -> list[str]:
        """Return the plain files in a folder that this stage writes, by their names there.

        Code that a model brings along may have any name: it is ours where it has been told of.
        """
        told = _told_of(folder)
        return [
            name
            for name, entry in walk(folder)
            if is_plain(entry) and (self._is_own(name) or (name.endswith(".py") and name in told))
        ]

    def _ours_in(self, folder: Path) -> list[str]:
        """Return those of ``_own_in`` that are known to be this stage's, not only by name."""
        told = _told_of(folder)
        return [
            name
            for name in self._own_in(folder)
            if name in told
            or is_in(SCRATCH, name)
            or is_in(FRESH, name)
            or name.endswith(TEMPORARY)
            or fits(name, OWN)
        ]

    def _is_own(self, name: str) -> bool:
        return name.endswith(TEMPORARY) or fits(name, self._own)

    def _refuse_in_the_way(self, folder: Path) -> None:
        """Refuse links where this stage writes, and folders that stand where a file of it goes.

        Raises:
            InputError: such a thing is there.
        """
        if not self._is_folder(folder):
            return
        for place, folders, files in os.walk(folder):
            for entry in (*folders, *files):
                file = Path(place, entry)
                name = file.relative_to(folder).as_posix()
                own, above = fits(name, self._own), fits(name, self._folders)
                plain = file.is_file() and not file.is_symlink()
                if (own and not plain and not (above and entry in folders)) or (
                    above and file.is_symlink()
                ):
                    raise InputError(
                        f"{file}: it is a link, or no plain file, and ifguide writes there; "
                        "move it away"
                    )

    def _drop(self, folder: Path, names: Sequence[str]) -> None:
        """Delete our own files of these names, and the folders that are empty by that."""
        own = set(self._own_in(folder))
        found = [name for name in names if name in own]
        for name in found:
            (folder / name).unlink()
        self._drop_emptied(folder, found)

    def _drop_emptied(self, folder: Path, names: Iterable[str]) -> None:
        """Remove the folders that files of ours have left, as far as they hold nothing."""
        left = {folder / above for name in names for above in PurePosixPath(name).parents}
        for place in sorted(left, key=lambda place: len(place.parts), reverse=True):
            with suppress(OSError):  # it holds something
                os.rmdir(place)

    def _name_foreign(self, folder: Path, ours: Sequence[str] = ()) -> None:
        for name, _ in walk(folder, empty=True) if self._is_folder(folder) else ():
            if name not in ours:
                log.warning("%s: left as it is, ifguide did not write it", folder / name)


@contextmanager
def working(folder: StageFolder, work: Work) -> Iterator[None]:
    """Keep what an interrupted attempt has cost, and call a full disk by its name."""
    try:
        yield
    except BaseException as error:
        full = _is_full(folder.part, error)
        with suppress(OSError):
            work.keep_cost()
        if full:
            raise OSError(errno.ENOSPC, FULL, str(folder.part)) from error
        raise


def _is_full(folder: Path, error: BaseException) -> bool:
    """Whether an error came of a full disk; numpy, torch and safetensors each say it otherwise."""
    if isinstance(error, InputError):
        return False
    may_be = isinstance(error, OSError | RuntimeError | SafetensorError)
    return FULL in str(error) or (may_be and shutil.disk_usage(folder).free < 1 << 20)


def _head(part: Path) -> Mapping[str, Any]:
    """Return what a ``.part`` was made for; nothing where that cannot be read."""
    with suppress(InputError):
        held = read_sealed(part / HEAD)
        return held if isinstance(held, dict) else {}
    return {}


def _spent(file: Path) -> Cost:
    if file.is_file() and not file.is_symlink():
        with suppress(InputError, TypeError):
            return Cost(**read_sealed(file))
    return NO_COST


def _told_of(folder: Path) -> set[str]:
    """Return the files that a journal or a manifest in a folder names."""
    told = set(_journal(folder)) if folder.is_dir() else set()
    if (folder / MANIFEST).is_file():
        told |= set(read_manifest(folder).files)
    return told


def _journal(part: Path) -> dict[str, dict[str, Any]]:
    """Return the files that were told to be whole; a line that was cut short tells nothing."""
    found: dict[str, dict[str, Any]] = {}
    for journal in sorted(file for file in part.glob(JOURNALS) if file.is_file()):
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                found[str(entry["file"])] = {k: entry[k] for k in ("bytes", "sha256")}
    return found
