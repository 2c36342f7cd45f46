"""How the trainings of a run went, as figures: losses, learning rate, the guard's perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ifguide.nouns import TrainingCurve
from ifguide.report.curves import Axis, Curve, Point, curves_figure
from ifguide.report.tables import MISSING, Table

UPDATES = Axis("updates")
MOST_ROWS = 20  # of a table


@dataclass(frozen=True)
class _Line:
    """A figure of ``TrainingPoint`` as it is drawn, and what is added to the model's name."""

    figure: str
    suffix: str = ""
    dashed: bool = False


DRAWN: Mapping[tuple[str, str], Sequence[_Line]] = {  # by title and what goes upward
    ("Loss", "nats a token"): (
        _Line("benign_loss"),
        _Line("suppressed_loss", ", selected tokens", dashed=True),
    ),
    ("Learning rate", "learning rate"): (_Line("learning_rate"),),
    ("Perplexity of the text that is watched", "perplexity"): (_Line("guard_perplexity"),),
}


@dataclass(frozen=True)
class Drawn:
    """A measure of trainings: its figure, and some of its figures as a table."""

    title: str
    figure: Markup
    table: Table


def learning_figures(trainings: Mapping[str, TrainingCurve], key: str = "learning") -> list[Drawn]:
    """Draw each measure of the trainings, by model, over their updates; what none has is left out.

    A model's curves share its colour; those of its selected tokens are dashed.
    ``key`` begins the tables' keys.
    """
    found = []
    for number, ((title, up), lines) in enumerate(DRAWN.items()):
        curves = [
            Curve(f"{name}{line.suffix}", points, colour % 3, line.dashed)
            for colour, (name, training) in enumerate(trainings.items())
            for line in lines
            if (points := _points(training, line.figure))
        ]
        if curves:
            figure = curves_figure(title, curves, UPDATES, up)
            found.append(Drawn(title, figure, _table(f"{key}-{number}", title, curves)))
    return found


def _points(training: TrainingCurve, figure: str) -> list[Point]:
    values = [(point.update, getattr(point, figure)) for point in training.points]
    return [Point(update, value) for update, value in values if value is not None]


def _table(key: str, title: str, curves: Sequence[Curve]) -> Table:
    """Some updates, evenly chosen, the last among them, and what each curve has there."""
    updates = sorted({point.x for curve in curves for point in curve.points})
    step = math.ceil(len(updates) / MOST_ROWS)
    chosen = updates[::-1][::step][::-1]
    of_curves = [{point.x: point.value for point in curve.points} for curve in curves]
    rows = tuple(
        (f"{update:,}", *(f"{of[update]:.4g}" if update in of else MISSING for of in of_curves))
        for update in chosen
    )
    return Table(key, title, (UPDATES.name, *(curve.name for curve in curves)), rows)
