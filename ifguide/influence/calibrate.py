"""Which finite step to take, and whether its scores are near enough to the exact ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.influence.agreement import spearman
from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.engine import Engine, WeightDirection
from ifguide.influence.engines.jvp import ForwardMode
from ifguide.models.losses import device_of
from ifguide.models.precision import is_half, widened
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus
from ifguide.parts import tell

log = logging.getLogger(__name__)

RELATIVE_STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
TRIED = 4  # steps, at most
FIRST = {torch.float64: 1e-3, torch.float32: 1e-2}  # where they are tried first
FIRST_OF_HALF = 3e-2
SUM_TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5}
RANK_BOUND = 0.98
CALIBRATION_TOKENS = 4096  # at most
CALIBRATION_SHARE = 0.05  # of the scoring that follows
PASSES = 3 + 2 * TRIED  # over a token that is calibrated on: jvp, and two a step


@dataclass(frozen=True)
class Calibration:
    """A finite step, and how well its scores agree with ``jvp`` on the calibration blocks.

    ``sum_error`` is ``max |ΔΣ| / max |Σ|`` over the blocks' sums, ``spearman`` the rank correlation
    of the tokens' scores.
    """

    step: float
    points: int
    sum_error: float
    spearman: float


EngineAt = Callable[[float, int], Engine]  # an engine of a step and a number of points


def choose_step(
    engine_at: EngineAt,
    model: nn.Module,
    direction: WeightDirection,
    blocks_BT: Int[Tensor, "B T"],
    config: ScoreConfig,
) -> tuple[Calibration, bool]:
    """Return the best finite step and whether it is kept, and log how well it agrees.

    It is kept where it meets its bound, or where ``config.step`` gives it. In float64 four points
    are tried where two miss the bound.

    Raises:
        InputError: a half-precision model is sharded, so that it has no float32 copy.
    """
    dtype = find_tracked(model)[0].parameter.dtype
    half = is_half(model) or config.precision == "bfloat16"
    by_rank = config.tolerance is None and half
    bound = RANK_BOUND if by_rank else config.tolerance or SUM_TOLERANCE[dtype]
    steps = RELATIVE_STEPS if config.step is None else (config.step,)
    exact = exact_scores(model, direction, blocks_BT)

    def good(one: Calibration) -> bool:
        return one.spearman >= RANK_BOUND if by_rank else one.sum_error <= bound

    for points in (2, 4) if dtype == torch.float64 else (2,):  # four cost more than jvp
        best = calibrate(
            engine_at,
            exact,
            blocks_BT,
            points,
            steps=steps,
            first=FIRST_OF_HALF if half else FIRST[dtype],
            by_rank=half,
            enough=lambda one: good(one) and not by_rank,
        )
        if good(best) or config.step is not None:
            _tell(best, good=good(best))
            return best, True
    log.warning(
        "scores: the best finite step (%.0e) misses the bound %.2g (error of the block sums "
        "%.1e, Spearman %.4f); falling back to jvp in the weights' own type. Raise "
        "scores.tolerance to keep difference.",
        best.step,
        bound,
        best.sum_error,
        best.spearman,
    )
    return best, False


def calibrate(
    engine_at: EngineAt,
    exact_BT: Float[Tensor, "B T"],
    blocks_BT: Int[Tensor, "B T"],
    points: int = 2,
    *,
    steps: Sequence[float] = RELATIVE_STEPS,
    first: float = 1e-2,
    by_rank: bool = False,
    enough: Callable[[Calibration], bool] = lambda one: False,
) -> Calibration:
    """Try at most ``TRIED`` finite steps and return the one nearest to the exact derivative.

    From the first guess they are tried toward the smaller ones while these come nearer, else toward
    the larger ones: the error of large steps is the function's, that of small ones rounding. The
    nearest is the one with the least error of the block sums, or ``by_rank`` with the highest
    Spearman correlation over the tokens, as half precision needs.

    Args:
        engine_at: the engine of a step and a number of points.
        exact_BT: the exact scores of the blocks.
        blocks_BT: their tokens.
        points: of the finite difference.
        steps: those that may be tried, in descending order.
        first: the one of them that is tried first, the largest where it is none of them.
        by_rank: what nearest means.
        enough: a step that is good enough to try no other.
    """
    tried: dict[int, Calibration] = {}
    every = torch.ones_like(blocks_BT, dtype=torch.bool)

    def distance(place: int) -> float:
        return -tried[place].spearman if by_rank else tried[place].sum_error

    def attempt(place: int) -> None:
        tell(f"trying a step of {steps[place]:g}")
        tried[place] = Calibration(steps[place], points, float("inf"), 0.0)
        scores = engine_at(steps[place], points)(blocks_BT, every).double()
        error = (scores - exact_BT).sum(1).abs().max() / exact_BT.sum(1).abs().max()
        if torch.isfinite(error):
            ranks = spearman(*(x[:, 1:].flatten().cpu().numpy() for x in (scores, exact_BT)))
            tried[place] = Calibration(steps[place], points, error.item(), ranks)

    best = list(steps).index(first) if first in steps else 0
    attempt(best)
    for toward in (1, -1):
        while len(tried) < TRIED and not enough(tried[best]):
            place = best + toward
            if place in tried or not 0 <= place < len(steps):
                break
            attempt(place)
            if distance(place) >= distance(best):
                break
            best = place
    return tried[best]


def exact_scores(
    model: nn.Module, direction: WeightDirection, blocks_BT: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Return what ``jvp`` gives some blocks, as float64 numbers.

    Raises:
        InputError: a half-precision model is sharded, so that it has no float32 copy.
    """
    if is_half(model) and is_sharded(model):
        raise InputError(
            "scores.engine: difference has no float32 copy of a sharded half-precision model to "
            "be calibrated against; give scores.step (0.03, say), or use jvp"
        )
    every = torch.ones_like(blocks_BT, dtype=torch.bool)
    return exact_engine(model, direction)(blocks_BT, every).double()


def exact_engine(model: nn.Module, direction: WeightDirection) -> ForwardMode:
    """Return ``jvp`` in at least float32: of a copy, where the model is in half precision."""
    wide = widened(model)
    return ForwardMode(wide, find_tracked(wide), direction)


def calibration_size(blocks: int, length: int) -> int:
    """Return how many of a corpus's blocks, of so many tokens each, a step is calibrated on.

    They are so few that calibration costs at most ``CALIBRATION_SHARE`` of the scoring that
    follows, two passes over the corpus; but two blocks at least, which in a corpus of some hundred
    blocks cost more.
    """
    affordable = int(CALIBRATION_SHARE * 2 * blocks / PASSES)
    return max(2, min(affordable, CALIBRATION_TOKENS // length))


def calibration_blocks(model: nn.Module, corpus: Corpus) -> Int[Tensor, "B T"]:
    """Take ``calibration_size`` whole blocks, spread evenly over the corpus."""
    full = np.flatnonzero(np.asarray(corpus.document)[:, -1] >= 0)  # what fills a block is its end
    usable = full if len(full) else np.arange(len(corpus.tokens))
    wanted = min(len(usable), calibration_size(*corpus.tokens.shape))
    rows = usable[np.linspace(0, len(usable) - 1, wanted).round().astype(int)]
    return torch.as_tensor(np.asarray(corpus.tokens[rows]), device=device_of(model)).long()


def _tell(best: Calibration, *, good: bool) -> None:
    """Log how well a finite step agrees; a given one is kept even where it does so badly."""
    level = logging.INFO if good else logging.WARNING
    why = "" if good else "; it is kept because scores.step gives it"
    log.log(
        level,
        "scores: Spearman %.4f with float32 jvp on a probe at the step %.0e%s",
        best.spearman,
        best.step,
        why,
    )
