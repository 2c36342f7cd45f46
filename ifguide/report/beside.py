"""Two runs beside each other: what was set, what came of it, and the documents that both show.

The first run is A and the second B wherever figures stand; changes are from A to B.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool
from markupsafe import Markup

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.display import visible_text
from ifguide.report.documents import SHOWN_AT_ONCE, scale_of, shown_document, sources_of
from ifguide.report.figures import STYLE, figure_of_scores
from ifguide.report.learning import Drawn, learning_figures
from ifguide.report.ranked import RankedDocument, ranked_documents
from ifguide.report.tables import (
    MISSING,
    Table,
    comparison,
    cost,
    headlines,
    localisation,
    names_in,
    plain_text,
    selection,
)
from ifguide.report.templates import template

NAMES = ("A", "B")
SORTS = (
    ("rank", "rank in A"),
    ("second", "rank in B"),
    ("source", "source"),
    ("-a", "selected in A"),
    ("-b", "selected in B"),
    ("-apart", "characters selected differently"),
)
KINDS = (
    ("", "all"),
    ("apart", "selected differently"),
    ("!apart", "selected alike"),
    ("a !b", "selected in A alone"),
    ("b !a", "selected in B alone"),
)
_SLAB_BLOCKS = 4096
_LONGEST = 200  # characters of a setting


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """A run as it is shown beside another.

    Args:
        name: what it is called, its folder.
        settings: every setting that is given, by its dotted name.
        rests: what its figures rest on, each with its fingerprint, by name.
        report: its figures.
        corpus, scores, selection: what its page shows the documents of.
        top: how many documents its page shows.
    """

    name: str
    settings: Mapping[str, Any]
    rests: Mapping[str, str]
    report: Report
    corpus: Corpus
    scores: TokenScores
    selection: Selection
    top: int


@dataclass(frozen=True)
class SharedDocument:
    """A document that both runs show.

    ``both`` counts the characters that both have selected, ``apart`` those that one of them has.
    """

    first: RankedDocument
    second: RankedDocument
    both: int
    apart: int


def beside_text(first: FinishedRun, second: FinishedRun) -> str:
    """Return the names, what to mind and all tables as plain text."""
    told = [f"{name}: {run.name}" for name, run in zip(NAMES, (first, second), strict=True)]
    head = "\n".join(visible_text(line, one_line=True) for line in [*told, *notes(first, second)])
    return "\n\n".join([head, *(plain_text(table) for table in beside_tables(first, second))])


def beside_tables(first: FinishedRun, second: FinishedRun) -> tuple[Table, ...]:
    """Return the tables that the two have figures for, in reading order."""
    reports = first.report, second.report
    made = (
        _settings(first, second),
        _rests(first, second),
        *_models(*reports),
        side_by_side(*(selection(report.selection) for report in reports)),
        overlap(first, second),
        side_by_side(*(localisation(report.localisation) for report in reports)),
        side_by_side(*(cost(report.cost) for report in reports)),
    )
    return tuple(table for table in made if table.rows)


def notes(first: FinishedRun, second: FinishedRun) -> list[str]:
    """Return what a reader must mind, a sentence a line."""
    found = []
    if first.corpus.fingerprint != second.corpus.fingerprint:
        found.append(
            "The corpora are not the same, so documents are taken for the same by source, id and "
            "text, and selections are compared by characters."
        )
    judges = [_first_judge(run.report) for run in (first, second)]
    if judges[0] != judges[1]:
        found.append(
            "Mind: toxicity without a judge's name is by each run's first judge, "
            f"'{judges[0]}' in A and '{judges[1]}' in B."
        )
    if differ := [name for name, *_, same in _rests(first, second).rows if same == "no"]:
        found.append(f"Mind: they rest on different {', '.join(differ)}.")
    return found


def side_by_side(first: Table, second: Table) -> Table:
    """Return two tables of one kind as one: each column of A beside the same one of B."""
    columns = list(dict.fromkeys([*first.header[1:], *second.header[1:]]))
    labels = list(dict.fromkeys(row[0] for table in (first, second) for row in table.rows))
    cells = [_cells(table) for table in (first, second)]
    heads = [
        name if len(columns) == 1 else f"{column}, {name}" for column in columns for name in NAMES
    ]
    rows = tuple(
        (label, *(of.get((label, column), MISSING) for column in columns for of in cells))
        for label in labels
    )
    return Table(first.key, first.title, (first.header[0], *heads), rows)


def _cells(table: Table) -> dict[tuple[str, str], str]:
    """A table's cells by row and column."""
    return {
        (row[0], column): cell
        for row in table.rows
        for column, cell in zip(table.header, row, strict=True)
    }


def overlap(first: FinishedRun, second: FinishedRun) -> Table:
    """How many tokens both have selected, and one alone; no rows where the corpora are others."""
    rows: list[tuple[str, str]] = []
    if first.corpus.fingerprint == second.corpus.fingerprint:
        counts = np.zeros(3, dtype=np.int64)
        for begin in range(0, len(first.selection.suppress), _SLAB_BLOCKS):
            a, b = (
                np.asarray(run.selection.suppress[begin : begin + _SLAB_BLOCKS])
                for run in (first, second)
            )
            counts += [np.sum(a & b), np.sum(a & ~b), np.sum(b & ~a)]
        both, only_a, only_b = counts.tolist()
        rows = [("Selected by both", f"{both:,}"), ("By A alone", f"{only_a:,}")]
        rows += [("By B alone", f"{only_b:,}")]
        if either := both + only_a + only_b:
            rows.append(("By both, of all that either selects", f"{both / either:.1%}"))
    return Table("overlap", "The two selections", ("", "tokens"), tuple(rows))


def shared_documents(first: FinishedRun, second: FinishedRun) -> list[SharedDocument]:
    """Return the documents that both pages show, in the order of A's ranking."""
    shown = [
        ranked_documents(run.corpus, run.scores, run.selection, run.top) for run in (first, second)
    ]
    others: dict[tuple[str, str, str], list[RankedDocument]] = defaultdict(list)
    for document in shown[1][::-1]:
        others[_known_by(document)].append(document)
    return [
        _shared(document, alike.pop())
        for document in shown[0]
        if (alike := others[_known_by(document)])
    ]


def render_beside(first: FinishedRun, second: FinishedRun) -> str:
    """Return the page of two runs; the same arguments give the same page.

    Raises:
        InputError: the scores or the selection of a run belong to another corpus.
    """
    shared, runs = shared_documents(first, second), (first, second)
    scales = [
        scale_of([getattr(pair, side) for pair in shared], run.selection.threshold)
        for side, run in zip(("first", "second"), runs, strict=True)
    ]
    tables = beside_tables(first, second)
    last = [list(run.report.models.values())[-1:] for run in runs]
    compared = {name: of[0] for name, of in zip(NAMES, last, strict=True) if of}
    return template("beside.html").render(
        title="Two runs beside each other",
        version=first.report.version,
        runs=[
            {
                "name": name,
                "folder": visible_text(run.name, one_line=True),
                "fingerprint": run.report.config_fingerprint[:12],
                "scores": figure_of_scores(run.corpus, run.scores, run.selection),
                "tokens": int(run.corpus.has_loss.sum()),
            }
            for name, run in zip(NAMES, runs, strict=True)
        ],
        headlines=headlines(compared),
        notes=notes(first, second),
        tables={table.key: table for table in tables},
        by_model=[table for table in tables if table.key.startswith("model-")],
        learning=_learning(first.report, second.report),
        cards=(
            (pair, shown_document(pair.first, scales[0]), shown_document(pair.second, scales[1]))
            for pair in shared
        ),
        shown_count=len(shared),
        at_once=SHOWN_AT_ONCE,
        has_marks=any(bool(np.any(run.corpus.marked)) for run in runs),
        sources=sources_of(pair.first for pair in shared),
        sorts=SORTS,
        kinds=KINDS,
        figure_style=Markup(STYLE),
    )


def _settings(first: FinishedRun, second: FinishedRun) -> Table:
    """The settings that differ, by name."""
    names = sorted({*first.settings, *second.settings})
    rows = tuple(
        (name, *map(_setting, (a, b)))
        for name in names
        if (a := first.settings.get(name)) != (b := second.settings.get(name))
    )
    return Table("settings", "Settings that differ", ("setting", *NAMES), rows)


def _first_judge(report: Report) -> str:
    return next(iter(names_in(model.judges for model in report.models.values())), "")


def _setting(value: Any) -> str:
    text = MISSING if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _rests(first: FinishedRun, second: FinishedRun) -> Table:
    rows = []
    for name in names_in((first.rests, second.rests)):
        of = [run.rests.get(name, MISSING)[:12] for run in (first, second)]
        rows.append((name, *of, "yes" if of[0] == of[1] else "no"))
    header = ("", *NAMES, "the same")
    return Table("rests", "What the figures rest on", header, tuple(rows))


def _models(first: Report, second: Report) -> Iterator[Table]:
    """Yield a table a model that both have: its figures in A and in B, and the change."""
    for number, name in enumerate(first.models):
        if name in second.models:
            both = zip(NAMES, (first.models[name], second.models[name]), strict=True)
            title = f"The {name} model"
            yield replace(comparison(dict(both)), key=f"model-{number}", title=title)


def _learning(first: Report, second: Report) -> list[tuple[str, list[Drawn]]]:
    """Return, by model, figures with a curve a run."""
    found = []
    for number, name in enumerate(names_in((first.training, second.training))):
        both = zip(NAMES, (first.training.get(name), second.training.get(name)), strict=True)
        curves = {run: curve for run, curve in both if curve is not None}
        found.append((name, learning_figures(curves, f"learning-{number}")))
    return [(name, drawn) for name, drawn in found if drawn]


def _known_by(document: RankedDocument) -> tuple[str, str, str]:
    text = "".join(piece.text for piece in document.pieces)
    return document.source, document.id, text


def _shared(first: RankedDocument, second: RankedDocument) -> SharedDocument:
    a, b = _selected_characters(first), _selected_characters(second)
    return SharedDocument(first, second, int(np.sum(a & b)), int(np.sum(a ^ b)))


def _selected_characters(document: RankedDocument) -> Bool[np.ndarray, " characters"]:
    lengths = [len(piece.text) for piece in document.pieces]
    flags: Sequence[bool] = [piece.selected for piece in document.pieces]
    return np.repeat(np.array(flags, dtype=bool), lengths)
