"""Mask format ``axolotl``: documents in segments that are learnt or not (``input_output``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifguide.corpus.starts import document_start
from ifguide.corpus.tokenizers import ids_of
from ifguide.masks.format import MaskedCorpus, MaskFormat, SelectedText

READ = """\
`segments.jsonl` has a line a document for axolotl's template-free format: `segments`, each a
`text` and whether it is learnt (`label`). What the tokenizer puts before a text and end-of-text are
segments of their own.

```yaml
datasets:
  - {{path: segments.jsonl, ds_type: json, type: input_output}}
train_on_inputs: false
```

axolotl tokenises each segment by itself: {differ:,} of {documents:,} documents are cut into other
tokens so than whole, or hold what spells a special token, which axolotl takes for one. Where the
tokens must be those that were scored, export `trl`, whose rows axolotl reads as tokenised data.
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write a line a document, and count those that segments cut otherwise."""
    tokenizer, differ, documents = masked.tokenizer, 0, 0
    start = [str(t) for t in tokenizer.convert_ids_to_tokens(list(document_start(tokenizer)))]
    end = str(tokenizer.eos_token)
    with (folder / "segments.jsonl").open("w", encoding="utf-8") as lines:
        for text in masked.texts():
            parts = list(_parts(text))
            alone = [
                token
                for part in parts
                for token in tokenizer(part["text"], add_special_tokens=False)["input_ids"]
            ]
            documents += 1
            differ += alone != ids_of(tokenizer, text.document.text)
            before = [{"label": False, "text": token} for token in start]
            after = {"label": not text.has_end, "text": end}
            lines.write(
                json.dumps({"segments": [*before, *parts, after]}, ensure_ascii=False) + "\n"
            )
    return READ.format(differ=differ, documents=documents)


def _parts(text: SelectedText) -> Iterator[dict[str, Any]]:
    """Cut a document at its selected spans."""
    reached, whole = 0, text.document.text
    for start, end, _ in text.spans:
        if start > reached:
            yield {"label": True, "text": whole[reached:start]}
        yield {"label": False, "text": whole[start:end]}
        reached = end
    if reached < len(whole):
        yield {"label": True, "text": whole[reached:]}


AXOLOTL = MaskFormat("documents in segments (axolotl's input_output)", write, by="characters")
