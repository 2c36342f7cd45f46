"""Mask format ``dolma``: documents, and attributes of spans with scores beside them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ifguide.masks.format import MaskedCorpus, MaskFormat

FILE = "corpus.jsonl.gz"
ATTRIBUTE = "ifguide__ifguide__suppress"  # experiment, tagger, attribute, as dolma names them
READ = """\
`documents/corpus.jsonl.gz` has the documents and `attributes/ifguide/corpus.jsonl.gz`, line by
line beside it, the attribute `ifguide__ifguide__suppress`: the selected characters as
`[start, end, score]`, scores being the mean over the tokens. Dolma's mixer keeps, drops or replaces
by it; a span of score `>= min_score` is replaced:

```yaml
streams:
  - name: suppressed
    documents: [documents/*.gz]
    attributes: [ifguide]
    output: {path: mixed, max_size_in_bytes: 1000000000}
    span_replacement:
      - span: "$.attributes.ifguide__ifguide__suppress"
        min_score: 0.0
        replacement: ""
```

Replacing takes the text away; a mask keeps it as context. Its scores can be negative where a
window has brought a token along.
"""


def write(masked: MaskedCorpus, folder: Path) -> str:
    """Write a line a document to each of the two files."""
    documents, attributes = folder / "documents" / FILE, folder / "attributes" / "ifguide" / FILE
    for file in (documents, attributes):
        file.parent.mkdir(parents=True)
    with _lines(documents) as texts, _lines(attributes) as spans:
        for text in masked.texts():
            document = text.document
            held = {"id": document.id, "text": document.text, "source": document.source}
            texts.write(_line(held))
            given = [list(span) for span in text.spans]
            spans.write(_line({"id": document.id, "attributes": {ATTRIBUTE: given}}))
    return READ


@contextmanager
def _lines(file: Path) -> Iterator[gzip.GzipFile]:
    """Open a file that is the same whenever its lines are."""
    with file.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as lines:
        yield lines


def _line(held: object) -> bytes:
    return (json.dumps(held, ensure_ascii=False) + "\n").encode()


DOLMA = MaskFormat("documents with span attributes and scores (Dolma)", write, by="characters")
