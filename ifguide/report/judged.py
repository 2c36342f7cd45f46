"""The table of what judges made of kept continuations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifguide.report.tables import (
    MEASURES,
    Table,
    judging,
    lookup,
    plain_text,
    prompt_sets,
    ratio,
    shown,
    value_of,
)


def judged_text(result: Mapping[str, Any]) -> str:
    """All tables of ``rejudge``'s result as aligned plain text."""
    tables = (judged_table(result), judging(result))
    return "\n\n".join(plain_text(table) for table in tables if table.rows)


def judged_table(result: Mapping[str, Any]) -> Table:
    """Both measures of every judge and prompt set; models beside the first with their change."""
    models: Mapping[str, Any] = result["models"]
    header = [""]
    for number, name in enumerate(models):
        header += [name, "change"] if number else [name]
    rows = []
    for judge in prompt_sets(models, "judges"):
        found = {name: lookup(model, ("judges", judge)) or {} for name, model in models.items()}
        for measure, title in MEASURES.items():
            for prompts in prompt_sets(found, measure):
                entries = [lookup(entry, (measure, prompts)) for entry in found.values()]
                cells = [f"{title}, {prompts} prompts ({judge})", shown(entries[0])]
                for entry in entries[1:]:
                    cells += [shown(entry), ratio(value_of(entries[0]), value_of(entry))]
                rows.append(tuple(cells))
    return Table("judged", "Judged again", tuple(header), tuple(rows))
