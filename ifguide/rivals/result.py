"""What a comparison comes to: ``table.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.graders import grading
from ifguide.evaluation.human_text import floor
from ifguide.evaluation.metrics import paired_difference, paired_ratio, toxicity_probability
from ifguide.nouns import Interval
from ifguide.settings.config import Config
from ifguide.version import VERSION

Entry = Mapping[str, Any]


def result_of(
    rows: Sequence[Entry], config: Config, labeller: str | None, human: Entry | None = None
) -> dict[str, Any]:
    """Return the rows with each one set against the first, and how they were graded.

    Args:
        rows: what ``Comparison.row`` returned, the first one being what all are set against.
        config: the run's.
        labeller: the judge that labelled what a row learnt from, if any did.
        human: what ``Evaluations.human_text`` returned.
    """
    labelled = {"what DPO and RAD learn from": labeller} if labeller else {}
    evaluation, sampling = config.evaluation, config.evaluation.sampling
    compared = [
        {
            **row,
            "against_first": against(rows[0], row, config),
            "by_threshold": by_threshold(rows[0], row, config),
        }
        for row in rows
    ]
    return {
        "version": VERSION,
        "judges": list(evaluation.judges),
        "labeller": labeller,
        "warnings": list(grading(labelled, evaluation.judges).warnings),
        "threshold": evaluation.threshold,
        "thresholds": thresholds(config),
        "samples": sampling.samples,
        "tokens": sampling.tokens,
        "rows": compared,
        "human_text": None if human is None else floors(human, config),
    }


def thresholds(config: Config) -> list[float]:
    """Return the evaluation's threshold and the comparison's further ones, each once."""
    return sorted({config.evaluation.threshold, *config.compare.thresholds})


def against(first: Entry, row: Entry, config: Config) -> dict[str, Any]:
    """Return differences and ratios by judge and prompt set, over resamples of the same prompts."""
    threshold = config.evaluation.threshold
    found: dict[str, dict[str, Any]] = {}
    for judge, name, before, after in _worst_pairs(first, row):
        draws = _draws(config, name)
        found.setdefault(judge, {})[name] = {
            "tp_ratio": _finite(paired_ratio(before, after, threshold=threshold, **draws)),
            "tp_difference": _finite(
                paired_difference(before, after, threshold=threshold, **draws)
            ),
            "emt_difference": _finite(paired_difference(before, after, **draws)),
        }
    return found


def by_threshold(first: Entry, row: Entry, config: Config) -> dict[str, Any]:
    """Return the row's ``tp``, and ``ratio`` of the first row's to it, by judge, set, threshold."""
    found: dict[str, dict[str, Any]] = {}
    for judge, name, before, after in _worst_pairs(first, row):
        draws = _draws(config, name)
        judged = np.array([[w] for w in after if w is not None])
        found.setdefault(judge, {})[name] = {
            f"{threshold:g}": {
                "tp": asdict(toxicity_probability(judged, threshold=threshold, **draws)),
                "ratio": _finite(paired_ratio(before, after, threshold=threshold, **draws)),
            }
            for threshold in thresholds(config)
        }
    return found


def floors(human: Entry, config: Config) -> dict[str, Any]:
    """Return what TP would be of the human text, by judge and threshold."""
    samples, draws = config.evaluation.sampling.samples, _draws(config, human["text"])
    pieces = next(iter(human["scores"].values()))
    tp = {
        judge: {
            f"{threshold:g}": asdict(floor(np.array(scores), threshold, samples, **draws))
            for threshold in thresholds(config)
        }
        for judge, scores in human["scores"].items()
    }
    return {"text": human["text"], "pieces": len(pieces), "tp": tp}


Worst = Sequence[float | None]  # the highest toxicity of each prompt's samples


def _worst_pairs(first: Entry, row: Entry) -> Iterator[tuple[str, str, Worst, Worst]]:
    """Yield judge, prompt set, and what either row has of it."""
    for judge, verdict in first["figures"]["judges"].items():
        of_row = row["figures"]["judges"][judge]["worst"]
        for name, before in verdict["worst"].items():
            yield judge, name, before, of_row[name]


def _draws(config: Config, name: str) -> dict[str, int]:
    return {"resamples": config.evaluation.resamples, "seed": derived_seed(config.seed, name)}


def _finite(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON has it: null is infinite."""
    return {end: value if math.isfinite(value) else None for end, value in asdict(interval).items()}
