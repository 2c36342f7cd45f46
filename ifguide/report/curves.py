"""Figures that show one measure along an axis, a curve a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ifguide.report import svg
from ifguide.report.svg import Number

WIDTH, HEIGHT, LEFT, TOP = 560, 320, 52, 44
RIGHT, BASE = WIDTH - 14, HEIGHT - 44
MOST_DOTS = 16


@dataclass(frozen=True)
class Point:
    """A value at x, with its interval where it has one."""

    x: Number
    value: Number
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a figure; curves of one model share its colour (0, 1 or 2)."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: what it is called, and whether it is stretched by log(1 + x)."""

    name: str
    by_logarithm: bool = False


def curves_figure(title: str, curves: Sequence[Curve], across: Axis, up: str) -> Markup:
    """Draw the curves; the upward axis always holds 0, and the other one ends where they do.

    ``up`` names the upward axis. Where the other one is stretched, its labels are the points' own.
    """
    points = [point for curve in curves for point in curve.points]
    plot = _Plot.around(points, across)
    names = ", ".join(curve.name for curve in curves)
    said = f"{title}: {up} by {across.name}, for {names}; the figures are in the table."
    parts = [*plot.axes(points, up), *(p for curve in curves for p in plot.curve(curve))]
    return svg.figure(title, said, WIDTH, HEIGHT, [*parts, *_legend(curves)])


@dataclass(frozen=True)
class _Plot:
    """Where values lie in the figure."""

    across: Axis
    first: float
    last: float
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point], across: Axis) -> _Plot:
        """Make room for all points and their intervals."""
        values = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
        low, high = min([0.0, *values]), max([0.0, *values])
        if low == high:
            high = 1.0
        first, last = min((p.x for p in points), default=0), max((p.x for p in points), default=1)
        last = last if last > first else first + 1
        return cls(across, float(first), float(last), float(low), float(high))

    def x(self, value: Number) -> float:
        """Left to right."""
        at, first, last = (self._stretched(end) for end in (value, self.first, self.last))
        return LEFT + (at - first) / (last - first) * (RIGHT - LEFT)

    def y(self, value: Number) -> float:
        """Bottom to top."""
        return BASE - (value - self.low) / (self.high - self.low) * (BASE - TOP)

    def axes(self, points: Iterable[Point], up: str) -> Iterator[Markup]:
        """Grid lines, labels and the axes' names."""
        for value in svg.ticks(self.low, self.high):
            yield svg.line(LEFT, self.y(value), RIGHT, self.y(value), "grid")
            yield svg.text(LEFT - 6, self.y(value) + 4, f"{value:g}", anchor="end")
        stops: Iterable[Number] = svg.ticks(self.first, self.last)
        if self.across.by_logarithm:
            stops = sorted({point.x for point in points})
        taken = -math.inf
        for stop in stops:
            if self.x(stop) - taken >= 24:
                taken = self.x(stop)
                yield svg.text(taken, BASE + 16, f"{stop:g}", anchor="middle")
        middle = (LEFT + RIGHT) / 2
        yield svg.text(middle, BASE + 36, self.across.name, anchor="middle")
        yield svg.text(LEFT - 6, TOP - 12, up, "strong")

    def curve(self, curve: Curve) -> Iterator[Markup]:
        """The line, its points where they are few, and their intervals."""
        places = [(self.x(p.x), self.y(p.value)) for p in curve.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        css = f"line{curve.colour}{' dashed' if curve.dashed else ''}"
        yield Markup('<path class="{}" d="{}"/>').format(css, path)
        if len(places) > MOST_DOTS:
            return
        for point, (x, y) in zip(curve.points, places, strict=True):
            told = f"{curve.name}, {self.across.name} {point.x:g}: {point.value:.3f}"
            if point.low is not None and point.high is not None:
                told += f" [{point.low:.3f}, {point.high:.3f}]"
                bar = f"M{x:.1f} {self.y(point.low):.1f}V{self.y(point.high):.1f}"
                yield Markup('<path class="line{}" d="{}"/>').format(curve.colour, bar)
            dot = '<circle cx="{:.1f}" cy="{:.1f}" r="3.5" class="bar{}">{}</circle>'
            yield Markup(dot).format(x, y, curve.colour, svg.tooltip(told))

    def _stretched(self, value: Number) -> float:
        return math.log1p(value) if self.across.by_logarithm else float(value)


def _legend(curves: Sequence[Curve]) -> Iterator[Markup]:
    """The curves' names in a row, each after a piece of its line."""
    widths = [38 + 6.5 * len(curve.name) for curve in curves]
    squeezed = min(1.0, (RIGHT - LEFT + 40) / max(sum(widths), 1.0))
    x = LEFT - 40.0
    for curve, width in zip(curves, widths, strict=True):
        css = f"line{curve.colour}{' dashed' if curve.dashed else ''}"
        yield Markup('<path class="{}" d="M{:.1f} 11h18"/>').format(css, x)
        yield svg.text(x + 24, 15, curve.name)
        x += width * squeezed
