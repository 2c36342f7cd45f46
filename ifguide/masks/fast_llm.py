"""Mask format ``fast-llm``: documents with loss-masking spans, as its preparator reads them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.masks.format import MaskedCorpus, MaskFormat

BATCH = 256  # documents in memory at a time
ROWS = pa.schema(
    {
        "id": pa.large_string(),
        "text": pa.large_string(),
        "loss_masking_spans": pa.large_list(pa.list_(pa.int64(), 2)),
    }
)
READ = """\
`documents.parquet` has a row a document: `id`, `text`, and `loss_masking_spans`, the selected
characters as `[begin, last]`: the last one is included, as Fast-LLM reads them. Its preparator cuts
the text at the spans' bounds and tokenises each piece by itself.

```yaml
dataset:
  path: parquet
  data_files: documents.parquet
  source_schema: {type: document, text: text, loss_masking_spans: loss_masking_spans}
```
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write a row a document."""
    texts = masked.texts()
    with pq.ParquetWriter(folder / "documents.parquet", ROWS) as writer:
        while batch := list(itertools.islice(texts, BATCH)):
            columns = {
                "id": [text.document.id for text in batch],
                "text": [text.document.text for text in batch],
                "loss_masking_spans": [
                    [[start, end - 1] for start, end, _ in text.spans] for text in batch
                ],
            }
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=ROWS))
    return READ


FAST_LLM = MaskFormat("documents with loss-masking spans (Fast-LLM)", write, by="characters")
