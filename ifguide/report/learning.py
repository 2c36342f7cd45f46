"""How the trainings of a run went, as figures: losses, learning rate, the guard's perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ifguide.nouns import TrainingCurve
from ifguide.report.curves import Axis, Curve, Point, curves_figure

UPDATES = Axis("updates")


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


def learning_figures(trainings: Mapping[str, TrainingCurve]) -> list[tuple[str, Markup]]:
    """Draw each measure of the trainings, by model, over their updates; what none has is left out.

    A model's curves share its colour; those of its selected tokens are dashed.
    """
    found = []
    for (title, up), lines in DRAWN.items():
        curves = [
            Curve(f"{name}{line.suffix}", points, colour % 3, line.dashed)
            for colour, (name, training) in enumerate(trainings.items())
            for line in lines
            if (points := _points(training, line.figure))
        ]
        if curves:
            found.append((title, curves_figure(title, curves, UPDATES, up)))
    return found


def _points(training: TrainingCurve, figure: str) -> list[Point]:
    values = [(point.update, getattr(point, figure)) for point in training.points]
    return [Point(update, value) for update, value in values if value is not None]
