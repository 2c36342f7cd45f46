"""Files that list a subset: record numbers counted from 0, or document ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ifguide.corpus.fields import describe
from ifguide.errors import InputError, reading
from ifguide.files import check_plain


def read_subset(path: Path, shown: str) -> frozenset[int] | frozenset[str]:
    """Record numbers (if the list holds whole numbers only), otherwise document ids.

    ``.txt`` has one entry a line, ``.json`` one list, ``.npy`` one array of integers. Quote a
    whole number in ``.json`` to mean an id.

    Raises:
        InputError: missing, empty, of another format, or mixed.
    """
    entries = _entries(path, shown)
    if not entries:
        raise InputError(f"{shown}: the subset is empty; list at least one record")
    if all(isinstance(entry, int) and not isinstance(entry, bool) for entry in entries):
        if min(entries) < 0:
            raise InputError(f"{shown}: {min(entries)} is no record number; numbers start at 0")
        return frozenset(entries)
    if all(isinstance(entry, str) for entry in entries):
        return frozenset(entries)
    raise InputError(f"{shown}: holds more than ids or whole numbers; list only one kind of entry")


def read_numbers(path: Path, shown: str) -> frozenset[int]:
    """Record numbers of a file that lists nothing else.

    Raises:
        InputError: as :func:`read_subset`, and where the file lists ids.
    """
    subset = read_subset(path, shown)
    numbers = frozenset(entry for entry in subset if isinstance(entry, int))
    if len(numbers) != len(subset):
        raise InputError(f"{shown}: lists ids; list record numbers, counted from 0")
    return numbers


def _entries(path: Path, shown: str) -> list[Any]:
    with reading(shown, "write the list again"):
        check_plain(path, shown)
        if path.suffix == ".npy":
            return _numpy_entries(path, shown)
        if path.suffix == ".json":
            entries = json.loads(path.read_text(encoding="utf-8-sig"))
            if isinstance(entries, list):
                return entries
            raise InputError(f"{shown}: holds {describe(entries)}; write one list")
        if path.suffix == ".txt":
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
            lines = [line for line in lines if line]
            numbers = all(line.isascii() and line.isdigit() for line in lines)
            return [int(line) for line in lines] if numbers else lines
    raise InputError(f"{shown}: a list of an unknown kind; give .txt, .json or .npy")


def _numpy_entries(path: Path, shown: str) -> list[int]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{shown}: not a flat array of integers; save record numbers, from 0")
    return array.tolist()
