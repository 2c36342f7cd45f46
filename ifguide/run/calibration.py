"""Seconds a unit of each kind of work, by doing a little of it on this machine.

The verbs themselves are timed, on random tokens. A model that is small is used as it is. Of a large
one there are three thin copies, of random weights: one block and a few tokens, several blocks and a
few tokens, one block and all tokens. What a block and what the vocabulary costs follows, and the
rest is multiplication; the whole model is never made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig

from ifguide.corpus.queries import token_weights
from ifguide.evaluation.batch import Heads, continued, prefilled
from ifguide.evaluation.fluency import perplexity
from ifguide.evaluation.judges.judging import judgements
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.localisation import localisation
from ifguide.files import describe
from ifguide.influence.calibrate import CALIBRATION_TOKENS
from ifguide.influence.config import ENGINES
from ifguide.influence.curvature.exact import fit_dense
from ifguide.influence.curvature.factors import Sample, corrected_eigenvalues, covariances
from ifguide.influence.curvature.kronecker import KroneckerEigenbasis, eigenbasis
from ifguide.influence.direction import query_gradient
from ifguide.influence.score import score
from ifguide.models.forward import evaluating
from ifguide.models.shape import made_of, thinned
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus, Direction, QuerySet, TokenScores
from ifguide.parts import tell
from ifguide.run import effort
from ifguide.run.clock import undisturbed
from ifguide.run.survey import Survey
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig
from ifguide.training.train import train

WHOLE = 30_000_000  # weights; a larger model is measured by thin copies
BLOCKS = 3  # of the deeper thin copy
FEW = 512  # tokens of the vocabulary of a thin copy
OPERATIONS = {"cpu": 1e10, "cuda": 1e13}  # of one batch that is timed, a second's work or so
TRAINED = 10  # times that of a batch that is trained on
ROWS = 2048  # of the largest factor whose eigenvectors are timed; beyond, time grows by the cube
TOY = 20_000  # tokens of what needs no model
WRITTEN = 1 << 26  # bytes
TRIED = 7  # steps, until smaller ones are seen to be worse (the demo, SmolLM2-135M)
PAGE_SECONDS = 0.012  # a document; the demo's page has 200 and took 2.3 s on a 2-core CPU

Tick = Callable[[int], None]  # called when so many tokens are done


@dataclass(frozen=True)
class Rates:
    """Seconds a unit, by the kind of work."""

    seconds: Mapping[str, float]

    def of(self, done: effort.Effort) -> effort.Number:
        """Return the seconds that a stage takes."""
        return sum(units * self.seconds[name] for name, units in done.work.items())


def calibrate(config: Config, seen: Survey, kinds: Iterable[str], device: str) -> Rates:
    """Measure the rates of some kinds of work.

    Args:
        config: the run's.
        seen: its sizes, tokenizer and texts.
        kinds: the names of rates, see ``ifguide.run.effort``.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: a judge or an engine cannot be loaded.
    """
    wanted = set(kinds)
    found = {effort.READ: seen.reading, effort.PAGE: PAGE_SECONDS}
    of_model = {kind for kind in wanted if kind in _OF_MODEL or kind.startswith(_TRAIN)}
    if of_model:
        found |= _of_model(config, seen, of_model, device)
    for kind in sorted(wanted - set(found)):
        tell(f"measuring: {kind}")
        found[kind] = _without_model(kind, config, seen, device)
    return Rates({kind: found[kind] for kind in wanted})


# what needs a model


@dataclass(frozen=True, eq=False)
class _Bench:
    """A model to measure with, and a batch of it that takes a second or so."""

    config: Config
    model: nn.Module
    seen: Survey
    vocabulary: int
    room: float  # tokens that take a second or so

    def corpus(self, blocks: int) -> Corpus:
        """Return blocks of random tokens."""
        return _random_corpus(blocks, self.seen.sizes.block_length, self.vocabulary)

    def batch(self, wanted: int, seconds: int = 1) -> int:
        """Return how many of the run's blocks go together here."""
        sizes = self.seen.sizes
        return max(1, min(wanted, int(seconds * self.room / sizes.block_length), sizes.blocks))


def _of_model(config: Config, seen: Survey, kinds: Iterable[str], device: str) -> dict[str, float]:
    """Return rates of the whole model, from itself or from three thin ones."""
    architecture, shape = seen.architecture, seen.sizes.shape
    if shape.parameters <= WHOLE or shape.layers <= BLOCKS:
        return _measured(config, seen, architecture, kinds, device)
    few = min(FEW, shape.vocabulary)
    shallow, deep, wide = (
        _measured(config, seen, thinned(architecture, layers, vocabulary), kinds, device)
        for layers, vocabulary in ((1, few), (BLOCKS, few), (1, shape.vocabulary))
    )
    rest = (shape.layers - 1) / (BLOCKS - 1)
    return {k: max(0.0, wide[k] + rest * (deep[k] - shallow[k])) for k in shallow}


def _measured(
    config: Config, seen: Survey, thin: PreTrainedConfig, kinds: Iterable[str], device: str
) -> dict[str, float]:
    """Return the rates of one model, each as if it were the whole."""
    tell("making a model to measure with")
    model = made_of(thin, config.model.dtype).to(device)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    weights = sum(weight.numel() for weight in model.parameters())
    tokens = OPERATIONS[device] / (6 * weights)
    bench = _Bench(config, model, seen, min(vocabulary, seen.sizes.shape.vocabulary), tokens)
    found: dict[str, float] = {}
    for kind in sorted(kinds):
        tell(f"measuring: {kind}")
        alike = _TRAIN + _alike(config)
        if kind.startswith(_TRAIN) and alike in found:
            found[kind] = found[alike]
            continue
        measure = _OF_MODEL.get(kind) or partial(_train, section=kind.removeprefix(_TRAIN))
        found[kind] = measure(bench)
    return found


def _alike(config: Config) -> str:
    """Return the section whose batches take as long as those of the other one, or ""."""
    first, other = config.baseline, config.training
    same = first is not None and all(
        getattr(first, name) == getattr(other, name) for name in ("batch_size", "precision")
    )
    return "baseline" if same else ""


def _train(bench: _Bench, section: str) -> float:
    """Return the seconds a token of an update's batches, the update itself not counted."""
    given: TrainingConfig = getattr(bench.config, section)
    size = bench.batch(given.batch_size, seconds=TRAINED)  # what a batch casts weighs in small ones
    few = replace(given, epochs=1.0, batch_size=size, accumulation=1, checkpoint_every=10**6)
    plain = replace(few, guard=None, trainer={})
    corpus = bench.corpus(3 * size)
    with tempfile.TemporaryDirectory() as folder:

        def work(tick: Tick) -> None:
            train(bench.model, corpus, None, plain, folder=Path(folder), progress=tick)

        gap = _gap(work)
    bench.model.eval()
    weights = sum(weight.numel() for weight in bench.model.parameters())
    return max(0.0, gap - weights * _update(bench)) / (size * corpus.tokens.shape[1])


def _update(bench: _Bench) -> float:
    """Return the seconds a weight of AdamW's step and of what bounds the gradient's norm."""
    parameters = [p for p in bench.model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    def step() -> None:
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()

    took = _timed(step)
    adam.zero_grad()
    return took / sum(parameter.numel() for parameter in parameters)


def _passes_of_fit(bench: _Bench, corrected: bool) -> float:
    """Return the seconds a token of one of EK-FAC's passes, with eigenvectors that are no work."""
    given, tracked = bench.config.curvature, find_tracked(bench.model)
    size = bench.batch(given.batch_size)
    corpus = bench.corpus(3 * size)
    sample = Sample(corpus, np.arange(3 * size), 0)
    with evaluating(bench.model):
        if not corrected:
            found = _gap(lambda tick: covariances(bench.model, tracked, sample, size, tick))
        else:
            bases = {w.name: _plain_basis(w.matrix) for w in tracked}
            half = torch.bfloat16 if given.rotation == "bfloat16" else None
            rest = (bench.model, tracked, sample, bases, size)
            found = _gap(lambda tick: corrected_eigenvalues(*rest, tick, half))
    return found / (size * corpus.tokens.shape[1])


def _plain_basis(matrix: torch.Tensor) -> KroneckerEigenbasis:
    out, into = (
        torch.eye(n, device=matrix.device, dtype=torch.promote_types(matrix.dtype, torch.float32))
        for n in matrix.shape
    )
    return KroneckerEigenbasis(out, into, torch.ones_like(matrix))


def _dense(bench: _Bench) -> float:
    corpus = bench.corpus(1)
    sample = Sample(corpus, np.arange(1), 0)
    with evaluating(bench.model):
        took = _timed(lambda: fit_dense(bench.model, find_tracked(bench.model), sample))
    return took / corpus.tokens.size


def _gradient(bench: _Bench) -> float:
    """Return the seconds a token of the queries' gradient."""
    sizes = bench.seen.sizes
    length = max(2, round(sizes.query_tokens / sizes.queries))
    rows = max(1, min(bench.config.direction.batch_size, int(bench.room) // length))
    tokens = list(_random_corpus(rows, length, bench.vocabulary).tokens)
    weights = token_weights([np.ones(length, dtype=bool)] * rows, "token")
    tracked = find_tracked(bench.model)
    took = _timed(lambda: query_gradient(bench.model, tracked, QuerySet(tokens, weights), rows))
    return took / (rows * length)


def _score(bench: _Bench) -> float:
    """Return the seconds a token of scoring, what comes before the first one not counted."""
    return _scoring(bench)[0]


def _step(bench: _Bench) -> float:
    """Return the seconds of what comes before the first score: the search for a step."""
    return _scoring(bench)[1]


@cache
def _scoring(bench: _Bench) -> tuple[float, float]:
    """Return the seconds a token, and of all before: where a step is searched for, TRIED ones."""
    given, length = bench.config.scores, bench.seen.sizes.block_length
    calibrated = ENGINES.get(given.engine, "scores.engine").calibrated
    size = bench.batch(max(1, given.batch_tokens // length))
    corpus = bench.corpus(3 * size)
    config = replace(given, batch_tokens=size * length, step=0.01 if calibrated else given.step)
    draw, weights = torch.Generator().manual_seed(0), find_tracked(bench.model)
    drawn = {w.name: torch.randn(w.matrix.shape, generator=draw).to(w.matrix) for w in weights}
    started, ticks = undisturbed(), list[float]()

    def tick(tokens: int) -> None:
        ticks.append(undisturbed())

    score(bench.model, corpus, Direction(drawn), config, progress=tick)
    batch = float(np.median(np.diff(ticks)))
    each, before = batch / (size * length), max(0.0, ticks[0] - started - batch)
    if not calibrated:
        return each, before
    there = bench.seen.sizes.blocks
    usual = length * min(there, max(2, CALIBRATION_TOKENS // length))
    exact = max(0.0, before / min(corpus.tokens.size, usual) - each)
    return each, usual * (exact + each * (TRIED if given.step is None else 1))


def _sample(bench: _Bench) -> float:
    """Return the seconds a token that is drawn, its prompt's pass not counted."""
    sampling, sizes = bench.config.evaluation.sampling, bench.seen.sizes
    wanted = sampling.samples * sum(sizes.prompts.values())
    room = 3 * int(bench.room) // 8
    rows = max(1, min(sampling.batch_size, wanted, room))
    prompts = max(1, rows // sampling.samples)
    length = max(2, round(sizes.prompt_tokens))
    ids = torch.as_tensor(_random_corpus(prompts, length, bench.vocabulary).tokens).long()
    heads = Heads(ids, torch.ones_like(ids), None, 0)
    cache = prefilled(bench.model, heads) if sampling.samples > 1 else None
    which = [row * prompts // rows for row in range(rows)]

    def draw(new: int) -> Any:
        drawn = {"do_sample": True, "top_p": sampling.top_p, "top_k": 0, "temperature": 1.0}
        settings = heads.settings(max_new_tokens=new, **drawn)
        return continued(bench.model, heads, which, settings, 0, cache)

    draw(1)
    few, more = _timed(lambda: draw(2)), _timed(lambda: draw(8))
    return max(0.0, more - few) / (6 * rows)


def _losses(bench: _Bench) -> float:
    size = bench.batch(bench.config.evaluation.batch_size)
    corpus = bench.corpus(3 * size)
    found = _gap(lambda tick: perplexity(bench.model, corpus, size, tick))
    return found / (size * corpus.tokens.shape[1])


_TRAIN = effort.TRAIN.format("")
_OF_MODEL: dict[str, Callable[[_Bench], float]] = {
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


# what needs none


def _without_model(kind: str, config: Config, seen: Survey, device: str) -> float:
    """Return one rate."""
    name, _, argument = kind.partition(" ")
    if name == effort.EIGENVECTORS.split()[0]:
        return _eigenvectors(int(argument), device)
    if name == effort.JUDGE.split()[0]:
        return _judge(argument, config, seen)
    return _PLAIN[kind](config, seen, device)


def _eigenvectors(rows: int, device: str) -> float:
    """Return the seconds of one decomposition."""
    timed = min(rows, ROWS)
    half = torch.randn(timed, timed, generator=torch.Generator().manual_seed(0))
    factor = (half @ half.T).to(device)
    return _timed(lambda: eigenbasis(factor)) * (rows / timed) ** 3


def _judge(name: str, config: Config, seen: Survey) -> float:
    """Return the seconds a text of a judge that is loaded, each as long as a continuation is."""
    judge = load_judge(name, Path(config.data_dir))
    characters = sum(map(len, seen.texts)) / max(1, seen.sizes.tokens)
    length = 4 * config.evaluation.sampling.tokens if characters > 8 else 80
    texts = [text[:length] for text in seen.texts[:64]] or ["a text"]
    ids = [str(number) for number in range(len(texts))]
    judgements(judge, texts[:2], ids[:2], "report")  # what is put off until it is first asked
    return _timed(lambda: judgements(judge, texts, ids, "report")) / len(texts)


def _products(config: Config, seen: Survey, device: str) -> float:
    side = 1024
    matrix = torch.randn(side, side, device=device)
    return _timed(lambda: matrix @ matrix) / side**3


def _write(config: Config, seen: Survey, device: str) -> float:
    """Return the seconds a byte that is written, and read again for its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        file, held = Path(folder) / "bytes", np.random.default_rng(0).bytes(WRITTEN)

        def write() -> None:
            file.write_bytes(held)
            describe(file)

        return _timed(write) / WRITTEN


def _toy(seen: Survey) -> TokenScores:
    """Return random scores of a random corpus whose documents are as long as a block."""
    sizes = seen.sizes
    blocks = max(2, min(sizes.blocks, TOY // sizes.block_length))
    corpus = _random_corpus(blocks, sizes.block_length, sizes.shape.vocabulary)
    values = np.random.default_rng(0).standard_normal(corpus.tokens.shape).astype(np.float32)
    return TokenScores(values, corpus)


def _smooth(config: Config, seen: Survey, device: str) -> float:
    toy, plain = _toy(seen), replace(config.smoothing, unit="token")
    return _timed(lambda: np.asarray(smooth(toy, plain).values)) / toy.corpus.tokens.size


def _select(config: Config, seen: Survey, device: str) -> float:
    toy = _toy(seen)
    least = 2 / toy.corpus.tokens.size
    given = replace(config.selection, budget=max(config.selection.budget, least))
    return _timed(lambda: select(toy, given)) / toy.corpus.tokens.size


def _localise(config: Config, seen: Survey, device: str) -> float:
    toy = _toy(seen)
    c = toy.corpus
    took = _timed(lambda: localisation(np.asarray(toy.values), c.marked, c.document, c.has_loss))
    return took / c.tokens.size


_PLAIN: dict[str, Callable[[Config, Survey, str], float]] = {
    effort.PRODUCTS: _products,
    effort.WRITE: _write,
    effort.SMOOTH: _smooth,
    effort.SELECT: _select,
    effort.LOCALISE: _localise,
}


# time


def _gap(work: Callable[[Tick], Any]) -> float:
    """Return the median seconds between two batches of something that tells its progress."""
    ticks: list[float] = []
    work(lambda _: ticks.append(undisturbed()))
    return float(np.median(np.diff(ticks)))


def _timed(work: Callable[[], Any]) -> float:
    """Return the seconds of something, the shorter of two turns."""
    turns = []
    for _ in range(2):
        started = undisturbed()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        turns.append(undisturbed() - started)
    return min(turns)


def _random_corpus(blocks: int, length: int, vocabulary: int) -> Corpus:
    """Return blocks of random tokens, a document each, a tenth of them marked."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, vocabulary, (blocks, length)).astype(np.int32)
    document = np.repeat(np.arange(blocks, dtype=np.int32)[:, None], length, axis=1)
    place = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    marked = draw.random(tokens.shape) < 0.1
    return Corpus(tokens, document, place, place + 1, marked, [], 0, "random tokens")
