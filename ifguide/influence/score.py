"""The verb ``score``: one number a token of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.influence.calibrate import calibration_blocks
from ifguide.influence.config import ENGINES, ScoreConfig
from ifguide.influence.engines.engine import Engine, Prepared, ScoreEngine
from ifguide.influence.sinks import MemorySink, ShardSink
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Corpus, Direction, TokenScores
from ifguide.parts import tell


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
    with evaluating(model):
        tell("preparing the engine")
        engine, described = build_engine(model, tracked, direction, corpus, config)
        sink = sink or MemorySink(corpus.tokens.shape)
        shares = list(sink.missing())
        idle = _idle_batches(model, corpus, shares, config.batch_tokens)
        tell("scoring")
        for rows in shares:
            values = score_rows(engine, model, corpus, rows, config.batch_tokens, progress)
            sink.put(rows, on_input_axis(values) if config.axis == "input" else values)
        nothing, size = np.zeros_like(corpus.tokens[:0]), _batch_size(corpus, config.batch_tokens)
        for _ in range(idle):
            _score_batch(engine, model, nothing, nothing.astype(bool), size)
    if config.axis == "input":
        described = {**described, "axis": config.axis}
    return TokenScores(sink.collect(), corpus, {**direction.metadata, **described})


def on_input_axis(values: Float[np.ndarray, "n T"]) -> Float[np.ndarray, "n T"]:
    """Give each token the share of *its own* input position, not of the one that predicts it.

    Engine ``position`` reports the share of position t at token t + 1, which position t predicts;
    the IF-Guide authors' code masks token t by it. The last token of a block, whose position
    predicts nothing, gets 0.
    """
    return np.pad(values[:, 1:], ((0, 0), (0, 1)))


def build_engine(
    model: nn.Module,
    tracked: tuple[TrackedWeight, ...],
    direction: Direction,
    corpus: Corpus,
    config: ScoreConfig,
) -> Prepared:
    """Return the engine and the metadata that describe it, after any calibration or fallback.

    The model is in evaluation mode.

    Raises:
        InputError: no engine has this name, or it does not work in this precision.
    """
    chosen: ScoreEngine = ENGINES.get(config.engine, "scores.engine")
    config.check_precision(chosen.precisions)
    blocks = calibration_blocks(model, corpus) if chosen.calibrated else None
    return chosen.prepare(model, tracked, direction.weights, blocks, config)


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
    counted: Bool[np.ndarray, "n T"],
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
    values = engine(given, torch.as_tensor(counted, device=given.device))
    return (values.cpu().double().numpy() * counted)[:held]


def _check_direction(tracked: tuple[TrackedWeight, ...], direction: Direction) -> None:
    for weight in tracked:
        held = direction.weights.get(weight.name)
        if held is None or held.shape != weight.matrix.shape:
            raise InputError(
                f"direction: it does not fit weight '{weight.name}' of this model; aim it with the "
                "model that is scored"
            )
