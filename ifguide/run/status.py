"""How the stages of a run, or of documents that one has scored, stand, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ifguide.report.display import visible_text
from ifguide.report.tables import MISSING, Table, duration, plain_text
from ifguide.run.delivery import delivery
from ifguide.run.folder import DELIVERY, WHAT, is_run_folder, kind_of
from ifguide.run.manifest import Manifest
from ifguide.run.overview import status
from ifguide.run.standing import Standing

HEADER = ("", "state", "made", "by ifguide", "torch", "time", "tokens")


def folder_text(folder: Path, *, verify: bool = False) -> str:
    """Return how what ifguide has made in a folder stands.

    Args:
        folder: of a run, or of ``ifguide score-corpus``.
        verify: read every byte.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    if is_run_folder(folder) and kind_of(folder) == DELIVERY:
        return _delivery_text(folder, verify=verify)
    return status_text(status(folder, verify=verify))


def status_text(found: Sequence[Standing]) -> str:
    """Return a line a stage, and below them what changed where a stage does not stand."""
    rows = tuple(
        _cells(standing.stage.name, standing.state, standing.manifest) for standing in found
    )
    why = [(standing.stage.name, standing.state, standing.why) for standing in found]
    return "\n".join([plain_text(Table("status", "Stages", HEADER, rows)), *_reasons(why)])


def _delivery_text(folder: Path, *, verify: bool) -> str:
    found = delivery(folder, verify=verify)
    rows = tuple(_cells(part.name, part.state, part.manifest) for part in found.parts)
    named = visible_text(", ".join(found.sources), one_line=True)
    lines = [
        f"{visible_text(str(folder), one_line=True)}: {WHAT[DELIVERY]}, of {named or 'nowhere'}"
    ]
    if found.summary is not None:
        told = found.summary
        lines.append(
            f"{told['above']:,} of {told['tokens']:,} tokens of {told['documents']:,} documents "
            f"are above the run's threshold, {told['threshold']:.4g}"
        )
    why = [(part.name, part.state, part.why) for part in found.parts]
    return "\n".join(
        [*lines, "", plain_text(Table("status", "Stages", HEADER, rows)), *_reasons(why)]
    )


def _cells(name: str, state: str, made: Manifest | None) -> tuple[str, ...]:
    if made is None:
        return (name, state, *[MISSING] * 5)
    day = made.date.replace("T", " ").partition("+")[0]
    versions = (made.versions.get(package, MISSING) for package in ("ifguide", "torch"))
    spent = duration(made.cost.seconds), f"{made.cost.tokens:,}"
    return (name, state, day, *versions, *spent)


def _reasons(found: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for name, state, why in found:
        if why:
            yield f"\n{name}: {state}: {visible_text(why, one_line=True)}"
