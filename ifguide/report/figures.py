"""The page's figures as small inline SVGs, without a plotting library.

A figure has a title and a description for screen readers, holds no script and no colour of its
own: ``STYLE`` gives the classes their colours, for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from markupsafe import Markup

from ifguide.arrays import AnyArray
from ifguide.nouns import Corpus, Interval, Selection, TokenScores
from ifguide.report import svg
from ifguide.report.tables import (
    MEASURES,
    MeasureName,
    Models,
    Number,
    measure_of,
    names_in,
)

_BINS = 60
_SLAB_TOKENS = 1 << 22
_SAMPLE_TOKENS = 1 << 20
_RANGE_QUANTILES = (0.0005, 0.9995)

STYLE = """
.figure { width: 100%; height: auto; display: block; font-size: 12px; }
.figure text { fill: var(--soft); font-family: inherit; font-variant-numeric: tabular-nums; }
.figure .strong { fill: var(--ink); font-weight: 600; }
.figure .grid { stroke: var(--line); stroke-width: 1; }
.figure .whisker { stroke: var(--ink); stroke-width: 1.25; fill: none; }
.figure .bar0 { fill: var(--before); }
.figure .bar1 { fill: var(--after); }
.figure .bar2 { fill: var(--third); }
.figure .line0 { stroke: var(--before); stroke-width: 2; fill: none; }
.figure .line1 { stroke: var(--after); stroke-width: 2; fill: none; }
.figure .line2 { stroke: var(--third); stroke-width: 2; fill: none; }
.figure .dashed { stroke-dasharray: 5 4; }
.figure .count { fill: var(--before); }
.figure .over { fill: var(--hot); }
.figure .marked { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 2 2; }
.figure .threshold { stroke: var(--ink); stroke-width: 1.5; }
@media (max-width: 640px) { .figure { font-size: 14px; } }
"""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of scores between ``edges``, and of those ``below`` the first and from the last on."""

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]
    below: int
    above: int

    @property
    def columns(self) -> Int[np.ndarray, " columns"]:
        """All counts from left to right, the overflow at either end a column of its own."""
        return np.concatenate([[self.below], self.counts, [self.above]]).astype(np.int64)


def histogram(
    scores: Float[AnyArray, "N T"],
    has_loss: Bool[np.ndarray, "N T"],
    bins: int,
    edges: Float[np.ndarray, " edges"] | None = None,
) -> Histogram:
    """Count the scores of tokens with a loss in ``bins`` equal bins, walking slabs of blocks.

    The bins span the quantiles 0.0005 to 0.9995 (of an even sample where the corpus is large), so
    that a few outliers do not squeeze all others into one bin; these are counted at the ends.
    Given ``edges``, these are used.
    """
    if edges is None:
        edges = _edges(scores, has_loss, bins)
    counts = np.zeros(bins + 2, dtype=np.int64)
    for slab, counted in _slabs(scores, has_loss):
        where = np.searchsorted(edges, slab[counted], side="right")
        counts += np.bincount(where, minlength=bins + 2)
    return Histogram(edges, counts[1:-1], int(counts[0]), int(counts[-1]))


def figure_of_scores(corpus: Corpus, scores: TokenScores, selection: Selection) -> Markup:
    """The histogram of all scores, and of the marked tokens' where the corpus has marks."""
    counts = histogram(scores.values, corpus.has_loss, _BINS)
    marked = None
    if np.any(corpus.marked):
        both = corpus.has_loss & np.asarray(corpus.marked)
        marked = histogram(scores.values, both, _BINS, edges=counts.edges)
    return score_figure(counts, marked, selection.threshold)


def toxicity_bars(models: Models, measure: MeasureName) -> Markup:
    """Bars with interval whiskers of one measure, models by prompt set."""
    by_model = {name: measure_of(model, measure) for name, model in models.items()}
    highest = max((i.high for figures in by_model.values() for i in figures.values()), default=1.0)
    top = next((limit for limit in (0.1, 0.2, 0.5, 1.0) if highest <= limit), highest)
    width, left, plot, bar = 420, 4, 340, 15
    parts: list[Markup] = []
    y = 8
    for prompts in names_in(by_model.values()):
        parts.append(svg.text(left, y + 11, f"{prompts} prompts", "strong"))
        y += 18
        for index, (name, figures) in enumerate(by_model.items()):
            if prompts in figures:
                of, scale = figures[prompts], plot / top
                parts += _bar(of, y, index % 3, scale=scale, left=left, height=bar, name=name)
            y += bar + 4
        y += 10
    title = f"{MEASURES[measure]} by prompt set"
    names = ", ".join(models)
    said = f"{title}, for {names}, with intervals; the figures are in the table."
    grid, labels = _bar_axis(top, left, plot, y)
    return svg.figure(title, said, width, y + 22, [*grid, *parts, *labels])


def score_figure(counts: Histogram, marked: Histogram | None, threshold: float) -> Markup:
    """The score histogram on a log axis of counts, with the threshold as a line.

    ``marked`` counts the human-marked tokens in the same bins; they are drawn as an outline.
    """
    width, height = 480, 280
    plot = _Plot(counts, left=44, right=width - 10, top=26, base=height - 40)
    parts = [*plot.count_axis(), *plot.bars(threshold), *plot.score_axis()]
    if marked is not None:
        parts.append(plot.outline(marked))
    if math.isfinite(threshold):
        parts += plot.mark(threshold)
    title = "Token scores and the threshold"
    said = f"Histogram of {int(counts.columns.sum()):,} token scores; threshold {threshold:.4g}."
    return svg.figure(title, said, width, height, parts)


@dataclass(frozen=True)
class _Plot:
    """Where the histogram's scores and counts lie in the figure, and what is drawn there."""

    counts: Histogram
    left: Number
    right: Number
    top: Number
    base: Number

    @property
    def step(self) -> float:
        """Width of a column."""
        return (self.right - self.left) / self.counts.columns.size

    @property
    def decades(self) -> int:
        """Powers of ten that the axis of counts spans."""
        return max(1, math.ceil(math.log10(max(int(self.counts.columns.max()), 1) + 1)))

    def x(self, score: float) -> float:
        """Left to right, one column of overflow at either end."""
        low, high = float(self.counts.edges[0]), float(self.counts.edges[-1])
        inner = (score - low) / (high - low) * self.counts.counts.size
        return self.left + self.step * (1 + min(max(inner, -1.0), self.counts.counts.size + 1.0))

    def y(self, count: int) -> float:
        """Bottom to top, by the logarithm of 1 + count."""
        share = min(math.log10(count + 1) / self.decades, 1.0)
        return self.base - (self.base - self.top) * share

    def bars(self, threshold: float) -> Iterator[Markup]:
        """A bar for each column; those that lie above the threshold in their own colour."""
        lowest = np.concatenate([[-math.inf], self.counts.edges])
        for index, count in enumerate(self.counts.columns.tolist()):
            if count:
                x, y = self.left + index * self.step, self.y(count)
                css = "over" if lowest[index] >= threshold else "count"
                yield svg.rect(x, y, self.step * 0.92, self.base - y, css)

    def outline(self, counts: Histogram) -> Markup:
        """A line that follows the tops of these counts' columns."""
        tops = [self.y(count) for count in counts.columns.tolist()]
        path = f"M{self.left:.1f} {tops[0]:.1f}" + "".join(
            f"V{y:.1f}H{self.left + (index + 1) * self.step:.1f}" for index, y in enumerate(tops)
        )
        return Markup('<path class="marked" d="{}"/>').format(path)

    def count_axis(self) -> Iterator[Markup]:
        """A grid line and a label for 10, 100 ... tokens (every other one where they are many)."""
        yield svg.line(self.left, self.base, self.right, self.base, "grid")
        stride = 1 + self.decades // 6
        for decade in range(stride, self.decades + 1, stride):
            y = self.y(10**decade)
            yield svg.line(self.left, y, self.right, y, "grid")
            yield svg.text(self.left - 6, y + 4, _thousands(10**decade), anchor="end")

    def score_axis(self) -> Iterator[Markup]:
        """Labels of a few round scores, and the axis's name."""
        for score in svg.ticks(float(self.counts.edges[0]), float(self.counts.edges[-1])):
            yield svg.text(self.x(score), self.base + 16, f"{score:g}", anchor="middle")
        middle = (self.left + self.right) / 2
        yield svg.text(middle, self.base + 35, "token score", anchor="middle")

    def mark(self, threshold: float) -> tuple[Markup, Markup]:
        """The threshold's line and label."""
        x = self.x(threshold)
        anchor, shift = ("end", -6) if x > (self.left + self.right) / 2 else ("start", 6)
        label = f"threshold {threshold:.3g}"
        return (
            svg.line(x, self.top - 20, x, self.base, "threshold"),
            svg.text(x + shift, self.top - 8, label, "strong", anchor),
        )


def _edges(
    scores: Float[AnyArray, "N T"], has_loss: Bool[np.ndarray, "N T"], bins: int
) -> Float[np.ndarray, " edges"]:
    """Equal bins between the two quantiles, in float64, of an even sample of the scores."""
    stride = max(1, math.ceil(scores.size / _SAMPLE_TOKENS))
    sample = [slab[counted][::stride] for slab, counted in _slabs(scores, has_loss)]
    values = np.concatenate([*sample, np.zeros(0)]).astype(np.float64)
    low, high = np.quantile(values, _RANGE_QUANTILES) if values.size else (-1.0, 1.0)
    room = 1e-6 * max(abs(low), abs(high), 1e-6)  # the largest of few scores stays inside
    return np.linspace(low - room, high + room, bins + 1)


def _slabs(
    scores: Float[AnyArray, "N T"], has_loss: Bool[np.ndarray, "N T"]
) -> Iterator[tuple[Float[np.ndarray, "n T"], Bool[np.ndarray, "n T"]]]:
    blocks, length = scores.shape
    step = max(1, _SLAB_TOKENS // max(length, 1))
    for first in range(0, blocks, step):
        rows = slice(first, first + step)
        yield np.asarray(scores[rows]), np.asarray(has_loss[rows])


def _bar_axis(
    top: Number, left: Number, length: Number, base: Number
) -> tuple[list[Markup], list[Markup]]:
    """The grid lines and the labels of five values from 0 to ``top``, left to right."""
    ticks = [top * step / 4 for step in range(5)]
    places = [left + tick / top * length for tick in ticks]
    grid = [svg.line(x, 4, x, base, "grid") for x in places]
    labels = [
        svg.text(x, base + 15, f"{tick:g}", anchor="middle" if tick else "start")
        for tick, x in zip(ticks, places, strict=True)
    ]
    return grid, labels


def _bar(
    figure: Interval,
    y: Number,
    colour: int,
    *,
    scale: Number,
    left: Number,
    height: Number,
    name: str,
) -> list[Markup]:
    """One bar, its whisker, and its value beside them."""
    value, low, high = figure.value, figure.low, figure.high
    start, stop, middle = left + low * scale, left + high * scale, y + height / 2
    whisker = f"M{start:.1f} {middle - 3:.1f}v6m0-3H{stop:.1f}m0-3v6"
    told = f"{name}: {value:.3f} [{low:.3f}, {high:.3f}]"
    return [
        svg.rect(left, y, max(value * scale, 1.0), height, f"bar{colour}", told),
        Markup('<path class="whisker" d="{}"/>').format(whisker),
        svg.text(max(stop, left + value * scale) + 6, middle + 4, f"{value:.3f}"),
    ]


def _thousands(count: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count // size}{letter}"
    return str(count)
