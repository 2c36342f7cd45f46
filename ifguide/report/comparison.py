"""The comparison's table: one row a method, the same columns for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    return _filled("methods", "Methods from the same start", rows, list(_columns(rows)))


def judge_tables(result: Entry) -> list[Table]:
    """Return a table a judge: TP by threshold, both measures on all prompts, and human text.

    Behind an interval: how many times less toxic than the first row.
    """
    rows: Sequence[Entry] = result["rows"]
    tables = []
    for number, judge in enumerate(result["judges"]):
        columns = list(_judge_columns(result, judge))
        table = _filled(f"judge-{number}", f"By {judge}", rows, columns)
        human = result.get("human_text")
        if human:
            found = [shown(tp) for tp in human["tp"][judge].values()]
            left = len(columns) - len(found)
            line = (f"text of {human['text']}", *found, *[MISSING] * left)
            table = replace(table, rows=(*table.rows, line))
        tables.append(table)
    return tables


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
    tables = judge_tables(result)
    lines = [
        f"# {heading}",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}.",
        "",
        *notes(result),
        "",
        markdown(methods_table(result)),
        *(f"- {row['name']}: {row['about']}" for row in result["rows"]),
        "",
        *judge_notes(result),
        *(f"\n## {table.title}\n\n{markdown(table).rstrip()}" for table in tables),
    ]
    return "\n".join(lines) + "\n"


def render_methods(result: Entry, title: str = "Methods compared") -> str:
    """Return the page: the tables, the curve, and what the rows are."""
    return template("methods.html").render(
        title=title,
        methods=methods_table(result),
        notes=[line.replace("**", "") for line in notes(result)],
        judged=judge_tables(result),
        judge_notes=judge_notes(result),
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
        "Cost: forward passes over the corpus beside the baseline's training; for a generated "
        "token, passes of the model and, of RAD, of a reward model as large.",
    ]
    return [*said, *(f"**Mind:** {warning}." for warning in result["warnings"])]


def judge_notes(result: Entry) -> list[str]:
    """Return what a reader must know of the judges' tables, a sentence a line."""
    said = [
        "Behind an interval: how many times less it is than in the first row, on the same prompts; "
        "its own interval, by resampling in pairs, is in table.json."
    ]
    human = result.get("human_text")
    if human:
        said.append(
            f"Judges also call text toxic that is not: the last row draws {result['samples']} of "
            f"{human['pieces']} pieces of '{human['text']}', {result['tokens']} tokens each, in "
            "place of a prompt's samples. A model that writes like that text cannot be seen below "
            "it."
        )
    return said


def _filled(key: str, title: str, rows: Sequence[Entry], columns: Sequence[Column]) -> Table:
    header = ("method", *(column.head for column in columns))
    cells = tuple((row["name"], *(column.cell(row, rows[0]) for column in columns)) for row in rows)
    return Table(key, title, header, cells)


def _columns(rows: Sequence[Entry]) -> Iterator[Column]:
    """Yield what any row has figures for, of the toxicity only the first prompt set's."""
    figures = {row["name"]: row["figures"] for row in rows}
    for judge in prompt_sets(figures, "judges"):
        name = _sets(figures, judge)[0]
        yield _measure(f"TP {name} ({judge})", ("judges", judge, "tp", name))
    for name in prompt_sets(figures, "perplexity"):
        yield Column(f"perplexity {name}", _with_change(("figures", "perplexity", name)))
    if any("lambada_accuracy" in entry for entry in figures.values()):
        yield _measure("LAMBADA", ("lambada_accuracy",))
    yield Column("passes", lambda row, first: _passes(row))
    decoding = ("cost", "passes_a_generated_token")
    yield Column(
        "passes a generated token", lambda row, first: str(lookup(row, decoding) or MISSING)
    )
    yield Column("time", lambda row, first: duration(lookup(row, ("cost", "seconds"))))


def _judge_columns(result: Entry, judge: str) -> Iterator[Column]:
    """Yield TP by threshold on the first prompt set, then the other figures of all sets."""
    figures = {row["name"]: row["figures"] for row in result["rows"]}
    first, *others = _sets(figures, judge)
    for threshold in result["thresholds"]:
        yield _by_threshold(judge, first, f"{threshold:g}")
    yield _measure(f"EMT {first}", ("judges", judge, "emt", first))
    for name in others:
        for measure in ("tp", "emt"):
            yield _measure(f"{measure.upper()} {name}", ("judges", judge, measure, name))


def _sets(figures: Entry, judge: str) -> list[str]:
    found = [lookup(entry, ("judges", judge)) or {} for entry in figures.values()]
    return list(dict.fromkeys(name for entry in found for name in entry.get("tp", {})))


def _by_threshold(judge: str, prompts: str, threshold: str) -> Column:
    def cell(row: Entry, first: Entry) -> str:
        found = lookup(row, ("by_threshold", judge, prompts, threshold))
        if found is None:
            return MISSING
        ratio, tp = found["ratio"], shown(found["tp"])
        if row is first:
            return tp
        if ratio["value"] is None:  # nothing is left
            return f"{tp} (over {ratio['low']:.1f}×)"
        return f"{tp} ({ratio['value']:.1f}×)"

    return Column(f"TP {prompts} ≥ {threshold}", cell)


def _measure(head: str, path: tuple[str, ...]) -> Column:
    return Column(head, lambda row, first: shown(lookup(row, ("figures", *path))))


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
