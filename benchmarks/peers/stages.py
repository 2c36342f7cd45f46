"""What both sides of a comparison have in common: the case, and stages timed by one unit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cases import plain_losses
from scorers import Run, open_run
from torch import nn

from ifguide.influence.curvature.factors import Sample
from ifguide.influence.curvature.fit import sample_rows
from ifguide.nouns import Corpus

UNIT_BLOCKS = 32
UNIT_BATCH = 2048  # tokens

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Case:
    """A run, the part of its corpus that is scored, and the blocks of it for the curvature."""

    run: Run
    sample: Sample

    @property
    def sampled(self) -> int:
        """Number of blocks for the curvature."""
        return len(self.sample.rows)


def open_case(folder: Path, blocks: int | None, sample: int | None) -> Case:
    """Open a run folder; the curvature is for ``sample`` blocks of the part, or for all of it."""
    run = open_run(folder, blocks, quiet=True)
    seed, total = run.config.seed, len(run.part.tokens)
    return Case(run, Sample(run.part, sample_rows(total, sample or total, seed), seed))


@dataclass(eq=False)
class Stages:
    """Processor seconds of stages, each between two plain forward passes over a few blocks.

    The unit is a pass in inference mode that ends in the model's own loss of each token. ``passes``
    is how many of them over ``tokens`` tokens a stage costs.
    """

    model: nn.Module
    corpus: Corpus
    found: dict[str, dict[str, float]] = field(default_factory=dict)

    def timed(self, name: str, tokens: int, work: Callable[[], Made]) -> Made:
        """Do the work, note what it cost, and return what it made."""
        before = self._unit()
        start = time.process_time()
        made = work()
        seconds = time.process_time() - start
        unit = (before + self._unit()) / 2
        self.found[name] = {
            "tokens": tokens,
            "seconds": seconds,
            "passes": seconds / (unit * tokens),
            "unit_microseconds": 1e6 * unit,
        }
        return made

    def _unit(self) -> float:
        """Processor seconds of a plain pass, a token."""
        few = first_blocks(self.corpus, UNIT_BLOCKS)
        start = time.process_time()
        plain_losses(self.model, few, UNIT_BATCH)
        return (time.process_time() - start) / few.tokens.size


def first_blocks(corpus: Corpus, count: int) -> Corpus:
    """Return a corpus of the first blocks."""
    columns: dict[str, Any] = {
        name: np.asarray(getattr(corpus, name))[:count]
        for name in ("tokens", "document", "start", "end", "marked")
    }
    return Corpus(**columns, documents=corpus.documents, end_of_text=0, fingerprint="first")
