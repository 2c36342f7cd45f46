"""The files of a packed corpus."""

from __future__ import annotations

DESCRIPTION = "corpus.json"
DOCUMENTS = "documents.arrow"
COLUMN_NAMES = ("tokens", "document", "start", "end", "marked")
PACKED_FILES = (*(f"{name}.bin" for name in COLUMN_NAMES), DESCRIPTION, DOCUMENTS)
