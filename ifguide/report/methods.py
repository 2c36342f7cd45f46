"""The comparison's table: one row a method, the same columns for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ifguide.report.figures import STYLE
from ifguide.report.tables import (
    MISSING,
    Table,
    duration,
    figure_text,
    lookup,
    percent,
    prompt_sets,
    shown,
    value_of,
)
from ifguide.report.templates import template
from ifguide.report.tradeoff import tradeoff_figure

Entry = Mapping[str, Any]  # a row of table.json


@dataclass(frozen=True)
class Column:
    """A heading, and what it shows of a row beside the first row."""

    head: str
    cell: Callable[[Entry, Entry], str]


def methods_table(result: Entry) -> Table:
    """Return the rows of ``table.json`` as ready-made text; changes are from the first row."""
    rows: Sequence[Entry] = result["rows"]
    columns = list(_columns(rows))
    header = ("method", *(column.head for column in columns))
    cells = tuple((row["name"], *(column.cell(row, rows[0]) for column in columns)) for row in rows)
    return Table("methods", "Methods from the same start", header, cells)


def thresholds_table(result: Entry) -> Table:
    """Return TP on the first prompt set by judge and threshold, and that of text people wrote.

    In brackets its interval, behind it how many times less it is than the first row's.
    """
    rows: Sequence[Entry] = result["rows"]
    name = next(iter(rows[0]["figures"]["tp"]))
    columns = [(judge, f"{t:g}") for judge in result["judges"] for t in result["thresholds"]]
    heads = (f"{judge}, {threshold}" for judge, threshold in columns)
    cells = [
        (
            row["name"],
            *(
                _with_times(row["by_threshold"][judge][name][threshold], row is rows[0])
                for judge, threshold in columns
            ),
        )
        for row in rows
    ]
    human = result.get("human_text")
    if human:
        found = (shown(human["tp"][judge][threshold]) for judge, threshold in columns)
        cells.append((f"text of {human['text']}", *found))
    title = f"TP on {name} prompts from other thresholds on"
    return Table("thresholds", title, ("method", *heads), tuple(cells))


def markdown(table: Table) -> str:
    """Return a table as Markdown, the first column to the left."""
    lines = [
        "| " + " | ".join(table.header) + " |",
        "|---" + "|---:" * (len(table.header) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def methods_markdown(result: Entry, heading: str = "Methods compared") -> str:
    """Return the whole Markdown page: how it was made, the tables, and what the rows are."""
    strict = thresholds_table(result)
    lines = [
        f"# {heading}",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}.",
        "",
        *notes(result),
        "",
        markdown(methods_table(result)),
        f"## {strict.title}",
        "",
        *floor_notes(result),
        "",
        markdown(strict),
        "## What the rows are",
        "",
        *(f"- {row['name']}: {row['about']}" for row in result["rows"]),
    ]
    return "\n".join(lines) + "\n"


def render_methods(result: Entry, title: str = "Methods compared") -> str:
    """Return the page: the table, the curve, and what the rows are."""
    return template("methods.html").render(
        title=title,
        methods=methods_table(result),
        notes=[line.replace("**", "") for line in notes(result)],
        strict=thresholds_table(result),
        floor_notes=floor_notes(result),
        figure=tradeoff_figure(result["rows"]),
        figure_style=Markup(STYLE),
        rows=result["rows"],
        version=result.get("version", ""),
    )


def notes(result: Entry) -> list[str]:
    """Return what a reader must know of the figures, a sentence a line."""
    graded = f"Graded by {_and(result['judges'])}"
    labelled = f"; what DPO and RAD learn from was labelled by {result['labeller']}"
    said = [
        graded + (labelled if result["labeller"] else "") + ".",
        f"TP: share of prompts with a toxic one (at least {result['threshold']:g}) among "
        f"{result['samples']} samples of {result['tokens']} tokens; EMT: mean of the prompts' most "
        "toxic sample. Brackets: 95% bootstrap intervals over prompts.",
        '"times less" is TP on toxic prompts of the first row over the method\'s, resampled in '
        "pairs. Cost: forward passes over the corpus beside the baseline's training.",
    ]
    return [*said, *(f"**Mind:** {warning}." for warning in result["warnings"])]


def floor_notes(result: Entry) -> list[str]:
    """Return what a reader must know of the second table, a sentence a line."""
    said = ["Behind an interval: how many times less than the first row's."]
    human = result.get("human_text")
    if human:
        said.append(
            f"Judges also call text toxic that is not: the last row draws {result['samples']} of "
            f"{human['pieces']} pieces of '{human['text']}', {result['tokens']} tokens each, in "
            "place of a prompt's samples. No model that writes like this text can be seen below it."
        )
    return said


def _with_times(found: Entry, is_first: bool) -> str:
    ratio = found["ratio"]
    if is_first:
        return shown(found["tp"])
    if ratio["value"] is None:  # nothing is left
        return f"{shown(found['tp'])} (over {ratio['low']:.1f}×)"
    return f"{shown(found['tp'])} ({ratio['value']:.1f}×)"


def _columns(rows: Sequence[Entry]) -> Iterator[Column]:
    """Yield what any row has figures for."""
    figures = {row["name"]: row["figures"] for row in rows}
    judges = prompt_sets(figures, "judges")
    for judge in judges:
        of_judge = [lookup(entry, ("judges", judge)) or {} for entry in figures.values()]
        sets = list(dict.fromkeys(name for found in of_judge for name in found.get("tp", {})))
        for name in sets:
            yield _measure(f"TP {name} ({judge})", ("judges", judge, "tp", name))
            if name == sets[0]:
                yield _measure(f"EMT {name} ({judge})", ("judges", judge, "emt", name))
                yield Column(f"times less ({judge})", _times_less(judge, name))
    for name in prompt_sets(figures, "perplexity"):
        yield Column(f"perplexity {name}", _with_change(("figures", "perplexity", name)))
    if any("lambada_accuracy" in entry for entry in figures.values()):
        yield _measure("LAMBADA", ("lambada_accuracy",))
    yield Column("passes", lambda row, first: _passes(row))
    yield Column("time", lambda row, first: duration(lookup(row, ("cost", "seconds"))))


def _measure(head: str, path: tuple[str, ...]) -> Column:
    return Column(head, lambda row, first: shown(lookup(row, ("figures", *path))))


def _times_less(judge: str, name: str) -> Callable[[Entry, Entry], str]:
    def cell(row: Entry, first: Entry) -> str:
        found = lookup(row, ("against_first", judge, name, "tp_ratio"))
        if found is None or row is first:
            return MISSING
        value, low, high = (found[end] for end in ("value", "low", "high"))
        if value is None:  # no prompt is left with a toxic sample
            return f"over {low:.1f}"
        return f"{value:.1f} [{low:.1f}, {'∞' if high is None else f'{high:.1f}'}]"

    return cell


def _with_change(path: tuple[str, ...]) -> Callable[[Entry, Entry], str]:
    def cell(row: Entry, first: Entry) -> str:
        value, before = value_of(lookup(row, path)), value_of(lookup(first, path))
        if value is None:
            return MISSING
        change = "" if row is first else f" ({percent(before, value)})"
        return figure_text(value) + change

    return cell


def _passes(row: Entry) -> str:
    value = lookup(row, ("cost", "passes"))
    return MISSING if value is None else f"{value:.1f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
