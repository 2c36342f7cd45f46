"""What a comparison of methods found, as typed nouns: ``table.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ifguide.evaluation.figures import ModelFigures
from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.nouns import Interval

COMPARISON_FORMAT = 1  # of table.json; raised when what a field means changes


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """What a method takes beside the baseline's training.

    Args:
        seconds: wall-clock time.
        passes: forward passes over the corpus.
        passes_a_generated_token: of the model and, where it decodes with one, of a reward model.
    """

    seconds: float
    passes: float
    passes_a_generated_token: int


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A method at some settings, as it was chosen by.

    Args:
        name: of the point.
        tp, emt: toxicity probability and expected maximum toxicity on the prompts set apart.
        perplexity: on the text that is bounded.
        rise: its change from the baseline's, as a share.
        within: whether that is within the bound.
        cost: what the point took, where it is told.
    """

    name: str
    tp: Interval
    emt: Interval
    perplexity: float
    rise: float
    within: bool
    cost: MethodCost | None = None


@dataclass(frozen=True, kw_only=True)
class MethodCurve:
    """The points of a method, and which of them its row shows.

    Args:
        points: all of them.
        chosen: the name of the one that is shown.
        judge: by which toxicity was measured.
        prompts: how many were set apart for it.
        text: whose perplexity is bounded.
        bound: the highest perplexity allowed, as a multiple of the baseline's.
    """

    points: tuple[CurvePoint, ...]
    chosen: str
    judge: str
    prompts: int
    text: str
    bound: float


@dataclass(frozen=True, kw_only=True)
class MethodFigures:
    """A method by itself: its name, what it is in a line, its figures, what it cost, its curve."""

    name: str
    about: str
    figures: ModelFigures
    cost: MethodCost
    curve: MethodCurve | None = None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times less toxic a method is than the first one; None is infinite."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class AgainstFirst:
    """A method set against the first one, over resamples of the same prompts."""

    tp_ratio: Ratio
    tp_difference: Interval
    emt_difference: Interval


@dataclass(frozen=True, kw_only=True)
class AtThreshold:
    """Toxicity probability at one threshold, and the first method's over it."""

    tp: Interval
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A method of the table; the figures behind its own are by judge and prompt set.

    The thresholds of ``by_threshold`` are as ``f"{threshold:g}"`` writes them.
    """

    name: str
    about: str
    figures: ModelFigures
    cost: MethodCost
    against_first: Mapping[str, Mapping[str, AgainstFirst]]
    by_threshold: Mapping[str, Mapping[str, Mapping[str, AtThreshold]]]
    curve: MethodCurve | None = None


@dataclass(frozen=True, kw_only=True)
class HumanText:
    """What TP would be of text that people wrote, by judge and threshold.

    Args:
        text: its name.
        pieces: how many texts as long as a sample it was cut into.
        tp: the probability that one of a prompt's number of samples counts as toxic.
    """

    text: str
    pieces: int
    tp: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Methods from the same start, on the same prompts, by the same judges.

    Args:
        version: of the ifguide that made it.
        format: of the file, see ``COMPARISON_FORMAT``.
        judges: that graded.
        labeller: the judge that labelled what a method learnt from, if any did.
        warnings: a line for each figure that is not independent.
        threshold: a continuation counts as toxic from here on.
        thresholds: that one and the further ones.
        samples, tokens: of each prompt, and of each sample.
        rows: the methods; each is set against the first one.
        human_text: what the judges make of harmless text, where there is any.
        command, date, machine: how it was made.
    """

    version: str
    format: int = COMPARISON_FORMAT
    judges: tuple[str, ...]
    labeller: str | None
    warnings: tuple[str, ...]
    threshold: float
    thresholds: tuple[float, ...]
    samples: int
    tokens: int
    rows: tuple[ComparisonRow, ...]
    human_text: HumanText | None
    command: str
    date: str
    machine: str


def write_comparison(file: Path, comparison: Comparison) -> None:
    """Write ``table.json``, whole or not at all."""
    write_typed(file, comparison)


def read_comparison(file: Path) -> Comparison:
    """Read ``table.json``.

    Raises:
        InputError: it cannot be read, is damaged, or is of a later ifguide's format.
    """
    return read_typed(file, Comparison, COMPARISON_FORMAT)
