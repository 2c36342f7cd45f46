"""How the stages of a run stand, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ifguide.report.display import visible_text
from ifguide.report.tables import MISSING, Table, duration, plain_text
from ifguide.run.standing import Standing


def status_text(found: Sequence[Standing]) -> str:
    """Return a line a stage, and below them what changed where a stage does not stand."""
    header = ("", "state", "made", "by ifguide", "torch", "time", "tokens")
    table = Table("status", "Stages", header, tuple(_cells(standing) for standing in found))
    return "\n".join([plain_text(table), *_reasons(found)])


def _cells(standing: Standing) -> tuple[str, ...]:
    made = standing.manifest
    if made is None:
        return (standing.stage.name, standing.state, *[MISSING] * 5)
    day = made.date.replace("T", " ").partition("+")[0]
    versions = (made.versions.get(name, MISSING) for name in ("ifguide", "torch"))
    spent = duration(made.cost.seconds), f"{made.cost.tokens:,}"
    return (standing.stage.name, standing.state, day, *versions, *spent)


def _reasons(found: Sequence[Standing]) -> Iterator[str]:
    for standing in found:
        if standing.why:
            why = visible_text(standing.why, one_line=True)
            yield f"\n{standing.stage.name}: {standing.state}: {why}"
