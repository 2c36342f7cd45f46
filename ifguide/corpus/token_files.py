"""Files of token ids that others made: flat memory maps, Megatron's, datatrove's.

A flat map is all ids one after the other: nanoGPT's ``.bin`` and OLMo's ``.npy`` are nothing else,
and a ``.npy`` may also be numpy's own, with a header. Megatron-LM writes an index ``.idx`` beside
its ``.bin`` (``megatron/core/datasets/indexed_dataset.py``), datatrove ``.ds.index`` with the end
of each document and ``.ds.loss`` beside its ``.ds`` (``pipeline/tokens/tokenizer.py``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np

from ifguide.corpus.fields import Record
from ifguide.errors import InputError

IDS, LOSS = "input_ids", "loss_mask"  # fields of what these formats read
NUMPY = b"\x93NUMPY"
MEGATRON = b"MMIDIDX\x00\x00"
MEGATRON_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
HEADER = struct.Struct("<9sQBQQ")  # of an ``.idx``: magic, version, type, sequences, documents


@final
@dataclass(frozen=True, eq=False)
class FlatIds:
    """All ids of a file, as they lie on disk: where one document ends is not told.

    ``array`` are its bytes where the file does not say how wide an id is.
    """

    array: np.ndarray  # [n] uint8, or integers


def companions(file: Path) -> list[Path]:
    """Return the files beside one of token ids that belong to it."""
    others = [file.with_name(name) for name in companion_names(file.name)]
    return [other for other in others if other.is_file()]


def companion_names(name: str) -> list[str]:
    """Return what files that may lie beside one of token ids are called.

    >>> companion_names("a.bin"), companion_names("a.ds"), companion_names("a.npy")
    (['a.idx'], ['a.ds.index', 'a.ds.loss'], [])
    """
    stem, _, suffix = name.rpartition(".")
    beside = {"bin": [f"{stem}.idx"], "ds": [f"{name}.index", f"{name}.loss"]}
    return beside.get(suffix.lower(), [])


def read_map(file: Path, shown: str, name: str) -> Iterator[Record]:
    """Yield a ``.bin`` or ``.npy`` as one record, or each document of Megatron's as one."""
    beside = companions(file)
    if beside:
        yield from _megatron(file, beside[0], shown)
        return
    with file.open("rb") as stream:
        has_header = stream.read(len(NUMPY)) == NUMPY
    if not has_header:
        yield Record(shown, {IDS: FlatIds(np.memmap(file, np.uint8, "r"))})
        return
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.dtype.itemsize == 1:
        raise InputError(
            f"{shown}: an array of {array.dtype} with {array.ndim} axes; save the ids as integers "
            "of 16 bits or more, one after the other or a sequence a row"
        )
    if array.ndim == 1:
        yield Record(shown, {IDS: FlatIds(array)})
        return
    for number, row in enumerate(array):
        yield Record(f"{shown}, row {number}", {IDS: row})


def read_datatrove(file: Path, shown: str, name: str) -> Iterator[Record]:
    """Yield each document of datatrove's ``.ds``, with its loss where ``.ds.loss`` is there."""
    index, loss = Path(f"{file}.index"), Path(f"{file}.loss")
    raw = np.memmap(file, np.uint8, "r")
    if not index.is_file():
        yield Record(shown, {IDS: FlatIds(raw)})
        return
    ends = np.fromfile(index, "<u8").astype(np.int64)
    total = int(ends[-1]) if len(ends) else 0
    wide = {2 * total: "<u2", 4 * total: "<u4"}.get(len(raw))
    if not total or wide is None or (np.diff(ends, prepend=0) < 0).any():
        raise InputError(
            f"{shown}: its index {index.name} tells of {total:,} tokens, which {len(raw):,} bytes "
            "are not; give the index that was written with the file"
        )
    flags = np.memmap(loss, np.uint8, "r") if loss.is_file() else None
    if flags is not None and len(flags) != total:
        raise InputError(
            f"{shown}: {loss.name} has {len(flags):,} entries for {total:,} tokens; give the one "
            "that was written with the file"
        )
    ids = raw.view(wide)
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        fields = {IDS: ids[start:end]}
        if flags is not None:
            fields[LOSS] = flags[start:end]
        yield Record(f"{shown}, document {number}", fields)


def _megatron(file: Path, index: Path, shown: str) -> Iterator[Record]:
    head = index.read_bytes()
    wrong = f"{shown}: {index.name} is no index of Megatron's for this file"
    mend = "give the two files as they were written together"
    if len(head) < HEADER.size:
        raise InputError(f"{wrong} (it has {len(head)} bytes); {mend}")
    magic, version, code, sequences, documents = HEADER.unpack_from(head)
    size = HEADER.size + 12 * sequences + 8 * documents
    if magic != MEGATRON or version != 1 or code not in MEGATRON_TYPES or len(head) < size:
        raise InputError(f"{wrong}; {mend}")
    lengths = np.frombuffer(head, "<i4", sequences, HEADER.size)
    pointers = np.frombuffer(head, "<i8", sequences, HEADER.size + 4 * sequences)
    ends = np.frombuffer(head, "<i8", documents, HEADER.size + 12 * sequences)
    dtype, there = np.dtype(MEGATRON_TYPES[code]), file.stat().st_size
    last = pointers + lengths.astype(np.int64) * dtype.itemsize
    inside = (lengths >= 0) & (pointers >= 0) & (last <= there)
    bounds = [*ends.tolist()]
    if not inside.all() or bounds != sorted(bounds) or not bounds or bounds[-1] != sequences:
        raise InputError(f"{wrong} ({there:,} bytes); {mend}")
    raw = np.memmap(file, np.uint8, "r")
    for number, (first, stop) in enumerate(pairwise(bounds)):
        parts = [
            raw[start:end].view(dtype)
            for start, end in zip(pointers[first:stop], last[first:stop], strict=True)
        ]
        ids = np.concatenate(parts) if parts else np.zeros(0, dtype)
        yield Record(f"{shown}, document {number}", {IDS: ids.astype(np.int64)})
