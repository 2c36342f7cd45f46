"""The verb ``score``: one number a token of the corpus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.difference import (
    RELATIVE_STEPS,
    Calibration,
    FiniteDifference,
    calibrate,
)
from ifguide.influence.engines.jvp import ForwardMode
from ifguide.influence.engines.position import ByPosition
from ifguide.influence.sinks import MemorySink, ShardSink
from ifguide.models.losses import device_of
from ifguide.models.precision import is_half
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Corpus, Direction, TokenScores

log = logging.getLogger(__name__)

Engine = Callable[[Int[Tensor, "B T"]], Float[Tensor, "B T"]]
SUM_TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5}
RANK_BOUND = 0.98
PROBE_TOKENS = 4096


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

    Where a process group is there, every rank must call it: each scores its share of the blocks
    and returns all. A model sharded by ``fully_shard`` is scored in step.

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
    shares = list(sink.missing())
    idle = _idle_batches(model, corpus, shares, config.batch_tokens)
    for rows in shares:
        sink.put(rows, score_rows(engine, model, corpus, rows, config.batch_tokens, progress))
    for _ in range(idle):
        nothing = np.zeros_like(corpus.tokens[:0])
        _score_batch(engine, model, nothing, nothing, _batch_size(corpus, config.batch_tokens))
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
    autocast = config.precision == "bfloat16"
    if autocast and tracked[0].parameter.dtype != torch.float32:
        raise InputError(
            "scores.precision: bfloat16 is for models of float32 weights; set model.dtype to "
            "float32, or leave it out"
        )
    uncalibrated = is_sharded(model) if is_half(model) else not autocast
    if config.step is not None and uncalibrated:
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
    weights, dtype = direction.weights, tracked[0].parameter.dtype
    autocast = config.precision == "bfloat16"
    by_rank = config.tolerance is None and (autocast or is_half(model))
    bound = RANK_BOUND if by_rank else config.tolerance or SUM_TOLERANCE[dtype]
    steps = RELATIVE_STEPS if config.step is None else (config.step,)
    for points in (2, 4) if dtype == torch.float64 else (2,):  # four cost more than jvp
        found = calibrate(model, tracked, weights, probe, points, steps=steps, autocast=autocast)
        good = found.spearman >= RANK_BOUND if by_rank else found.sum_error <= bound
        if good or config.step is not None:
            _state(found, good=good)
            settings = {"engine": "difference", "precision": config.precision, **asdict(found)}
            return _difference(model, tracked, weights, found, autocast=autocast), settings
    log.warning(
        "scores: the best finite step (%.0e) misses the bound %.2g (error of the block sums "
        "%.1e, Spearman %.4f); falling back to jvp in the weights' own type. Raise "
        "scores.tolerance to keep difference.",
        found.step,
        bound,
        found.sum_error,
        found.spearman,
    )
    refused = {"engine": "jvp", "refused_difference": asdict(found)}
    return ForwardMode(model, tracked, weights), refused


def _difference(
    model: nn.Module,
    tracked: tuple[TrackedWeight, ...],
    weights: Mapping[str, Tensor],
    found: Calibration,
    *,
    autocast: bool,
) -> FiniteDifference:
    return FiniteDifference(model, tracked, weights, found.step, found.points, autocast=autocast)


def _state(found: Calibration, *, good: bool) -> None:
    """Log how well a finite step agrees; a given one is kept even where it does so badly."""
    level = logging.INFO if good else logging.WARNING
    kept = "" if good else "; it is kept because scores.step gives it"
    log.log(
        level,
        "scores: Spearman %.4f with float32 jvp on a probe at the step %.0e%s",
        found.spearman,
        found.step,
        kept,
    )


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
    size, parts = _batch_size(corpus, batch_tokens), []
    for first in range(rows.start, rows.stop, size):
        batch = slice(first, min(first + size, rows.stop))
        tokens, counted = np.array(corpus.tokens[batch]), corpus.has_loss[batch]
        scores = _score_batch(engine, model, tokens, counted, size)
        if not np.isfinite(scores).all():
            bad = first + int(np.flatnonzero(~np.isfinite(scores).all(1))[0])
            raise InputError(
                f"scores: block {bad} of the corpus has a score that is not finite; use "
                "scores.engine jvp, or model dtype float32"
            )
        parts.append(scores)
        progress(tokens.size)
    return np.concatenate(parts)


def _batch_size(corpus: Corpus, batch_tokens: int) -> int:
    return max(1, batch_tokens // corpus.tokens.shape[1])


def _idle_batches(
    model: nn.Module, corpus: Corpus, shares: Sequence[slice], batch_tokens: int
) -> int:
    """Return how many batches others have above this rank's; they need its shards for them."""
    if not is_sharded(model):
        return 0
    size = _batch_size(corpus, batch_tokens)
    own = sum(-(-(rows.stop - rows.start) // size) for rows in shares)
    return ranks.most(own) - own


def _score_batch(
    engine: Engine,
    model: nn.Module,
    tokens: Int[np.ndarray, "n T"],
    counted: Shaped[np.ndarray, "n T"],
    size: int,
) -> Float[np.ndarray, "n T"]:
    """Score up to ``size`` blocks; a sharded model is always given that many.

    So all ranks make the same passes, whatever is left to each.
    """
    held = len(tokens)
    if is_sharded(model):
        room = ((0, size - held), (0, 0))
        tokens, counted = np.pad(tokens, room), np.pad(counted, room)
    given = torch.as_tensor(tokens, device=device_of(model)).long()
    if isinstance(engine, ByPosition):
        values = engine(given, torch.as_tensor(counted, device=given.device))
    else:
        values = engine(given)
    return (values.cpu().double().numpy() * counted)[:held]


def _check_direction(tracked: tuple[TrackedWeight, ...], direction: Direction) -> None:
    for weight in tracked:
        held = direction.weights.get(weight.name)
        if held is None or held.shape != weight.matrix.shape:
            raise InputError(
                f"direction: it does not fit weight '{weight.name}' of this model; aim it with the "
                "model that is scored"
            )
