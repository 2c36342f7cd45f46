"""Where what a task makes lies, and what it says of itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ifguide.corpus.blocks import open_corpus
from ifguide.errors import InputError, reading
from ifguide.files import (
    TEMPORARY,
    fingerprint_of,
    read_json,
    read_sealed,
    write_json,
    write_sealed,
)
from ifguide.nouns import Corpus, TokenScores
from ifguide.run.artifacts import load_scores
from ifguide.version import VERSION

MARK, RECORD, FORMAT = "ifguide-tasks.json", "task.json", 1
BLOCKS, SCORES, TALLIES, SELECTION, MASK = "blocks", "scores", "tallies", "selection", "mask"
AGAIN = "delete the task's completion mark and launch again"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Task:
    """One of ``tasks`` tasks, and the folder that all of them write in."""

    out: Path
    rank: int
    tasks: int

    @property
    def name(self) -> str:
        """How its folders are called."""
        return f"{self.rank:05d}"

    def folder(self, kind: str) -> Path:
        """Return where it keeps its blocks, scores or mask."""
        return self.out / kind / self.name

    def emptied(self, kind: str) -> Path:
        """Return the same folder with nothing in it: a killed task left half of something.

        Raises:
            InputError: the folder of all tasks holds such folders that are none of ours.
        """
        claim(self.out)
        folder = self.folder(kind)
        if folder.is_symlink():
            raise InputError(f"{folder}: it is a link, and nothing is written through it")
        shutil.rmtree(folder, ignore_errors=not folder.exists())
        folder.mkdir(parents=True)
        return folder

    def record(self, kind: str, said: Mapping[str, Any]) -> None:
        """Say that a folder is whole, and what it was made by."""
        write_sealed(self.folder(kind) / RECORD, {**said, "tasks": self.tasks, "rank": self.rank})

    def recorded(self, kind: str) -> dict[str, Any]:
        """Read what a folder says of itself.

        Raises:
            InputError: it is not there, or was made as one of another number of tasks.
        """
        file = self.folder(kind) / RECORD
        if not file.exists():
            raise InputError(f"{file.parent}: it is not there, or not whole; {AGAIN}")
        said: dict[str, Any] = read_sealed(file, AGAIN)
        if (said["tasks"], said["rank"]) != (self.tasks, self.rank):
            raise InputError(
                f"{file}: it is of task {said['rank']} of {said['tasks']}, and this is "
                f"{self.rank} of {self.tasks}; launch as many tasks"
            )
        return said

    def corpus(self) -> tuple[Corpus | None, dict[str, Any]]:
        """Open its blocks, None where its documents have no text, and their record."""
        said = self.recorded(BLOCKS)
        return (open_corpus(self.folder(BLOCKS)) if said["documents"] else None), said

    def scores(self) -> tuple[TokenScores | None, dict[str, Any]]:
        """Open its scores, None where its documents have no text, and their record.

        Raises:
            InputError: they are of other blocks than its own.
        """
        (corpus, blocks), said = self.corpus(), self.recorded(SCORES)
        if (said["scorer"], said["corpus"]) != (blocks["scorer"], blocks["corpus"]):
            folder = self.folder(SCORES)
            raise InputError(f"{folder}: the scores are of other blocks than its own; {AGAIN}")
        return (load_scores(self.folder(SCORES), corpus) if corpus else None), said


def claim(out: Path) -> None:
    """Make the folder of all tasks, or take the one that other tasks have made.

    Raises:
        InputError: it holds what is called as ours is, and was not made by us.
    """
    kinds = [kind for kind in (BLOCKS, SCORES, TALLIES, SELECTION, MASK) if (out / kind).exists()]
    if (out / MARK).exists():
        found = read_json(out / MARK)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise InputError(f"{out / MARK}: it is of another format; give another folder")
    elif kinds:
        raise InputError(f"{out / kinds[0]}: ifguide did not make it; give another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MARK, {"format": FORMAT, "made_by": VERSION})


def write_arrays(file: Path, said: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and what is said of them, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}{TEMPORARY}")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, said=np.array(json.dumps(said)), **arrays)
    os.replace(part, file)


def read_arrays(file: Path) -> tuple[dict[str, Any], Arrays]:
    """Read what ``write_arrays`` wrote.

    Raises:
        InputError: it is not there, or damaged.
    """
    if not file.exists():
        raise InputError(f"{file}: it is not there; {AGAIN}")
    with (
        reading(str(file), AGAIN),
        file.open("rb") as stream,
        np.load(stream, allow_pickle=False) as held,
    ):
        arrays = {name: held[name] for name in held.files}
        return json.loads(str(arrays.pop("said"))), arrays


def seal_of(said: Mapping[str, Any]) -> str:
    """Return what a record is known by."""
    return fingerprint_of(dict(said))
