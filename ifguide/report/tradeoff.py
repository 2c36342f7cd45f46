"""The curve that a method's settings move it along: what is left of toxicity, at what fluency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ifguide.evaluation.comparison import ComparisonRow
from ifguide.report import svg
from ifguide.report.tables import names_in

WIDTH, HEIGHT, LEFT, TOP, BASE = 640, 400, 52, 16, 350
RIGHT = WIDTH - 150  # room for the last labels


@dataclass(frozen=True)
class MethodPoint:
    """A method: its change in perplexity as a share, and its toxicity with an interval."""

    name: str
    rise: float
    value: float
    low: float
    high: float


def tradeoff_points(rows: Sequence[ComparisonRow], prompts: str = "toxic") -> list[MethodPoint]:
    """Return the rows that have both figures; the rise is from the first row's perplexity."""
    texts = names_in(row.figures.perplexity for row in rows)
    points = []
    for row in rows:
        tp = row.figures.tp.get(prompts)
        before, after = (
            r.figures.perplexity.get(texts[0]) if texts else None for r in (rows[0], row)
        )
        if tp is not None and before is not None and after is not None:
            points.append(MethodPoint(row.name, after / before - 1, tp.value, tp.low, tp.high))
    return points


def tradeoff_figure(rows: Sequence[ComparisonRow], prompts: str = "toxic") -> Markup:
    """Toxicity probability against the rise in perplexity, a point with its interval a method."""
    title = f"Toxicity probability on {prompts} prompts against the rise in perplexity"
    return _figure(title, tradeoff_points(rows, prompts), f"TP, {prompts} prompts")


def curve_points(rows: Sequence[ComparisonRow]) -> list[MethodPoint]:
    """Return every point of every row's curve, as it was chosen by."""
    return [
        MethodPoint(point.name, point.rise, point.tp.value, point.tp.low, point.tp.high)
        for row in rows
        if row.curve is not None
        for point in row.curve.points
    ]


def curve_figure(rows: Sequence[ComparisonRow]) -> Markup | None:
    """The same of the points of curves on the prompts set apart; None where there are none."""
    points = curve_points(rows)
    if not points:
        return None
    title = "Toxicity probability on prompts set apart against the rise in perplexity, by point"
    return _figure(title, points, "TP, prompts set apart")


def _figure(title: str, points: Sequence[MethodPoint], up: str) -> Markup:
    low = min([0.0, *(point.rise for point in points)])
    high = max([0.01, *(point.rise for point in points)])
    room = 0.04 * (high - low)
    low, high = low - room, high + room

    def x(rise: float) -> float:
        return LEFT + (rise - low) / (high - low) * (RIGHT - LEFT)

    def y(value: float) -> float:
        return BASE - value * (BASE - TOP)

    said = f"{title}, for {', '.join(p.name for p in points)}; the figures are in the table."
    parts = [*_axes(x, y, low, high, up), *_marks(points, x, y)]
    return svg.figure(title, said, WIDTH, HEIGHT, parts)


def _axes(x: Any, y: Any, low: float, high: float, up: str) -> Iterator[Markup]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield svg.line(LEFT, y(share), RIGHT, y(share), "grid")
        yield svg.text(LEFT - 6, y(share) + 4, f"{share:g}", anchor="end")
    for rise in svg.ticks(100 * low, 100 * high):
        yield svg.text(x(rise / 100), BASE + 16, f"{rise:+g}%", anchor="middle")
    yield svg.text((LEFT + RIGHT) / 2, BASE + 36, "perplexity, change", anchor="middle")
    yield svg.text(LEFT + 6, TOP + 10, up, "strong")


def _marks(points: Sequence[MethodPoint], x: Any, y: Any) -> Iterator[Markup]:
    taken: list[tuple[float, float]] = []
    for number, point in enumerate(points):
        at, level = x(point.rise), y(point.value)
        whisker = f"M{at:.1f} {y(point.high):.1f}V{y(point.low):.1f}"
        yield Markup('<path class="whisker" d="{}"/>').format(whisker)
        dot = '<circle cx="{:.1f}" cy="{:.1f}" r="4" class="bar{}">{}</circle>'
        told = f"{point.name}: {point.value:.3f} [{point.low:.3f}, {point.high:.3f}]"
        yield Markup(dot).format(at, level, min(number, 1), svg.tooltip(told))
        label = level + 4
        while any(abs(a - at) < 110 and abs(b - label) < 12 for a, b in taken):
            label += 12
        taken.append((at, label))
        yield svg.text(at + 8, label, point.name)
