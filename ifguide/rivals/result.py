"""What a comparison comes to: each method set against the first one, and how all were graded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ifguide.evaluation.comparison import (
    AgainstFirst,
    AtThreshold,
    Comparison,
    ComparisonRow,
    HumanText,
    MethodFigures,
    Ratio,
)
from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.graders import grading
from ifguide.evaluation.human_text import HumanScores, drawn_probability
from ifguide.evaluation.metrics import paired_difference, paired_ratio, toxicity_probability
from ifguide.nouns import Interval
from ifguide.version import VERSION

Worst = Sequence[float | None]  # the highest toxicity of each prompt's samples
Noun = TypeVar("Noun")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a comparison was made: the command, the day (ISO 8601), and the machine in a line."""

    command: str
    date: str
    machine: str


@dataclass(frozen=True, kw_only=True)
class ComparisonTerms:
    """How methods are set against one another.

    Args:
        evaluation: judges, threshold, sampling and resampling.
        thresholds: further ones to read TP from.
        seed: draws the resamples, with the name of the prompt set.
    """

    evaluation: EvaluationConfig
    thresholds: Sequence[float]
    seed: int

    @property
    def every_threshold(self) -> tuple[float, ...]:
        """The evaluation's threshold and the further ones, each once."""
        return tuple(sorted({self.evaluation.threshold, *self.thresholds}))

    def draws(self, name: str) -> dict[str, int]:
        """Return the number of resamples and the seed for the prompts or the text of this name."""
        return {
            "resamples": self.evaluation.resamples,
            "seed": derived_seed(self.seed, name),
        }


def result_of(
    methods: Sequence[MethodFigures],
    terms: ComparisonTerms,
    origin: Origin,
    labeller: str | None = None,
    human: HumanScores | None = None,
    filtered_by: str | None = None,
) -> Comparison:
    """Return the methods with each one set against the first, and how they were graded.

    Args:
        methods: their figures, the first one being what all are set against.
        terms: judges, thresholds and resampling.
        origin: how the comparison was made.
        labeller: the judge that labelled what a method learnt from, if any did.
        human: what the judges make of text that people wrote, if there is any.
        filtered_by: the judge by which a filter left text out, if one did.
    """
    made = {"what DPO and RAD learn from": labeller, "what filters leave out": filtered_by}
    labelled = {what: judge for what, judge in made.items() if judge}
    evaluation = terms.evaluation
    return Comparison(
        version=VERSION,
        judges=tuple(evaluation.judges),
        labeller=labeller,
        warnings=grading(labelled, evaluation.judges).warnings,
        threshold=evaluation.threshold,
        thresholds=terms.every_threshold,
        samples=evaluation.sampling.samples,
        tokens=evaluation.sampling.tokens,
        rows=tuple(_row(methods[0], method, terms) for method in methods),
        human_text=None if human is None else human_text(human, terms),
        command=origin.command,
        date=origin.date,
        machine=origin.machine,
    )


def against_first(
    first: MethodFigures, method: MethodFigures, terms: ComparisonTerms
) -> dict[str, dict[str, AgainstFirst]]:
    """Return differences and ratios by judge and prompt set, over resamples of the same prompts."""
    threshold = terms.evaluation.threshold

    def compared(name: str, before: Worst, after: Worst) -> AgainstFirst:
        draws = terms.draws(name)
        return AgainstFirst(
            tp_ratio=_ratio(paired_ratio(before, after, threshold=threshold, **draws)),
            tp_difference=paired_difference(before, after, threshold=threshold, **draws),
            emt_difference=paired_difference(before, after, **draws),
        )

    return _by_judge_and_set(first, method, compared)


def by_threshold(
    first: MethodFigures, method: MethodFigures, terms: ComparisonTerms
) -> dict[str, dict[str, dict[str, AtThreshold]]]:
    """Return the method's TP, and the first one's over it, by judge, prompt set and threshold."""

    def compared(name: str, before: Worst, after: Worst) -> dict[str, AtThreshold]:
        draws = terms.draws(name)
        judged = np.array([[score] for score in after if score is not None])
        return {
            f"{threshold:g}": AtThreshold(
                tp=toxicity_probability(judged, threshold=threshold, **draws),
                ratio=_ratio(paired_ratio(before, after, threshold=threshold, **draws)),
            )
            for threshold in terms.every_threshold
        }

    return _by_judge_and_set(first, method, compared)


def human_text(human: HumanScores, terms: ComparisonTerms) -> HumanText:
    """Return what TP would be of the human text, by judge and threshold."""
    samples, draws = terms.evaluation.sampling.samples, terms.draws(human.text)
    tp = {
        judge: {
            f"{threshold:g}": drawn_probability(np.array(scores), threshold, samples, **draws)
            for threshold in terms.every_threshold
        }
        for judge, scores in human.scores.items()
    }
    return HumanText(text=human.text, pieces=len(next(iter(human.scores.values()))), tp=tp)


def _row(first: MethodFigures, method: MethodFigures, terms: ComparisonTerms) -> ComparisonRow:
    return ComparisonRow(
        name=method.name,
        about=method.about,
        figures=method.figures,
        cost=method.cost,
        against_first=against_first(first, method, terms),
        by_threshold=by_threshold(first, method, terms),
        curve=method.curve,
    )


def _by_judge_and_set(
    first: MethodFigures, method: MethodFigures, compared: Callable[[str, Worst, Worst], Noun]
) -> dict[str, dict[str, Noun]]:
    """Compare the two on each prompt set, as each judge sees them."""
    return {
        judge: {
            name: compared(name, before, method.figures.judges[judge].worst[name])
            for name, before in verdict.worst.items()
        }
        for judge, verdict in first.figures.judges.items()
    }


def _ratio(interval: Interval) -> Ratio:
    value, low, high = (
        end if math.isfinite(end) else None for end in (interval.value, interval.low, interval.high)
    )
    return Ratio(value=value, low=low, high=high)
