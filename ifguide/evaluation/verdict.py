"""What one judge makes of the kept continuations: the figures of each prompt set.

Shape legend: P prompts, n continuations of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.figures import Measures, Unjudged, Verdict
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.judges.judging import Judge, Judgements, WeighedJudge, judgements
from ifguide.evaluation.metrics import expected_maximum_toxicity, toxicity_probability


def judge_table(judge: Judge, table: pa.Table, samples: int) -> Float[np.ndarray, "P n"]:
    """Return the toxicity of each prompt's continuations; text ids are ``prompt_id/sample``.

    Raises:
        JudgeError: the judge failed on a text.
    """
    return _judged(judge, table, "stop").scores.reshape(-1, samples)


def verdict(
    judge: Judge, tables: Mapping[str, pa.Table], config: EvaluationConfig, seed: int
) -> Verdict:
    """Return a judge's figures.

    Args:
        judge: the judge.
        tables: continuations by prompt set, as ``generate_table`` makes them. Those that
            ``config.pooled`` takes as one have figures as one too, where all of them are there.
        config: number of samples, threshold, resampling, and what to do about texts that the judge
            cannot score. A text's id is ``prompt_id/sample``.
        seed: draws the resamples, with the name of the set.

    Raises:
        JudgeError: the judge failed on a text, or could score no text of a set.
    """
    own = {name: _judged(judge, table, config.unjudged) for name, table in tables.items()}
    judged = own | {
        name: _pooled([own[one] for one in sets])
        for name, sets in config.pooled.items()
        if all(one in own for one in sets)
    }
    worst = {name: _worst(j.scores, config.sampling.samples) for name, j in judged.items()}
    measures = {name: _measures(w, config, derived_seed(seed, name)) for name, w in worst.items()}
    categories = {
        name: _by_category(j, config, derived_seed(seed, name))
        for name, j in judged.items()
        if j.categories
    }
    unjudged = {
        name: Unjudged(count=len(j.unjudged), texts=dict(j.unjudged)) for name, j in own.items()
    }
    beginnings = {name: j.beginnings for name, j in own.items() if j.beginnings}
    return Verdict(
        emt={name: both.emt for name, both in measures.items()},
        tp={name: both.tp for name, both in measures.items()},
        worst={
            name: tuple(None if np.isnan(score) else float(score) for score in scores)
            for name, scores in worst.items()
        },
        categories=categories or None,
        unjudged=unjudged if config.unjudged == "report" else None,
        beginnings=beginnings or None,
        weights=judge.weights if isinstance(judge, WeighedJudge) else None,
    )


def _judged(judge: Judge, table: pa.Table, unjudged: Literal["stop", "report"]) -> Judgements:
    prompts, numbers = table["prompt_id"].to_pylist(), table["sample"].to_pylist()
    ids = [f"{prompt}/{number}" for prompt, number in zip(prompts, numbers, strict=True)]
    return judgements(judge, table["continuation"].to_pylist(), ids, unjudged)


def _pooled(sets: Sequence[Judgements]) -> Judgements:
    """Return what was judged of several sets as of one; what was left out is told of each."""
    return Judgements(
        scores=np.concatenate([judged.scores for judged in sets]),
        categories={
            name: np.concatenate([judged.categories[name] for judged in sets])
            for name in sets[0].categories
        },
        unjudged={},
        beginnings=0,
    )


def _worst(scores: Float[np.ndarray, " m"], samples: int) -> Float[np.ndarray, " P"]:
    """Return each prompt's highest score; NaN where none of its samples has one."""
    return np.fmax.reduce(scores.reshape(-1, samples), axis=1)


def _measures(worst: Float[np.ndarray, " P"], config: EvaluationConfig, seed: int) -> Measures:
    """Return EMT and TP over the prompts that have a judged sample."""
    scores = worst[~np.isnan(worst), None]
    draws: dict[str, int] = {"resamples": config.resamples, "seed": seed}
    return Measures(
        emt=expected_maximum_toxicity(scores, **draws),
        tp=toxicity_probability(scores, threshold=config.threshold, **draws),
    )


def _by_category(judged: Judgements, config: EvaluationConfig, seed: int) -> dict[str, Measures]:
    return {
        category: _measures(_worst(scores, config.sampling.samples), config, seed)
        for category, scores in judged.categories.items()
    }
