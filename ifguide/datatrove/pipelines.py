"""Which pipelines make a corpus's mask, and how many tasks each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ifguide.datatrove.plan import Plan
from ifguide.datatrove.rounds import ROUNDS
from ifguide.datatrove.steps import Score, Select, Tally, Tokenise, WriteMask


@dataclass(frozen=True)
class Pipeline:
    """Steps for one executor, which runs after the one before it.

    Args:
        name: for its folder of logs and completion marks.
        steps: of datatrove.
        tasks: how many the executor must have.
    """

    name: str
    steps: tuple[Any, ...]
    tasks: int


def pipelines(
    plan: Plan, readers: Sequence[Any], tasks: int, to: str = "datatrove"
) -> list[Pipeline]:
    """Return the pipelines from documents to their mask, in order.

    Args:
        plan: the run and the folder.
        readers: steps that give documents: a reader of datatrove, and any filters behind it.
        tasks: how many the corpus is split into.
        to: the format of the mask.
    """
    first = (*readers, Tokenise(plan), Score(plan))
    made = []
    for of in ROUNDS:
        steps = (*first, Tally(plan, of))
        made += [
            Pipeline(f"tally-{of}", steps, tasks),
            Pipeline(f"select-{of}", (Select(plan, of),), 1),
        ]
        first = ()
    return [*made, Pipeline("mask", (WriteMask(plan, to),), tasks)]
