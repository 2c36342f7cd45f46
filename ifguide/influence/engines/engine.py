"""What a score engine is: a name, what it needs, and a function that prepares it for a model.

An engine of one's own is a module with a ``ScoreEngine`` value and an entry point of the group
``ifguide.engines`` that names it; ``scores.engine`` then knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.influence.config import ScoreConfig
from ifguide.models.tracked import TrackedWeight

WeightDirection = Mapping[str, Tensor]  # v, [out, in] by weight name


@runtime_checkable
class Engine(Protocol):
    """Scores batches of blocks with one model along one direction."""

    def __call__(
        self, tokens_BT: Int[Tensor, "B T"], counted_BT: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Return ``S_bt = v . grad l_bt`` on the axis of the predicted token.

        ``counted`` are the tokens with a loss; what the others get is never read.
        """
        ...


Prepared = tuple[Engine, dict[str, Any]]  # and the metadata of its scores
Prepare = Callable[
    [
        nn.Module,
        Sequence[TrackedWeight],
        WeightDirection,
        Int[Tensor, "B T"] | None,
        ScoreConfig,
    ],
    Prepared,
]


@dataclass(frozen=True)
class ScoreEngine:
    """One way to compute token scores.

    Args:
        name: what ``scores.engine`` and the scores' metadata call it.
        prepare: ``prepare(model, tracked, direction, blocks, config)`` returns an engine for the
            model, which is in evaluation mode, and the metadata that describes it.
        calibrated: whether ``prepare`` is given some of the corpus's blocks, [B, T], to calibrate
            on; otherwise it gets None.
        precisions: the values of ``scores.precision`` that it can work in.
    """

    name: str
    prepare: Prepare
    calibrated: bool = False
    precisions: tuple[str, ...] = ("float32",)
