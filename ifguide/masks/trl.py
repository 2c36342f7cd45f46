"""Mask format ``trl``: blocks with labels, as TRL's SFTTrainer and others take token ids."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from ifguide.files import TEMPORARY
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
    stream = folder / f"rows{TEMPORARY}"
    with pa.OSFile(str(stream), "wb") as file, pa.ipc.new_stream(file, ROWS) as writer:
        for part in masked.blocks():
            tokens, learnt = part.tokens, part.learnt
            columns = (tokens, np.where(learnt, tokens, NO_LOSS), learnt, np.ones_like(learnt))
            lists = [
                _lists(column, field.type) for column, field in zip(columns, ROWS, strict=True)
            ]
            writer.write_batch(pa.record_batch(lists, ROWS))
    datasets.Dataset.from_file(str(stream)).save_to_disk(folder / "data")
    stream.unlink()
    return READ.format(length=masked.corpus.tokens.shape[1])


def _lists(values: np.ndarray, kind: pa.ListType) -> pa.ListArray:
    flat = pa.array(np.ascontiguousarray(values).ravel().astype(kind.value_type.to_pandas_dtype()))
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(ends, flat)


TRL = MaskFormat("rows of input_ids, labels and completion_mask (TRL, axolotl)", write)
