"""Mask format ``datatrove``: a ``.ds`` of tokens with its index and loss file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ifguide.masks.format import MaskedCorpus, MaskFormat

NAME = "corpus.ds"
READ = """\
`corpus.ds` holds the blocks' token ids ({kind}), `corpus.ds.index` where each document ends in
them (uint64; what fills the last block counts as a document), and `corpus.ds.loss` a byte a token:
1 where it is learnt. Entry i speaks of token i. A window of datatrove's and nanotron's readers has
`seq_len + 1` tokens, so with `seq_len={window}` their windows are our blocks; the label mask of a
window is its loss bytes without the first.

```python
import numpy as np
from datatrove.utils.dataset import DatatroveFileDataset

windows = DatatroveFileDataset("corpus.ds", seq_len={window}, token_size={size})
learnt = np.memmap("corpus.ds.loss", dtype=bool, mode="r").reshape(-1, {window} + 1)
tokens, label_mask = windows[0]["input_ids"], learnt[0, 1:]
```

datatrove's mergers carry the loss file along (`save_loss_metadata=True`); its own reader and
nanotron's look at `.ds` alone, so the label mask is for a loader of yours to hand over.
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write tokens, index and loss, a slab of blocks in memory at a time."""
    kind, written = masked.token_type, 0
    last, closed = -1, 0
    with (
        (folder / NAME).open("wb") as tokens,
        (folder / f"{NAME}.loss").open("wb") as learnt,
        (folder / f"{NAME}.index").open("wb") as index,
    ):
        for part in masked.blocks():
            tokens.write(part.tokens.astype(kind).tobytes())
            learnt.write(part.learnt.tobytes())
            document = np.append(last, part.document.ravel())
            ends = written + np.flatnonzero((document[1:] != document[:-1]) & (document[:-1] >= 0))
            index.write(ends.astype("<u8").tobytes())
            closed = int(ends[-1]) if len(ends) else closed
            last, written = int(document[-1]), written + part.tokens.size
        if closed < written:
            index.write(np.array([written], dtype="<u8").tobytes())
    name = masked.tokenizer.name_or_path or "tokenizer"
    (folder / f"{NAME}.metadata").write_text(
        f"{name}|{kind.itemsize}\n{written}\n{written:,} tokens", encoding="utf-8"
    )
    window = masked.corpus.tokens.shape[1] - 1
    return READ.format(kind=kind.name, window=window, size=kind.itemsize)


DATATROVE = MaskFormat("a .ds with its index and loss file (datatrove, nanotron)", write)
