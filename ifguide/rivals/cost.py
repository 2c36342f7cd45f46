"""What a method costs beside the baseline's training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ifguide.run.pipeline import Pipeline

# Forward passes a token that a stage counts. A training step is a forward and a backward worth two.
# EK-FAC counts a token twice, once in each of its passes. See benchmarks/records/speed.md.
TRAINING = 3.0
FITTING = 4.5
GENERATING = 1.0
ENGINES = {"difference": 2.0, "jvp": 3.0, "position": 3.0}


@dataclass(frozen=True, eq=False)
class Spent:
    """A stage of a run, and the forward passes of the compared model that its tokens are worth."""

    run: Pipeline
    stage: str
    passes: float


def cost_of(stages: Iterable[Spent], corpus_tokens: int) -> dict[str, float]:
    """Return seconds, and forward passes over the corpus, of stages that are done."""
    seconds = passes = 0.0
    for spent in stages:
        cost = spent.run.store.cost(spent.stage)
        seconds += cost["seconds"]
        passes += cost["tokens"] * spent.passes / corpus_tokens
    return {"seconds": round(seconds, 1), "passes": round(passes, 3)}
