"""The verb ``score``: one number a token of the corpus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.lazy import AnyArray
from ifguide.models.losses import device_of
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Corpus, Direction, TokenScores
from ifguide.scores.by_position import ByPosition
from ifguide.scores.finite_difference import FiniteDifference, calibrate
from ifguide.scores.forward_mode import ForwardMode

log = logging.getLogger(__name__)

Engine = Callable[[Int[Tensor, "B T"]], Float[Tensor, "B T"]]
SUM_TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5}
RANK_BOUND = 0.98
PROBE_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How the corpus is scored.

    Args:
        engine: ``jvp`` (exact, one pass with dual numbers), ``difference`` (two plain passes,
            to a stated tolerance) or ``position`` (the authors' form); see their modules.
        step: size of ``difference``'s perturbation as a share of the tracked weights' norm; by
            default it is calibrated on a probe batch against ``jvp``.
        tolerance: largest error of the block sums, ``max |ΔΣ| / max |Σ|`` on the probe batch, at
            which a calibrated ``difference`` is kept; above it ``jvp`` is used. By default 3e-5 for
            float32 and 1e-10 for float64; a half-precision model is kept by rank correlation
            (0.98) instead. 0.01 keeps the ranking and is faster.
        batch_tokens: tokens a batch.
        shard_blocks: blocks a stored shard.
    """

    engine: Literal["difference", "jvp", "position"] = "jvp"
    step: float | None = None
    tolerance: float | None = None
    batch_tokens: int = 8192
    shard_blocks: int = 1024

    def __post_init__(self) -> None:
        for name in ("step", "tolerance", "batch_tokens", "shard_blocks"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"scores.{name}: {value} is not above 0; give a positive number")


@runtime_checkable
class ShardSink(Protocol):
    """Where scores go as they are made; a store's sink keeps them across an interruption."""

    def missing(self) -> Iterable[slice]:
        """Yield the slices of blocks that are still to be scored."""
        ...

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Keep the scores of one slice of blocks."""
        ...

    def collect(self) -> Float[AnyArray, "N T"]:
        """Return all scores, once none is missing."""
        ...


class MemorySink:
    """Scores in memory, nothing kept."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values = np.zeros(shape, dtype=np.float64)

    def missing(self) -> Iterable[slice]:
        """Yield one slice: everything."""
        yield slice(0, len(self.values))

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Keep the scores of one slice of blocks."""
        self.values[rows] = values

    def collect(self) -> Float[np.ndarray, "N T"]:
        """Return all scores."""
        return self.values


def score(
    model: nn.Module,
    corpus: Corpus,
    direction: Direction,
    config: ScoreConfig | None = None,
    *,
    sink: ShardSink | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Score every token of the corpus: ``S_ij = v . grad l_ij`` (paper Eq. 8).

    Positive = learning the token makes the model more toxic. Tokens without a loss hold 0. The
    sum over a block is the block's differential influence (Eq. 6), whichever the engine.

    Raises:
        InputError: the direction does not fit the model, or a score is not finite (the block is
            named).
    """
    config = config or ScoreConfig()
    tracked = find_tracked(model)
    _check_direction(tracked, direction)
    training = model.training
    model.eval()
    engine, settings = build_engine(model, tracked, direction, corpus, config)
    sink = sink or MemorySink(corpus.tokens.shape)
    for rows in sink.missing():
        sink.put(rows, score_rows(engine, model, corpus, rows, config.batch_tokens, progress))
    model.train(training)
    return TokenScores(sink.collect(), corpus, {**direction.metadata, **settings})


def build_engine(
    model: nn.Module,
    tracked: tuple[TrackedWeight, ...],
    direction: Direction,
    corpus: Corpus,
    config: ScoreConfig,
) -> tuple[Engine, dict[str, Any]]:
    """Return the engine and the settings that describe it, after any calibration or fallback."""
    weights = direction.weights
    if config.engine == "position":
        return ByPosition(model, tracked, weights), {"engine": "position"}
    if config.engine == "jvp" or not any(v.any() for v in weights.values()):
        return ForwardMode(model, tracked, weights), {"engine": "jvp"}
    if config.step is not None:
        settings: dict[str, Any] = {"engine": "difference", "step": config.step}
        return FiniteDifference(model, tracked, weights, config.step), settings
    return _calibrated_difference(model, tracked, direction, _probe(model, corpus), config)


def _calibrated_difference(
    model: nn.Module,
    tracked: tuple[TrackedWeight, ...],
    direction: Direction,
    probe: Int[Tensor, "B T"],
    config: ScoreConfig,
) -> tuple[Engine, dict[str, Any]]:
    """Return ``difference`` if it meets its bound (float64: with four points), else ``jvp``."""
    weights = direction.weights
    dtype = tracked[0].parameter.dtype
    by_rank = dtype not in SUM_TOLERANCE and config.tolerance is None
    bound = RANK_BOUND if by_rank else config.tolerance or SUM_TOLERANCE[dtype]
    for points in (2, 4) if dtype == torch.float64 else (2,):  # four cost more than jvp
        found = calibrate(model, tracked, weights, probe, points)
        if found.spearman >= RANK_BOUND if by_rank else found.sum_error <= bound:
            engine = FiniteDifference(model, tracked, weights, found.step, points)
            return engine, {"engine": "difference", **asdict(found)}
    log.warning(
        "scores: the best finite step (%.0e) misses the bound %.1e (error of the block sums "
        "%.1e, Spearman %.4f); falling back to jvp. Raise scores.tolerance to keep difference.",
        found.step,
        bound,
        found.sum_error,
        found.spearman,
    )
    refused = {"engine": "jvp", "refused_difference": asdict(found)}
    return ForwardMode(model, tracked, weights), refused


def _probe(model: nn.Module, corpus: Corpus) -> Int[Tensor, "B T"]:
    """Take a few whole blocks, spread evenly over the corpus."""
    full = np.flatnonzero(corpus.has_loss[:, 1:].all(1))
    usable = full if len(full) else np.arange(len(corpus.tokens))
    wanted = min(len(usable), max(2, PROBE_TOKENS // corpus.tokens.shape[1]))
    rows = usable[np.linspace(0, len(usable) - 1, wanted).round().astype(int)]
    return torch.as_tensor(np.asarray(corpus.tokens[rows]), device=device_of(model)).long()


def score_rows(
    engine: Engine,
    model: nn.Module,
    corpus: Corpus,
    rows: slice,
    batch_tokens: int,
    progress: Callable[[int], None],
) -> Float[np.ndarray, "n T"]:
    """Score some blocks: [n, T] in float64, 0 where there is no loss."""
    size = max(1, batch_tokens // corpus.tokens.shape[1])
    parts = []
    for first in range(rows.start, rows.stop, size):
        batch = slice(first, min(first + size, rows.stop))
        tokens = torch.as_tensor(np.array(corpus.tokens[batch]), device=device_of(model)).long()
        counted = corpus.has_loss[batch]
        if isinstance(engine, ByPosition):
            values = engine(tokens, torch.as_tensor(counted, device=tokens.device))
        else:
            values = engine(tokens)
        scores = values.cpu().double().numpy() * counted
        if not np.isfinite(scores).all():
            bad = first + int(np.flatnonzero(~np.isfinite(scores).all(1))[0])
            raise InputError(
                f"scores: block {bad} of the corpus has a score that is not finite; use "
                "scores.engine jvp, or model dtype float32"
            )
        parts.append(scores)
        progress(tokens.numel())
    return np.concatenate(parts)


def _check_direction(tracked: tuple[TrackedWeight, ...], direction: Direction) -> None:
    for weight in tracked:
        held = direction.weights.get(weight.name)
        if held is None or held.shape != weight.matrix.shape:
            raise InputError(
                f"direction: it does not fit weight '{weight.name}' of this model; aim it with the "
                "model that is scored"
            )
