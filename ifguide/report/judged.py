"""The table of what judges made of kept continuations."""

from __future__ import annotations

from ifguide.evaluation.figures import Rejudged
from ifguide.report.tables import (
    MEASURES,
    Table,
    Verdicts,
    judging,
    measure_of,
    names_in,
    plain_text,
    ratio,
    shown,
    value_of,
)


def judged_text(result: Rejudged) -> str:
    """All tables of ``rejudge``'s result as aligned plain text."""
    verdicts = {name: model.judges for name, model in result.models.items()}
    tables = (judged_table(verdicts), judging(verdicts))
    return "\n\n".join(plain_text(table) for table in tables if table.rows)


def judged_table(verdicts: Verdicts) -> Table:
    """Both measures of every judge and prompt set; models beside the first with their change."""
    header = [""]
    for number, name in enumerate(verdicts):
        header += [name, "change"] if number else [name]
    rows = []
    for judge in names_in(verdicts.values()):
        for measure, title in MEASURES.items():
            by_set = [
                measure_of(judges[judge], measure) if judge in judges else {}
                for judges in verdicts.values()
            ]
            for prompts in names_in(by_set):
                first, *others = (figures.get(prompts) for figures in by_set)
                cells = [f"{title}, {prompts} prompts ({judge})", shown(first)]
                for figure in others:
                    cells += [shown(figure), ratio(value_of(first), value_of(figure))]
                rows.append(tuple(cells))
    return Table("judged", "Judged again", tuple(header), tuple(rows))
