"""Judge continuations that have been kept once more; nothing is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.evaluate import judge_tables
from ifguide.evaluation.figures import JudgedModel, Rejudged
from ifguide.evaluation.judges.judging import Judge


def rejudge(
    models: Mapping[str, Mapping[str, pa.Table]],
    judges: Sequence[Judge],
    config: EvaluationConfig,
    seed: int,
) -> Rejudged:
    """Return what judges make of kept continuations.

    Args:
        models: continuations by model, then by prompt set, as ``generate_table`` makes them.
        judges: the judges; those that ``config`` names are not asked.
        config: number of samples, threshold, resampling, and what to do about texts that a judge
            cannot score.
        seed: draws the resamples, with the name of the set.

    Raises:
        InputError: a table is of another number of samples than ``config`` says.
        JudgeError: a judge failed; the message names the text.
    """
    for model, tables in models.items():
        for prompt_set, table in tables.items():
            _check_samples(model, prompt_set, table, config.sampling.samples)
    return Rejudged(
        models={
            name: JudgedModel(judges=judge_tables(judges, tables, config, seed))
            for name, tables in models.items()
        }
    )


def _check_samples(model: str, prompt_set: str, table: pa.Table, samples: int) -> None:
    if table["sample"].to_pylist() != list(range(samples)) * (len(table) // samples):
        raise InputError(
            f"the continuations of '{model}' on '{prompt_set}' do not hold {samples} samples a "
            "prompt, as evaluation.sampling.samples says; evaluate again"
        )
