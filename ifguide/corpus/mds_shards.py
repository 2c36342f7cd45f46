"""MDS shards, as mosaicml-streaming writes them: ``.mds``, also compressed, with an index beside.

A shard says by itself what is in it: how many records, where each begins, and the columns with
their encodings (``streaming/base/format/mds``). Values that only Pillow or pickle could open are
passed over. It is read here, since that library is for transformers before version 5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ifguide.corpus.fields import Record
from ifguide.corpus.formats import Bounded
from ifguide.corpus.json_list import parse
from ifguide.corpus.raw import decode, open_bytes, too_long
from ifguide.errors import InputError

INDEX = "index.json"
SHARD = ".mds"
WORD = np.dtype("<u4")
NUMBERS = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
ARRAYS = {  # of the types of arrays, by the byte that tells one
    **{8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32"},
    **{33: "int32", 34: "float32", 64: "uint64", 65: "int64", 66: "float64"},
}
MEND = "fetch the shard again, or write it anew"


def set_aside(names: Collection[str]) -> set[str]:
    """Return which of a folder's files belong to shards and are not read by themselves.

    These are indexes that lie beside or above shards, and compressed shards that lie there
    unpacked too.

    >>> sorted(set_aside(["a/index.json", "a/0.mds", "a/0.mds.zstd", "index.json", "b/x.json"]))
    ['a/0.mds.zstd', 'a/index.json', 'index.json']
    """
    places = [PurePosixPath(name) for name in names]
    shards = [place for place in places if SHARD in place.suffixes[-2:]]
    above = {folder for shard in shards for folder in shard.parents}
    unpacked = set(shards)
    return {str(p) for p in places if p.name == INDEX and p.parent in above} | {
        str(p) for p in shards if p.suffix != SHARD and p.with_suffix("") in unpacked
    }


def check_indexed(folder: Path, names: Collection[str], shown: str) -> None:
    """Check that all shards are there which the indexes of a folder list.

    Raises:
        InputError: one is not, or the index is no index.
    """
    for name in sorted(set_aside(names)):
        if PurePosixPath(name).name != INDEX:
            continue
        where, below = f"{shown.rstrip('/')}/{name}", PurePosixPath(name).parent
        index = parse(decode((folder / name).read_bytes(), where), where)
        try:
            listed = [
                [shard[kind]["basename"] for kind in ("raw_data", "zip_data") if shard[kind]]
                for shard in index["shards"]
            ]
        except (KeyError, TypeError) as error:
            raise InputError(f"{where}: not an index of MDS shards; {MEND}") from error
        lost = [either for either in listed if not {str(below / n) for n in either} & set(names)]
        if lost:
            raise InputError(
                f"{where}: {len(lost)} of its {len(listed)} shards are not there, such as "
                f"{lost[0][-1]}; fetch them, or write the dataset anew"
            )


@Bounded
def read_mds(file: Path, shown: str, name: str, longest: int) -> Iterator[Record]:
    """Yield a shard's records, each of ``longest`` bytes; a packed shard is unpacked at once."""
    raw = _bytes_of(file)
    starts, columns = _head(raw, shown)
    for number, (start, end) in enumerate(pairwise(starts)):
        place = f"{shown}, record {number}"
        if end - start > longest:
            raise InputError(too_long(place, longest, "bytes"))
        yield Record(place, _fields(bytes(raw[start:end]), columns, place))


def _bytes_of(file: Path) -> np.ndarray:
    if file.suffix.lower() == SHARD:
        return np.memmap(file, np.uint8, "r")
    with open_bytes(file) as stream:
        return np.frombuffer(stream.read(), np.uint8)


def _head(raw: np.ndarray, shown: str) -> tuple[list[int], list[tuple[str, str, int]]]:
    """Return where records begin, with the end of the last, and each column.

    A column is a name, an encoding, and the bytes of a value, 0 where they differ.
    """
    size = len(raw)
    count = int(raw[:4].view(WORD)[0]) if size >= 8 else 0
    head = 4 * (count + 2)
    starts = raw[4:head].view(WORD).astype(np.int64) if 8 <= head <= size else np.zeros(1, int)
    if starts[0] < head or starts[-1] != size or (np.diff(starts) < 0).any():
        raise InputError(f"{shown}: {size:,} bytes that are no whole MDS shard; {MEND}")
    where = f"{shown}, its columns"
    told = parse(decode(bytes(raw[head : starts[0]]), where), where)
    try:
        names, encodings, sizes = (told[f"column_{k}"] for k in ("names", "encodings", "sizes"))
        columns = [
            (str(name), str(encoding), int(width or 0))
            for name, encoding, width in zip(names, encodings, sizes, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not those of an MDS shard; {MEND}") from error
    return starts.tolist(), columns


def _fields(raw: bytes, columns: list[tuple[str, str, int]], place: str) -> dict[str, Any]:
    differ = sum(not width for _, _, width in columns)
    if 4 * differ > len(raw):
        raise InputError(f"{place}: {len(raw)} bytes, too few for its columns; {MEND}")
    told = iter(np.frombuffer(raw, WORD, differ).tolist())
    widths = [width or next(told) for _, _, width in columns]
    bounds = list(accumulate(widths, initial=4 * differ))
    if bounds[-1] != len(raw):
        raise InputError(f"{place}: its values do not fill it; {MEND}")
    fields = {}
    for (name, encoding, _), (start, end) in zip(columns, pairwise(bounds), strict=True):
        opened = _opened_by(encoding, f"{place}, {name}")
        if opened is not None:
            fields[name] = opened(raw[start:end])
    return fields


def _opened_by(encoding: str, place: str) -> Callable[[bytes], Any] | None:
    """Return what opens a value of an encoding; None for those that are passed over."""
    kind, _, form = encoding.partition(":")
    if kind in ("str", "json", "str_int", "str_float"):
        if kind == "str":
            return lambda raw: decode(raw, place)
        return lambda raw: parse(decode(raw, place), place)
    if kind == "int" or kind in NUMBERS:
        dtype = np.dtype("int64" if kind == "int" else kind).newbyteorder("<")
        return lambda raw: np.frombuffer(raw, dtype)[0].item()
    return (lambda raw: _array(raw, form, place)) if kind == "ndarray" else None


def _array(raw: bytes, form: str, place: str) -> np.ndarray:
    """Return an array; type and shape stand before its values where ``form`` leaves them open."""
    named, _, axes = form.partition(":")
    at, shape = 0, [int(axis) for axis in axes.split(",") if axis]
    try:
        if not named:
            named, at = ARRAYS[raw[0]], 1
        if not shape:
            count, width = raw[at] >> 2, 1 << (raw[at] & 3)
            shape = np.frombuffer(raw, f"<u{width}", count, at + 1).tolist()
            at += 1 + count * width
        return np.frombuffer(raw, np.dtype(named).newbyteorder("<"), offset=at).reshape(shape)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{place}: no array of an MDS shard; {MEND}") from error
