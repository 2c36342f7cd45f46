"""Mask format ``trl``: blocks with labels, as TRL's SFTTrainer and others take token ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ifguide.masks.arrow import save_rows
from ifguide.masks.format import MaskedCorpus, MaskFormat

NO_LOSS = -100
ROWS = pa.schema(
    {
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int32()),
        "completion_mask": pa.list_(pa.int8()),
        "attention_mask": pa.list_(pa.int8()),
    }
)
READ = """\
`data` is a Hugging Face dataset, a row a block of {length} tokens. `labels` are the tokens'
own ids, -100 where the mask or the lack of a predecessor leaves a token out; `completion_mask` says
the same as 1 and 0. Nothing is shifted: the trainer shifts labels itself.

```python
import datasets
from trl import SFTConfig, SFTTrainer

rows = datasets.load_from_disk("data")
trainer = SFTTrainer(model=model, args=SFTConfig(max_length={length}), train_dataset=rows)
```

`labels` are taken as they are, whatever `completion_only_loss` says. axolotl and others that read
tokenised rows take the same folder (`input_ids`, `attention_mask`, `labels`).
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write the rows as a saved dataset, a slab of blocks in memory at a time."""
    parts = (
        (
            part.tokens,
            np.where(part.learnt, part.tokens, NO_LOSS),
            part.learnt,
            np.ones_like(part.learnt),
        )
        for part in masked.blocks()
    )
    save_rows(folder / "data", ROWS, parts)
    return READ.format(length=masked.corpus.tokens.shape[1])


TRL = MaskFormat("rows of input_ids, labels and completion_mask (TRL, axolotl)", write)
