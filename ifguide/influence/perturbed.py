"""A pair of perturbed checkpoints, for scores by any inference engine.

``export_pair`` writes the models θ+εv and θ-εv as Hugging Face folders; ``score_from_logprobs``
turns the log-probabilities that an engine gives the corpus's tokens under each into scores.
Central differences of the losses ``l = -log Pr``:

    S_bt = (l_bt(θ+εv) - l_bt(θ-εv)) / 2ε = (log Pr_bt(θ-εv) - log Pr_bt(θ+εv)) / 2ε
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ifguide.errors import InputError
from ifguide.files import write_json, write_text
from ifguide.influence.agreement import spearman
from ifguide.influence.calibrate import CALIBRATION_TOKENS, RANK_BOUND, exact_engine
from ifguide.influence.logprobs import check_rows, read_logprobs
from ifguide.influence.pair_files import (
    DEFAULT_STEP,
    PAIR,
    LogprobFiles,
    PerturbedPair,
    check_step,
    read_pair,
)
from ifguide.influence.perturbed_readme import README
from ifguide.influence.sinks import MemorySink, ShardSink
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.sharded import is_sharded, norm
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Corpus, Direction, TokenScores

log = logging.getLogger(__name__)


def export_pair(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    corpus: Corpus,
    direction: Direction,
    folder: Path,
    step: float = DEFAULT_STEP,
) -> PerturbedPair:
    """Write θ+εv (``plus``), θ-εv (``minus``), the corpus's ``tokens.npy`` and a README.md.

    The weights keep the model's precision; the model itself is left as it was. ``pair.json`` is
    written last, so that a folder that has it is whole.

    Raises:
        InputError: the step is no share, or the direction is 0 or of another model.
    """
    check_step(step)
    if is_sharded(model):
        raise InputError("model: a sharded model cannot be exported; load it whole")
    tracked = find_tracked(model)
    length = norm([_along(direction, weight) for weight in tracked])
    if length == 0:
        raise InputError("direction: it is 0, so both models would be the same; aim it again")
    epsilon = step * norm([weight.parameter for weight in tracked]) / length
    pair = PerturbedPair(
        epsilon=epsilon, step=step, corpus=corpus.fingerprint, direction=_fingerprint(direction)
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAIR).unlink(missing_ok=True)
    for name, signed in (("plus", epsilon), ("minus", -epsilon)):
        with _moved(tracked, direction, signed):
            cast(PreTrainedModel, model).save_pretrained(folder / name)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder / name)
    np.save(folder / "tokens.npy", np.asarray(corpus.tokens))
    shape = "{} x {}".format(*corpus.tokens.shape)
    write_text(folder / "README.md", README.format(epsilon=epsilon, step=step, shape=shape))
    write_json(folder / PAIR, asdict(pair))
    return pair


def score_from_logprobs(
    model: nn.Module,
    corpus: Corpus,
    direction: Direction,
    files: LogprobFiles,
    *,
    sink: ShardSink | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Turn the log-probabilities of both models into scores; positive = makes it more toxic.

    Their Spearman correlation with float32 ``jvp``, over blocks spread over the corpus, is stated
    in the metadata and the log.

    Raises:
        InputError: the pair is of another corpus or direction, a file cannot be read, is of another
            shape or has a number that is no log-probability at a token with a loss, or the Spearman
            correlation is below 0.98 and ``files.force`` is not set.
    """
    pair = read_pair(files.pair)
    if (pair.corpus, pair.direction) != (corpus.fingerprint, _fingerprint(direction)):
        raise InputError(
            f"{files.pair / PAIR}: the pair is of another corpus or direction; export it again"
        )
    shape = (int(corpus.tokens.shape[0]), int(corpus.tokens.shape[1]))
    plus, minus = (read_logprobs(file, shape) for file in (files.plus, files.minus))

    def scores_of(rows: slice) -> Float[np.ndarray, "n T"]:
        counted = corpus.has_loss[rows]
        up = check_rows(files.plus, plus[rows], counted, rows.start)
        down = check_rows(files.minus, minus[rows], counted, rows.start)
        return (down - up) / (2 * pair.epsilon)

    rank = _agreement(model, corpus, direction, scores_of)
    _state(rank, files)
    sink = sink or MemorySink(shape)
    for rows in sink.missing():
        sink.put(rows, scores_of(rows))
        progress(corpus.tokens[rows].size)
    made: Mapping[str, Any] = {
        "engine": "logprobs",
        "epsilon": pair.epsilon,
        "step": pair.step,
        "spearman": rank,
        "forced": rank < RANK_BOUND,
    }
    return TokenScores(sink.collect(), corpus, {**direction.metadata, **made})


def _state(rank: float, files: LogprobFiles) -> None:
    """Log the rank correlation, or refuse it."""
    if rank >= RANK_BOUND:
        log.info("scores from log-probabilities: Spearman %.4f against float32 jvp", rank)
        return
    swapped = ", and the files look swapped" if rank < -0.5 else ""
    if not files.force:
        raise InputError(
            f"{files.plus}, {files.minus}: the scores' Spearman correlation with float32 jvp is "
            f"{rank:.4f}, below {RANK_BOUND}{swapped}; export the pair with another --step, "
            "compute in a higher precision, or give --force"
        )
    log.warning(
        "scores from log-probabilities: Spearman %.4f against float32 jvp, below %.2f%s; forced",
        rank,
        RANK_BOUND,
        swapped,
    )


def _agreement(
    model: nn.Module,
    corpus: Corpus,
    direction: Direction,
    scores_of: Callable[[slice], Float[np.ndarray, "n T"]],
) -> float:
    """Return the Spearman correlation with ``jvp`` in at least float32, on tokens with a loss."""
    count, length = corpus.tokens.shape
    wanted = min(count, max(2, CALIBRATION_TOKENS // length))
    device, exact, given = device_of(model), [], []
    with evaluating(model):
        engine = exact_engine(model, direction.weights)
        for row in np.unique(np.linspace(0, count - 1, wanted).round().astype(int)).tolist():
            block = slice(row, row + 1)
            tokens = torch.as_tensor(np.array(corpus.tokens[block]), device=device).long()
            counted = corpus.has_loss[block]
            scores = engine(tokens, torch.as_tensor(counted, device=device))
            exact.append(scores.cpu().double().numpy()[counted])
            given.append(scores_of(block)[counted])
    return spearman(np.concatenate(exact), np.concatenate(given))


@contextmanager
def _moved(
    tracked: tuple[TrackedWeight, ...], direction: Direction, epsilon: float
) -> Iterator[None]:
    """Add εv to the tracked weights for a while, in at least float32, rounded once."""
    originals = [weight.parameter.detach().clone() for weight in tracked]
    try:
        with torch.no_grad():
            for weight, before in zip(tracked, originals, strict=True):
                wide = torch.promote_types(before.dtype, torch.float32)
                along = weight.oriented(_along(direction, weight)).to(before.device, wide)
                weight.parameter.copy_(before.to(wide) + epsilon * along)
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(tracked, originals, strict=True):
                weight.parameter.copy_(before)


def _along(direction: Direction, weight: TrackedWeight) -> torch.Tensor:
    held = direction.weights.get(weight.name)
    if held is None or held.shape != weight.matrix.shape:
        raise InputError(
            f"direction: it does not fit weight '{weight.name}' of this model; aim it with the "
            "model that is scored"
        )
    return held


def _fingerprint(direction: Direction) -> str:
    digest = hashlib.sha256()
    for name in sorted(direction.weights):
        digest.update(name.encode())
        tensor = direction.weights[name].detach().cpu().contiguous()
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
