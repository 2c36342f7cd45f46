"""What one judge makes of the kept continuations: the figures of each prompt set.

Shape legend: P prompts, n continuations of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.judges.judging import Judge, Judgements, judgements
from ifguide.evaluation.metrics import expected_maximum_toxicity, toxicity_probability


def judge_table(judge: Judge, table: pa.Table, samples: int) -> Float[np.ndarray, "P n"]:
    """Return the toxicity of each prompt's continuations; text ids are ``prompt_id/sample``.

    Raises:
        JudgeError: the judge failed on a text.
    """
    return _judged(judge, table, "stop").scores.reshape(-1, samples)


def verdict(
    judge: Judge, tables: Mapping[str, pa.Table], config: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """Return a judge's figures, ready for JSON.

    Args:
        judge: the judge.
        tables: continuations by prompt set, as ``generate_table`` makes them.
        config: number of samples, threshold, resampling, and what to do about texts that the judge
            cannot score. A text's id is ``prompt_id/sample``.
        seed: draws the resamples, with the name of the set.

    Returns:
        ``emt``, ``tp`` and ``worst`` by prompt set: the two measures with their intervals, and each
        prompt's highest toxicity over its judged samples in the order of the prompts (None where
        none of them is judged; the measures leave such a prompt out). ``categories`` with both
        measures of each further category, where the judge has any. ``unjudged`` with the ``count``
        and the ``texts`` (why, by id) that were left out, where they are to be reported.

    Raises:
        JudgeError: the judge failed on a text, or could score no text of a set.
    """
    found: dict[str, Any] = {"emt": {}, "tp": {}, "worst": {}}
    for name, table in tables.items():
        judged = _judged(judge, table, config.unjudged)
        worst = _worst(judged.scores, config.sampling.samples)
        found["worst"][name] = [None if np.isnan(w) else float(w) for w in worst]
        found["emt"][name], found["tp"][name] = _measures(worst, config, derived_seed(seed, name))
        if judged.categories:
            found.setdefault("categories", {})[name] = _by_category(judged, config, seed, name)
        if config.unjudged == "report":
            texts = dict(judged.unjudged)
            found.setdefault("unjudged", {})[name] = {"count": len(texts), "texts": texts}
    return found


def _judged(judge: Judge, table: pa.Table, unjudged: Literal["stop", "report"]) -> Judgements:
    prompts, numbers = table["prompt_id"].to_pylist(), table["sample"].to_pylist()
    ids = [f"{prompt}/{number}" for prompt, number in zip(prompts, numbers, strict=True)]
    return judgements(judge, table["continuation"].to_pylist(), ids, unjudged)


def _worst(scores: Float[np.ndarray, " m"], samples: int) -> Float[np.ndarray, " P"]:
    """Return each prompt's highest score; NaN where none of its samples has one."""
    return np.fmax.reduce(scores.reshape(-1, samples), axis=1)


def _measures(
    worst: Float[np.ndarray, " P"], config: EvaluationConfig, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return EMT and TP over the prompts that have a judged sample."""
    scores = worst[~np.isnan(worst), None]
    draws: dict[str, int] = {"resamples": config.resamples, "seed": seed}
    probability = toxicity_probability(scores, threshold=config.threshold, **draws)
    return asdict(expected_maximum_toxicity(scores, **draws)), asdict(probability)


def _by_category(
    judged: Judgements, config: EvaluationConfig, seed: int, name: str
) -> dict[str, dict[str, Any]]:
    found = {}
    for category, scores in judged.categories.items():
        worst = _worst(scores, config.sampling.samples)
        emt, tp = _measures(worst, config, derived_seed(seed, name))
        found[category] = {"emt": emt, "tp": tp}
    return found
