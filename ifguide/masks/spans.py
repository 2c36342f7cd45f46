"""Mask format ``spans``: JSON Lines of documents with their selected spans and scores."""

from __future__ import annotations

import json
from pathlib import Path

from ifguide.masks.format import MaskedCorpus, MaskFormat

READ = """\
`spans.jsonl` has a line a document, in the order of the corpus: its `id` and `source`, and `spans`,
each the selected characters [start, end) of its text and their score, the mean over the tokens. A
document of which nothing is selected has none. Characters are counted as Python counts them, by
code points.

```python
import json

with open("spans.jsonl", encoding="utf-8") as lines:
    spans = {(line["source"], line["id"]): line["spans"] for line in map(json.loads, lines)}
```
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write a line a document."""
    with (folder / "spans.jsonl").open("w", encoding="utf-8") as lines:
        for text in masked.texts():
            held = {"id": text.document.id, "source": text.document.source, "spans": text.spans}
            lines.write(json.dumps(held, ensure_ascii=False) + "\n")
    return READ


SPANS = MaskFormat("JSON Lines of id, [start, end) and score", write, by="characters")
