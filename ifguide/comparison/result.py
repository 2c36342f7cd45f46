"""What a comparison comes to: ``table.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from ifguide.config import Config
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.graders import grading
from ifguide.evaluation.metrics import paired_difference, paired_ratio
from ifguide.nouns import Interval
from ifguide.version import VERSION

Entry = Mapping[str, Any]


def result_of(rows: Sequence[Entry], config: Config, labeller: str | None) -> dict[str, Any]:
    """Return the rows with each one set against the first, and how they were graded.

    Args:
        rows: what ``Comparison.row`` returned, the first one being what all are set against.
        config: the run's.
        labeller: the judge that labelled what a row learnt from, if any did.
    """
    labelled = {"what DPO and RAD learn from": labeller} if labeller else {}
    evaluation, sampling = config.evaluation, config.evaluation.sampling
    return {
        "version": VERSION,
        "judges": list(evaluation.judges),
        "labeller": labeller,
        "warnings": list(grading(labelled, evaluation.judges).warnings),
        "threshold": evaluation.threshold,
        "samples": sampling.samples,
        "tokens": sampling.tokens,
        "rows": [{**row, "against_first": against(rows[0], row, config)} for row in rows],
    }


def against(first: Entry, row: Entry, config: Config) -> dict[str, Any]:
    """Return differences and ratios by judge and prompt set, over resamples of the same prompts."""
    evaluation = config.evaluation
    found: dict[str, dict[str, Any]] = {}
    for judge, verdict in first["figures"]["judges"].items():
        of_row = row["figures"]["judges"][judge]["worst"]
        for name, before in verdict["worst"].items():
            after, seed = of_row[name], derived_seed(config.seed, name)
            difference = partial(
                paired_difference, before, after, resamples=evaluation.resamples, seed=seed
            )
            ratio = paired_ratio(
                before,
                after,
                threshold=evaluation.threshold,
                resamples=evaluation.resamples,
                seed=seed,
            )
            found.setdefault(judge, {})[name] = {
                "tp_ratio": _finite(ratio),
                "tp_difference": _finite(difference(threshold=evaluation.threshold)),
                "emt_difference": _finite(difference()),
            }
    return found


def _finite(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON has it: null is infinite."""
    return {end: value if math.isfinite(value) else None for end, value in asdict(interval).items()}
