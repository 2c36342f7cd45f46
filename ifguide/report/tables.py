"""The report's tables: one function makes a table's rows, the terminal and the page render them.

A report is the dictionary of ``report.json``. What it lacks is left out or shown as a dash; a
figure is never made up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Number = int | float
MISSING = "–"
MEASURES = {"tp": "Toxicity probability", "emt": "Expected maximum toxicity"}
_LOCALISATION = {
    "average_precision": "Average precision",
    "precision_at_1_percent": "Precision at the top 1%",
    "auroc": "AUROC",
    "base_rate": "Share of marked tokens (chance level)",
    "in_marked_documents": "Top 1% tokens in marked documents",
}
_SELECTION = {
    "selected": "Tokens selected",
    "budget": "Budget",
    "threshold": "Score threshold",
    "documents": "Documents with a score above it",
}


@dataclass(frozen=True)
class Table:
    """Rows of ready-made text; the first column names the row, the others hold figures."""

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Headline:
    """One figure worth a large font: what it is, before, after, and the change in words."""

    label: str
    before: str
    after: str
    change: str


def comparison_table(report: Mapping[str, Any]) -> str:
    """All tables of the report as aligned plain text (the columns of figures to the right)."""
    return "\n\n".join(plain_text(table) for table in report_tables(report))


def report_tables(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """The tables that the report has figures for, in reading order."""
    makers = (comparison, judging, localisation, selection, cost)
    return tuple(table for table in (make(report) for make in makers) if table.rows)


def comparison(report: Mapping[str, Any]) -> Table:
    """Every measure of every model; each model after the first with its change from the first."""
    models: Mapping[str, Any] = report.get("models", {})
    names = list(models)
    header = ["", *names[:1]]
    for name in names[1:]:
        header += [name, "change"]
    rows = []
    for label, path, change in _measures(models):
        values = [lookup(models[name], path) for name in names]
        cells = [label, shown(values[0])]
        for value in values[1:]:
            cells += [shown(value), change(value_of(values[0]), value_of(value))]
        rows.append(tuple(cells))
    return Table("comparison", "Before and after", tuple(header), tuple(rows))


def judging(report: Mapping[str, Any]) -> Table:
    """The judges' further categories, and the texts that a judge could not score."""
    models: Mapping[str, Any] = report.get("models", {})
    rows = []
    for judge in prompt_sets(models, "judges"):
        found = {name: lookup(model, ("judges", judge)) or {} for name, model in models.items()}
        for prompts in prompt_sets(found, "categories"):
            of_set = [entry.get("categories", {}).get(prompts, {}) for entry in found.values()]
            for kind in dict.fromkeys(kind for entry in of_set for kind in entry):
                tp = (lookup(entry, (kind, "tp")) for entry in of_set)
                rows.append((f"{kind}, {prompts} prompts ({judge})", *map(shown, tp)))
        for prompts in prompt_sets(found, "unjudged"):
            left = (lookup(entry, ("unjudged", prompts)) for entry in found.values())
            rows.append((f"Not judged, {prompts} prompts ({judge})", *map(_left_out, left)))
    return Table("judging", "By category, and texts not judged", ("", *models), tuple(rows))


def localisation(report: Mapping[str, Any]) -> Table:
    """How well the scores find the tokens that people marked; no rows without marks."""
    found: Mapping[str, Any] = report.get("localisation", {})
    columns = {"scores": found}
    if "smoothed" in found:
        columns["smoothed scores"] = found["smoothed"]
    rows = tuple(
        (label, *(shown(figures[key]) for figures in columns.values()))
        for key, label in _LOCALISATION.items()
        if key in found
    )
    return Table("localisation", "Agreement with human marks", ("", *columns), rows)


def selection(report: Mapping[str, Any]) -> Table:
    """What was selected."""
    chosen: Mapping[str, Any] = report.get("selection", {})
    rows = tuple(
        (label, _amount(chosen[key])) for key, label in _SELECTION.items() if key in chosen
    )
    return Table("selection", "Selection", ("", "value"), rows)


def cost(report: Mapping[str, Any]) -> Table:
    """Seconds, tokens, speed and peak memory of each stage, and the time of all."""
    stages: Mapping[str, Mapping[str, Any]] = report.get("cost", {})
    rows = [
        (
            stage,
            duration(spent.get("seconds")),
            _amount(spent.get("tokens")),
            _speed(spent.get("tokens"), spent.get("seconds")),
            _memory(spent.get("peak_rss_bytes")),
        )
        for stage, spent in stages.items()
    ]
    if len(rows) > 1:
        total = sum(spent.get("seconds") or 0.0 for spent in stages.values())
        peak = max((spent.get("peak_rss_bytes") or 0 for spent in stages.values()), default=0)
        rows.append(("all stages", duration(total), "", "", _memory(peak or None)))
    header = ("stage", "time", "tokens", "tokens/s", "peak memory")
    return Table("cost", "Cost", header, tuple(rows))


def headlines(report: Mapping[str, Any]) -> tuple[Headline, ...]:
    """The first and the last model on the measures that matter most, where both have them."""
    models: Mapping[str, Any] = report.get("models", {})
    if len(models) < 2:
        return ()
    first, last = (list(models.values())[index] for index in (0, -1))
    found = []
    for label, path, change in _measures(models):
        before, after = (value_of(lookup(model, path)) for model in (first, last))
        if path[0] in {"tp", "perplexity"} and before is not None and after is not None:
            line = Headline(label, figure_text(before), figure_text(after), change(before, after))
            found.append((path[0], line))
    tp = [line for kind, line in found if kind == "tp"]
    fluency = [line for kind, line in found if kind == "perplexity"]
    return (*tp[:3], *fluency[:1])


def prompt_sets(models: Mapping[str, Any], measure: str) -> list[str]:
    """The names of the prompt sets that any model has this measure for, in report order."""
    return list(dict.fromkeys(name for model in models.values() for name in model.get(measure, {})))


def duration(seconds: Number | None) -> str:
    """Seconds in the units that a person would say.

    >>> duration(4.21), duration(192), duration(7380)
    ('4.2 s', '3 min 12 s', '2 h 03 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _measures(models: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(label, where it lies in a model's entry, how a change in it is put) of every measure."""
    for measure, name in MEASURES.items():
        for prompts in prompt_sets(models, measure):
            yield f"{name}, {prompts} prompts", (measure, prompts), ratio
    for judge in prompt_sets(models, "judges")[1:]:  # the first judge's figures are the model's own
        for measure, name in MEASURES.items():
            found = {key: lookup(model, ("judges", judge)) or {} for key, model in models.items()}
            for prompts in prompt_sets(found, measure):
                label = f"{name}, {prompts} prompts ({judge})"
                yield label, ("judges", judge, measure, prompts), ratio
    for name in prompt_sets(models, "perplexity"):
        yield f"Perplexity, {name}", ("perplexity", name), percent
    if any("lambada_accuracy" in model for model in models.values()):
        yield "LAMBADA accuracy", ("lambada_accuracy",), points


def ratio(before: Number | None, after: Number | None) -> str:
    """A change as a factor.

    >>> ratio(0.5, 0.1), ratio(0.1, 0.2), ratio(0.4, 0.0), ratio(0.3, 0.3)
    ('5.0x less', '2.0x more', 'none left', 'same')
    """
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return MISSING
    if before == after:
        return "same"
    if after <= 0.0 or before <= 0.0:
        return "none left" if after <= 0.0 else "from none"
    return f"{before / after:.1f}x less" if after < before else f"{after / before:.1f}x more"


def percent(before: Number | None, after: Number | None) -> str:
    """A change in percent of the value before.

    >>> percent(20.0, 20.5)
    '+2.5%'
    """
    if before is None or after is None or not before:
        return MISSING
    return f"{(after - before) / before:+.1%}"


def points(before: Number | None, after: Number | None) -> str:
    """A change of a share, in percentage points.

    >>> points(0.25, 0.242)
    '-0.8 points'
    """
    if before is None or after is None:
        return MISSING
    return f"{100 * (after - before):+.1f} points"


def lookup(entry: Any, path: Sequence[str]) -> Any:
    """Return what lies at a path of keys, None where it ends early."""
    for key in path:
        if not isinstance(entry, Mapping) or key not in entry:
            return None
        entry = entry[key]
    return entry


def value_of(entry: Any) -> float | None:
    """The figure itself, with or without an interval around it."""
    value = entry.get("value") if isinstance(entry, Mapping) else entry
    return None if value is None else float(value)


def shown(entry: Any) -> str:
    """A figure, and its interval in brackets where it has one."""
    value = value_of(entry)
    if value is None:
        return MISSING
    if not isinstance(entry, Mapping) or entry.get("low") is None or entry.get("high") is None:
        return figure_text(value)
    low, high = (figure_text(float(entry[end])) for end in ("low", "high"))
    return f"{figure_text(value)} [{low}, {high}]"


def figure_text(value: Number) -> str:
    """Three decimals for shares, two for what is larger (perplexity)."""
    return f"{value:.3f}" if abs(value) <= 1.0 else f"{value:,.2f}"


def _left_out(unjudged: Mapping[str, Any] | None) -> str:
    """How many texts were not judged, and the first of their ids."""
    ids = list(unjudged["texts"]) if unjudged else []
    more = ", …" if len(ids) > 3 else ""
    none = MISSING if unjudged is None else "none"
    return f"{len(ids)} ({', '.join(ids[:3])}{more})" if ids else none


def _amount(value: Number | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _speed(tokens: Number | None, seconds: Number | None) -> str:
    return f"{tokens / seconds:,.0f}" if tokens and seconds else MISSING


def _memory(peak: Number | None) -> str:
    return MISSING if peak is None else f"{peak / 2**30:.2f} GiB"


def plain_text(table: Table) -> str:
    """The table as aligned lines under its title."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    texts = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, rule, texts[0], rule, *texts[1:]])
