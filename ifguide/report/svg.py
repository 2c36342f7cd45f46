"""What the figures are drawn with: a few SVG elements, everything in them escaped.

XML has no place for control characters, not even escaped: names spell them out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from ifguide.report.display import visible_text

Number = int | float


def ticks(low: float, high: float) -> Iterable[float]:
    """About five round scores between the ends."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * times for times in (1, 2, 5, 10) if unit * times >= rough), rough)
    first = math.ceil(low / step)
    last = math.floor(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def text(x: Number, y: Number, text: str, css: str = "", anchor: str = "start") -> Markup:
    """Return a text; ``css`` names its classes."""
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, css, anchor, _named(text)
    )


def line(x1: Number, y1: Number, x2: Number, y2: Number, css: str) -> Markup:
    """Return a straight line."""
    line = '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>'
    return Markup(line).format(x1, y1, x2, y2, css)


def rect(
    x: Number, y: Number, width: Number, height: Number, css: str, told: str | None = None
) -> Markup:
    """Return a bar; ``told`` is its tooltip."""
    title = tooltip(told) if told else Markup()
    box = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}">{}</rect>'
    return Markup(box).format(x, y, width, height, css, title)


def tooltip(told: str) -> Markup:
    """Return what is told of the element that it stands in."""
    return Markup("<title>{}</title>").format(_named(told))


def figure(title: str, said: str, width: int, height: int, parts: Iterable[Markup]) -> Markup:
    """Return a whole figure with a title and a description for screen readers."""
    head = '<svg class="figure" viewBox="0 0 {} {}" role="img" aria-label="{}">'
    opened = Markup(head).format(width, height, _named(said)) + tooltip(title)
    return opened + Markup().join(parts) + Markup("</svg>")


def _named(text: str) -> str:
    return visible_text(text, one_line=True)
