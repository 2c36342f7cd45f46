"""Writers of token ids, byte for byte as Megatron-LM 0.16 and datatrove 0.10 write them."""

import struct

import numpy as np

MEGATRON_TYPES = {"u2": 8, "i4": 4, "i8": 5}


def write_megatron(prefix, documents, dtype="u2"):
    """Write ``PREFIX.bin`` and ``PREFIX.idx``; each document is one sequence."""
    dtype = np.dtype(f"<{dtype}")
    flat = np.concatenate(documents).astype(dtype)
    prefix.with_suffix(".bin").write_bytes(flat.tobytes())
    lengths = np.array([len(ids) for ids in documents], np.int32)
    pointers = (np.cumsum(lengths, dtype=np.int64) - lengths) * dtype.itemsize
    ends = np.arange(len(documents) + 1, dtype=np.int64)
    code = MEGATRON_TYPES[dtype.str[1:]]
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(lengths), len(ends))
    parts = (lengths, pointers, ends)
    prefix.with_suffix(".idx").write_bytes(head + b"".join(part.tobytes() for part in parts))


def write_datatrove(file, documents, loss=None, width=2):
    """Write ``FILE``, ``FILE.index`` and, with flags for each document, ``FILE.loss``."""
    letter = {2: "H", 4: "I"}[width]
    packed = [struct.pack(f"<{len(ids)}{letter}", *ids) for ids in documents]
    file.write_bytes(b"".join(packed))
    ends = np.cumsum([len(ids) for ids in documents]).tolist()
    file.with_name(f"{file.name}.index").write_bytes(struct.pack(f"<{len(ends)}Q", *ends))
    if loss is not None:
        flags = b"".join(struct.pack(f"<{len(row)}?", *row) for row in loss)
        file.with_name(f"{file.name}.loss").write_bytes(flags)
