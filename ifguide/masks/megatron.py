"""Mask format ``megatron``: indexed ``.bin`` and ``.idx`` of the tokens, and of their loss mask."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ifguide.files import TEMPORARY
from ifguide.masks.format import MaskedCorpus, MaskFormat

HEADER = b"MMIDIDX\x00\x00"
CODES = {np.dtype("u1"): 1, np.dtype("<i4"): 4, np.dtype("<u2"): 8}  # megatron's ``DType``
READ = """\
`tokens.bin`, `tokens.idx` hold the token ids ({kind}) and `loss_mask.bin`, `loss_mask.idx` a byte a
token, 1 where it is learnt, both as Megatron's indexed datasets; a document of theirs is a block
of ours. With a sequence length of {length} a sample is a block and the first token of the next
one, which is masked. Entry i speaks of token i; Megatron's `loss_mask` lies on the axis of the
labels, so it is the mask of the tokens without the first:

```python
import numpy as np
import torch
from megatron.core.datasets.gpt_dataset import GPTDataset
from megatron.core.datasets.indexed_dataset import IndexedDataset

MASK = IndexedDataset("loss_mask")


class MaskedGPTDataset(GPTDataset):
    def __getitem__(self, idx):
        sample = super().__getitem__(idx)
        if idx is not None:
            tokens, self.dataset = self.dataset, MASK
            learnt, _ = self._query_document_sample_shuffle_indices(idx)
            self.dataset = tokens
            sample["loss_mask"] = sample["loss_mask"] * torch.from_numpy(learnt[1:] == 1)
        return sample
```

What pads a last, shorter sample has Megatron's own padding token, and is masked by it.
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write the two indexed datasets, a slab of blocks in memory at a time."""
    kind = np.dtype("<u2") if masked.token_type.itemsize == 2 else np.dtype("<i4")
    with (
        (folder / "tokens.bin").open("wb") as tokens,
        (folder / "loss_mask.bin").open("wb") as learnt,
    ):
        for part in masked.blocks():
            tokens.write(part.tokens.astype(kind).tobytes())
            learnt.write(part.learnt.astype("u1").tobytes())
    blocks, length = masked.corpus.tokens.shape
    for name, of in (("tokens", kind), ("loss_mask", np.dtype("u1"))):
        _write_index(folder / f"{name}.idx", of, int(blocks), int(length))
    return READ.format(kind=kind.name, length=length)


def _write_index(file: Path, kind: np.dtype, blocks: int, length: int) -> None:
    """Write the index of documents that all have one sequence of the same length."""
    step = 1 << 20
    with file.with_name(f"{file.name}{TEMPORARY}").open("wb") as stream:
        stream.write(HEADER + struct.pack("<QB", 1, CODES[kind]))
        stream.write(struct.pack("<QQ", blocks, blocks + 1))
        for first in range(0, blocks, step):
            stream.write(np.full(min(step, blocks - first), length, dtype="<i4").tobytes())
        for first in range(0, blocks, step):
            numbers = np.arange(first, min(first + step, blocks), dtype="<i8")
            stream.write((numbers * length * kind.itemsize).tobytes())
        for first in range(0, blocks + 1, step):
            stream.write(np.arange(first, min(first + step, blocks + 1), dtype="<i8").tobytes())
    file.with_name(f"{file.name}{TEMPORARY}").replace(file)


MEGATRON = MaskFormat("indexed .bin and .idx of the tokens and of a loss mask (Megatron)", write)
