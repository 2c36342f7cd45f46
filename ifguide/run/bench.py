"""What a little of each kind of work that needs a model takes on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ifguide.corpus.queries import token_weights
from ifguide.evaluation.batch import Heads, continued, prefilled
from ifguide.evaluation.fluency import perplexity
from ifguide.influence.calibrate import calibration_size, exact_scores
from ifguide.influence.config import ENGINES
from ifguide.influence.curvature.exact import fit_dense
from ifguide.influence.curvature.factors import Sample, corrected_eigenvalues, covariances
from ifguide.influence.curvature.kronecker import KroneckerEigenbasis
from ifguide.influence.direction import query_gradient
from ifguide.influence.engines.engine import ScoreEngine
from ifguide.influence.score import score
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.models.precision import is_half
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus, Direction, QuerySet
from ifguide.run import effort
from ifguide.run.clock import Tick, gap, timed, undisturbed
from ifguide.run.survey import Survey
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig
from ifguide.training.train import train

TRAINED = 10  # times that of a batch that is trained on
FORWARD = 2  # the same of one that is scored
QUERIES = 3  # and of one of queries, whose gradient is added up after each
TRIED = 3  # steps, where none is good enough: the first, a smaller and a larger one


@dataclass(frozen=True, eq=False)
class Bench:
    """A model to measure with, and a batch of it that takes a second or so."""

    config: Config
    model: nn.Module
    seen: Survey
    vocabulary: int
    room: float  # tokens that take a second or so

    def corpus(self, blocks: int) -> Corpus:
        """Return blocks of random tokens."""
        return random_corpus(blocks, self.seen.sizes.block_length, self.vocabulary)

    def batch(self, wanted: int, seconds: int = 1) -> int:
        """Return how many of the run's blocks go together here."""
        sizes = self.seen.sizes
        return max(1, min(wanted, int(seconds * self.room / sizes.block_length), sizes.blocks))


def train_batches(bench: Bench, section: str) -> float:
    """Return the seconds a token of an update's batches, the update itself not counted."""
    given: TrainingConfig = getattr(bench.config, section)
    size = bench.batch(given.batch_size, seconds=TRAINED)  # what a batch casts weighs in small ones
    few = replace(given, epochs=1.0, batch_size=size, accumulation=1, checkpoint_every=10**6)
    plain = replace(few, guard=None, trainer={})
    corpus = bench.corpus(3 * size)
    with tempfile.TemporaryDirectory() as folder:

        def work(tick: Tick) -> None:
            train(bench.model, corpus, None, plain, folder=Path(folder), progress=tick)

        between = gap(work)
    bench.model.eval()
    weights = sum(weight.numel() for weight in bench.model.parameters())
    return max(0.0, between - weights * _update(bench)) / (size * corpus.tokens.shape[1])


def _update(bench: Bench) -> float:
    """Return the seconds a weight of AdamW's step and of what bounds the gradient's norm."""
    parameters = [p for p in bench.model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    def step() -> None:
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()

    took = timed(step)
    adam.zero_grad()
    return took / sum(parameter.numel() for parameter in parameters)


def _passes_of_fit(bench: Bench, corrected: bool) -> float:
    """Return the seconds a token of one of EK-FAC's passes, with eigenvectors that are no work."""
    given, tracked = bench.config.curvature, find_tracked(bench.model)
    size = bench.batch(given.batch_size)
    corpus = bench.corpus(3 * size)
    sample = Sample(corpus, np.arange(3 * size), 0)
    with evaluating(bench.model):
        if not corrected:
            found = gap(lambda tick: covariances(bench.model, tracked, sample, size, tick))
        else:
            bases = {w.name: _plain_basis(w.matrix) for w in tracked}
            rest = (bench.model, tracked, sample, bases, replace(given, batch_size=size))
            found = gap(lambda tick: corrected_eigenvalues(*rest, tick))
    return found / (size * corpus.tokens.shape[1])


def _plain_basis(matrix: torch.Tensor) -> KroneckerEigenbasis:
    out, into = (
        torch.eye(n, device=matrix.device, dtype=torch.promote_types(matrix.dtype, torch.float32))
        for n in matrix.shape
    )
    return KroneckerEigenbasis(out, into, torch.ones_like(matrix))


def _dense(bench: Bench) -> float:
    corpus = bench.corpus(1)
    sample = Sample(corpus, np.arange(1), 0)
    with evaluating(bench.model):
        took = timed(lambda: fit_dense(bench.model, find_tracked(bench.model), sample))
    return took / corpus.tokens.size


def _gradient(bench: Bench) -> float:
    """Return the seconds a token of the queries' gradient."""
    sizes = bench.seen.sizes
    length = max(2, round(sizes.query_tokens / sizes.queries))
    rows = max(1, min(bench.config.direction.batch_size, int(QUERIES * bench.room) // length))
    tokens = list(random_corpus(rows, length, bench.vocabulary).tokens)
    weights = token_weights([np.ones(length, dtype=bool)] * rows, "token")
    tracked = find_tracked(bench.model)
    took = timed(lambda: query_gradient(bench.model, tracked, QuerySet(tokens, weights), rows))
    return took / (rows * length)


def _score(bench: Bench) -> float:
    """Return the seconds a token of scoring, what comes before the first one not counted."""
    return _scoring(bench)[0]


def _step(bench: Bench) -> float:
    """Return the seconds of what comes before the first score.

    That is moved weights, and where a step is searched for, ``jvp`` and some steps on the blocks
    that it is calibrated on, with moved weights for each.
    """
    given, sizes = bench.config.scores, bench.seen.sizes
    each, before = _scoring(bench)
    searched = given.step is None or given.precision == "bfloat16" or is_half(bench.model)
    if not (_engine(bench).calibrated and searched):
        return before
    good_enough = given.step is not None or given.tolerance is not None
    tried, length = 1 if good_enough else TRIED, sizes.block_length
    tokens = length * min(sizes.blocks, calibration_size(sizes.blocks, length))
    return (1 + tried) * before + tokens * (_exact(bench) + tried * each)


def _engine(bench: Bench) -> ScoreEngine:
    engine: ScoreEngine = ENGINES.get(bench.config.scores.engine, "scores.engine")
    return engine


@cache
def _drawn(bench: Bench) -> dict[str, torch.Tensor]:
    """Return a random direction."""
    draw, weights = torch.Generator().manual_seed(0), find_tracked(bench.model)
    return {w.name: torch.randn(w.matrix.shape, generator=draw).to(w.matrix) for w in weights}


@cache
def _scoring(bench: Bench) -> tuple[float, float]:
    """Return the seconds a token by a step that is given, and of all before the first token."""
    given, length = bench.config.scores, bench.seen.sizes.block_length
    size = bench.batch(max(1, given.batch_tokens // length), seconds=FORWARD)
    corpus = bench.corpus(3 * size)
    step = 0.01 if _engine(bench).calibrated else given.step
    config = replace(given, batch_tokens=size * length, step=step)
    started, ticks = undisturbed(), list[float]()

    def tick(tokens: int) -> None:
        ticks.append(undisturbed())

    score(bench.model, corpus, Direction(_drawn(bench)), config, progress=tick)
    batch = float(np.median(np.diff(ticks)))
    return batch / (size * length), max(0.0, ticks[0] - started - batch)


def _exact(bench: Bench) -> float:
    """Return the seconds a token of ``jvp``, by which a step is calibrated."""
    sizes = bench.seen.sizes
    rows = bench.batch(calibration_size(sizes.blocks, sizes.block_length))
    blocks = torch.as_tensor(bench.corpus(rows).tokens, device=device_of(bench.model)).long()
    with evaluating(bench.model):
        return timed(lambda: exact_scores(bench.model, _drawn(bench), blocks)) / blocks.numel()


def _sample(bench: Bench) -> float:
    """Return the seconds a token that is drawn, its prompt's pass not counted."""
    sampling, sizes = bench.config.evaluation.sampling, bench.seen.sizes
    wanted = sampling.samples * sum(sizes.prompts.values())
    room = 3 * int(bench.room) // 8
    rows = max(1, min(sampling.batch_size, wanted, room))
    prompts = max(1, rows // sampling.samples)
    length = max(2, round(sizes.prompt_tokens))
    ids = torch.as_tensor(random_corpus(prompts, length, bench.vocabulary).tokens).long()
    heads = Heads(ids, torch.ones_like(ids), None, 0)
    cache = prefilled(bench.model, heads) if sampling.samples > 1 else None
    which = [row * prompts // rows for row in range(rows)]

    def draw(new: int) -> Any:
        drawn = {"do_sample": True, "top_p": sampling.top_p, "top_k": 0, "temperature": 1.0}
        settings = heads.settings(max_new_tokens=new, **drawn)
        return continued(bench.model, heads, which, settings, 0, cache)

    draw(1)
    few, more = timed(lambda: draw(2)), timed(lambda: draw(8))
    return max(0.0, more - few) / (6 * rows)


def _losses(bench: Bench) -> float:
    size = bench.batch(bench.config.evaluation.batch_size)
    corpus = bench.corpus(3 * size)
    found = gap(lambda tick: perplexity(bench.model, corpus, size, tick))
    return found / (size * corpus.tokens.shape[1])


OF_MODEL: dict[str, Callable[[Bench], float]] = {
    effort.COVARIANCES: lambda bench: _passes_of_fit(bench, corrected=False),
    effort.EIGENVALUES: lambda bench: _passes_of_fit(bench, corrected=True),
    effort.UPDATE: _update,
    effort.DENSE: _dense,
    effort.GRADIENT: _gradient,
    effort.SCORE: _score,
    effort.STEP: _step,
    effort.SAMPLE: _sample,
    effort.LOSSES: _losses,
}


def random_corpus(blocks: int, length: int, vocabulary: int) -> Corpus:
    """Return blocks of random tokens, a document each, a tenth of them marked."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, vocabulary, (blocks, length)).astype(np.int32)
    document = np.repeat(np.arange(blocks, dtype=np.int32)[:, None], length, axis=1)
    place = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    marked = draw.random(tokens.shape) < 0.1
    return Corpus(tokens, document, place, place + 1, marked, [], 0, "random tokens")
