"""The files of a packed corpus."""

from __future__ import annotations

DESCRIPTION = "corpus.json"
DOCUMENTS = "documents.arrow"
COLUMN_NAMES = ("tokens", "document", "start", "end", "marked")
LEARNT = "learnt"  # a column that is there where some tokens of documents are not to be learnt
LEARNT_FILE = f"{LEARNT}.bin"
PACKED_FILES = (*(f"{name}.bin" for name in COLUMN_NAMES), LEARNT_FILE, DESCRIPTION, DOCUMENTS)
