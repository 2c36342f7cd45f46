"""Mask format ``olmo``: token files of OLMo-core with a label mask beside each."""

from __future__ import annotations

from pathlib import Path

from ifguide.masks.format import MaskedCorpus, MaskFormat

READ = """\
`tokens.npy` holds the blocks' token ids one after the other, raw {kind} without a header, and
`label_mask.npy` a raw boolean for each: true where the token is learnt. Entry i speaks of token i,
as OLMo-core's masks do, which shifts the labels afterwards. With `sequence_length={length}` its
instances are our blocks.

```python
from olmo_core.data import NumpyDatasetDType, NumpyFSLDatasetConfig, TokenizerConfig

config = NumpyFSLDatasetConfig(
    paths=["tokens.npy"],
    label_mask_paths=["label_mask.npy"],
    sequence_length={length},
    dtype=NumpyDatasetDType.{kind},
    tokenizer=TokenizerConfig(
        vocab_size={vocabulary}, eos_token_id={end_of_text}, pad_token_id={end_of_text}
    ),
    work_dir="work",
)
```
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write the two files, a slab of blocks in memory at a time."""
    kind = masked.token_type
    with (
        (folder / "tokens.npy").open("wb") as tokens,
        (folder / "label_mask.npy").open("wb") as learnt,
    ):
        for part in masked.blocks():
            tokens.write(part.tokens.astype(kind).tobytes())
            learnt.write(part.learnt.tobytes())
    return READ.format(
        kind=kind.name,
        length=masked.corpus.tokens.shape[1],
        vocabulary=masked.vocabulary,
        end_of_text=masked.corpus.end_of_text,
    )


OLMO = MaskFormat("token files with label masks (OLMo-core's label_mask_paths)", write)
