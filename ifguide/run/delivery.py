"""What lies in a folder of ``ifguide score-corpus``, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifguide.corpus.packed_files import PACKED_FILES
from ifguide.files import read_json
from ifguide.run.checksums import Checksums
from ifguide.run.folder import CHECKSUMS
from ifguide.run.layout import SCORE_FILES
from ifguide.run.manifest import Manifest
from ifguide.run.store import StageFolder

DOCUMENTS, SCORES, SPANS = "documents", "scores", "spans"
LINES, SUMMARY = "spans.jsonl", "summary.json"
PARTS = {DOCUMENTS: PACKED_FILES, SCORES: SCORE_FILES, SPANS: (LINES, SUMMARY)}


@dataclass(frozen=True)
class Part:
    """One stage of a delivery: ``made``, ``damaged`` (``why`` names the files), or ``not made``."""

    name: str
    state: str
    why: str
    manifest: Manifest | None


@dataclass(frozen=True)
class Delivery:
    """Documents that a run has scored.

    ``sources`` are their names; ``summary`` has what they came to, None where no line a document
    was written.
    """

    parts: tuple[Part, ...]
    sources: tuple[str, ...]
    summary: dict[str, Any] | None


def delivery(root: Path, *, verify: bool = False) -> Delivery:
    """Return what a folder of ``ifguide score-corpus`` holds; the run itself is not asked.

    Args:
        root: the folder.
        verify: read every byte.

    Raises:
        InputError: a manifest or the summary cannot be read.
    """
    checksums = Checksums(root, root / CHECKSUMS, verify=verify)
    parts = []
    for name, files in PARTS.items():
        stage = StageFolder(root, name, files, checksums)
        found, damaged = stage.manifest(), stage.damaged()
        state = "not made" if found is None else "damaged" if damaged else "made"
        parts.append(Part(name, state, ", ".join(damaged), found))
    packed = parts[0].manifest
    names = [source["name"] for source in packed.settings["sources"]] if packed else []
    whole = parts[-1].state == "made"
    summary = read_json(root / SPANS / SUMMARY) if whole else None
    return Delivery(tuple(parts), tuple(names), summary)
