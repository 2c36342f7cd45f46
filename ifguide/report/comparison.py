"""The comparison's table: one row a method, the same columns for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from markupsafe import Markup

from ifguide.evaluation.comparison import Comparison, ComparisonRow, Ratio
from ifguide.report.figures import STYLE
from ifguide.report.markdown import in_code, in_markdown, markdown
from ifguide.report.tables import (
    MISSING,
    MeasureName,
    Table,
    duration,
    figure_text,
    measure_of,
    names_in,
    percent,
    shown,
)
from ifguide.report.templates import template
from ifguide.report.tradeoff import curve_figure, tradeoff_figure


@dataclass(frozen=True)
class Column:
    """A heading, and what it shows of a row beside the first row."""

    head: str
    cell: Callable[[ComparisonRow, ComparisonRow], str]


def methods_table(comparison: Comparison) -> Table:
    """Return the rows as ready-made text; changes are from the first row."""
    rows = comparison.rows
    return _filled("methods", "Methods from the same start", rows, list(_columns(rows)))


def judge_tables(comparison: Comparison) -> list[Table]:
    """Return a table a judge: TP by threshold, both measures on all prompts, and human text.

    Behind an interval: how many times less toxic than the first row.
    """
    tables = []
    for number, judge in enumerate(comparison.judges):
        columns = list(_judge_columns(comparison, judge))
        table = _filled(f"judge-{number}", f"By {judge}", comparison.rows, columns)
        human = comparison.human_text
        if human is not None:
            cells = [shown(tp) for tp in human.tp[judge].values()]
            left = len(columns) - len(cells)
            line = (f"text of {human.text}", *cells, *[MISSING] * left)
            table = replace(table, rows=(*table.rows, line))
        tables.append(table)
    return tables


def curve_tables(comparison: Comparison) -> list[Table]:
    """Return a table a curve: its points as they were chosen by, and what each took."""
    tables = []
    for number, row in enumerate(comparison.rows):
        curve = row.curve
        if curve is None:
            continue
        header = ("point", "TP", "EMT", f"perplexity {curve.text}", "time", "")
        rows = tuple(
            (
                point.name,
                shown(point.tp),
                shown(point.emt),
                f"{figure_text(point.perplexity)} ({100 * point.rise:+.1f}%)",
                MISSING if point.cost is None else duration(point.cost.seconds),
                "shown" if point.name == curve.chosen else "" if point.within else "beyond",
            )
            for point in curve.points
        )
        title = f"The curve of {row.name}, by {curve.judge} on {curve.prompts} prompts set apart"
        tables.append(Table(f"curve-{number}", title, header, rows))
    return tables


def curve_notes(comparison: Comparison) -> list[str]:
    """Return by which rule a curve's point is shown, a sentence a line."""
    curve = next((row.curve for row in comparison.rows if row.curve is not None), None)
    if curve is None:
        return []
    return [
        "A row with a curve shows one of its points, chosen on prompts set apart that no row is "
        f"compared on: the least TP by {curve.judge} (then the least EMT) of those with at most "
        f"{curve.bound:g} times the baseline's perplexity on {curve.text}, and if none has that, "
        "the least perplexity."
    ]


def methods_markdown(comparison: Comparison, heading: str = "Methods compared") -> str:
    """Return the whole Markdown page: how it was made, the tables, and what the rows are."""
    tables = judge_tables(comparison)
    lines = [
        f"# {in_markdown(heading)}",
        "",
        f"{in_code(comparison.command)}, {comparison.date}, {in_markdown(comparison.machine)}.",
        "",
        *map(in_markdown, notes(comparison)),
        *(f"**Mind:** {in_markdown(warning)}" for warning in warnings(comparison)),
        "",
        markdown(methods_table(comparison)),
        *(f"- {in_markdown(f'{row.name}: {row.about}')}" for row in comparison.rows),
        "",
        *map(in_markdown, judge_notes(comparison)),
        *(f"\n## {in_markdown(t.title)}\n\n{markdown(t).rstrip()}" for t in tables),
        *(f"\n{in_markdown(note)}" for note in curve_notes(comparison)),
        *(
            f"\n## {in_markdown(t.title)}\n\n{markdown(t).rstrip()}"
            for t in curve_tables(comparison)
        ),
    ]
    return "\n".join(lines) + "\n"


def render_methods(comparison: Comparison, title: str = "Methods compared") -> str:
    """Return the page: the tables, the curve, and what the rows are."""
    return template("methods.html").render(
        title=title,
        methods=methods_table(comparison),
        notes=[*notes(comparison), *(f"Mind: {line}" for line in warnings(comparison))],
        judged=judge_tables(comparison),
        judge_notes=judge_notes(comparison),
        figure=tradeoff_figure(comparison.rows),
        curves=curve_tables(comparison),
        curve_notes=curve_notes(comparison),
        curve_figure=curve_figure(comparison.rows),
        figure_style=Markup(STYLE),
        rows=comparison.rows,
        version=comparison.version,
    )


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know of the figures, a paragraph a line."""
    graded = f"Graded by {_and(comparison.judges)}"
    labelled = f"; what DPO and RAD learn from was labelled by {comparison.labeller}"
    return [
        graded + (labelled if comparison.labeller else "") + ".",
        f"TP: share of prompts with a toxic one (at least {comparison.threshold:g}) among "
        f"{comparison.samples} samples of {comparison.tokens} tokens; EMT: mean of the prompts' "
        "most toxic sample. Brackets: 95% bootstrap intervals over prompts.",
        "Cost: forward passes over the corpus beside the baseline's training; for a generated "
        "token, passes of the model and, of RAD, of a reward model as large.",
    ]


def warnings(comparison: Comparison) -> list[str]:
    """Return what a reader must mind, a sentence a line."""
    return [f"{warning}." for warning in comparison.warnings]


def judge_notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know of the judges' tables, a sentence a line."""
    said = [
        "Behind an interval: how many times less it is than in the first row, on the same prompts; "
        "its own interval, by resampling in pairs, is in table.json."
    ]
    human = comparison.human_text
    if human is not None:
        said.append(
            f"Judges also call text toxic that is not: the last row draws {comparison.samples} of "
            f"{human.pieces} pieces of '{human.text}', {comparison.tokens} tokens each, in "
            "place of a prompt's samples. A model that writes like that text cannot be seen below "
            "it."
        )
    return said


def _filled(
    key: str, title: str, rows: Sequence[ComparisonRow], columns: Sequence[Column]
) -> Table:
    header = ("method", *(column.head for column in columns))
    cells = tuple((row.name, *(column.cell(row, rows[0]) for column in columns)) for row in rows)
    return Table(key, title, header, cells)


def _columns(rows: Sequence[ComparisonRow]) -> Iterator[Column]:
    """Yield what any row has figures for, of the toxicity only the first prompt set's."""
    for judge in names_in(row.figures.judges for row in rows):
        prompts = _sets(rows, judge)[0]
        yield _measure(f"TP {prompts} ({judge})", judge, "tp", prompts)
    for text in names_in(row.figures.perplexity for row in rows):
        yield Column(f"perplexity {text}", partial(_perplexity, text))
    if any(row.figures.lambada_accuracy is not None for row in rows):
        yield Column("LAMBADA", lambda row, first: shown(row.figures.lambada_accuracy))
    if any(row.figures.lambada_last_token is not None for row in rows):
        head = "LAMBADA, last token"
        yield Column(head, lambda row, first: shown(row.figures.lambada_last_token))
    yield Column("passes", lambda row, first: f"{row.cost.passes:.1f}")
    yield Column(
        "passes a generated token", lambda row, first: str(row.cost.passes_a_generated_token)
    )
    yield Column("time", lambda row, first: duration(row.cost.seconds))


def _judge_columns(comparison: Comparison, judge: str) -> Iterator[Column]:
    """Yield TP by threshold on the first prompt set, then the other figures of all sets."""
    first, *others = _sets(comparison.rows, judge)
    for threshold in comparison.thresholds:
        head, key = f"TP {first} ≥ {threshold:g}", f"{threshold:g}"
        yield Column(head, partial(_at_threshold, judge, first, key))
    yield _measure(f"EMT {first}", judge, "emt", first)
    for prompts in others:
        yield _measure(f"TP {prompts}", judge, "tp", prompts)
        yield _measure(f"EMT {prompts}", judge, "emt", prompts)


def _sets(rows: Sequence[ComparisonRow], judge: str) -> list[str]:
    """Return the prompt sets that the judge saw."""
    return names_in(row.figures.judges[judge].tp for row in rows if judge in row.figures.judges)


def _measure(head: str, judge: str, measure: MeasureName, prompts: str) -> Column:
    def cell(row: ComparisonRow, first: ComparisonRow) -> str:
        verdict = row.figures.judges.get(judge)
        return shown(measure_of(verdict, measure).get(prompts) if verdict else None)

    return Column(head, cell)


def _at_threshold(
    judge: str, prompts: str, threshold: str, row: ComparisonRow, first: ComparisonRow
) -> str:
    at = row.by_threshold.get(judge, {}).get(prompts, {}).get(threshold)
    if at is None:
        return MISSING
    return shown(at.tp) if row is first else f"{shown(at.tp)} ({_times(at.ratio)})"


def _times(ratio: Ratio) -> str:
    """A ratio in words; where nothing is left, what it is over."""
    return f"over {ratio.low:.1f}×" if ratio.value is None else f"{ratio.value:.1f}×"


def _perplexity(text: str, row: ComparisonRow, first: ComparisonRow) -> str:
    value = row.figures.perplexity.get(text)
    if value is None:
        return MISSING
    change = percent(first.figures.perplexity.get(text), value)
    return figure_text(value) if row is first else f"{figure_text(value)} ({change})"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
