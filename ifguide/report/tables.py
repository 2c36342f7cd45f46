"""The report's tables: one function makes a table's rows, the terminal and the page render them.

What a report lacks is left out or shown as a dash; a figure is never made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ifguide.evaluation.figures import (
    Cost,
    Localisation,
    ModelFigures,
    Report,
    SelectionSummary,
    Unjudged,
    Verdict,
)
from ifguide.nouns import Interval
from ifguide.report.display import visible_text, width_of

Number = int | float
Figure = Interval | float | None
Models = Mapping[str, ModelFigures]
Verdicts = Mapping[str, Mapping[str, Verdict]]  # by model, then by judge
MISSING = "–"
MeasureName = Literal["tp", "emt"]
MEASURES: Mapping[MeasureName, str] = {
    "tp": "Toxicity probability",
    "emt": "Expected maximum toxicity",
}
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
_PROXY = {
    "share": "Share of a token's characters to be selected",
    "selected": "Characters selected there",
    "lost": "Of them learnt here",
    "gained": "Characters selected here alone",
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


@dataclass(frozen=True)
class Measure:
    """A line of the comparison.

    ``of`` gives a model's figure, None where it has none; ``change`` puts a change in words.
    """

    kind: Literal["tp", "emt", "by judge", "perplexity", "lambada"]
    label: str
    of: Callable[[ModelFigures], Figure]
    change: Callable[[Number | None, Number | None], str]


def comparison_table(report: Report) -> str:
    """All tables of the report as aligned plain text (the columns of figures to the right)."""
    return "\n\n".join(plain_text(table) for table in report_tables(report))


def report_tables(report: Report) -> tuple[Table, ...]:
    """The tables that the report has figures for, in reading order."""
    verdicts = {name: model.judges for name, model in report.models.items()}
    made = (
        comparison(report.models),
        judging(verdicts),
        weights(report.weights or {}, verdicts),
        localisation(report.localisation),
        selection(report.selection),
        cost(report.cost),
    )
    return tuple(table for table in made if table.rows)


def comparison(models: Models) -> Table:
    """Every measure of every model; each model after the first with its change from the first."""
    names = list(models)
    header = ["", *names[:1]]
    for name in names[1:]:
        header += [name, "change"]
    rows = []
    for measure in _measures(models):
        first, *others = (measure.of(model) for model in models.values())
        cells = [measure.label, shown(first)]
        for figure in others:
            cells += [shown(figure), measure.change(value_of(first), value_of(figure))]
        rows.append(tuple(cells))
    return Table("comparison", "Before and after", tuple(header), tuple(rows))


def weights(of_models: Mapping[str, str], verdicts: Verdicts) -> Table:
    """The models, and the judges that are models, each with the checksum of its weights."""
    found = {name: digest[:12] for name, digest in of_models.items()}
    found |= {
        judge: verdict.weights[:12]
        for judges in verdicts.values()
        for judge, verdict in judges.items()
        if verdict.weights
    }
    return Table("weights", "Known by", ("", "sha256 of the weights"), tuple(found.items()))


def judging(verdicts: Verdicts) -> Table:
    """The judges' further categories, and the texts that a judge did not score or read whole."""
    rows = []
    for judge in names_in(verdicts.values()):
        of_models = [judges.get(judge) for judges in verdicts.values()]
        rows += [*_category_rows(judge, of_models), *_unjudged_rows(judge, of_models)]
        rows += _beginning_rows(judge, of_models)
    return Table("judging", "By category, and texts not judged", ("", *verdicts), tuple(rows))


def localisation(figures: Localisation) -> Table:
    """How well the scores find the tokens that people marked; no rows without marks."""
    columns = {"scores": figures}
    if figures.smoothed is not None:
        columns["smoothed scores"] = figures.smoothed
    rows = tuple(
        (label, *(shown(getattr(found, name)) for found in columns.values()))
        for name, label in _LOCALISATION.items()
        if getattr(figures, name) is not None
    )
    return Table("localisation", "Agreement with human marks", ("", *columns), rows)


def selection(summary: SelectionSummary) -> Table:
    """What was selected."""
    rows = [(label, _amount(getattr(summary, name))) for name, label in _SELECTION.items()]
    if (proxy := summary.proxy) is not None:
        whose = visible_text(f"{proxy.model} (run {proxy.run[:12]})", one_line=True)
        rows.append(("Mask of another run, its model", whose))
        rows += [(label, _amount(getattr(proxy, name))) for name, label in _PROXY.items()]
    return Table("selection", "Selection", ("", "value"), tuple(rows))


def cost(stages: Mapping[str, Cost]) -> Table:
    """Seconds, tokens, speed and peak memory of each stage, and the time of all."""
    rows = [
        (
            stage,
            duration(spent.seconds),
            _amount(spent.tokens),
            _speed(spent),
            _memory(spent.peak_rss_bytes),
        )
        for stage, spent in stages.items()
    ]
    if len(rows) > 1:
        total = sum(spent.seconds for spent in stages.values())
        peak = max(spent.peak_rss_bytes for spent in stages.values())
        rows.append(("all stages", duration(total), "", "", _memory(peak)))
    header = ("stage", "time", "tokens", "tokens/s", "peak memory")
    return Table("cost", "Cost", header, tuple(rows))


def headlines(models: Models) -> tuple[Headline, ...]:
    """The first and the last model on the measures that matter most, where both have them."""
    if len(models) < 2:
        return ()
    first, *_, last = models.values()
    lines: dict[str, list[Headline]] = {"tp": [], "perplexity": []}
    for measure in _measures(models):
        before, after = value_of(measure.of(first)), value_of(measure.of(last))
        if measure.kind in lines and before is not None and after is not None:
            change = measure.change(before, after)
            line = Headline(measure.label, figure_text(before), figure_text(after), change)
            lines[measure.kind].append(line)
    return (*lines["tp"][:3], *lines["perplexity"][:1])


def names_in(mappings: Iterable[Mapping[str, object] | None]) -> list[str]:
    """Return the names that any of the mappings has, in the order of their first mention."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping or ()))


def measure_of(figures: ModelFigures | Verdict, measure: MeasureName) -> Mapping[str, Interval]:
    """Return one of the two ``MEASURES`` by prompt set."""
    return figures.tp if measure == "tp" else figures.emt


def duration(seconds: Number) -> str:
    """Seconds in the units that a person would say.

    >>> duration(4.21), duration(192), duration(7380)
    ('4.2 s', '3 min 12 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_text(size: Number) -> str:
    """Bytes in the units that a person would say.

    >>> bytes_text(0), bytes_text(5e6), bytes_text(3.2e9)
    ('0 MiB', '5 MiB', '3.0 GiB')
    """
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def _measures(models: Models) -> Iterator[Measure]:
    """Every measure that any of the models has."""
    for measure, title in MEASURES.items():
        for prompts in names_in(measure_of(model, measure) for model in models.values()):
            label = f"{title}, {prompts} prompts"
            yield Measure(measure, label, partial(_own, measure, prompts), ratio)
    judges = names_in(model.judges for model in models.values())
    for judge in judges[1:]:  # the first judge's figures are the model's own
        verdicts = [model.judges[judge] for model in models.values() if judge in model.judges]
        for measure, title in MEASURES.items():
            for prompts in names_in(measure_of(verdict, measure) for verdict in verdicts):
                label = f"{title}, {prompts} prompts ({judge})"
                yield Measure("by judge", label, partial(_judged, judge, measure, prompts), ratio)
    for name in names_in(model.perplexity for model in models.values()):
        yield Measure("perplexity", f"Perplexity, {name}", partial(_perplexity, name), percent)
    if any(model.lambada_accuracy is not None for model in models.values()):
        yield Measure("lambada", "LAMBADA accuracy", lambda model: model.lambada_accuracy, points)
    if any(model.lambada_last_token is not None for model in models.values()):
        label = "LAMBADA accuracy, last token"
        yield Measure("lambada", label, lambda model: model.lambada_last_token, points)


def _own(measure: MeasureName, prompts: str, model: ModelFigures) -> Figure:
    return measure_of(model, measure).get(prompts)


def _judged(judge: str, measure: MeasureName, prompts: str, model: ModelFigures) -> Figure:
    verdict = model.judges.get(judge)
    return None if verdict is None else measure_of(verdict, measure).get(prompts)


def _perplexity(text: str, model: ModelFigures) -> Figure:
    return model.perplexity.get(text)


def _category_rows(judge: str, verdicts: Sequence[Verdict | None]) -> Iterator[tuple[str, ...]]:
    """TP of each category of a judge, by prompt set."""
    of_models = [(verdict and verdict.categories) or {} for verdict in verdicts]
    for prompts in names_in(of_models):
        categories = [by_set.get(prompts, {}) for by_set in of_models]
        for category in names_in(categories):
            tp = [by_name[category].tp if category in by_name else None for by_name in categories]
            yield (f"{category}, {prompts} prompts ({judge})", *map(shown, tp))


def _unjudged_rows(judge: str, verdicts: Sequence[Verdict | None]) -> Iterator[tuple[str, ...]]:
    """The texts that a judge could not score, by prompt set."""
    of_models = [(verdict and verdict.unjudged) or {} for verdict in verdicts]
    for prompts in names_in(of_models):
        left_out = (by_set.get(prompts) for by_set in of_models)
        yield (f"Not judged, {prompts} prompts ({judge})", *map(_left_out, left_out))


def _beginning_rows(judge: str, verdicts: Sequence[Verdict | None]) -> Iterator[tuple[str, ...]]:
    """How many texts are longer than a judge reads, by prompt set."""
    of_models = [(verdict and verdict.beginnings) or {} for verdict in verdicts]
    for prompts in names_in(of_models):
        counts = (by_set.get(prompts, 0) for by_set in of_models)
        label = f"Judged by their beginnings, {prompts} prompts ({judge})"
        yield (label, *(f"{count:,} texts" if count else "none" for count in counts))


def ratio(before: Number | None, after: Number | None) -> str:
    """A change as a factor.

    >>> ratio(0.5, 0.1), ratio(0.1, 0.2), ratio(0.4, 0.0), ratio(0.3, 0.3)
    ('5.0x less', '2.0x more', 'none left', 'same')
    """
    if before is None or after is None or not math.isfinite(before - after):
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
    if before is None or after is None or not before or not math.isfinite(before - after):
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


def value_of(figure: Figure) -> float | None:
    """The figure itself, with or without an interval around it."""
    value = figure.value if isinstance(figure, Interval) else figure
    return None if value is None else float(value)


def shown(figure: Figure) -> str:
    """A figure, and its interval in brackets where it has one."""
    if figure is None:
        return MISSING
    if not isinstance(figure, Interval):
        return figure_text(figure)
    value, low, high = map(figure_text, (figure.value, figure.low, figure.high))
    return f"{value} [{low}, {high}]"


def figure_text(value: Number) -> str:
    """Three decimals for shares, two for what is larger (perplexity)."""
    return f"{value:.3f}" if abs(value) <= 1.0 else f"{value:,.2f}"


def _left_out(unjudged: Unjudged | None) -> str:
    """How many texts were not judged, and the first of their ids."""
    ids = list(unjudged.texts) if unjudged else []
    more = ", …" if len(ids) > 3 else ""
    none = MISSING if unjudged is None else "none"
    return f"{len(ids)} ({', '.join(ids[:3])}{more})" if ids else none


def _amount(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _speed(spent: Cost) -> str:
    return f"{spent.tokens / spent.seconds:,.0f}" if spent.tokens and spent.seconds else MISSING


def _memory(peak: int) -> str:
    return f"{peak / 2**30:.2f} GiB"


def plain_text(table: Table) -> str:
    """The table as aligned lines under its title; a name's control characters are spelled out."""
    lines = [
        tuple(visible_text(cell, one_line=True) for cell in line)
        for line in (table.header, *table.rows)
    ]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(table.header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    texts = [
        "  ".join(
            _padded(cell, width, left=bool(column))
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, rule, texts[0], rule, *texts[1:]])


def _padded(cell: str, width: int, *, left: bool) -> str:
    room = " " * (width - width_of(cell))
    return room + cell if left else cell + room
